// What is measured: PKCS#11 modules by their paths, each with a token of its own.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "client/functions.h"
#include "client/template.h"

namespace secretmem::bench {

using client::Bytes;
using client::Check;
using client::Template;

// Lacking says that a module does not have what is to be measured: its cell is n/a.
class Lacking : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// TokenDirectory is an empty token directory and configuration files for the modules whose
// environment variables are known, secretmem-pkcs11 and SoftHSM2. Removed in the end, by the
// process that made it.
class TokenDirectory {
 public:
  // AddSettings adds lines to secretmem-pkcs11's configuration, in directories made from then on.
  static void AddSettings(const std::string& settings);

  TokenDirectory();
  ~TokenDirectory();
  TokenDirectory(const TokenDirectory&) = delete;
  TokenDirectory& operator=(const TokenDirectory&) = delete;

  // Enter makes the environment name the files; modules read it when they are initialised.
  void Enter() const { EnterExisting(directory_); }
  static void EnterExisting(const std::string& directory);

  // Serves says whether an initialised module is one of those two.
  static bool Serves(const CK_FUNCTION_LIST& functions);

  const std::string& path() const { return directory_; }

 private:
  std::string directory_;
  int owner_;
};

// ModuleName is a path and what tables call it, from "PATH" or "PATH:LABEL".
struct ModuleName {
  explicit ModuleName(std::string_view argument);
  ModuleName(std::string its_path, std::string its_label)
      : path(std::move(its_path)), label(std::move(its_label)) {}
  std::string path;
  std::string label;
};

// Module is an initialised module with a token whose user is logged in.
class Module {
 public:
  // Loads the module and makes a token of its own; the end finalises it. Throws std::runtime_error.
  explicit Module(const ModuleName& name);
  // Of a module that somebody else has initialised, with |session| logged in.
  Module(std::string label, CK_FUNCTION_LIST* functions, CK_SLOT_ID slot, CK_SESSION_HANDLE session)
      : label_(std::move(label)), functions_(functions), slot_(slot), session_(session) {}
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& label() const { return label_; }
  const std::string& directory() const { return directory_->path(); }
  const CK_FUNCTION_LIST& p11() const { return *functions_; }
  CK_SLOT_ID slot() const { return slot_; }

  // session is one that nobody closes: the login lives as long.
  CK_SESSION_HANDLE session() const { return session_; }
  CK_SESSION_HANDLE OpenSession() const;

  // Need throws Lacking unless the token has the mechanism.
  void Need(CK_MECHANISM_TYPE type) const;
  bool Has(CK_MECHANISM_TYPE type) const;

  struct Pair {
    CK_OBJECT_HANDLE public_key;
    CK_OBJECT_HANDLE private_key;
  };
  // GeneratePair, Create and Value throw Lacking.
  Pair GeneratePair(CK_MECHANISM_TYPE type, Template public_key, Template private_key) const;
  CK_OBJECT_HANDLE Create(CK_SESSION_HANDLE session, Template object) const;
  Bytes Value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const;

  static constexpr std::string_view kPin = "user-pin-1234";

  // MakeToken makes a token with the user PIN kPin in an initialised module; returns its slot.
  static CK_SLOT_ID MakeToken(const CK_FUNCTION_LIST& functions);

 private:
  std::unique_ptr<TokenDirectory> directory_;  // null: the token is somebody else's
  std::string label_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
};

}  // namespace secretmem::bench

// What is measured: PKCS#11 modules by their paths, each with a token of its own.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tests/blackbox/template.h"

namespace secretmem::bench {

using blackbox::Bytes;
using blackbox::Template;

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

// Module is a loaded and initialised module with a token, its user logged in.
class Module {
 public:
  // Makes the token; throws std::runtime_error.
  explicit Module(const ModuleName& name);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& label() const { return label_; }
  const std::string& path() const { return path_; }
  const std::string& directory() const { return directory_.path(); }
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

 private:
  TokenDirectory directory_;
  std::string path_;
  std::string label_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
};

// LoadFunctions opens a module and returns its 2.40 function list; throws std::runtime_error.
CK_FUNCTION_LIST* LoadFunctions(const std::string& path);

// Check throws std::runtime_error, with |what|, unless |rv| is CKR_OK. Quick where it is.
[[noreturn]] void Failed(CK_RV rv, const char* what);
inline void Check(CK_RV rv, const char* what) {
  if (rv != CKR_OK) [[unlikely]] {
    Failed(rv, what);
  }
}

}  // namespace secretmem::bench

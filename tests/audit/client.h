// A token of the audit's own and a client that uses it in a target process.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/audit/names.h"
#include "tests/audit/remote.h"

namespace secretmem::audit {

// Token is a fresh token in a directory of its own, with random PINs long enough to be searched
// for. The directory holds configurations for every module the audit knows how to configure.
class Token {
 public:
  // Initialises the token in a process of its own; `settings` are extra lines for the
  // configuration file. Throws CannotLook when the module cannot do that.
  Token(const std::string& target, const std::string& module, const std::string& settings = "");
  ~Token();
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  std::unique_ptr<Remote> Start() const;
  // KeepLog has the module say all that it can, in a file beside the token's, from the next Start
  // on. LogLines counts what it has said.
  void KeepLog() { keep_log_ = true; }
  size_t LogLines() const;
  const std::string& module() const { return module_; }
  const Bytes& pin() const { return pin_; }
  const Bytes& so_pin() const { return so_pin_; }
  const std::filesystem::path& directory() const { return directory_; }
  CK_SLOT_ID FindSlot(Remote& remote, bool initialised) const;
  std::vector<std::pair<CK_MECHANISM_TYPE, CK_FLAGS>> Mechanisms() const;

 private:
  std::string target_;
  std::string module_;
  std::filesystem::path directory_;
  Bytes pin_;
  Bytes so_pin_;
  Bytes label_;
  bool keep_log_ = false;
};

enum class KeyKind { kX25519, kEd25519, kP256, kRsa, kAes, kGeneric, kHkdf, kChaCha20 };

Attribute Flag(CK_ATTRIBUTE_TYPE type, bool value);
Attribute Ulong(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
Bytes EcParamsOf(KeyKind kind);

// Client is a target process with an open read-write session, logged in as the user.
class Client {
 public:
  Client(const Token& token, bool login = true);

  Remote& remote() { return *remote_; }
  const Token& token() const { return token_; }
  CK_SLOT_ID slot() const { return slot_; }
  CK_SESSION_HANDLE session() const { return session_; }
  CK_SESSION_HANDLE OpenSession();

  // Must runs a call that has to succeed (CannotLook otherwise).
  void Must(const PreparedCall& call);
  PreparedCall Login(CK_USER_TYPE user, const Bytes& pin) const;

  // Import makes a call that imports `value` as a session object; the new handle is argument 3.
  // Extra attributes replace those of the same type.
  PreparedCall Import(KeyKind kind, const Bytes& value, const Template& extra = {}) const;
  PreparedCall ImportRsa(const struct RsaKey& key, bool extractable = false) const;
  CK_OBJECT_HANDLE Create(const PreparedCall& call);
  void Track(CK_OBJECT_HANDLE object) { objects_.push_back(object); }

  // Value reads an attribute (CKA_VALUE of an extractable key); empty when that is refused.
  Bytes Value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type = CKA_VALUE);

  // The ends of life, one by one.
  void DestroyObjects();
  void Logout();
  void CloseSession();
  void Finalize();

  // How the module under audit wants public points and Montgomery keys (found by trying).
  struct Dialect {
    bool der_points = false;
    bool montgomery_as_edwards = false;
  };
  static Dialect& dialect();
  static void LearnDialect(const Token& token);
  Bytes Point(KeyKind kind, const Bytes& raw) const;

 private:
  const Token& token_;
  std::unique_ptr<Remote> remote_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  std::vector<CK_OBJECT_HANDLE> objects_;
};

}  // namespace secretmem::audit

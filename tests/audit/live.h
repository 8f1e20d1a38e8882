// A live process that holds keys, for the commands that attack it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/audit/client.h"
#include "tests/audit/forms.h"
#include "tool/process_memory.h"

namespace secretmem::audit {

// Live is a logged-in client with an X25519 key, a secret derived from it, a generic
// secret and, where the module has them, an Ed25519 key that has signed.
class Live {
 public:
  explicit Live(const Token& token);

  Client& client() { return client_; }
  Remote& remote() { return client_.remote(); }
  const std::vector<Secret>& secrets() const { return secrets_; }
  // Secrets that stay in memory while the objects live (not the PIN).
  const std::vector<Secret>& resident() const { return resident_; }
  PreparedCall Derive() const;
  void DeriveAndDestroy();

  // The module's mappings of memfd_secret memory (the arena is not among them); for a module
  // without any, what an attack has instead: the writable mappings.
  std::vector<Mapping> Regions();
  bool has_secret_regions();

 private:
  // True when the module could hold the key.
  bool UseForSigning(const PreparedCall& import, CK_MECHANISM_TYPE mechanism, const Bytes& message);

  Client client_;
  CK_OBJECT_HANDLE key_ = 0;
  Bytes point_;
  std::vector<Secret> secrets_;
  std::vector<Secret> resident_;
};

}  // namespace secretmem::audit

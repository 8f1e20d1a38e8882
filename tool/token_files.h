// Token files as files: looking at them, copying them, putting them back. What they hold is
// ciphertext and public attributes; opening it is token_check.h's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pkcs11/config.h"
#include "tool/token_check.h"

namespace secretmem::tool {

// TokenFacts is what a token's file tells without a PIN.
struct TokenFacts {
  std::string path;
  std::string problem;  // not empty: the file cannot be used, and nothing below is known
  std::string label;
  std::string serial;
  bool user_pin_set = false;
  uint32_t user_failures = 0;
  uint32_t so_failures = 0;
  uint32_t iterations = 0;  // of the user's PIN
  uint64_t keys = 0;        // private and secret keys, sealed under the PIN
  uint64_t open_keys = 0;   // keys with CKA_PRIVATE false, sealed under a key in the same file
  uint64_t others = 0;      // public keys, certificates, data
  uint64_t damaged = 0;     // objects whose row does not verify
};

// LookAt reads all of the token file at |path|.
TokenFacts LookAt(const std::string& path);

// AllTokens looks at every token file in the configuration's directory. Throws ToolError.
std::vector<TokenFacts> AllTokens(const Config& config);

// FindToken returns the token whose label or serial number is |name|. Throws kNoToken; kFailed for
// a damaged one.
TokenFacts FindToken(const Config& config, const std::string& name);

// Backup copies the token file at |from| to |to|, a new file (0600), as it is at one moment while
// others may be using it, and looks at the copy. Throws ToolError; then there is no |to|.
TokenFacts Backup(const std::string& from, const std::string& to);

// Restored is a token that was put back.
struct Restored {
  TokenFacts token;
  TokenCheck check;
};

// Restore puts the backup |from| into the configuration's directory under its serial number. Opens
// all that the file itself opens, and with |pin|, which may be null, all there is. Refuses what
// does not verify in whole; refuses to take a token's place unless it may |replace| it. Throws
// ToolError.
Restored Restore(const std::string& from, const Config& config, bool replace, const PinText* pin);

// Remove removes the token file at |path| and what SQLite keeps beside it.
void Remove(const std::string& path);

}  // namespace secretmem::tool

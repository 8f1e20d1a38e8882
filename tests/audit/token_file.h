// Reads the token file of the module that this audit belongs to, from its format alone, to know
// what its PINs and its token key are turned into. A module with another kind of token has none.
#pragma once

#include <p11-kit-1/p11-kit/pkcs11.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/audit/forms.h"

namespace secretmem::audit {

class TokenFile {
 public:
  // Find reads the one token file in `directory`. Nothing when the directory has no file at all;
  // CannotLook when it has one that cannot be read as a token, or several.
  static std::optional<TokenFile> Find(const std::filesystem::path& directory);

  // Read reads one file. CannotLook when it is no token.
  static TokenFile Read(const std::filesystem::path& path);

  // SecretsOfPin names `pin` itself, the HMAC states of PBKDF2, the key that it is stretched to
  // with the salt of `role` as it stands in the file, and the cipher's key made from that one.
  // Only the PIN itself when that role has none in the file.
  std::vector<Secret> SecretsOfPin(CK_USER_TYPE role, const std::string& name,
                                   const Bytes& pin) const;

  // SecretsOfToken unwraps the token key with `pin` (CannotLook when it does not open) and names
  // it and all that is derived from it.
  std::vector<Secret> SecretsOfToken(CK_USER_TYPE role, const Bytes& pin) const;

 private:
  struct PinRow {
    Bytes salt, wrapped_key;
    uint32_t iterations = 0;
  };

  Bytes Stretch(const PinRow& row, const Bytes& pin) const;

  std::map<CK_USER_TYPE, PinRow> pins_;
  Bytes serial_;
};

}  // namespace secretmem::audit

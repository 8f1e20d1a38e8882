// Whether all that is in a token's file is what was written there, beyond its checksums.
#pragma once

#include <cstdint>
#include <string>

#include "pkcs11/config.h"
#include "tool/pin.h"

namespace secretmem::tool {

// TokenCheck counts the rows of a token's file, the clocks of its lifetimes among them.
struct TokenCheck {
  uint64_t opened = 0;    // everything in them verified, secrets too
  uint64_t unopened = 0;  // sealed, and nothing was there to open them with
  uint64_t broken = 0;    // they do not verify
};

// CheckToken opens every row of the token file at |path| under its key; the private ones only with
// the user's |pin|, which may be null. For files that nobody uses, such as copies: wrong PINs are
// not counted. Throws StoreError, and with a PIN ToolError: kPinRefused, kNoSecretMemory; without
// one, what needs secret memory stays unopened where there is none.
TokenCheck CheckToken(const Config& config, const std::string& path, const PinText* pin);

}  // namespace secretmem::tool

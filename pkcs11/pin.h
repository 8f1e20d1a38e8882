#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "mechanisms/result.h"
#include "pkcs11/config.h"
#include "pkcs11/token_store.h"
#include "vault/vault.h"

namespace secretmem {

// Pin is a PIN in the client's memory. It is read on secret stacks only and never copied outside.
using Pin = std::span<const uint8_t>;

// CheckNewPin refuses a PIN of a length that the configuration does not allow: CKR_PIN_LEN_RANGE.
CkStatus CheckNewPin(const PinConfig& config, Pin pin);

// WrapUnderPin seals |token_key| under a key stretched from |pin|, bound to the token's serial
// number and the role.
CkResult<PinRecord> WrapUnderPin(const PinConfig& config, PinRole role, std::string_view serial,
                                 Pin pin, const Vault& token_key);

// UnwrapUnderPin is the way back. CKR_PIN_INCORRECT if it does not open.
CkResult<Vault> UnwrapUnderPin(PinRole role, std::string_view serial, Pin pin,
                               const PinRecord& record);

// PinWaitMs is how much of the delay that the wrong PINs so far have earned is left at |unix_ms|,
// whatever the record says of when they were tried: from 0 to the whole delay, in milliseconds.
int64_t PinWaitMs(const PinConfig& config, const PinRecord& record, int64_t unix_ms);

// WaitAfterFailures sleeps until the delay that the wrong PINs so far have earned is over.
void WaitAfterFailures(const PinConfig& config, const PinRecord& record);

// UnixMilliseconds is the wall clock.
int64_t UnixMilliseconds();

}  // namespace secretmem

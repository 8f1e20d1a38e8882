#pragma once

#include <cstdint>
#include <span>

#include "vault/error.h"

namespace secretmem {

// RandomBytes fills |out| from BoringSSL's generator, on a secret stack.
VaultResult<void> RandomBytes(std::span<uint8_t> out);

}  // namespace secretmem

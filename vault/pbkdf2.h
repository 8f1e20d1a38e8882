#pragma once

#include <cstdint>
#include <span>

#include "vault/vault.h"

namespace secretmem {

// Pbkdf2Hash is the hash function of the HMAC that PBKDF2 iterates.
enum class Pbkdf2Hash : uint8_t { kSha1, kSha224, kSha256, kSha384, kSha512, kSha512_256 };

// Pbkdf2 derives |size| bytes, at least 1, from |password| (RFC 8018, 5.2). The password is read on
// the secret stack only. |iterations| is at least 1. Between slices of a few milliseconds signals
// and forks get through.
VaultResult<Vault> Pbkdf2(Pbkdf2Hash hash, std::span<const uint8_t> password,
                          std::span<const uint8_t> salt, uint32_t iterations, size_t size);

}  // namespace secretmem

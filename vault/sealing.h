#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "vault/error.h"
#include "vault/vault.h"

namespace secretmem {

// Sealing turns vaults into bytes that may lie on a disk, and back. Every sealing key is a vault
// of kSealingKeyBytes; no key and no plain text is ever outside a vault.
//
// Format: 24 bytes nonce, cipher text, 16 bytes tag; XChaCha20-Poly1305, whose nonces are long
// enough to be drawn at random for any number of objects.
inline constexpr size_t kSealingKeyBytes = 32;
inline constexpr size_t kSealingOverhead = 24 + 16;

// NewSealingKey draws a key.
VaultResult<Vault> NewSealingKey();

// StretchPin derives a sealing key from |pin| by PBKDF2-HMAC-SHA-256, as Pbkdf2 in pbkdf2.h does.
// |iterations| is at least 1.
VaultResult<Vault> StretchPin(std::span<const uint8_t> pin, std::span<const uint8_t> salt,
                              uint32_t iterations);

// DeriveSealingKey derives an independent key for the purpose |label| (HKDF-SHA-256, RFC 5869).
VaultResult<Vault> DeriveSealingKey(const Vault& key, std::string_view label);

// Seal seals the bytes of |plain| and binds |associated| to them.
VaultResult<std::vector<uint8_t>> Seal(const Vault& key, std::span<const uint8_t> associated,
                                       const Vault& plain);

// Unseal returns what was sealed, or kSealBroken if key, associated data or any byte differs.
VaultResult<Vault> Unseal(const Vault& key, std::span<const uint8_t> associated,
                          std::span<const uint8_t> sealed);

// SealPublic and UnsealPublic do the same for bytes that need not be in a vault once open, such as
// the attributes of a private object.
VaultResult<std::vector<uint8_t>> SealPublic(const Vault& key, std::span<const uint8_t> associated,
                                             std::span<const uint8_t> plain);
VaultResult<std::vector<uint8_t>> UnsealPublic(const Vault& key,
                                               std::span<const uint8_t> associated,
                                               std::span<const uint8_t> sealed);

using KeyedHash = std::array<uint8_t, 32>;

// HashUnder returns HMAC-SHA-256 of |data| under |key|.
VaultResult<KeyedHash> HashUnder(const Vault& key, std::span<const uint8_t> data);

// Checksum returns SHA-256 of |data|. It needs no secret memory.
KeyedHash Checksum(std::span<const uint8_t> data);

}  // namespace secretmem

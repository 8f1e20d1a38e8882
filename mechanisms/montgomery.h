#pragma once

#include <array>

#include "mechanisms/mechanism.h"

namespace secretmem {

inline constexpr size_t kX25519Bytes = 32;
using X25519PublicKey = std::array<uint8_t, kX25519Bytes>;

// CheckMontgomeryParams accepts the forms of CKA_EC_PARAMS that mean X25519 and returns the one
// that is stored, the OID id-X25519 (RFC 8410). CKR_CURVE_NOT_SUPPORTED for another curve,
// CKR_DOMAIN_PARAMS_INVALID for what is no curve.
CkResult<std::vector<uint8_t>> CheckMontgomeryParams(std::span<const uint8_t> params);

// ParseX25519Point reads a public key: 32 raw bytes, a DER OCTET STRING or a DER BIT STRING of
// them. Nothing for any other form.
std::optional<X25519PublicKey> ParseX25519Point(std::span<const uint8_t> point);

// CKM_EC_MONTGOMERY_KEY_PAIR_GEN (PKCS#11 3.2, 6.3). The private key is drawn in its vault, and is
// stored as RFC 7748, 5 has it: 32 bytes, little endian, not clamped.
CkResult<NewKeyPair> GenerateMontgomery(Parameter parameter, const AttributeSource& wanted);

// Import for CKK_EC_MONTGOMERY.
CkResult<AttributeValues> ImportMontgomeryPublic(const AttributeSource& given);
CkResult<NewKey> ImportMontgomeryPrivate(const AttributeSource& given);

// PKCS#8 for CKK_EC_MONTGOMERY, as RFC 8410, 7 has it.
CkResult<Vault> MontgomeryToPkcs8(const Key& key);
CkResult<NewKey> MontgomeryFromPkcs8(std::span<const uint8_t> der);
// RFC 8410, 4.
CkResult<std::vector<uint8_t>> MontgomeryPublicKeyInfo(const Key& key);

}  // namespace secretmem

#pragma once

#include <array>
#include <memory>

#include "mechanisms/mechanism.h"
#include "vault/secret_box.h"

namespace secretmem {

inline constexpr size_t kEd25519SeedBytes = 32;
inline constexpr size_t kEd25519SignatureBytes = 64;
using Ed25519PublicKey = std::array<uint8_t, 32>;

// ParseEd25519Point reads a public key: 32 raw bytes, or a DER OCTET STRING or BIT STRING of them.
// Whether they are a point shows when a signature is verified.
std::optional<Ed25519PublicKey> ParseEd25519Point(std::span<const uint8_t> point);

// The mechanisms and the imports of CKK_EC_EDWARDS, PKCS#11 3.2, 6.3, for Ed25519 (RFC 8032).
// CKA_EC_PARAMS may be id-Ed25519, which is stored, the name "edwards25519", or the OID from before
// RFC 8410. A private key is stored as its seed. CKA_EC_POINT is stored as a DER OCTET STRING:
// pkcs11-tool and GnuTLS know no other form.
CkResult<NewKeyPair> GenerateEdwards(Parameter parameter, const AttributeSource& wanted);
CkResult<AttributeValues> ImportEdwardsPublic(const AttributeSource& given);
CkResult<NewKey> ImportEdwardsPrivate(const AttributeSource& given);

// PKCS#8 and SubjectPublicKeyInfo, RFC 8410.
CkResult<Vault> EdwardsToPkcs8(const Key& key);
CkResult<NewKey> EdwardsFromPkcs8(std::span<const uint8_t> der);
CkResult<std::vector<uint8_t>> EdwardsPublicKeyInfo(const Key& key);

// Ed25519Key is a private key ready for use: the seed, then the public key, as BoringSSL has it.
struct Ed25519Key {
  uint8_t bytes[kEd25519SeedBytes + std::tuple_size_v<Ed25519PublicKey>];
};

// OpenEdwardsPrivate expands a private key, once.
CkResult<std::shared_ptr<SecretBox<Ed25519Key>>> OpenEdwardsPrivate(const Key& key);

// CKM_EDDSA for Ed25519 without prehash and context: the parameter is absent, or says so. The parts
// of a message are kept in ordinary memory until the end, as Ed25519 reads messages twice.
CkResult<std::unique_ptr<SignOperation>> SignEddsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                   const Key& key);
CkResult<std::unique_ptr<VerifyOperation>> VerifyEddsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);

}  // namespace secretmem

// X25519 keys as the module under test files them, and OpenSSL's computation beside it.
#pragma once

#include <string_view>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

// The key type and the key pair mechanism of X25519: CKK_EC_MONTGOMERY and
// CKM_EC_MONTGOMERY_KEY_PAIR_GEN, or their Edwards counterparts with --x25519-as-edwards.
CK_KEY_TYPE X25519KeyType();
CK_MECHANISM_TYPE X25519KeyPairMechanism();

// X25519Params is the DER OID id-X25519 (RFC 8410), the canonical CKA_EC_PARAMS.
Bytes X25519Params();

// X25519Point is CKA_EC_POINT for a raw public key of 32 bytes: the same bytes, or with
// --x25519-as-edwards a DER OCTET STRING of them. RawPoint undoes it.
Bytes X25519Point(const Bytes& raw);
Bytes RawPoint(const Bytes& point);

// Templates of session objects, not private, with CKA_DERIVE; the private key is not sensitive.
Template X25519PrivateKey(const Bytes& value);
Template X25519PublicKey(const Bytes& raw);

// KeyPair is the pair of handles that C_GenerateKeyPair returns.
struct KeyPair {
  CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
};

// Templates for a session key pair with the canonical parameters.
Template PublicTemplate();
Template PrivateTemplate();

CK_RV GenerateKeyPair(CK_SESSION_HANDLE session, Template public_key, Template private_key,
                      KeyPair& pair);

// Derivation is one C_DeriveKey with CKM_ECDH1_DERIVE.
struct Derivation {
  CK_OBJECT_HANDLE base = CK_INVALID_HANDLE;
  Bytes peer{};
  CK_ULONG kdf = CKD_NULL;
  Bytes info{};  // pSharedData
  Template key{};
};

// SecretTemplate: a readable session key of CKK_GENERIC_SECRET, without CKA_VALUE_LEN.
Template SecretTemplate();

CK_RV Derive(CK_SESSION_HANDLE session, Derivation derivation, CK_OBJECT_HANDLE& key);

// DeriveValue derives and returns CKA_VALUE; a failure fails the test.
Bytes DeriveValue(CK_SESSION_HANDLE session, const Derivation& derivation);

// Reference computations by OpenSSL's libcrypto.
Bytes ReferencePublicKey(const Bytes& private_key);
Bytes ReferenceX25519(const Bytes& private_key, const Bytes& peer);
Bytes ReferenceX963(const char* digest, const Bytes& secret, const Bytes& info, size_t length);
Bytes ReferenceRandom(size_t length);

// SelfSignedCertificate returns the DER of a fresh X.509 certificate.
struct Certificate {
  Bytes value;
  Bytes subject;
  Bytes issuer;
  Bytes serial;
};
Certificate SelfSignedCertificate();

}  // namespace secretmem::conformance

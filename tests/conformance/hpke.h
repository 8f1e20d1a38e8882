// CKM_SECRETMEM_HPKE's parameter, and HPKE by OpenSSL's primitives.
#pragma once

#include "mechanisms/vendor.h"
#include "tests/conformance/kem.h"

namespace secretmem::conformance {

// Hpke is a parameter that owns what it points to.
struct Hpke {
  CK_ULONG mode = CK_SECRETMEM_HPKE_MODE_BASE;
  CK_ULONG kem = CK_SECRETMEM_HPKE_X25519_HKDF_SHA256;
  CK_ULONG kdf = CK_SECRETMEM_HPKE_HKDF_SHA256;
  CK_ULONG aead = CK_SECRETMEM_HPKE_AES_256_GCM;
  Bytes info{};
  Bytes aad{};
  Bytes enc{};
  CK_OBJECT_HANDLE psk = CK_INVALID_HANDLE;
  Bytes psk_id{};
  CK_ULONG output = CK_SECRETMEM_HPKE_OUTPUT_EXPORT;
  Bytes context{};

  // The mechanism points into this object.
  OwnedMechanism Mechanism();
};

// ReferenceSeal is RFC 9180's SealBase: the encapsulated key and the ciphertext.
Bytes ReferenceSeal(const Hpke& hpke, const Bytes& public_key, const Bytes& plain);
// ReferenceOpen is OpenBase of both; empty if the tag is wrong.
Bytes ReferenceOpen(const Hpke& hpke, const Bytes& private_key, const Bytes& sealed);

}  // namespace secretmem::conformance

#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// HpkeKem is a KEM of HPKE, whose shared secrets have 32 bytes.
struct HpkeKem {
  CK_ULONG id;  // RFC 9180, 7.1, and the registry that goes on from there
  CK_KEY_TYPE key_type;
  size_t enc_bytes;
  // For use in a borrow, with keys of the type. |enc| has |enc_bytes|. CKR_PUBLIC_KEY_INVALID and
  // CKR_ENCRYPTED_DATA_INVALID.
  CK_RV (*encap)(const Key& public_key, std::span<uint8_t> enc, std::span<uint8_t, 32> shared);
  CK_RV(*decap)
  (const Key& private_key, std::span<const uint8_t> enc, std::span<uint8_t, 32> shared);
};

// FindHpkeKem returns null for one that this module does not have.
const HpkeKem* FindHpkeKem(CK_ULONG id);

}  // namespace secretmem

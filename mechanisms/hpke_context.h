#pragma once

#include "mechanisms/aead.h"
#include "mechanisms/hpke_kem.h"
#include "mechanisms/hpke_schedule.h"
#include "mechanisms/vendor.h"

namespace secretmem {

// HpkeAead is an AEAD of RFC 9180, 7.3.
struct HpkeAead {
  CK_ULONG id;
  CK_MECHANISM_TYPE mechanism;
  CK_KEY_TYPE key_type;
  size_t key_bytes;  // 0: export only
};

// HpkeRequest is CK_SECRETMEM_HPKE_PARAMS. What lies in the client's memory is copied, but for
// |enc|, which is written to.
struct HpkeRequest {
  const HpkeKem* kem;
  const HpkeAead* aead;
  std::vector<uint8_t> info;
  std::vector<uint8_t> aad;
  std::span<uint8_t> enc;  // empty: in front of the ciphertext
  std::optional<CK_OBJECT_HANDLE> psk;
  std::vector<uint8_t> psk_id;
  bool bare_kem;
  std::vector<uint8_t> exporter_context;

  // prefix is how many bytes come before the ciphertext.
  size_t prefix() const { return enc.empty() ? kem->enc_bytes : 0; }

  HpkeSuite suite() const {
    return {static_cast<uint16_t>(kem->id), static_cast<uint16_t>(aead->id)};
  }
};

// ReadHpke: CKR_MECHANISM_PARAM_INVALID, for suites and modes that are not known too.
CkResult<HpkeRequest> ReadHpke(Parameter parameter);

// FindPsk returns the key that |request| names, among those of |key|; null in base mode.
// CKR_KEY_TYPE_INCONSISTENT, and CKR_KEY_SIZE_RANGE for fewer than 32 bytes (RFC 9180, 9.5).
CkResult<const Vault*> FindPsk(const HpkeRequest& request, const Key& key);

// HpkeContext is what both sides have after the key schedule.
struct HpkeContext {
  std::optional<Vault> key;    // not for export only, nor for the bare KEM
  std::optional<Vault> nonce;  // the base nonce
  Vault secret;                // the exporter's, or the KEM's shared secret

  // Start makes an AEAD that is about to work on the first message.
  CkResult<Aead> MakeAead(const HpkeAead& aead) const;
  CkStatus Start(Aead& aead, std::span<const uint8_t> aad, size_t size, Direction direction) const;
};

// BeginHpkeSender sets a sender up: the encapsulated key goes to |enc|, which has its size.
// CKR_KEY_TYPE_INCONSISTENT, CKR_PUBLIC_KEY_INVALID.
CkResult<HpkeContext> BeginHpkeSender(const HpkeRequest& request, const Key& public_key,
                                      const Vault* psk, std::span<uint8_t> enc);

// BeginHpkeRecipient sets a recipient up. CKR_KEY_TYPE_INCONSISTENT, CKR_ENCRYPTED_DATA_INVALID.
CkResult<HpkeContext> BeginHpkeRecipient(const HpkeRequest& request, const Key& private_key,
                                         const Vault* psk, std::span<const uint8_t> enc);

}  // namespace secretmem

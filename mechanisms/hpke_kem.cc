#include "mechanisms/hpke_kem.h"

#include <algorithm>

#include "mechanisms/ec_params.h"
#include "mechanisms/ecdh_agreement.h"
#include "mechanisms/hpke_schedule.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/vendor.h"
#include "mechanisms/xwing.h"

namespace secretmem {
namespace {

CK_RV EncapX25519(const Key& public_key, std::span<uint8_t> enc, std::span<uint8_t, 32> shared) {
  const auto point = PointOf(public_key);
  if (!point) return point.error();
  const auto peer = ParseX25519Point(*point);
  if (!peer) return CKR_PUBLIC_KEY_INVALID;
  return HpkeEncap(*peer, enc.first<kX25519EncBytes>(), shared) ? CKR_OK : CKR_PUBLIC_KEY_INVALID;
}

CK_RV DecapX25519(const Key& private_key, std::span<const uint8_t> enc,
                  std::span<uint8_t, 32> shared) {
  const auto agreed = private_key.secret->WithSecret<32>(
      [&](SecretView<32> key) { return HpkeDecap(key, enc.first<kX25519EncBytes>(), shared); });
  if (!agreed) return RvOf(agreed.error());
  return *agreed ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
}

constexpr HpkeKem kKems[] = {
    {CK_SECRETMEM_HPKE_X25519_HKDF_SHA256, CKK_EC_MONTGOMERY, kX25519EncBytes, EncapX25519,
     DecapX25519},
#ifdef SECRETMEM_XWING
    {CK_SECRETMEM_HPKE_XWING, CKK_SECRETMEM_XWING, kXWingCiphertextBytes, EncapXWing, DecapXWing},
#endif
};

}  // namespace

const HpkeKem* FindHpkeKem(CK_ULONG id) {
  const auto* found = std::ranges::find(kKems, id, &HpkeKem::id);
  return found == std::end(kKems) ? nullptr : found;
}

}  // namespace secretmem

#include "pkcs11/offered_mechanisms.h"

#include <algorithm>

namespace secretmem {
namespace {

// The uses of CKM_RSA_PKCS that show whether a padding was right.
constexpr CK_FLAGS kCipherUses = CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP;
constexpr CK_FLAGS kAllUses = ~CK_FLAGS{0};

// WeakUse is what `mechanisms.weak = false` takes away. conf/config.toml lists the same.
struct WeakUse {
  CK_MECHANISM_TYPE type;
  CK_FLAGS uses;
};
constexpr WeakUse kWeakUses[] = {
    {CKM_SHA1_RSA_PKCS, kAllUses}, {CKM_SHA1_RSA_PKCS_PSS, kAllUses}, {CKM_ECDSA_SHA1, kAllUses},
    {CKM_RSA_PKCS, kCipherUses},   {CKM_RSA_X_509, kAllUses},         {CKM_AES_ECB, kAllUses},
};

CK_FLAGS TakenFrom(CK_MECHANISM_TYPE type, const MechanismConfig& config) {
  if (std::ranges::binary_search(config.disabled, type)) return kAllUses;
  if (config.weak) return 0;
  const auto* weak = std::ranges::find(kWeakUses, type, &WeakUse::type);
  return weak == std::end(kWeakUses) ? 0 : weak->uses;
}

// Take takes |uses| from a row that keeps others.
void Take(Mechanism& row, CK_FLAGS uses) {
  row.info.flags &= ~uses;
  if (uses & CKF_ENCRYPT) row.encrypt = nullptr;
  if (uses & CKF_DECRYPT) row.decrypt = nullptr;
  if (uses & CKF_WRAP) row.wrap = nullptr;
  if (uses & CKF_UNWRAP) row.unwrap = nullptr;
}

}  // namespace

OfferedMechanisms::OfferedMechanisms(const MechanismConfig& config) {
  for (const Mechanism& row : AllMechanisms()) {
    const CK_FLAGS taken = TakenFrom(row.type, config);
    if (taken == kAllUses) continue;
    rows_.push_back(row);
    Take(rows_.back(), taken);
  }
}

const Mechanism* OfferedMechanisms::Find(CK_MECHANISM_TYPE type) const {
  const auto found = std::ranges::lower_bound(rows_, type, {}, &Mechanism::type);
  return found != rows_.end() && found->type == type ? &*found : nullptr;
}

}  // namespace secretmem

// The table of mechanisms and that of key families: one row each, read by C_GetMechanismList,
// C_GetMechanismInfo and dispatch alike.

#include <algorithm>

#include "mechanisms/ecdh.h"
#include "mechanisms/key_family.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

constexpr CK_FLAGS kCurves = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_CURVENAME;

constexpr Mechanism kMechanisms[] = {
    {.type = CKM_GENERIC_SECRET_KEY_GEN,
     .info = {8, kMaxSecretBytes * 8, CKF_GENERATE},
     .generated_type = CKK_GENERIC_SECRET,
     .generate_key = GenerateGenericSecret},
    {.type = CKM_ECDH1_DERIVE, .info = {255, 255, CKF_DERIVE | kCurves}, .derive = DeriveEcdh1},
    {.type = CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
     .info = {255, 255, CKF_GENERATE_KEY_PAIR | kCurves},
     .generated_type = CKK_EC_MONTGOMERY,
     .generate_key_pair = GenerateMontgomery},
};
static_assert(std::ranges::is_sorted(kMechanisms, {}, &Mechanism::type));

constexpr KeyFamily kFamilies[] = {
    {.key_type = CKK_EC_MONTGOMERY,
     .import_public = ImportMontgomeryPublic,
     .import_private = ImportMontgomeryPrivate},
};

// One for every secret key type: `secret_key.cc` tells them apart.
constexpr KeyFamily kSecretFamily = {.key_type = CKK_GENERIC_SECRET, .import_secret = ImportSecret};

}  // namespace

std::span<const Mechanism> AllMechanisms() { return kMechanisms; }

const Mechanism* FindMechanism(CK_MECHANISM_TYPE type) {
  const auto* found = std::ranges::lower_bound(kMechanisms, type, {}, &Mechanism::type);
  return found != std::end(kMechanisms) && found->type == type ? found : nullptr;
}

const KeyFamily* FindKeyFamily(CK_KEY_TYPE key_type) {
  if (IsSecretKeyType(key_type)) return &kSecretFamily;
  const auto* found = std::ranges::find(kFamilies, key_type, &KeyFamily::key_type);
  return found == std::end(kFamilies) ? nullptr : found;
}

CkResult<std::span<const uint8_t>> ParameterBytes(const void* pointer, CK_ULONG length) {
  constexpr CK_ULONG kMost = CK_ULONG{1} << 20;
  if ((pointer == nullptr && length != 0) || length > kMost) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return std::span(static_cast<const uint8_t*>(pointer), length);
}

}  // namespace secretmem

// The table of mechanisms and that of key families: one row each, read by C_GetMechanismList,
// C_GetMechanismInfo and dispatch alike.

#include <algorithm>
#include <array>

#include "mechanisms/digest.h"
#include "mechanisms/ecdh.h"
#include "mechanisms/key_family.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/rsa_cipher.h"
#include "mechanisms/rsa_key.h"
#include "mechanisms/rsa_sign.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

constexpr CK_FLAGS kCurves = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_CURVENAME;

constexpr Mechanism Digest(CK_MECHANISM_TYPE type) {
  return {.type = type, .info = {0, 0, CKF_DIGEST}, .digest = BeginDigest};
}

// HMAC keys may have any length; the sizes are in bits, as those of generic secrets.
constexpr Mechanism Hmac(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = {8, kMaxSecretBytes * 8, CKF_SIGN | CKF_VERIFY},
          .sign = SignHmac,
          .verify = VerifyHmac};
}

constexpr Mechanism RsaSignature(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = {kRsaMinBits, kRsaMaxBits, CKF_SIGN | CKF_VERIFY},
          .sign = SignRsa,
          .verify = VerifyRsa};
}

constexpr Mechanism RsaCipher(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = {kRsaMinBits, kRsaMaxBits, CKF_ENCRYPT | CKF_DECRYPT},
          .encrypt = EncryptRsa,
          .decrypt = DecryptRsa};
}

constexpr Mechanism RsaSignatureAndCipher(CK_MECHANISM_TYPE type) {
  Mechanism row = RsaCipher(type);
  row.info.flags |= CKF_SIGN | CKF_VERIFY;
  row.sign = SignRsa;
  row.verify = VerifyRsa;
  return row;
}

// By family; sorted below.
constexpr Mechanism kRows[] = {
    // Digests and HMAC.
    Digest(CKM_SHA512_256),
    Hmac(CKM_SHA512_256_HMAC),
    Hmac(CKM_SHA512_256_HMAC_GENERAL),
    Digest(CKM_SHA_1),
    Hmac(CKM_SHA_1_HMAC),
    Hmac(CKM_SHA_1_HMAC_GENERAL),
    Digest(CKM_SHA256),
    Hmac(CKM_SHA256_HMAC),
    Hmac(CKM_SHA256_HMAC_GENERAL),
    Digest(CKM_SHA224),
    Hmac(CKM_SHA224_HMAC),
    Hmac(CKM_SHA224_HMAC_GENERAL),
    Digest(CKM_SHA384),
    Hmac(CKM_SHA384_HMAC),
    Hmac(CKM_SHA384_HMAC_GENERAL),
    Digest(CKM_SHA512),
    Hmac(CKM_SHA512_HMAC),
    Hmac(CKM_SHA512_HMAC_GENERAL),
    // Secret keys.
    {.type = CKM_GENERIC_SECRET_KEY_GEN,
     .info = {8, kMaxSecretBytes * 8, CKF_GENERATE},
     .generated_type = CKK_GENERIC_SECRET,
     .generate_key = GenerateGenericSecret},
    // RSA.
    {.type = CKM_RSA_PKCS_KEY_PAIR_GEN,
     .info = {kRsaMinNewBits, kRsaMaxBits, CKF_GENERATE_KEY_PAIR},
     .generated_type = CKK_RSA,
     .generate_key_pair = GenerateRsa},
    RsaSignatureAndCipher(CKM_RSA_PKCS),
    RsaSignatureAndCipher(CKM_RSA_X_509),
    RsaCipher(CKM_RSA_PKCS_OAEP),
    RsaSignature(CKM_RSA_PKCS_PSS),
    RsaSignature(CKM_SHA1_RSA_PKCS),
    RsaSignature(CKM_SHA224_RSA_PKCS),
    RsaSignature(CKM_SHA256_RSA_PKCS),
    RsaSignature(CKM_SHA384_RSA_PKCS),
    RsaSignature(CKM_SHA512_RSA_PKCS),
    RsaSignature(CKM_SHA1_RSA_PKCS_PSS),
    RsaSignature(CKM_SHA224_RSA_PKCS_PSS),
    RsaSignature(CKM_SHA256_RSA_PKCS_PSS),
    RsaSignature(CKM_SHA384_RSA_PKCS_PSS),
    RsaSignature(CKM_SHA512_RSA_PKCS_PSS),
    // Elliptic curves.
    {.type = CKM_ECDH1_DERIVE, .info = {255, 255, CKF_DERIVE | kCurves}, .derive = DeriveEcdh1},
    {.type = CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
     .info = {255, 255, CKF_GENERATE_KEY_PAIR | kCurves},
     .generated_type = CKK_EC_MONTGOMERY,
     .generate_key_pair = GenerateMontgomery},
};

constexpr auto kMechanisms = [] {
  auto rows = std::to_array(kRows);
  std::ranges::sort(rows, {}, &Mechanism::type);
  return rows;
}();
static_assert(std::ranges::adjacent_find(kMechanisms, {}, &Mechanism::type) == kMechanisms.end());

constexpr KeyFamily kFamilies[] = {
    {.key_type = CKK_EC_MONTGOMERY,
     .import_public = ImportMontgomeryPublic,
     .import_private = ImportMontgomeryPrivate},
    {.key_type = CKK_RSA,
     .import_public = ImportRsaPublic,
     .import_private = ImportRsaPrivate,
     .find_secret = FindRsaComponent},
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

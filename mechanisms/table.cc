// The table of mechanisms and that of key families: one row each, read by C_GetMechanismList,
// C_GetMechanismInfo and dispatch alike.

#include <algorithm>
#include <array>

#include "mechanisms/aead.h"
#include "mechanisms/aes.h"
#include "mechanisms/combination.h"
#include "mechanisms/counter_kdf.h"
#include "mechanisms/digest.h"
#include "mechanisms/ecdh.h"
#include "mechanisms/ecdh_wrap.h"
#include "mechanisms/ecdsa.h"
#include "mechanisms/edwards.h"
#include "mechanisms/gcm_wrap.h"
#include "mechanisms/hkdf.h"
#include "mechanisms/hpke.h"
#include "mechanisms/key_family.h"
#include "mechanisms/key_wrap.h"
#include "mechanisms/mechanism.h"
#include "mechanisms/message.h"
#include "mechanisms/ml_kem.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/password.h"
#include "mechanisms/reseal.h"
#include "mechanisms/rsa_cipher.h"
#include "mechanisms/rsa_key.h"
#include "mechanisms/rsa_sign.h"
#include "mechanisms/secret_key.h"
#include "mechanisms/tls_derive.h"
#include "mechanisms/tls_prf.h"
#include "mechanisms/vendor.h"
#include "mechanisms/weierstrass.h"
#include "mechanisms/xwing.h"

namespace secretmem {
namespace {

constexpr CK_FLAGS kCurves = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_CURVENAME;
constexpr CK_FLAGS kPoints = CKF_EC_UNCOMPRESS | CKF_EC_COMPRESS;

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

constexpr CK_MECHANISM_INFO kFromSecret = {8, kMaxSecretBytes * 8, CKF_DERIVE};

constexpr Mechanism DigestOfKey(CK_MECHANISM_TYPE type) {
  return {.type = type, .info = kFromSecret, .derive_keys = DeriveDigest};
}

constexpr Mechanism Combination(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = kFromSecret,
          .derive_keys = DeriveCombination,
          .inherits_protection = true};
}

// The sizes of TLS premaster and master secrets are in bytes.
constexpr CK_MECHANISM_INFO TlsMaster(CK_FLAGS flags) {
  return {kTlsMasterBytes, kTlsMasterBytes, flags};
}

constexpr Mechanism TlsMasterDerivation(CK_MECHANISM_TYPE type) {
  return {.type = type, .info = TlsMaster(CKF_DERIVE), .derive_keys = DeriveTlsMaster};
}

constexpr Mechanism TlsKeyDerivation(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = TlsMaster(CKF_DERIVE),
          .derive_keys = DeriveTlsKeys,
          .key_set = TlsKeySet};
}

constexpr Mechanism TlsKdf(CK_MECHANISM_TYPE type) {
  return {
      .type = type, .info = kFromSecret, .derive_keys = DeriveTlsKdf, .inherits_protection = true};
}

constexpr Mechanism TlsMac(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = {8, kMaxSecretBytes * 8, CKF_SIGN | CKF_VERIFY},
          .sign = SignTls,
          .verify = VerifyTls};
}

// The sizes of AES and ChaCha20 keys are in bytes.
constexpr CK_MECHANISM_INFO Aes(CK_FLAGS flags) { return {16, 32, flags}; }

constexpr Mechanism AesCipher(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = Aes(CKF_ENCRYPT | CKF_DECRYPT),
          .encrypt = EncryptAes,
          .decrypt = DecryptAes};
}

constexpr Mechanism AesWrappingCipher(CK_MECHANISM_TYPE type) {
  Mechanism row = AesCipher(type);
  row.info.flags |= CKF_WRAP | CKF_UNWRAP;
  row.wrap = WrapAes;
  row.unwrap = UnwrapAes;
  return row;
}

constexpr Mechanism AesKeyWrap(CK_MECHANISM_TYPE type) {
  return {.type = type, .info = Aes(CKF_WRAP | CKF_UNWRAP), .wrap = WrapAes, .unwrap = UnwrapAes};
}

constexpr Mechanism Cmac(CK_MECHANISM_TYPE type) {
  return {.type = type, .info = Aes(CKF_SIGN | CKF_VERIFY), .sign = SignCmac, .verify = VerifyCmac};
}

constexpr Mechanism Ecdsa(CK_MECHANISM_TYPE type) {
  return {.type = type,
          .info = {224, 521, CKF_SIGN | CKF_VERIFY | kCurves | kPoints},
          .sign = SignEcdsa,
          .verify = VerifyEcdsa};
}

constexpr Mechanism Ecdh(CK_MECHANISM_TYPE type, decltype(Mechanism::derive) derive) {
  return {.type = type,
          .info = {224, 521, CKF_DERIVE | CKF_ENCAPSULATE | CKF_DECAPSULATE | kCurves | kPoints},
          .derive = derive,
          .ciphertext_size = EcdhCiphertextSize,
          .encapsulate = EncapsulateEcdh,
          .decapsulate = DecapsulateEcdh};
}

constexpr Mechanism EcdhKeyWrap(CK_MECHANISM_TYPE type, CK_ULONG min, CK_ULONG max,
                                CK_FLAGS points) {
  return {.type = type,
          .info = {min, max, CKF_WRAP | CKF_UNWRAP | kCurves | points},
          .wrap = WrapEcdhAes,
          .unwrap = UnwrapEcdhAes};
}

constexpr CK_FLAGS kMessages = CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MULTI_MESSAGE;

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
  row.info.flags |= CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER;
  row.sign_recover = SignRsa;
  row.verify_recover = RecoverRsa;
  return row;
}

constexpr Mechanism WrappingToo(Mechanism row) {
  row.info.flags |= CKF_WRAP | CKF_UNWRAP;
  row.wrap = WrapRsa;
  row.unwrap = UnwrapRsa;
  row.wraps_secret_keys_only = true;
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
    {.type = CKM_HKDF_KEY_GEN,
     .info = {8, kMaxSecretBytes * 8, CKF_GENERATE},
     .generated_type = CKK_HKDF,
     .generate_key = GenerateHkdfKey},
    {.type = CKM_PKCS5_PBKD2,
     .info = {8, kMaxSecretBytes * 8, CKF_GENERATE},
     .generate_key = GenerateFromPassword},
    // Derivation from secret keys.
    {.type = CKM_CONCATENATE_BASE_AND_KEY,
     .info = kFromSecret,
     .names_keys = ConcatenationNamesKeys,
     .derive_keys = DeriveCombination,
     .inherits_protection = true},
    Combination(CKM_CONCATENATE_BASE_AND_DATA),
    Combination(CKM_CONCATENATE_DATA_AND_BASE),
    Combination(CKM_XOR_BASE_AND_DATA),
    Combination(CKM_EXTRACT_KEY_FROM_KEY),
    DigestOfKey(CKM_SHA1_KEY_DERIVATION),
    DigestOfKey(CKM_SHA224_KEY_DERIVATION),
    DigestOfKey(CKM_SHA256_KEY_DERIVATION),
    DigestOfKey(CKM_SHA384_KEY_DERIVATION),
    DigestOfKey(CKM_SHA512_KEY_DERIVATION),
    DigestOfKey(CKM_SHA512_256_KEY_DERIVATION),
    {.type = CKM_SP800_108_COUNTER_KDF,
     .info = kFromSecret,
     .names_keys = CounterKdfNamesKeys,
     .derive_keys = DeriveCounterKdf},
    {.type = CKM_HKDF_DERIVE,
     .info = kFromSecret,
     .names_keys = HkdfNamesKeys,
     .derive_keys = DeriveHkdf},
    {.type = CKM_HKDF_DATA,
     .info = kFromSecret,
     .names_keys = HkdfNamesKeys,
     .derive_data = DeriveHkdfData},
    // TLS 1.2.
    {.type = CKM_TLS_PRE_MASTER_KEY_GEN,
     .info = TlsMaster(CKF_GENERATE),
     .generated_type = CKK_GENERIC_SECRET,
     .generate_key = GenerateTlsPremaster},
    TlsMasterDerivation(CKM_TLS12_MASTER_KEY_DERIVE),
    TlsMasterDerivation(CKM_TLS12_MASTER_KEY_DERIVE_DH),
    TlsMasterDerivation(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE),
    TlsMasterDerivation(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH),
    TlsKeyDerivation(CKM_TLS12_KEY_AND_MAC_DERIVE),
    TlsKeyDerivation(CKM_TLS12_KEY_SAFE_DERIVE),
    TlsKdf(CKM_TLS12_KDF),
    TlsKdf(CKM_TLS_KDF),
    TlsMac(CKM_TLS12_MAC),
    TlsMac(CKM_TLS_MAC),
    // AES and ChaCha20.
    {.type = CKM_AES_KEY_GEN,
     .info = Aes(CKF_GENERATE),
     .generated_type = CKK_AES,
     .generate_key = GenerateGenericSecret},
    AesCipher(CKM_AES_ECB),
    AesWrappingCipher(CKM_AES_CBC),
    AesWrappingCipher(CKM_AES_CBC_PAD),
    AesCipher(CKM_AES_CTR),
    {.type = CKM_AES_GCM,
     .info = Aes(CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP | kMessages),
     .encrypt = EncryptAead,
     .decrypt = DecryptAead,
     .encrypt_messages = EncryptMessages,
     .decrypt_messages = DecryptMessages,
     .wrap = WrapAes,
     .unwrap = UnwrapAes,
     .wrap_authenticated = WrapGcm,
     .unwrap_authenticated = UnwrapGcm},
    {.type = CKM_AES_CCM,
     .info = Aes(CKF_ENCRYPT | CKF_DECRYPT),
     .encrypt = EncryptAead,
     .decrypt = DecryptAead},
    AesKeyWrap(CKM_AES_KEY_WRAP),
    AesKeyWrap(CKM_AES_KEY_WRAP_PAD),
    AesKeyWrap(CKM_AES_KEY_WRAP_KWP),
    Cmac(CKM_AES_CMAC),
    Cmac(CKM_AES_CMAC_GENERAL),
    {.type = CKM_CHACHA20_KEY_GEN,
     .info = {32, 32, CKF_GENERATE},
     .generated_type = CKK_CHACHA20,
     .generate_key = GenerateGenericSecret},
    {.type = CKM_CHACHA20_POLY1305,
     .info = {32, 32, CKF_ENCRYPT | CKF_DECRYPT | kMessages},
     .encrypt = EncryptAead,
     .decrypt = DecryptAead,
     .encrypt_messages = EncryptMessages,
     .decrypt_messages = DecryptMessages},
    // RSA.
    {.type = CKM_RSA_PKCS_KEY_PAIR_GEN,
     .info = {kRsaMinNewBits, kRsaMaxBits, CKF_GENERATE_KEY_PAIR},
     .generated_type = CKK_RSA,
     .generate_key_pair = GenerateRsa},
    WrappingToo(RsaSignatureAndCipher(CKM_RSA_PKCS)),
    RsaSignatureAndCipher(CKM_RSA_X_509),
    WrappingToo(RsaCipher(CKM_RSA_PKCS_OAEP)),
    {.type = CKM_RSA_AES_KEY_WRAP,
     .info = {kRsaMinBits, kRsaMaxBits, CKF_WRAP | CKF_UNWRAP},
     .wrap = WrapRsaAes,
     .unwrap = UnwrapRsaAes},
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
    {.type = CKM_EC_KEY_PAIR_GEN,
     .info = {224, 521, CKF_GENERATE_KEY_PAIR | kCurves | kPoints},
     .generated_type = CKK_EC,
     .generate_key_pair = GenerateWeierstrass},
    Ecdsa(CKM_ECDSA),
    Ecdsa(CKM_ECDSA_SHA1),
    Ecdsa(CKM_ECDSA_SHA224),
    Ecdsa(CKM_ECDSA_SHA256),
    Ecdsa(CKM_ECDSA_SHA384),
    Ecdsa(CKM_ECDSA_SHA512),
    Ecdh(CKM_ECDH1_DERIVE, DeriveEcdh1),
    Ecdh(CKM_ECDH1_COFACTOR_DERIVE, DeriveEcdh1Cofactor),
    EcdhKeyWrap(CKM_ECDH_AES_KEY_WRAP, 224, 521, kPoints),
    EcdhKeyWrap(CKM_ECDH_COF_AES_KEY_WRAP, 224, 521, kPoints),
    EcdhKeyWrap(CKM_ECDH_X_AES_KEY_WRAP, 255, 255, 0),
    {.type = CKM_EC_EDWARDS_KEY_PAIR_GEN,
     .info = {255, 255, CKF_GENERATE_KEY_PAIR | kCurves},
     .generated_type = CKK_EC_EDWARDS,
     .generate_key_pair = GenerateEdwards},
    // GnuTLS 3.7 generates keys with it too.
    {.type = CKM_EDDSA,
     .info = {255, 255, CKF_GENERATE_KEY_PAIR | CKF_SIGN | CKF_VERIFY | kCurves},
     .generated_type = CKK_EC_EDWARDS,
     .generate_key_pair = GenerateEdwards,
     .sign = SignEddsa,
     .verify = VerifyEddsa},
    {.type = CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
     .info = {255, 255, CKF_GENERATE_KEY_PAIR | kCurves},
     .generated_type = CKK_EC_MONTGOMERY,
     .generate_key_pair = GenerateMontgomery},
#ifdef SECRETMEM_ML_KEM
    // The sizes are those of public keys, in bytes.
    {.type = CKM_ML_KEM_KEY_PAIR_GEN,
     .info = {kMlKem768PublicBytes, kMlKem1024PublicBytes, CKF_GENERATE_KEY_PAIR},
     .generated_type = CKK_ML_KEM,
     .generate_key_pair = GenerateMlKem},
    {.type = CKM_ML_KEM,
     .info = {kMlKem768PublicBytes, kMlKem1024PublicBytes, CKF_ENCAPSULATE | CKF_DECAPSULATE},
     .ciphertext_size = MlKemCiphertextSize,
     .encapsulate = EncapsulateMlKem,
     .decapsulate = DecapsulateMlKem},
#endif
    {.type = CKM_SECRETMEM_HPKE,
     .info = {255, 255,
              CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP | CKF_ENCAPSULATE |
                  CKF_DECAPSULATE | kCurves},
     .names_keys = HpkeNamesKeys,
     .encrypt = EncryptHpke,
     .decrypt = DecryptHpke,
     .wrap = WrapHpke,
     .unwrap = UnwrapHpke,
     .wrap_authenticated = WrapHpkeWith,
     .unwrap_authenticated = UnwrapHpkeWith,
     .ciphertext_size = HpkeCiphertextSize,
     .encapsulate = EncapsulateHpke,
     .decapsulate = DecapsulateHpke},
    {.type = CKM_SECRETMEM_RESEAL,
     .info = {224, 521, CKF_WRAP | kCurves | kPoints},
     .read_resealing = ReadResealing},
#ifdef SECRETMEM_XWING
    {.type = CKM_SECRETMEM_XWING_KEY_PAIR_GEN,
     .info = {kXWingPublicBytes, kXWingPublicBytes, CKF_GENERATE_KEY_PAIR},
     .generated_type = CKK_SECRETMEM_XWING,
     .generate_key_pair = GenerateXWing},
#endif
};

constexpr auto kMechanisms = [] {
  auto rows = std::to_array(kRows);
  std::ranges::sort(rows, {}, &Mechanism::type);
  return rows;
}();
static_assert(std::ranges::adjacent_find(kMechanisms, {}, &Mechanism::type) == kMechanisms.end());

constexpr KeyFamily kFamilies[] = {
    {.key_type = CKK_EC,
     .import_public = ImportWeierstrassPublic,
     .import_private = ImportWeierstrassPrivate,
     .to_pkcs8 = WeierstrassToPkcs8,
     .from_pkcs8 = WeierstrassFromPkcs8,
     .public_key_info = WeierstrassPublicKeyInfo},
    {.key_type = CKK_EC_EDWARDS,
     .import_public = ImportEdwardsPublic,
     .import_private = ImportEdwardsPrivate,
     .to_pkcs8 = EdwardsToPkcs8,
     .from_pkcs8 = EdwardsFromPkcs8,
     .public_key_info = EdwardsPublicKeyInfo},
    {.key_type = CKK_EC_MONTGOMERY,
     .import_public = ImportMontgomeryPublic,
     .import_private = ImportMontgomeryPrivate,
     .to_pkcs8 = MontgomeryToPkcs8,
     .from_pkcs8 = MontgomeryFromPkcs8,
     .public_key_info = MontgomeryPublicKeyInfo},
    {.key_type = CKK_RSA,
     .import_public = ImportRsaPublic,
     .import_private = ImportRsaPrivate,
     .to_pkcs8 = RsaToPkcs8,
     .from_pkcs8 = RsaFromPkcs8,
     .public_key_info = RsaPublicKeyInfo,
     .find_secret = FindRsaComponent},
#ifdef SECRETMEM_ML_KEM
    {.key_type = CKK_ML_KEM,
     .import_public = ImportMlKemPublic,
     .import_private = ImportMlKemPrivate,
     .to_pkcs8 = MlKemToPkcs8,
     .from_pkcs8 = MlKemFromPkcs8,
     .public_key_info = MlKemPublicKeyInfo,
     .find_secret = FindSeed},
#endif
#ifdef SECRETMEM_XWING
    {.key_type = CKK_SECRETMEM_XWING,
     .import_public = ImportXWingPublic,
     .import_private = ImportXWingPrivate,
     .to_pkcs8 = XWingToPkcs8,
     .from_pkcs8 = XWingFromPkcs8,
     .public_key_info = XWingPublicKeyInfo,
     .find_secret = FindSeed},
#endif
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

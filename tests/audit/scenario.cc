#include "tests/audit/scenario.h"

#include <cstdio>
#include <map>

#include "tests/audit/expected.h"

namespace secretmem::audit {

void Append(std::vector<Secret>* all, const std::vector<Secret>& more) {
  all->insert(all->end(), more.begin(), more.end());
}

std::vector<Scenario> ScenariosFor(CK_MECHANISM_TYPE mechanism, CK_FLAGS function) {
  std::vector<Scenario> all;
  AddGenerationScenarios(mechanism, function, &all);
  AddDerivationScenarios(mechanism, function, &all);
  AddSigningScenarios(mechanism, function, &all);
  AddTlsScenarios(mechanism, function, &all);
  AddCipherScenarios(mechanism, function, &all);
  AddWrappingScenarios(mechanism, function, &all);
  AddKemScenarios(mechanism, function, &all);
  AddHpkeScenarios(mechanism, function, &all);
  AddMessageScenarios(mechanism, function, &all);
  return all;
}

bool HasNoSecret(CK_MECHANISM_TYPE mechanism, CK_FLAGS function) {
  const bool public_half = function == CKF_VERIFY || function == CKF_VERIFY_RECOVER ||
                           function == CKF_ENCRYPT || function == ck::kFlagMessageVerify;
  const bool rsa = mechanism <= 0x0e || (mechanism >= 0x40 && mechanism <= 0x47) ||
                   (mechanism >= 0x60 && mechanism <= 0x68);
  const bool elliptic = mechanism >= 0x1041 && mechanism <= 0x104b;
  return public_half && (rsa || elliptic || mechanism == ck::kEddsa);
}

const std::vector<CK_FLAGS>& FunctionFlags() {
  static const std::vector<CK_FLAGS> flags = {CKF_ENCRYPT,
                                              CKF_DECRYPT,
                                              CKF_DIGEST,
                                              CKF_SIGN,
                                              CKF_SIGN_RECOVER,
                                              CKF_VERIFY,
                                              CKF_VERIFY_RECOVER,
                                              CKF_GENERATE,
                                              CKF_GENERATE_KEY_PAIR,
                                              CKF_WRAP,
                                              CKF_UNWRAP,
                                              CKF_DERIVE,
                                              ck::kFlagMessageEncrypt,
                                              ck::kFlagMessageDecrypt,
                                              ck::kFlagMessageSign,
                                              ck::kFlagMessageVerify,
                                              ck::kFlagEncapsulate,
                                              ck::kFlagDecapsulate};
  return flags;
}

std::string FunctionName(CK_FLAGS function) {
  static const char* const kNames[] = {"encrypt",         "decrypt",
                                       "digest",          "sign",
                                       "sign-recover",    "verify",
                                       "verify-recover",  "generate",
                                       "generate-pair",   "wrap",
                                       "unwrap",          "derive",
                                       "message-encrypt", "message-decrypt",
                                       "message-sign",    "message-verify",
                                       "encapsulate",     "decapsulate"};
  for (size_t i = 0; i < FunctionFlags().size(); ++i) {
    if (FunctionFlags()[i] == function) return kNames[i];
  }
  return "function";
}

std::string MechanismName(CK_MECHANISM_TYPE mechanism) {
  static const std::map<CK_MECHANISM_TYPE, const char*> names = {
      {CKM_RSA_PKCS_KEY_PAIR_GEN, "RSA_PKCS_KEY_PAIR_GEN"},
      {CKM_RSA_PKCS, "RSA_PKCS"},
      {CKM_RSA_PKCS_OAEP, "RSA_PKCS_OAEP"},
      {CKM_RSA_PKCS_PSS, "RSA_PKCS_PSS"},
      {CKM_RSA_X_509, "RSA_X_509"},
      {CKM_EC_KEY_PAIR_GEN, "EC_KEY_PAIR_GEN"},
      {CKM_ECDSA, "ECDSA"},
      {CKM_ECDSA_SHA1, "ECDSA_SHA1"},
      {CKM_ECDH1_DERIVE, "ECDH1_DERIVE"},
      {CKM_ECDH1_COFACTOR_DERIVE, "ECDH1_COFACTOR_DERIVE"},
      {ck::kEdwardsKeyPairGen, "EC_EDWARDS_KEY_PAIR_GEN"},
      {ck::kMontgomeryKeyPairGen, "EC_MONTGOMERY_KEY_PAIR_GEN"},
      {ck::kEddsa, "EDDSA"},
      {CKM_GENERIC_SECRET_KEY_GEN, "GENERIC_SECRET_KEY_GEN"},
      {CKM_AES_KEY_GEN, "AES_KEY_GEN"},
      {CKM_AES_ECB, "AES_ECB"},
      {CKM_AES_CBC, "AES_CBC"},
      {CKM_AES_CBC_PAD, "AES_CBC_PAD"},
      {CKM_AES_CTR, "AES_CTR"},
      {CKM_AES_GCM, "AES_GCM"},
      {CKM_AES_CCM, "AES_CCM"},
      {ck::kAesCmac, "AES_CMAC"},
      {ck::kAesCmacGeneral, "AES_CMAC_GENERAL"},
      {ck::kAesKeyWrap, "AES_KEY_WRAP"},
      {ck::kAesKeyWrapPad, "AES_KEY_WRAP_PAD"},
      {ck::kAesKeyWrapKwp, "AES_KEY_WRAP_KWP"},
      {CKM_AES_ECB_ENCRYPT_DATA, "AES_ECB_ENCRYPT_DATA"},
      {CKM_AES_CBC_ENCRYPT_DATA, "AES_CBC_ENCRYPT_DATA"},
      {CKM_SHA_1_HMAC, "SHA_1_HMAC"},
      {CKM_SHA224_HMAC, "SHA224_HMAC"},
      {CKM_SHA256_HMAC, "SHA256_HMAC"},
      {CKM_SHA384_HMAC, "SHA384_HMAC"},
      {CKM_SHA512_HMAC, "SHA512_HMAC"},
      {CKM_SHA512_256_HMAC, "SHA512_256_HMAC"},
      {CKM_SHA1_KEY_DERIVATION, "SHA1_KEY_DERIVATION"},
      {CKM_SHA224_KEY_DERIVATION, "SHA224_KEY_DERIVATION"},
      {CKM_SHA256_KEY_DERIVATION, "SHA256_KEY_DERIVATION"},
      {CKM_SHA384_KEY_DERIVATION, "SHA384_KEY_DERIVATION"},
      {CKM_SHA512_KEY_DERIVATION, "SHA512_KEY_DERIVATION"},
      {CKM_SHA512_256_KEY_DERIVATION, "SHA512_256_KEY_DERIVATION"},
      {ck::kHkdfDerive, "HKDF_DERIVE"},
      {ck::kHkdfData, "HKDF_DATA"},
      {ck::kHkdfKeyGen, "HKDF_KEY_GEN"},
      {ck::kChaCha20KeyGen, "CHACHA20_KEY_GEN"},
      {ck::kChaCha20Poly1305, "CHACHA20_POLY1305"},
      {CKM_CONCATENATE_BASE_AND_KEY, "CONCATENATE_BASE_AND_KEY"},
      {CKM_CONCATENATE_BASE_AND_DATA, "CONCATENATE_BASE_AND_DATA"},
      {CKM_CONCATENATE_DATA_AND_BASE, "CONCATENATE_DATA_AND_BASE"},
      {CKM_XOR_BASE_AND_DATA, "XOR_BASE_AND_DATA"},
      {CKM_EXTRACT_KEY_FROM_KEY, "EXTRACT_KEY_FROM_KEY"},
      {ck::kCounterKdf, "SP800_108_COUNTER_KDF"},
      {CKM_PKCS5_PBKD2, "PKCS5_PBKD2"},
      {CKM_TLS_PRE_MASTER_KEY_GEN, "TLS_PRE_MASTER_KEY_GEN"},
      {CKM_TLS12_MASTER_KEY_DERIVE, "TLS12_MASTER_KEY_DERIVE"},
      {CKM_TLS12_MASTER_KEY_DERIVE_DH, "TLS12_MASTER_KEY_DERIVE_DH"},
      {ck::kTlsExtendedMaster, "TLS12_EXTENDED_MASTER_KEY_DERIVE"},
      {ck::kTlsExtendedMasterDh, "TLS12_EXTENDED_MASTER_KEY_DERIVE_DH"},
      {CKM_TLS12_KEY_AND_MAC_DERIVE, "TLS12_KEY_AND_MAC_DERIVE"},
      {CKM_TLS12_KEY_SAFE_DERIVE, "TLS12_KEY_SAFE_DERIVE"},
      {CKM_TLS12_KDF, "TLS12_KDF"},
      {CKM_TLS_KDF, "TLS_KDF"},
      {CKM_TLS12_MAC, "TLS12_MAC"},
      {CKM_TLS_MAC, "TLS_MAC"},
      {ck::kEcdhAesKeyWrap, "ECDH_AES_KEY_WRAP"},
      {ck::kEcdhXAesKeyWrap, "ECDH_X_AES_KEY_WRAP"},
      {ck::kEcdhCofAesKeyWrap, "ECDH_COF_AES_KEY_WRAP"},
      {ck::kMlKemKeyPairGen, "ML_KEM_KEY_PAIR_GEN"},
      {ck::kMlKem, "ML_KEM"},
      {ck::kRsaAesKeyWrap, "RSA_AES_KEY_WRAP"},
      {CKM_SHA1_RSA_PKCS, "SHA1_RSA_PKCS"},
      {CKM_SHA224_RSA_PKCS, "SHA224_RSA_PKCS"},
      {CKM_SHA256_RSA_PKCS, "SHA256_RSA_PKCS"},
      {CKM_SHA384_RSA_PKCS, "SHA384_RSA_PKCS"},
      {CKM_SHA512_RSA_PKCS, "SHA512_RSA_PKCS"},
      {CKM_SHA1_RSA_PKCS_PSS, "SHA1_RSA_PKCS_PSS"},
      {CKM_SHA224_RSA_PKCS_PSS, "SHA224_RSA_PKCS_PSS"},
      {CKM_SHA256_RSA_PKCS_PSS, "SHA256_RSA_PKCS_PSS"},
      {CKM_SHA384_RSA_PKCS_PSS, "SHA384_RSA_PKCS_PSS"},
      {CKM_SHA512_RSA_PKCS_PSS, "SHA512_RSA_PKCS_PSS"},
      {ck::kEcdsaSha224, "ECDSA_SHA224"},
      {ck::kEcdsaSha256, "ECDSA_SHA256"},
      {ck::kEcdsaSha384, "ECDSA_SHA384"},
      {ck::kEcdsaSha512, "ECDSA_SHA512"},
      {CKM_SHA_1, "SHA_1"},
      {CKM_SHA224, "SHA224"},
      {CKM_SHA256, "SHA256"},
      {CKM_SHA384, "SHA384"},
      {CKM_SHA512, "SHA512"},
      {CKM_SHA512_256, "SHA512_256"},
      {CKM_SHA_1_HMAC_GENERAL, "SHA_1_HMAC_GENERAL"},
      {CKM_SHA224_HMAC_GENERAL, "SHA224_HMAC_GENERAL"},
      {CKM_SHA256_HMAC_GENERAL, "SHA256_HMAC_GENERAL"},
      {CKM_SHA384_HMAC_GENERAL, "SHA384_HMAC_GENERAL"},
      {CKM_SHA512_HMAC_GENERAL, "SHA512_HMAC_GENERAL"},
      {CKM_SHA512_256_HMAC_GENERAL, "SHA512_256_HMAC_GENERAL"},
      {ck::kHpke, "SECRETMEM_HPKE"},
      {ck::kReseal, "SECRETMEM_RESEAL"},
      {ck::kXWingKeyPairGen, "SECRETMEM_XWING_KEY_PAIR_GEN"},
  };
  const auto found = names.find(mechanism);
  if (found != names.end()) return found->second;
  char text[24];
  std::snprintf(text, sizeof(text), "0x%lx", mechanism);
  return text;
}

}  // namespace secretmem::audit

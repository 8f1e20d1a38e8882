#include "tests/conformance/sweep.h"

#include <cstring>

#include "mechanisms/vendor.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/macs.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

CK_BYTE g_iv[16] = {1, 2, 3};
CK_BYTE g_text[16] = {4, 5, 6};
CK_SP800_108_COUNTER_FORMAT g_counter = {CK_FALSE, 32};
CK_PRF_DATA_PARAM g_fields[] = {{CK_SP800_108_ITERATION_VARIABLE, &g_counter, sizeof g_counter},
                                {CK_SP800_108_BYTE_ARRAY, g_text, sizeof g_text}};

template <class T>
Bytes BytesOf(const T& structure) {
  Bytes bytes(sizeof structure);
  memcpy(bytes.data(), &structure, sizeof structure);
  return bytes;
}

template <class T>
SweepRow With(CK_MECHANISM_TYPE type, KeyKind kind, const T& structure) {
  return {type, kind, BytesOf(structure), {sizeof structure}};
}

SweepRow WithIv(CK_MECHANISM_TYPE type) {
  return {type, KeyKind::kAes, Bytes(g_iv, g_iv + 16), {16}};
}

void AddRsa(std::vector<SweepRow>& rows) {
  for (const CK_MECHANISM_TYPE type :
       {CKM_RSA_PKCS, CKM_RSA_X_509, CKM_SHA1_RSA_PKCS, CKM_SHA224_RSA_PKCS, CKM_SHA256_RSA_PKCS,
        CKM_SHA384_RSA_PKCS, CKM_SHA512_RSA_PKCS}) {
    rows.push_back({type, KeyKind::kRsa});
  }
  rows.push_back({CKM_RSA_PKCS_KEY_PAIR_GEN, KeyKind::kNone});
  rows.push_back(With(CKM_RSA_PKCS_OAEP, KeyKind::kRsa,
                      CK_RSA_PKCS_OAEP_PARAMS{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED,
                                              g_text, sizeof g_text}));
  static CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, nullptr, 0};
  rows.push_back(With(CKM_RSA_AES_KEY_WRAP, KeyKind::kRsa, CK_RSA_AES_KEY_WRAP_PARAMS{256, &oaep}));
  const struct {
    CK_MECHANISM_TYPE type;
    CK_MECHANISM_TYPE hash;
    CK_ULONG mgf;
  } kPss[] = {{CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256},
              {CKM_SHA1_RSA_PKCS_PSS, CKM_SHA_1, CKG_MGF1_SHA1},
              {CKM_SHA224_RSA_PKCS_PSS, CKM_SHA224, CKG_MGF1_SHA224},
              {CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256},
              {CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKG_MGF1_SHA384},
              {CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512, CKG_MGF1_SHA512}};
  for (const auto& pss : kPss) {
    rows.push_back(With(pss.type, KeyKind::kRsa, CK_RSA_PKCS_PSS_PARAMS{pss.hash, pss.mgf, 20}));
  }
}

void AddCurves(std::vector<SweepRow>& rows) {
  for (const CK_MECHANISM_TYPE type : {CKM_ECDSA, CKM_ECDSA_SHA1, CKM_ECDSA_SHA224,
                                       CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512}) {
    rows.push_back({type, KeyKind::kEc});
  }
  for (const CK_MECHANISM_TYPE type :
       {CKM_EC_KEY_PAIR_GEN, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
        CKM_ML_KEM_KEY_PAIR_GEN, CKM_SECRETMEM_XWING_KEY_PAIR_GEN}) {
    rows.push_back({type, KeyKind::kNone});
  }
  rows.push_back({CKM_EDDSA, KeyKind::kEdwards, {}, {0, sizeof(CK_EDDSA_PARAMS)}});
  static Bytes point = ReferenceEcKey(EcCurveOf("prime256v1")).point;
  const CK_ECDH1_DERIVE_PARAMS ecdh{CKD_SHA256_KDF, sizeof g_text, g_text,
                                    static_cast<CK_ULONG>(point.size()), point.data()};
  rows.push_back(With(CKM_ECDH1_DERIVE, KeyKind::kEc, ecdh));
  rows.push_back(With(CKM_ECDH1_COFACTOR_DERIVE, KeyKind::kEc, ecdh));
  const CK_ECDH_AES_KEY_WRAP_PARAMS wrap{256, CKD_SHA256_KDF, sizeof g_text, g_text};
  rows.push_back(With(CKM_ECDH_AES_KEY_WRAP, KeyKind::kEc, wrap));
  rows.push_back(With(CKM_ECDH_COF_AES_KEY_WRAP, KeyKind::kEc, wrap));
  rows.push_back(With(CKM_ECDH_X_AES_KEY_WRAP, KeyKind::kMontgomery, wrap));
  CK_SECRETMEM_HPKE_PARAMS hpke;
  memset(&hpke, 0, sizeof hpke);
  hpke.ulMode = CK_SECRETMEM_HPKE_MODE_BASE;
  hpke.ulKem = CK_SECRETMEM_HPKE_X25519_HKDF_SHA256;
  hpke.ulKdf = CK_SECRETMEM_HPKE_HKDF_SHA256;
  hpke.ulAead = CK_SECRETMEM_HPKE_AES_256_GCM;
  hpke.pInfo = hpke.pAAD = g_text;
  hpke.ulInfoLen = hpke.ulAADLen = sizeof g_text;
  rows.push_back(With(CKM_SECRETMEM_HPKE, KeyKind::kMontgomery, hpke));
  rows.push_back({CKM_SECRETMEM_RESEAL, KeyKind::kApart});
  rows.push_back({CKM_ML_KEM, KeyKind::kApart});
}

void AddCiphers(std::vector<SweepRow>& rows) {
  rows.push_back({CKM_AES_ECB, KeyKind::kAes, {}, {0}, true});
  rows.push_back(WithIv(CKM_AES_CBC));
  rows.push_back(WithIv(CKM_AES_CBC_PAD));
  CK_AES_CTR_PARAMS ctr{32, {}};
  rows.push_back(With(CKM_AES_CTR, KeyKind::kAes, ctr));
  rows.push_back(
      With(CKM_AES_GCM, KeyKind::kAes, CK_GCM_PARAMS{g_iv, 12, 96, g_text, sizeof g_text, 128}));
  rows.back().lengths.insert(sizeof(CK_GCM_PARAMS) - sizeof(CK_ULONG));  // without ulIvBits
  rows.push_back(With(CKM_AES_CCM, KeyKind::kAes,
                      CK_CCM_PARAMS{sizeof g_text, g_iv, 12, g_text, sizeof g_text, 16}));
  rows.push_back({CKM_AES_KEY_WRAP, KeyKind::kAes, {}, {0, 8}});
  rows.push_back({CKM_AES_KEY_WRAP_PAD, KeyKind::kAes});
  rows.push_back({CKM_AES_KEY_WRAP_KWP, KeyKind::kAes});
  rows.push_back({CKM_AES_CMAC, KeyKind::kAes});
  rows.push_back(With(CKM_AES_CMAC_GENERAL, KeyKind::kAes, CK_ULONG{8}));
  rows.push_back(With(CKM_CHACHA20_POLY1305, KeyKind::kChaCha,
                      CK_SALSA20_CHACHA20_POLY1305_PARAMS{g_iv, 12, g_text, sizeof g_text}));
  for (const CK_MECHANISM_TYPE type :
       {CKM_AES_KEY_GEN, CKM_CHACHA20_KEY_GEN, CKM_HKDF_KEY_GEN, CKM_GENERIC_SECRET_KEY_GEN}) {
    rows.push_back({type, KeyKind::kNone});
  }
}

void AddSecrets(std::vector<SweepRow>& rows) {
  for (const Hash& hash : AllHashes()) {
    rows.push_back({hash.digest, KeyKind::kNone});
    rows.push_back({hash.hmac, KeyKind::kGeneric});
    rows.push_back(With(hash.hmac_general, KeyKind::kGeneric, CK_ULONG{8}));
  }
  for (const CK_MECHANISM_TYPE type :
       {CKM_SHA1_KEY_DERIVATION, CKM_SHA224_KEY_DERIVATION, CKM_SHA256_KEY_DERIVATION,
        CKM_SHA384_KEY_DERIVATION, CKM_SHA512_KEY_DERIVATION, CKM_SHA512_256_KEY_DERIVATION}) {
    rows.push_back({type, KeyKind::kGeneric});
  }
  const CK_KEY_DERIVATION_STRING_DATA string{g_text, sizeof g_text};
  for (const CK_MECHANISM_TYPE type :
       {CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE, CKM_XOR_BASE_AND_DATA}) {
    rows.push_back(With(type, KeyKind::kGeneric, string));
  }
  // The test puts a key's handle there.
  rows.push_back(With(CKM_CONCATENATE_BASE_AND_KEY, KeyKind::kGeneric, CK_OBJECT_HANDLE{0}));
  rows.push_back(With(CKM_EXTRACT_KEY_FROM_KEY, KeyKind::kGeneric, CK_ULONG{8}));
  rows.push_back(With(CKM_SP800_108_COUNTER_KDF, KeyKind::kGeneric,
                      CK_SP800_108_KDF_PARAMS{CKM_SHA256_HMAC, 2, g_fields, 0, nullptr}));
  CK_HKDF_PARAMS hkdf;
  memset(&hkdf, 0, sizeof hkdf);
  hkdf.bExtract = hkdf.bExpand = CK_TRUE;
  hkdf.prfHashMechanism = CKM_SHA256;
  hkdf.ulSaltType = CKF_HKDF_SALT_DATA;
  hkdf.pSalt = hkdf.pInfo = g_text;
  hkdf.ulSaltLen = hkdf.ulInfoLen = sizeof g_text;
  rows.push_back(With(CKM_HKDF_DERIVE, KeyKind::kGeneric, hkdf));
  rows.push_back(With(CKM_HKDF_DATA, KeyKind::kGeneric, hkdf));
  rows.push_back(
      With(CKM_PKCS5_PBKD2, KeyKind::kNone,
           CK_PKCS5_PBKD2_PARAMS2{CKZ_SALT_SPECIFIED, g_text, sizeof g_text, 2,
                                  CKP_PKCS5_PBKD2_HMAC_SHA256, nullptr, 0, g_text, sizeof g_text}));
}

CK_BYTE g_hash[32] = {7, 8, 9};
CK_BYTE g_label[7] = {'E', 'X', 'P', 'O', 'R', 'T', 'R'};
CK_BYTE g_ivs[2][16];
CK_VERSION g_version;

void AddTls(std::vector<SweepRow>& rows) {
  const CK_SSL3_RANDOM_DATA randoms{g_hash, sizeof g_hash, g_hash, sizeof g_hash};
  rows.push_back(With(CKM_TLS_PRE_MASTER_KEY_GEN, KeyKind::kNone, CK_VERSION{3, 3}));
  rows.push_back(With(CKM_TLS12_MASTER_KEY_DERIVE, KeyKind::kGeneric,
                      CK_TLS12_MASTER_KEY_DERIVE_PARAMS{randoms, &g_version, CKM_SHA256}));
  rows.push_back(With(CKM_TLS12_MASTER_KEY_DERIVE_DH, KeyKind::kGeneric,
                      CK_TLS12_MASTER_KEY_DERIVE_PARAMS{randoms, nullptr, CKM_SHA256}));
  rows.push_back(With(
      CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, KeyKind::kGeneric,
      CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS{CKM_SHA256, g_hash, sizeof g_hash, &g_version}));
  rows.push_back(
      With(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, KeyKind::kGeneric,
           CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS{CKM_SHA256, g_hash, sizeof g_hash, nullptr}));
  SweepMaterial().pIVClient = g_ivs[0];
  SweepMaterial().pIVServer = g_ivs[1];
  CK_TLS12_KEY_MAT_PARAMS material;
  memset(&material, 0, sizeof material);
  material.ulMacSizeInBits = 160;
  material.ulKeySizeInBits = 128;
  material.ulIVSizeInBits = 32;
  material.RandomInfo = randoms;
  material.pReturnedKeyMaterial = &SweepMaterial();
  material.prfHashMechanism = CKM_SHA256;
  rows.push_back(With(CKM_TLS12_KEY_AND_MAC_DERIVE, KeyKind::kGeneric, material));
  rows.push_back(With(CKM_TLS12_KEY_SAFE_DERIVE, KeyKind::kGeneric, material));
  const CK_TLS_KDF_PARAMS kdf{CKM_SHA256, g_label, sizeof g_label, randoms, g_text, sizeof g_text};
  rows.push_back(With(CKM_TLS12_KDF, KeyKind::kGeneric, kdf));
  rows.push_back(With(CKM_TLS_KDF, KeyKind::kGeneric, kdf));
  rows.push_back(With(CKM_TLS12_MAC, KeyKind::kGeneric, CK_TLS_MAC_PARAMS{CKM_SHA256, 12, 1}));
  rows.push_back(With(CKM_TLS_MAC, KeyKind::kGeneric, CK_TLS_MAC_PARAMS{CKM_SHA256, 12, 2}));
}

}  // namespace

CK_SSL3_KEY_MAT_OUT& SweepMaterial() {
  static CK_SSL3_KEY_MAT_OUT material{};
  return material;
}

const std::vector<SweepRow>& SweepRows() {
  static const std::vector<SweepRow> rows = [] {
    std::vector<SweepRow> made;
    AddRsa(made);
    AddCurves(made);
    AddCiphers(made);
    AddSecrets(made);
    AddTls(made);
    return made;
  }();
  return rows;
}

Template GeneratesWith(CK_MECHANISM_TYPE type) {
  switch (type) {
    case CKM_RSA_PKCS_KEY_PAIR_GEN:
      return Template().With(CKA_MODULUS_BITS, CK_ULONG{2048});
    case CKM_EC_KEY_PAIR_GEN:
      return Template().With(CKA_EC_PARAMS, EcCurveOf("prime256v1").Params());
    case CKM_EC_EDWARDS_KEY_PAIR_GEN:
    case CKM_EDDSA:
      return Template().With(CKA_EC_PARAMS, FromHex("06032b6570"));
    case CKM_EC_MONTGOMERY_KEY_PAIR_GEN:
      return Template().With(CKA_EC_PARAMS, X25519Params());
    case CKM_ML_KEM_KEY_PAIR_GEN:
      return Template().With(CKA_PARAMETER_SET, CK_ULONG{CKP_ML_KEM_768});
    case CKM_CHACHA20_KEY_GEN:
    case CKM_TLS_PRE_MASTER_KEY_GEN:
    case CKM_SECRETMEM_XWING_KEY_PAIR_GEN:
      return {};
    default:
      return Template().With(CKA_VALUE_LEN, CK_ULONG{16});
  }
}

Template DerivesWith(CK_MECHANISM_TYPE type) {
  switch (type) {
    case CKM_HKDF_DATA:
      return Template().With(CKA_CLASS, CK_ULONG{CKO_DATA}).With(CKA_VALUE_LEN, CK_ULONG{16});
    case CKM_TLS12_MASTER_KEY_DERIVE:
    case CKM_TLS12_MASTER_KEY_DERIVE_DH:
    case CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE:
    case CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH:
      return DerivedSecret(48);
    default:
      return DerivedSecret(16);
  }
}

}  // namespace secretmem::conformance

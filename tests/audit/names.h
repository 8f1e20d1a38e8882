// PKCS#11 numbers and structures up to 3.2 that p11-kit's header of Debian 12 lacks. The audit
// looks at modules from outside and so takes nothing from the module's own headers.
#pragma once

#include <p11-kit-1/p11-kit/pkcs11.h>

namespace secretmem::audit::ck {

inline constexpr CK_KEY_TYPE kKeyEdwards = 0x40;
inline constexpr CK_KEY_TYPE kKeyMontgomery = 0x41;
inline constexpr CK_KEY_TYPE kKeyHkdf = 0x42;
inline constexpr CK_KEY_TYPE kKeyChaCha20 = 0x33;

inline constexpr CK_ATTRIBUTE_TYPE kParameterSet = 0x61d;
inline constexpr CK_ATTRIBUTE_TYPE kSeed = 0x637;
inline constexpr CK_ULONG kMlKem768 = 2;  // CKP_ML_KEM_768
inline constexpr CK_KEY_TYPE kKeyMlKem = 0x49;

inline constexpr CK_ATTRIBUTE_TYPE kEncapsulate = 0x633;
inline constexpr CK_ATTRIBUTE_TYPE kDecapsulate = 0x634;

inline constexpr CK_MECHANISM_TYPE kNone = ~CK_MECHANISM_TYPE{0};
inline constexpr CK_MECHANISM_TYPE kEcdsaSha224 = 0x1043;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha256 = 0x1044;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha384 = 0x1045;
inline constexpr CK_MECHANISM_TYPE kEcdsaSha512 = 0x1046;
inline constexpr CK_MECHANISM_TYPE kEdwardsKeyPairGen = 0x1055;
inline constexpr CK_MECHANISM_TYPE kMontgomeryKeyPairGen = 0x1056;
inline constexpr CK_MECHANISM_TYPE kEddsa = 0x1057;
inline constexpr CK_MECHANISM_TYPE kHkdfDerive = 0x402a;
inline constexpr CK_MECHANISM_TYPE kHkdfData = 0x402b;
inline constexpr CK_MECHANISM_TYPE kHkdfKeyGen = 0x402c;
inline constexpr CK_MECHANISM_TYPE kChaCha20KeyGen = 0x1225;
inline constexpr CK_MECHANISM_TYPE kChaCha20Poly1305 = 0x4021;
inline constexpr CK_MECHANISM_TYPE kAesKeyWrap = 0x2109;
inline constexpr CK_MECHANISM_TYPE kAesKeyWrapPad = 0x210a;
inline constexpr CK_MECHANISM_TYPE kAesKeyWrapKwp = 0x210b;
inline constexpr CK_MECHANISM_TYPE kRsaAesKeyWrap = 0x1054;
inline constexpr CK_MECHANISM_TYPE kAesCmac = 0x108a;
inline constexpr CK_MECHANISM_TYPE kAesCmacGeneral = 0x108b;
inline constexpr CK_MECHANISM_TYPE kEcdhAesKeyWrap = 0x1053;
inline constexpr CK_MECHANISM_TYPE kEcdhXAesKeyWrap = 0x4038;
inline constexpr CK_MECHANISM_TYPE kEcdhCofAesKeyWrap = 0x4039;
inline constexpr CK_MECHANISM_TYPE kCounterKdf = 0x3ac;
inline constexpr CK_MECHANISM_TYPE kMlKemKeyPairGen = 0xf;
inline constexpr CK_MECHANISM_TYPE kMlKem = 0x17;

inline constexpr CK_MECHANISM_TYPE kTlsExtendedMaster = 0x56;
inline constexpr CK_MECHANISM_TYPE kTlsExtendedMasterDh = 0x57;

inline constexpr CK_MECHANISM_TYPE kHpke = 0xd34d0001;    // this project's own
inline constexpr CK_MECHANISM_TYPE kReseal = 0xd34d0002;  // the same
inline constexpr CK_MECHANISM_TYPE kXWingKeyPairGen = 0xd34d0003;
inline constexpr CK_ATTRIBUTE_TYPE kBoundTo = 0xd34d0010;
inline constexpr CK_ATTRIBUTE_TYPE kLifetime = 0xd34d0020;

inline constexpr CK_FLAGS kFlagMessageEncrypt = 0x2;
inline constexpr CK_FLAGS kFlagMessageDecrypt = 0x4;
inline constexpr CK_FLAGS kFlagMessageSign = 0x8;
inline constexpr CK_FLAGS kFlagMessageVerify = 0x10;
inline constexpr CK_FLAGS kFlagEncapsulate = 0x1000'0000;
inline constexpr CK_FLAGS kFlagDecapsulate = 0x2000'0000;

// Slots of functions after CK_FUNCTION_LIST's 68 (wire.h).
inline constexpr unsigned kSlotLoginUser = 71;
inline constexpr unsigned kSlotSessionCancel = 72;
inline constexpr unsigned kSlotMessageEncryptInit = 73;
inline constexpr unsigned kSlotEncryptMessage = 74;
inline constexpr unsigned kSlotEncryptMessageBegin = 75;
inline constexpr unsigned kSlotEncryptMessageNext = 76;
inline constexpr unsigned kSlotMessageDecryptInit = 78;
inline constexpr unsigned kSlotDecryptMessage = 79;
inline constexpr unsigned kSlotDecryptMessageBegin = 80;
inline constexpr unsigned kSlotDecryptMessageNext = 81;
inline constexpr unsigned kSlotEncapsulateKey = 93;
inline constexpr unsigned kSlotDecapsulateKey = 94;
inline constexpr unsigned kSlotVerifySignatureInit = 95;
inline constexpr unsigned kSlotVerifySignature = 96;
inline constexpr unsigned kSlotWrapKeyAuthenticated = 103;
inline constexpr unsigned kSlotUnwrapKeyAuthenticated = 104;

struct Ecdh1Params {
  CK_ULONG kdf, shared_size;
  uint64_t shared;
  CK_ULONG public_size;
  uint64_t public_data;
};
struct EcdhAesKeyWrapParams {
  CK_ULONG aes_bits, kdf, shared_size;
  uint64_t shared;
};
struct HpkeParams {
  CK_ULONG mode, kem, kdf, aead;
  uint64_t info;
  CK_ULONG info_size;
  uint64_t aad;
  CK_ULONG aad_size;
  uint64_t enc;
  CK_ULONG enc_size;
  CK_OBJECT_HANDLE psk;
  uint64_t psk_id;
  CK_ULONG psk_id_size, output;
  uint64_t context;
  CK_ULONG context_size;
};
struct ResealParams {
  uint64_t decapsulation, ciphertext;
  CK_ULONG ciphertext_size, secret_size;
  uint64_t wrapping;
};
struct HkdfParams {
  CK_BBOOL extract, expand;
  CK_MECHANISM_TYPE hash;
  CK_ULONG salt_type;
  uint64_t salt;
  CK_ULONG salt_size;
  CK_OBJECT_HANDLE salt_key;
  uint64_t info;
  CK_ULONG info_size;
};
struct GcmParams {
  uint64_t iv;
  CK_ULONG iv_size, iv_bits;
  uint64_t aad;
  CK_ULONG aad_size, tag_bits;
};
struct CcmParams {
  CK_ULONG data_size;
  uint64_t nonce;
  CK_ULONG nonce_size;
  uint64_t aad;
  CK_ULONG aad_size, mac_size;
};
struct GcmMessageParams {
  uint64_t iv;
  CK_ULONG iv_size, iv_fixed_bits, iv_generator;
  uint64_t tag;
  CK_ULONG tag_bits;
};
struct ChaChaMessageParams {
  uint64_t nonce;
  CK_ULONG nonce_size;
  uint64_t tag;
};
struct ChaChaParams {
  uint64_t nonce;
  CK_ULONG nonce_size;
  uint64_t aad;
  CK_ULONG aad_size;
};
struct StringData {
  uint64_t data;
  CK_ULONG size;
};
struct CbcData {
  uint8_t iv[16];
  uint64_t data;
  CK_ULONG size;
};
struct CtrParams {
  CK_ULONG bits;
  uint8_t block[16];
};
struct OaepParams {
  CK_ULONG hash, mgf, source;
  uint64_t data;
  CK_ULONG size;
};
struct RsaAesKeyWrapParams {
  CK_ULONG bits;
  uint64_t oaep;
};
struct PssParams {
  CK_ULONG hash, mgf, salt_size;
};
struct Pbkd2Params2 {
  CK_ULONG salt_source;
  uint64_t salt;
  CK_ULONG salt_size, iterations, prf;
  uint64_t prf_data;
  CK_ULONG prf_data_size;
  uint64_t password;
  CK_ULONG password_size;
};
struct RandomData {
  uint64_t client;
  CK_ULONG client_size;
  uint64_t server;
  CK_ULONG server_size;
};
struct TlsMasterParams {
  RandomData randoms;
  uint64_t version;
  CK_ULONG hash;
};
struct TlsExtendedMasterParams {
  CK_ULONG hash;
  uint64_t session_hash;
  CK_ULONG session_hash_size;
  uint64_t version;
};
struct TlsKeyMaterialOut {
  CK_OBJECT_HANDLE client_mac, server_mac, client_key, server_key;
  uint64_t client_iv, server_iv;
};
struct TlsKeyMaterialParams {
  CK_ULONG mac_bits, key_bits, iv_bits;
  CK_BBOOL is_export;
  RandomData randoms;
  uint64_t out;
  CK_ULONG hash;
};
struct TlsKdfParams {
  CK_ULONG hash;
  uint64_t label;
  CK_ULONG label_size;
  RandomData randoms;
  uint64_t context;
  CK_ULONG context_size;
};
struct TlsMacParams {
  CK_ULONG hash, size, server_or_client;
};
struct PrfDataParam {
  CK_ULONG type;
  uint64_t value;
  CK_ULONG size;
};
struct CounterFormat {
  CK_BBOOL little_endian;
  CK_ULONG bits;
};
struct CounterKdfParams {
  CK_MECHANISM_TYPE prf;
  CK_ULONG count;
  uint64_t params;
  CK_ULONG additional;
  uint64_t additional_keys;
};

}  // namespace secretmem::audit::ck

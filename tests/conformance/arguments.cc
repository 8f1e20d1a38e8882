#include "tests/conformance/arguments.h"

#include <array>
#include <bit>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/kdf.h"
#include "tests/conformance/rsa.h"

namespace secretmem::conformance {
namespace {

// One buffer for each use, so that none of them overlap where they should not.
CK_BYTE g_in[64];
CK_BYTE g_out[4096];
CK_ULONG g_length;
CK_OBJECT_HANDLE g_made[2];
CK_INFO g_info;
CK_SLOT_INFO g_slot_info;
CK_TOKEN_INFO g_token_info;
CK_MECHANISM_INFO g_mechanism_info;
CK_SESSION_INFO g_session_info;
CK_BYTE g_iv[16];
CK_BYTE g_name[] = {'a', 'r', 'g', 'u', 'm', 'e', 'n', 't', 's'};
CK_ATTRIBUTE g_label{CKA_LABEL, g_name, sizeof g_name};
CK_OBJECT_CLASS g_class = CKO_DATA;
CK_ATTRIBUTE g_data{CKA_CLASS, &g_class, sizeof g_class};
CK_ULONG g_size = 32;
CK_ATTRIBUTE g_value_len{CKA_VALUE_LEN, &g_size, sizeof g_size};
CK_MECHANISM g_digest{CKM_SHA256, nullptr, 0};
CK_MECHANISM g_hmac{CKM_SHA256_HMAC, nullptr, 0};
CK_MECHANISM g_cbc{CKM_AES_CBC_PAD, g_iv, sizeof g_iv};
CK_MECHANISM g_rsa{CKM_RSA_PKCS, nullptr, 0};
CK_MECHANISM g_wrap{CKM_AES_KEY_WRAP_KWP, nullptr, 0};
CK_MECHANISM g_generate{CKM_AES_KEY_GEN, nullptr, 0};
CK_MECHANISM g_gcm_messages{CKM_AES_GCM, nullptr, 0};
CK_BYTE g_tag[16];
CK_GCM_MESSAGE_PARAMS g_message{g_iv, 12, 0, CKG_NO_GENERATE, g_tag, 128};
CK_GCM_PARAMS g_gcm_params{g_iv, 12, 96, nullptr, 0, 128};
CK_MECHANISM g_gcm{CKM_AES_GCM, &g_gcm_params, sizeof g_gcm_params};

uintptr_t Of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

const Argument kS{As::kSession};
const Argument kL{As::kSlot};
const Argument kIn{As::kCounted, Of(g_in)};
const Argument kOut{As::kOther, Of(g_out)};  // NULL asks for the length
const Argument kLen{As::kMust, Of(&g_length)};
const Argument kNewKey{As::kMust, Of(&g_made[0])};
Argument N(uintptr_t value) { return {As::kOther, value}; }
Argument P(const void* pointer) { return {As::kMust, Of(pointer)}; }
Argument Counted(const void* pointer) { return {As::kCounted, Of(pointer)}; }
// In Init functions NULL has a meaning of its own, which StateSweepTest has.
Argument Mechanism(const CK_MECHANISM& mechanism) { return {As::kOther, Of(&mechanism)}; }

using Init = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE);

}  // namespace

void ArgumentsTest::SetUp() {
  UserTest::SetUp();
  if (HasFatalFailure()) return;
  object_ = Create(session_, DataObject("arguments"));
  aes_ = ImportKey(session_, CKK_AES, Bytes(16, 8));
  secret_ = Create(session_, SecretKeyTemplate(CKK_GENERIC_SECRET, Bytes(48, 7)));
  target_ = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(16, 6));
  CK_MECHANISM generate{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  Template open = Template().With(CKA_MODULUS_BITS, CK_ULONG{2048});
  Template secret = Template().With(CKA_PRIVATE, false);
  for (const auto use : {CKA_VERIFY, CKA_VERIFY_RECOVER}) open.With(use, true);
  for (const auto use : {CKA_SIGN, CKA_SIGN_RECOVER}) secret.With(use, true);
  ASSERT_RV(CKR_OK,
            P11().C_GenerateKeyPair(session_, &generate, open.data(), open.size(), secret.data(),
                                    secret.size(), &rsa_.public_key, &rsa_.private_key));
  const EcCurve& curve = EcCurveOf("prime256v1");
  const EcKeyPair pair = ReferenceEcKey(curve);
  Template of_public = EcPublicKey(curve, OctetString(pair.point));
  Template of_private = EcPrivateKey(curve, pair.scalar);
  if (ModuleSymbol("C_EncapsulateKey") != nullptr) {
    of_public.With(CKA_ENCAPSULATE, true);
    of_private.With(CKA_DECAPSULATE, true);
  }
  ec_ = {Create(session_, of_public), Create(session_, of_private)};
  objects_ = FindAll(session_);
  AddRows();
}

void ArgumentsTest::TearDown() {
  if (objects_) {
    EXPECT_EQ(FindAll(session_), *objects_) << "objects have come or gone";
  }
  UserTest::TearDown();
}

CK_RV ArgumentsTest::Call(const Row& row, const std::vector<Argument>& arguments) {
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  Begin(session, row.begun);
  const CK_RV rv = CallIn(row, arguments, session);
  P11().C_CloseSession(session);
  return rv;
}

CK_RV ArgumentsTest::CallIn(const Row& row, const std::vector<Argument>& arguments,
                            CK_SESSION_HANDLE session) {
  g_length = sizeof g_out;
  std::array<uintptr_t, 10> a{};
  for (size_t i = 0; i < arguments.size(); ++i) {
    a[i] =
        arguments[i].as == As::kSession && arguments[i].value == 0 ? session : arguments[i].value;
  }
  using U = uintptr_t;
  const auto function =
      reinterpret_cast<CK_RV (*)(U, U, U, U, U, U, U, U, U, U)>(ModuleSymbol(row.name));
  return function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
}

CK_RV ArgumentsTest::With(const Row& row, size_t i, uintptr_t value) {
  std::vector<Argument> arguments = row.arguments;
  arguments[i].value = value;
  return Call(row, arguments);
}

void ArgumentsTest::Begin(CK_SESSION_HANDLE s, unsigned begun) {
  const CK_OBJECT_HANDLE aes = aes_;
  const CK_OBJECT_HANDLE secret = secret_;
  const auto optional = [&](const char* name, CK_MECHANISM& mechanism, CK_OBJECT_HANDLE key) {
    const auto init = reinterpret_cast<Init>(ModuleSymbol(name));
    if (init != nullptr) (void)init(s, &mechanism, key);
  };
  // Some modules have one operation in a session at a time, and so no dual-function ones.
  const bool dual = std::popcount(begun) > 1;
  const auto begin = [&](Begun one, CK_RV rv) {
    if (dual) {
      EXPECT_RV_IN(rv, CKR_OK, CKR_OPERATION_ACTIVE) << one;
    } else {
      EXPECT_RV(CKR_OK, rv);
    }
  };
  if (begun & kFind) begin(kFind, P11().C_FindObjectsInit(s, nullptr, 0));
  if (begun & kDigest) begin(kDigest, P11().C_DigestInit(s, &g_digest));
  if (begun & kSign) begin(kSign, P11().C_SignInit(s, &g_hmac, secret));
  if (begun & kVerify) begin(kVerify, P11().C_VerifyInit(s, &g_hmac, secret));
  if (begun & kEncrypt) begin(kEncrypt, P11().C_EncryptInit(s, &g_cbc, aes));
  if (begun & kDecrypt) begin(kDecrypt, P11().C_DecryptInit(s, &g_cbc, aes));
  if (begun & kSignRecover) optional("C_SignRecoverInit", g_rsa, rsa_.private_key);
  if (begun & kVerifyRecover) optional("C_VerifyRecoverInit", g_rsa, rsa_.public_key);
  if (begun & kMessageEncrypt) optional("C_MessageEncryptInit", g_gcm_messages, aes);
  if (begun & kMessageDecrypt) optional("C_MessageDecryptInit", g_gcm_messages, aes);
  if (begun & kMessageParts) {
    const char* name = begun & kMessageEncrypt ? "C_EncryptMessageBegin" : "C_DecryptMessageBegin";
    using Function = CK_RV (*)(CK_SESSION_HANDLE, void*, CK_ULONG, CK_BYTE*, CK_ULONG);
    const auto function = reinterpret_cast<Function>(ModuleSymbol(name));
    EXPECT_RV(CKR_OK, function(s, &g_message, sizeof g_message, nullptr, 0));
  }
  if (begun & kVerifySignature) {
    using Function =
        CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE, CK_BYTE*, CK_ULONG);
    const auto function = reinterpret_cast<Function>(ModuleSymbol("C_VerifySignatureInit"));
    EXPECT_RV(CKR_OK, function(s, &g_hmac, secret, g_in, 32));
  }
}

void ArgumentsTest::AddRows() {
  const Argument aes{As::kKey, aes_}, secret{As::kKey, secret_}, target{As::kKey, target_},
      object{As::kKey, object_}, rsa_public{As::kKey, rsa_.public_key},
      rsa_private{As::kKey, rsa_.private_key}, ec_public{As::kKey, ec_.public_key},
      ec_private{As::kKey, ec_.private_key};
  static CK_BYTE params[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  static CK_ATTRIBUTE curve{CKA_EC_PARAMS, params, sizeof params};
  static CK_MECHANISM pair{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  static Bytes point = ReferenceEcKey(EcCurveOf("prime256v1")).point;
  static CK_ECDH1_DERIVE_PARAMS ecdh{CKD_NULL, 0, nullptr, point.size(), point.data()};
  static CK_MECHANISM derive{CKM_ECDH1_DERIVE, &ecdh, sizeof ecdh};
  static CK_ECDH1_DERIVE_PARAMS kem_params{CKD_SHA256_KDF, 0, nullptr, 0, nullptr};
  static CK_MECHANISM kem{CKM_ECDH1_DERIVE, &kem_params, sizeof kem_params};
  static CK_OBJECT_CLASS secret_class = CKO_SECRET_KEY;
  static CK_KEY_TYPE aes_type = CKK_AES;
  static CK_ATTRIBUTE unwrapped[] = {{CKA_CLASS, &secret_class, sizeof secret_class},
                                     {CKA_KEY_TYPE, &aes_type, sizeof aes_type},
                                     {CKA_VALUE_LEN, &g_size, sizeof g_size}};
  static CK_CHAR name[] = "C_Sign";
  static CK_ASYNC_DATA asynchronous;
  static CK_SLOT_ID slots[64];
  static CK_MECHANISM_TYPE types[512];
  static CK_VERSION version{2, 40};
  static CK_FLAGS flags;
  static std::string user_pin = UserPin();
  const Argument pin = Counted(user_pin.data()), pin_size = N(user_pin.size());
  // NULL is a parameter that is not valid, as MessageTest has it.
  const Argument message = {As::kOther, Of(&g_message)}, message_size = N(sizeof g_message);
  rows_ = {
      {"C_GetInfo", 0, {P(&g_info)}},
      {"C_GetSlotList", 0, {N(1), {As::kOther, Of(slots)}, kLen}},
      {"C_GetSlotInfo", 0, {kL, P(&g_slot_info)}},
      {"C_GetTokenInfo", 0, {kL, P(&g_token_info)}},
      {"C_GetMechanismList", 0, {kL, {As::kOther, Of(types)}, kLen}},
      {"C_GetMechanismInfo", 0, {kL, N(CKM_SHA256), P(&g_mechanism_info)}},
      {"C_OpenSession", 0, {kL, N(kReadOnly), N(0), N(0), P(&g_made[0])}},
      {"C_GetSessionInfo", 0, {kS, P(&g_session_info)}},
      {"C_GetOperationState", kDigest, {kS, kOut, kLen}},
      {"C_SetOperationState", 0, {kS, kIn, N(16), N(0), N(0)}},
      {"C_InitPIN", 0, {kS, pin, pin_size}},
      {"C_SetPIN", 0, {kS, pin, pin_size, pin, pin_size}},
      {"C_Login", 0, {kS, N(CKU_SO), pin, pin_size}},
      {"C_CreateObject", 0, {kS, Counted(&g_data), N(1), kNewKey}},
      {"C_CopyObject", 0, {kS, object, Counted(&g_label), N(1), kNewKey}},
      {"C_GetObjectSize", 0, {kS, object, kLen}},
      {"C_GetAttributeValue", 0, {kS, object, Counted(&g_label), N(1)}},
      {"C_SetAttributeValue", 0, {kS, object, Counted(&g_label), N(1)}},
      {"C_FindObjectsInit", 0, {kS, Counted(&g_label), N(1)}},
      {"C_FindObjects", kFind, {kS, P(&g_made[0]), N(1), kLen}},
      {"C_FindObjectsFinal", kFind, {kS}},
      {"C_EncryptInit", 0, {kS, Mechanism(g_cbc), aes}},
      {"C_Encrypt", kEncrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_EncryptUpdate", kEncrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_EncryptFinal", kEncrypt, {kS, kOut, kLen}},
      {"C_DecryptInit", 0, {kS, Mechanism(g_cbc), aes}},
      {"C_Decrypt", kDecrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_DecryptUpdate", kDecrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_DecryptFinal", kDecrypt, {kS, kOut, kLen}},
      {"C_DigestInit", 0, {kS, Mechanism(g_digest)}},
      {"C_Digest", kDigest, {kS, kIn, N(16), kOut, kLen}},
      {"C_DigestUpdate", kDigest, {kS, kIn, N(16)}},
      {"C_DigestKey", kDigest, {kS, secret}},
      {"C_DigestFinal", kDigest, {kS, kOut, kLen}},
      {"C_SignInit", 0, {kS, Mechanism(g_hmac), secret}},
      {"C_Sign", kSign, {kS, kIn, N(16), kOut, kLen}},
      {"C_SignUpdate", kSign, {kS, kIn, N(16)}},
      {"C_SignFinal", kSign, {kS, kOut, kLen}},
      {"C_SignRecoverInit", 0, {kS, Mechanism(g_rsa), rsa_private}},
      {"C_SignRecover", kSignRecover, {kS, kIn, N(16), kOut, kLen}},
      {"C_VerifyInit", 0, {kS, Mechanism(g_hmac), secret}},
      {"C_Verify", kVerify, {kS, kIn, N(16), Counted(g_out), N(32)}},
      {"C_VerifyUpdate", kVerify, {kS, kIn, N(16)}},
      {"C_VerifyFinal", kVerify, {kS, kIn, N(32)}},
      {"C_VerifyRecoverInit", 0, {kS, Mechanism(g_rsa), rsa_public}},
      {"C_VerifyRecover", kVerifyRecover, {kS, kIn, N(64), kOut, kLen}},
      {"C_DigestEncryptUpdate", kDigest | kEncrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_DecryptDigestUpdate", kDigest | kDecrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_SignEncryptUpdate", kSign | kEncrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_DecryptVerifyUpdate", kVerify | kDecrypt, {kS, kIn, N(16), kOut, kLen}},
      {"C_GenerateKey", 0, {kS, P(&g_generate), Counted(&g_value_len), N(1), kNewKey}},
      {"C_GenerateKeyPair",
       0,
       {kS, P(&pair), Counted(&curve), N(1), Counted(&g_label), N(1), kNewKey, P(&g_made[1])}},
      {"C_WrapKey", 0, {kS, P(&g_wrap), aes, target, kOut, kLen}},
      {"C_UnwrapKey", 0, {kS, P(&g_wrap), aes, kIn, N(24), Counted(unwrapped), N(2), kNewKey}},
      {"C_DeriveKey", 0, {kS, P(&derive), ec_private, Counted(unwrapped), N(3), kNewKey}},
      {"C_SeedRandom", 0, {kS, kIn, N(16)}},
      {"C_GenerateRandom", 0, {kS, Counted(g_out), N(16)}},
      {"C_WaitForSlotEvent", 0, {N(CKF_DONT_BLOCK), P(slots), N(0)}},
      {"C_GetInterfaceList", 0, {N(0), kLen}},
      {"C_GetInterface", 0, {N(0), {As::kOther, Of(&version)}, P(slots), N(0)}},
      {"C_LoginUser", 0, {kS, N(CKU_SO), pin, pin_size, N(0), N(0)}},
      {"C_SessionCancel", 0, {kS, N(0)}},
      {"C_MessageEncryptInit", 0, {kS, Mechanism(g_gcm_messages), aes}},
      {"C_EncryptMessage",
       kMessageEncrypt,
       {kS, message, message_size, kIn, N(8), kIn, N(16), kOut, kLen}},
      {"C_EncryptMessageBegin", kMessageEncrypt, {kS, message, message_size, kIn, N(8)}},
      {"C_EncryptMessageNext",
       kMessageEncrypt | kMessageParts,
       {kS, message, message_size, kIn, N(16), kOut, kLen, N(0)}},
      {"C_MessageEncryptFinal", kMessageEncrypt, {kS}},
      {"C_MessageDecryptInit", 0, {kS, Mechanism(g_gcm_messages), aes}},
      {"C_DecryptMessage",
       kMessageDecrypt,
       {kS, message, message_size, kIn, N(8), kIn, N(16), kOut, kLen}},
      {"C_DecryptMessageBegin", kMessageDecrypt, {kS, message, message_size, kIn, N(8)}},
      {"C_DecryptMessageNext",
       kMessageDecrypt | kMessageParts,
       {kS, message, message_size, kIn, N(16), kOut, kLen, N(0)}},
      {"C_MessageDecryptFinal", kMessageDecrypt, {kS}},
      {"C_MessageSignInit", 0, {kS, Mechanism(g_hmac), secret}},
      {"C_SignMessage", 0, {kS, N(0), N(0), kIn, N(16), kOut, kLen}},
      {"C_SignMessageBegin", 0, {kS, N(0), N(0)}},
      {"C_SignMessageNext", 0, {kS, N(0), N(0), kIn, N(16), kOut, kLen}},
      {"C_MessageSignFinal", 0, {kS}},
      {"C_MessageVerifyInit", 0, {kS, Mechanism(g_hmac), secret}},
      {"C_VerifyMessage", 0, {kS, N(0), N(0), kIn, N(16), Counted(g_out), N(32)}},
      {"C_VerifyMessageBegin", 0, {kS, N(0), N(0)}},
      {"C_VerifyMessageNext", 0, {kS, N(0), N(0), kIn, N(16), Counted(g_out), N(32)}},
      {"C_MessageVerifyFinal", 0, {kS}},
      {"C_EncapsulateKey",
       0,
       {kS, P(&kem), ec_public, Counted(unwrapped), N(3), kOut, kLen, kNewKey}},
      {"C_DecapsulateKey",
       0,
       {kS, P(&kem), ec_private, Counted(unwrapped), N(3), kIn, N(64), kNewKey}},
      {"C_VerifySignatureInit", 0, {kS, Mechanism(g_hmac), secret, kIn, N(32)}},
      {"C_VerifySignature", kVerifySignature, {kS, kIn, N(16)}},
      {"C_VerifySignatureUpdate", kVerifySignature, {kS, kIn, N(16)}},
      {"C_VerifySignatureFinal", kVerifySignature, {kS}},
      {"C_GetSessionValidationFlags", 0, {kS, N(1), P(&flags)}},
      {"C_AsyncComplete", 0, {kS, P(name), P(&asynchronous)}},
      {"C_AsyncGetID", 0, {kS, P(name), kLen}},
      {"C_AsyncJoin", 0, {kS, P(name), N(1), kIn, N(16)}},
      {"C_WrapKeyAuthenticated", 0, {kS, P(&g_gcm), aes, target, kIn, N(16), kOut, kLen}},
      {"C_UnwrapKeyAuthenticated",
       0,
       {kS, P(&g_gcm), aes, kIn, N(48), Counted(unwrapped), N(2), Counted(g_out), N(16), kNewKey}},
      {"C_GetFunctionStatus", 0, {kS}},
      {"C_CancelFunction", 0, {kS}},
  };
  undoing_ = {{"C_Logout", 0, {kS}},
              {"C_DestroyObject", 0, {kS, object}},
              {"C_CloseSession", 0, {kS}},
              {"C_CloseAllSessions", 0, {kL}},
              {"C_InitToken", 0, {kL, kIn, N(8), P(g_out)}}};
  for (std::vector<Row>* rows : {&rows_, &undoing_}) {
    for (Row& each : *rows) {
      for (Argument& argument : each.arguments) {
        if (argument.as == As::kSlot) argument.value = slot_;
      }
    }
  }
}

}  // namespace secretmem::conformance

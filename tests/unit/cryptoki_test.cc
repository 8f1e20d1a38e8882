#include "mechanisms/cryptoki.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "mechanisms/vendor.h"

namespace secretmem {
namespace {

// Offsets that clients compiled against other headers rely on.
TEST(CryptokiTest, ParameterStructuresHaveTheSpecificationsLayout) {
  EXPECT_EQ(sizeof(CK_ECDH1_DERIVE_PARAMS), 40u);
  EXPECT_EQ(offsetof(CK_ECDH1_DERIVE_PARAMS, pPublicData), 32u);
  EXPECT_EQ(sizeof(CK_HKDF_PARAMS), 64u);
  EXPECT_EQ(offsetof(CK_HKDF_PARAMS, bExpand), 1u);
  EXPECT_EQ(offsetof(CK_HKDF_PARAMS, prfHashMechanism), 8u);
  EXPECT_EQ(offsetof(CK_HKDF_PARAMS, hSaltKey), 40u);
  EXPECT_EQ(offsetof(CK_HKDF_PARAMS, ulInfoLen), 56u);
  EXPECT_EQ(sizeof(CK_EDDSA_PARAMS), 24u);
  EXPECT_EQ(offsetof(CK_EDDSA_PARAMS, pContextData), 16u);
  EXPECT_EQ(sizeof(CK_GCM_PARAMS), 48u);
  EXPECT_EQ(offsetof(CK_GCM_PARAMS, ulTagBits), 40u);
  EXPECT_EQ(sizeof(CK_GCM_MESSAGE_PARAMS), 48u);
  EXPECT_EQ(offsetof(CK_GCM_MESSAGE_PARAMS, pTag), 32u);
  EXPECT_EQ(sizeof(CK_GCM_WRAP_PARAMS), 56u);
  EXPECT_EQ(sizeof(CK_CCM_PARAMS), 48u);
  EXPECT_EQ(sizeof(CK_SALSA20_CHACHA20_POLY1305_PARAMS), 32u);
  EXPECT_EQ(sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS), 24u);
  EXPECT_EQ(sizeof(CK_ECDH_AES_KEY_WRAP_PARAMS), 32u);
  EXPECT_EQ(sizeof(CK_PKCS5_PBKD2_PARAMS2), 72u);
  EXPECT_EQ(offsetof(CK_PKCS5_PBKD2_PARAMS2, ulPasswordLen), 64u);
  EXPECT_EQ(sizeof(CK_PRF_DATA_PARAM), 24u);
  EXPECT_EQ(sizeof(CK_SP800_108_KDF_PARAMS), 40u);
  EXPECT_EQ(sizeof(CK_SP800_108_COUNTER_FORMAT), 16u);
  EXPECT_EQ(sizeof(CK_SP800_108_DKM_LENGTH_FORMAT), 24u);
  EXPECT_EQ(sizeof(CK_DERIVED_KEY), 24u);
  EXPECT_EQ(sizeof(CK_ASYNC_DATA), 40u);
  EXPECT_EQ(sizeof(CK_SIGN_ADDITIONAL_CONTEXT), 24u);
  EXPECT_EQ(sizeof(CK_RSA_AES_KEY_WRAP_PARAMS), 16u);
  EXPECT_EQ(sizeof(CK_SSL3_RANDOM_DATA), 32u);
  EXPECT_EQ(sizeof(CK_SSL3_KEY_MAT_OUT), 48u);
  EXPECT_EQ(sizeof(CK_TLS12_MASTER_KEY_DERIVE_PARAMS), 48u);
  EXPECT_EQ(sizeof(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS), 32u);
  EXPECT_EQ(sizeof(CK_TLS12_KEY_MAT_PARAMS), 80u);
  EXPECT_EQ(offsetof(CK_TLS12_KEY_MAT_PARAMS, pReturnedKeyMaterial), 64u);
  EXPECT_EQ(sizeof(CK_TLS_KDF_PARAMS), 72u);
  EXPECT_EQ(offsetof(CK_TLS_KDF_PARAMS, pContextData), 56u);
  EXPECT_EQ(sizeof(CK_TLS_MAC_PARAMS), 24u);
}

// The place of every function: the n-th pointer after the version, in all lists that have it.
TEST(CryptokiTest, FunctionListsAreInOrder) {
  std::vector<std::string> names;
  size_t offset = 0;
#define CHECK_3_2(name)                                    \
  offset += sizeof(void*);                                 \
  EXPECT_EQ(offsetof(CK_FUNCTION_LIST_3_2, name), offset); \
  names.push_back(#name);
#define CHECK_3_0(name) \
  CHECK_3_2(name)       \
  EXPECT_EQ(offsetof(CK_FUNCTION_LIST_3_0, name), offset);
#define CHECK_2_40(name) \
  CHECK_3_0(name)        \
  EXPECT_EQ(offsetof(CK_FUNCTION_LIST, name), offset);
  SECRETMEM_FUNCTIONS_2_40(CHECK_2_40)
  EXPECT_EQ(names.size(), 68u);
  SECRETMEM_FUNCTIONS_3_0(CHECK_3_0)
  EXPECT_EQ(names.size(), 92u);
  SECRETMEM_FUNCTIONS_3_2(CHECK_3_2)
  EXPECT_EQ(names.size(), 104u);
#undef CHECK_2_40
#undef CHECK_3_0
#undef CHECK_3_2
  EXPECT_EQ(names.at(0), "C_Initialize");
  EXPECT_EQ(names.at(67), "C_WaitForSlotEvent");
  EXPECT_EQ(names.at(68), "C_GetInterfaceList");
  EXPECT_EQ(names.at(91), "C_MessageVerifyFinal");
  EXPECT_EQ(names.at(92), "C_EncapsulateKey");
  EXPECT_EQ(names.at(103), "C_UnwrapKeyAuthenticated");
}

TEST(CryptokiTest, NumbersThatOtherHeadersGetWrong) {
  EXPECT_EQ(CKR_EXCEEDED_MAX_ITERATIONS, 0x1b5u);
  EXPECT_EQ(CKR_FIPS_SELF_TEST_FAILED, 0x1b6u);
  EXPECT_EQ(CKR_LIBRARY_LOAD_FAILED, 0x1b7u);
  EXPECT_EQ(CKR_PIN_TOO_WEAK, 0x1b8u);
  EXPECT_EQ(CKR_PUBLIC_KEY_INVALID, 0x1b9u);
  EXPECT_EQ(CKA_SUB_PRIME_BITS, 0x134u);
  EXPECT_EQ(CKA_DERIVE_TEMPLATE, 0x40000213u);
  EXPECT_EQ(CKA_SECRETMEM_PROTECTION, 0xd34d0001u);
  EXPECT_EQ(CKA_SECRETMEM_AT_REST, 0xd34d0002u);
  EXPECT_EQ(CKA_SECRETMEM_LIFETIME, 0xd34d0020u);
  EXPECT_EQ(CKA_SECRETMEM_EXPIRES, 0xd34d0021u);
}

TEST(CryptokiTest, InterfaceNameFitsTheStructure) {
  CK_INTERFACE interface = {InterfaceName("PKCS 11"), nullptr, 0};
  EXPECT_STREQ((const char*)interface.pInterfaceName, "PKCS 11");
}

}  // namespace
}  // namespace secretmem

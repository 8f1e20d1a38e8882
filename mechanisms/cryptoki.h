// The one PKCS#11 header of the project: p11-kit's pkcs11.h, corrected and completed up to PKCS#11
// 3.2. Include this, never p11-kit's header. Works with p11-kit 0.24 (2.40), 0.25 (3.0), 0.26
// (3.2).
//
// Macros for constants, CK_* types and C_* prototypes have the specification's names and values
// whatever p11-kit says. CK_INTERFACE and the 3.x function lists are p11-kit's own where it has
// them.

#pragma once

// p11-kit's newer headers have these structures with other field names or missing fields; they are
// renamed out of the way, and cryptoki_params.h defines the specification's.
#define CK_ECDH_AES_KEY_WRAP_PARAMS p11_kit_CK_ECDH_AES_KEY_WRAP_PARAMS
#define CK_ECDH_AES_KEY_WRAP_PARAMS_PTR p11_kit_CK_ECDH_AES_KEY_WRAP_PARAMS_PTR
#define CK_HKDF_PARAMS p11_kit_CK_HKDF_PARAMS
#define CK_HKDF_PARAMS_PTR p11_kit_CK_HKDF_PARAMS_PTR
#define CK_EDDSA_PARAMS p11_kit_CK_EDDSA_PARAMS
#define CK_EDDSA_PARAMS_PTR p11_kit_CK_EDDSA_PARAMS_PTR
#define CK_GCM_MESSAGE_PARAMS p11_kit_CK_GCM_MESSAGE_PARAMS
#define CK_GCM_MESSAGE_PARAMS_PTR p11_kit_CK_GCM_MESSAGE_PARAMS_PTR
#define CK_SALSA20_CHACHA20_POLY1305_PARAMS p11_kit_CK_SALSA20_CHACHA20_POLY1305_PARAMS
#define CK_SALSA20_CHACHA20_POLY1305_PARAMS_PTR p11_kit_CK_SALSA20_CHACHA20_POLY1305_PARAMS_PTR
#define CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS p11_kit_CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS
#define CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS_PTR \
  p11_kit_CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS_PTR
#define CK_CCM_PARAMS p11_kit_CK_CCM_PARAMS
#define CK_CCM_PARAMS_PTR p11_kit_CK_CCM_PARAMS_PTR
#define CK_GCM_WRAP_PARAMS p11_kit_CK_GCM_WRAP_PARAMS
#define CK_GCM_WRAP_PARAMS_PTR p11_kit_CK_GCM_WRAP_PARAMS_PTR
#define CK_PKCS5_PBKD2_PARAMS2 p11_kit_CK_PKCS5_PBKD2_PARAMS2
#define CK_PKCS5_PBKD2_PARAMS2_PTR p11_kit_CK_PKCS5_PBKD2_PARAMS2_PTR
#define CK_PRF_DATA_PARAM p11_kit_CK_PRF_DATA_PARAM
#define CK_PRF_DATA_PARAM_PTR p11_kit_CK_PRF_DATA_PARAM_PTR
#define CK_DERIVED_KEY p11_kit_CK_DERIVED_KEY
#define CK_DERIVED_KEY_PTR p11_kit_CK_DERIVED_KEY_PTR
#define CK_SP800_108_KDF_PARAMS p11_kit_CK_SP800_108_KDF_PARAMS
#define CK_SP800_108_KDF_PARAMS_PTR p11_kit_CK_SP800_108_KDF_PARAMS_PTR
#define CK_SP800_108_COUNTER_FORMAT p11_kit_CK_SP800_108_COUNTER_FORMAT
#define CK_SP800_108_COUNTER_FORMAT_PTR p11_kit_CK_SP800_108_COUNTER_FORMAT_PTR
#define CK_SP800_108_DKM_LENGTH_FORMAT p11_kit_CK_SP800_108_DKM_LENGTH_FORMAT
#define CK_SP800_108_DKM_LENGTH_FORMAT_PTR p11_kit_CK_SP800_108_DKM_LENGTH_FORMAT_PTR
#define CK_SIGN_ADDITIONAL_CONTEXT p11_kit_CK_SIGN_ADDITIONAL_CONTEXT
#define CK_SIGN_ADDITIONAL_CONTEXT_PTR p11_kit_CK_SIGN_ADDITIONAL_CONTEXT_PTR
#define CK_RSA_AES_KEY_WRAP_PARAMS p11_kit_CK_RSA_AES_KEY_WRAP_PARAMS
#define CK_RSA_AES_KEY_WRAP_PARAMS_PTR p11_kit_CK_RSA_AES_KEY_WRAP_PARAMS_PTR
#define CK_SSL3_RANDOM_DATA p11_kit_CK_SSL3_RANDOM_DATA
#define CK_SSL3_RANDOM_DATA_PTR p11_kit_CK_SSL3_RANDOM_DATA_PTR
#define CK_SSL3_KEY_MAT_OUT p11_kit_CK_SSL3_KEY_MAT_OUT
#define CK_SSL3_KEY_MAT_OUT_PTR p11_kit_CK_SSL3_KEY_MAT_OUT_PTR
#define CK_TLS12_MASTER_KEY_DERIVE_PARAMS p11_kit_CK_TLS12_MASTER_KEY_DERIVE_PARAMS
#define CK_TLS12_MASTER_KEY_DERIVE_PARAMS_PTR p11_kit_CK_TLS12_MASTER_KEY_DERIVE_PARAMS_PTR
#define CK_TLS12_KEY_MAT_PARAMS p11_kit_CK_TLS12_KEY_MAT_PARAMS
#define CK_TLS12_KEY_MAT_PARAMS_PTR p11_kit_CK_TLS12_KEY_MAT_PARAMS_PTR
#define CK_TLS_KDF_PARAMS p11_kit_CK_TLS_KDF_PARAMS
#define CK_TLS_KDF_PARAMS_PTR p11_kit_CK_TLS_KDF_PARAMS_PTR
#define CK_TLS_MAC_PARAMS p11_kit_CK_TLS_MAC_PARAMS
#define CK_TLS_MAC_PARAMS_PTR p11_kit_CK_TLS_MAC_PARAMS_PTR
#define CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS \
  p11_kit_CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS
#define CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS_PTR \
  p11_kit_CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS_PTR

#include <p11-kit/pkcs11.h>

#undef CK_RSA_AES_KEY_WRAP_PARAMS
#undef CK_RSA_AES_KEY_WRAP_PARAMS_PTR
#undef CK_SSL3_RANDOM_DATA
#undef CK_SSL3_RANDOM_DATA_PTR
#undef CK_SSL3_KEY_MAT_OUT
#undef CK_SSL3_KEY_MAT_OUT_PTR
#undef CK_TLS12_MASTER_KEY_DERIVE_PARAMS
#undef CK_TLS12_MASTER_KEY_DERIVE_PARAMS_PTR
#undef CK_TLS12_KEY_MAT_PARAMS
#undef CK_TLS12_KEY_MAT_PARAMS_PTR
#undef CK_TLS_KDF_PARAMS
#undef CK_TLS_KDF_PARAMS_PTR
#undef CK_TLS_MAC_PARAMS
#undef CK_TLS_MAC_PARAMS_PTR
#undef CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS
#undef CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS_PTR
#undef CK_ECDH_AES_KEY_WRAP_PARAMS
#undef CK_ECDH_AES_KEY_WRAP_PARAMS_PTR
#undef CK_HKDF_PARAMS
#undef CK_HKDF_PARAMS_PTR
#undef CK_EDDSA_PARAMS
#undef CK_EDDSA_PARAMS_PTR
#undef CK_GCM_MESSAGE_PARAMS
#undef CK_GCM_MESSAGE_PARAMS_PTR
#undef CK_SALSA20_CHACHA20_POLY1305_PARAMS
#undef CK_SALSA20_CHACHA20_POLY1305_PARAMS_PTR
#undef CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS
#undef CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS_PTR
#undef CK_CCM_PARAMS
#undef CK_CCM_PARAMS_PTR
#undef CK_GCM_WRAP_PARAMS
#undef CK_GCM_WRAP_PARAMS_PTR
#undef CK_PKCS5_PBKD2_PARAMS2
#undef CK_PKCS5_PBKD2_PARAMS2_PTR
#undef CK_PRF_DATA_PARAM
#undef CK_PRF_DATA_PARAM_PTR
#undef CK_DERIVED_KEY
#undef CK_DERIVED_KEY_PTR
#undef CK_SP800_108_KDF_PARAMS
#undef CK_SP800_108_KDF_PARAMS_PTR
#undef CK_SP800_108_COUNTER_FORMAT
#undef CK_SP800_108_COUNTER_FORMAT_PTR
#undef CK_SP800_108_DKM_LENGTH_FORMAT
#undef CK_SP800_108_DKM_LENGTH_FORMAT_PTR
#undef CK_SIGN_ADDITIONAL_CONTEXT
#undef CK_SIGN_ADDITIONAL_CONTEXT_PTR

// Field names that p11-kit's compatibility mode leaves defined as macros.
#undef aad_len
#undef aad_ptr
#undef ck_rsa_pkcs_mgf_type_t
#undef ck_rsa_pkcs_oaep_source_type_t
#undef counter_bits
#undef data_params
#undef hash_alg
#undef iv_bits
#undef iv_len
#undef iv_ptr
#undef public_data
#undef public_data_len
#undef s_len
#undef shared_data
#undef shared_data_len
#undef source_data
#undef source_data_len
#undef string_data
#undef string_data_len
#undef tag_bits
#undef attribute_count
#undef context_data_length
#undef key_ptr
#undef templ

#include "mechanisms/cryptoki_attributes.h"
#include "mechanisms/cryptoki_constants.h"
#include "mechanisms/cryptoki_functions.h"
#include "mechanisms/cryptoki_mechanisms.h"
#include "mechanisms/cryptoki_params.h"

#undef CKA_SUB_PRIME_BITS
#define CKA_SUB_PRIME_BITS CKA_SUBPRIME_BITS

#include "mechanisms/cryptoki_3x.h"

static_assert(sizeof(CK_ULONG) == 8, "the module is written for 64-bit Linux");
static_assert(CKR_EXCEEDED_MAX_ITERATIONS == 0x1b5 && CKR_FIPS_SELF_TEST_FAILED == 0x1b6 &&
                  CKR_LIBRARY_LOAD_FAILED == 0x1b7 && CKR_PIN_TOO_WEAK == 0x1b8 &&
                  CKR_PUBLIC_KEY_INVALID == 0x1b9,
              "p11-kit's values for these are not the specification's");

// Part of mechanisms/cryptoki.h: mechanism parameter structures of PKCS#11 3.0 to 3.2 (section 6),
// fields in the specification's order with natural alignment. Pointers are the caller's.

#pragma once

typedef CK_ULONG CK_EC_KDF_TYPE;
typedef CK_ULONG CK_GENERATOR_FUNCTION;
typedef CK_ULONG CK_HEDGE_TYPE;

struct CK_ECDH_AES_KEY_WRAP_PARAMS {
  CK_ULONG ulAESKeyBits;
  CK_EC_KDF_TYPE kdf;
  CK_ULONG ulSharedDataLen;
  CK_BYTE* pSharedData;
};
typedef CK_ECDH_AES_KEY_WRAP_PARAMS* CK_ECDH_AES_KEY_WRAP_PARAMS_PTR;

struct CK_HKDF_PARAMS {
  CK_BBOOL bExtract;
  CK_BBOOL bExpand;
  CK_MECHANISM_TYPE prfHashMechanism;
  CK_ULONG ulSaltType;
  CK_BYTE* pSalt;
  CK_ULONG ulSaltLen;
  CK_OBJECT_HANDLE hSaltKey;
  CK_BYTE* pInfo;
  CK_ULONG ulInfoLen;
};
typedef CK_HKDF_PARAMS* CK_HKDF_PARAMS_PTR;

struct CK_EDDSA_PARAMS {
  CK_BBOOL phFlag;
  CK_ULONG ulContextDataLen;
  CK_BYTE* pContextData;
};
typedef CK_EDDSA_PARAMS* CK_EDDSA_PARAMS_PTR;

struct CK_GCM_MESSAGE_PARAMS {
  CK_BYTE* pIv;
  CK_ULONG ulIvLen;
  CK_ULONG ulIvFixedBits;
  CK_GENERATOR_FUNCTION ivGenerator;
  CK_BYTE* pTag;
  CK_ULONG ulTagBits;
};
typedef CK_GCM_MESSAGE_PARAMS* CK_GCM_MESSAGE_PARAMS_PTR;

struct CK_SALSA20_CHACHA20_POLY1305_PARAMS {
  CK_BYTE* pNonce;
  CK_ULONG ulNonceLen;
  CK_BYTE* pAAD;
  CK_ULONG ulAADLen;
};
typedef CK_SALSA20_CHACHA20_POLY1305_PARAMS* CK_SALSA20_CHACHA20_POLY1305_PARAMS_PTR;

struct CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS {
  CK_BYTE* pNonce;
  CK_ULONG ulNonceLen;
  CK_BYTE* pTag;
};
typedef CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS* CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS_PTR;

struct CK_CCM_PARAMS {
  CK_ULONG ulDataLen;
  CK_BYTE* pNonce;
  CK_ULONG ulNonceLen;
  CK_BYTE* pAAD;
  CK_ULONG ulAADLen;
  CK_ULONG ulMACLen;
};
typedef CK_CCM_PARAMS* CK_CCM_PARAMS_PTR;

struct CK_GCM_WRAP_PARAMS {
  CK_BYTE* pIv;
  CK_ULONG ulIvLen;
  CK_ULONG ulIvFixedBits;
  CK_GENERATOR_FUNCTION ivGenerator;
  CK_BYTE* pAAD;
  CK_ULONG ulAADLen;
  CK_ULONG ulTagBits;
};
typedef CK_GCM_WRAP_PARAMS* CK_GCM_WRAP_PARAMS_PTR;

struct CK_PKCS5_PBKD2_PARAMS2 {
  CK_ULONG saltSource;
  void* pSaltSourceData;
  CK_ULONG ulSaltSourceDataLen;
  CK_ULONG iterations;
  CK_ULONG prf;
  void* pPrfData;
  CK_ULONG ulPrfDataLen;
  CK_UTF8CHAR* pPassword;
  CK_ULONG ulPasswordLen;
};
typedef CK_PKCS5_PBKD2_PARAMS2* CK_PKCS5_PBKD2_PARAMS2_PTR;

struct CK_PRF_DATA_PARAM {
  CK_ULONG type;
  void* pValue;
  CK_ULONG ulValueLen;
};
typedef CK_PRF_DATA_PARAM* CK_PRF_DATA_PARAM_PTR;

struct CK_DERIVED_KEY {
  CK_ATTRIBUTE* pTemplate;
  CK_ULONG ulAttributeCount;
  CK_OBJECT_HANDLE* phKey;
};
typedef CK_DERIVED_KEY* CK_DERIVED_KEY_PTR;

struct CK_SP800_108_KDF_PARAMS {
  CK_MECHANISM_TYPE prfType;
  CK_ULONG ulNumberOfDataParams;
  CK_PRF_DATA_PARAM* pDataParams;
  CK_ULONG ulAdditionalDerivedKeys;
  CK_DERIVED_KEY* pAdditionalDerivedKeys;
};
typedef CK_SP800_108_KDF_PARAMS* CK_SP800_108_KDF_PARAMS_PTR;

struct CK_SP800_108_COUNTER_FORMAT {
  CK_BBOOL bLittleEndian;
  CK_ULONG ulWidthInBits;
};
typedef CK_SP800_108_COUNTER_FORMAT* CK_SP800_108_COUNTER_FORMAT_PTR;

struct CK_SP800_108_DKM_LENGTH_FORMAT {
  CK_ULONG dkmLengthMethod;
  CK_BBOOL bLittleEndian;
  CK_ULONG ulWidthInBits;
};
typedef CK_SP800_108_DKM_LENGTH_FORMAT* CK_SP800_108_DKM_LENGTH_FORMAT_PTR;

struct CK_SIGN_ADDITIONAL_CONTEXT {
  CK_HEDGE_TYPE hedgeVariant;
  CK_BYTE* pContext;
  CK_ULONG ulContextLen;
};
typedef CK_SIGN_ADDITIONAL_CONTEXT* CK_SIGN_ADDITIONAL_CONTEXT_PTR;

struct CK_RSA_AES_KEY_WRAP_PARAMS {
  CK_ULONG ulAESKeyBits;
  CK_RSA_PKCS_OAEP_PARAMS* pOAEPParams;
};
typedef CK_RSA_AES_KEY_WRAP_PARAMS* CK_RSA_AES_KEY_WRAP_PARAMS_PTR;

struct CK_SSL3_RANDOM_DATA {
  CK_BYTE* pClientRandom;
  CK_ULONG ulClientRandomLen;
  CK_BYTE* pServerRandom;
  CK_ULONG ulServerRandomLen;
};
typedef CK_SSL3_RANDOM_DATA* CK_SSL3_RANDOM_DATA_PTR;

struct CK_SSL3_KEY_MAT_OUT {
  CK_OBJECT_HANDLE hClientMacSecret;
  CK_OBJECT_HANDLE hServerMacSecret;
  CK_OBJECT_HANDLE hClientKey;
  CK_OBJECT_HANDLE hServerKey;
  CK_BYTE* pIVClient;
  CK_BYTE* pIVServer;
};
typedef CK_SSL3_KEY_MAT_OUT* CK_SSL3_KEY_MAT_OUT_PTR;

struct CK_TLS12_MASTER_KEY_DERIVE_PARAMS {
  CK_SSL3_RANDOM_DATA RandomInfo;
  CK_VERSION* pVersion;
  CK_MECHANISM_TYPE prfHashMechanism;
};
typedef CK_TLS12_MASTER_KEY_DERIVE_PARAMS* CK_TLS12_MASTER_KEY_DERIVE_PARAMS_PTR;

struct CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS {
  CK_MECHANISM_TYPE prfHashMechanism;
  CK_BYTE* pSessionHash;
  CK_ULONG ulSessionHashLen;
  CK_VERSION* pVersion;
};
typedef CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS* CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS_PTR;

struct CK_TLS12_KEY_MAT_PARAMS {
  CK_ULONG ulMacSizeInBits;
  CK_ULONG ulKeySizeInBits;
  CK_ULONG ulIVSizeInBits;
  CK_BBOOL bIsExport;
  CK_SSL3_RANDOM_DATA RandomInfo;
  CK_SSL3_KEY_MAT_OUT* pReturnedKeyMaterial;
  CK_MECHANISM_TYPE prfHashMechanism;
};
typedef CK_TLS12_KEY_MAT_PARAMS* CK_TLS12_KEY_MAT_PARAMS_PTR;

struct CK_TLS_KDF_PARAMS {
  CK_MECHANISM_TYPE prfMechanism;
  CK_BYTE* pLabel;
  CK_ULONG ulLabelLength;
  CK_SSL3_RANDOM_DATA RandomInfo;
  CK_BYTE* pContextData;
  CK_ULONG ulContextDataLength;
};
typedef CK_TLS_KDF_PARAMS* CK_TLS_KDF_PARAMS_PTR;

struct CK_TLS_MAC_PARAMS {
  CK_MECHANISM_TYPE prfHashMechanism;
  CK_ULONG ulMacLength;
  CK_ULONG ulServerOrClient;
};
typedef CK_TLS_MAC_PARAMS* CK_TLS_MAC_PARAMS_PTR;

// Part of mechanisms/cryptoki.h: every function of PKCS#11 3.2 in the order of the function lists
// (section 5), as lists to be expanded: tables, stubs and the exports check come from these.

#pragma once

// SECRETMEM_FUNCTIONS_2_40 expands F(name) for the 68 functions that version 2.40 added.
// clang-format off
#define SECRETMEM_FUNCTIONS_2_40(F) \
  F(C_Initialize) \
  F(C_Finalize) \
  F(C_GetInfo) \
  F(C_GetFunctionList) \
  F(C_GetSlotList) \
  F(C_GetSlotInfo) \
  F(C_GetTokenInfo) \
  F(C_GetMechanismList) \
  F(C_GetMechanismInfo) \
  F(C_InitToken) \
  F(C_InitPIN) \
  F(C_SetPIN) \
  F(C_OpenSession) \
  F(C_CloseSession) \
  F(C_CloseAllSessions) \
  F(C_GetSessionInfo) \
  F(C_GetOperationState) \
  F(C_SetOperationState) \
  F(C_Login) \
  F(C_Logout) \
  F(C_CreateObject) \
  F(C_CopyObject) \
  F(C_DestroyObject) \
  F(C_GetObjectSize) \
  F(C_GetAttributeValue) \
  F(C_SetAttributeValue) \
  F(C_FindObjectsInit) \
  F(C_FindObjects) \
  F(C_FindObjectsFinal) \
  F(C_EncryptInit) \
  F(C_Encrypt) \
  F(C_EncryptUpdate) \
  F(C_EncryptFinal) \
  F(C_DecryptInit) \
  F(C_Decrypt) \
  F(C_DecryptUpdate) \
  F(C_DecryptFinal) \
  F(C_DigestInit) \
  F(C_Digest) \
  F(C_DigestUpdate) \
  F(C_DigestKey) \
  F(C_DigestFinal) \
  F(C_SignInit) \
  F(C_Sign) \
  F(C_SignUpdate) \
  F(C_SignFinal) \
  F(C_SignRecoverInit) \
  F(C_SignRecover) \
  F(C_VerifyInit) \
  F(C_Verify) \
  F(C_VerifyUpdate) \
  F(C_VerifyFinal) \
  F(C_VerifyRecoverInit) \
  F(C_VerifyRecover) \
  F(C_DigestEncryptUpdate) \
  F(C_DecryptDigestUpdate) \
  F(C_SignEncryptUpdate) \
  F(C_DecryptVerifyUpdate) \
  F(C_GenerateKey) \
  F(C_GenerateKeyPair) \
  F(C_WrapKey) \
  F(C_UnwrapKey) \
  F(C_DeriveKey) \
  F(C_SeedRandom) \
  F(C_GenerateRandom) \
  F(C_GetFunctionStatus) \
  F(C_CancelFunction) \
  F(C_WaitForSlotEvent)
// clang-format on

// SECRETMEM_FUNCTIONS_3_0 expands F(name) for the 24 functions that version 3.0 added.
// clang-format off
#define SECRETMEM_FUNCTIONS_3_0(F) \
  F(C_GetInterfaceList) \
  F(C_GetInterface) \
  F(C_LoginUser) \
  F(C_SessionCancel) \
  F(C_MessageEncryptInit) \
  F(C_EncryptMessage) \
  F(C_EncryptMessageBegin) \
  F(C_EncryptMessageNext) \
  F(C_MessageEncryptFinal) \
  F(C_MessageDecryptInit) \
  F(C_DecryptMessage) \
  F(C_DecryptMessageBegin) \
  F(C_DecryptMessageNext) \
  F(C_MessageDecryptFinal) \
  F(C_MessageSignInit) \
  F(C_SignMessage) \
  F(C_SignMessageBegin) \
  F(C_SignMessageNext) \
  F(C_MessageSignFinal) \
  F(C_MessageVerifyInit) \
  F(C_VerifyMessage) \
  F(C_VerifyMessageBegin) \
  F(C_VerifyMessageNext) \
  F(C_MessageVerifyFinal)
// clang-format on

// SECRETMEM_FUNCTIONS_3_2 expands F(name) for the 12 functions that version 3.2 added.
// clang-format off
#define SECRETMEM_FUNCTIONS_3_2(F) \
  F(C_EncapsulateKey) \
  F(C_DecapsulateKey) \
  F(C_VerifySignatureInit) \
  F(C_VerifySignature) \
  F(C_VerifySignatureUpdate) \
  F(C_VerifySignatureFinal) \
  F(C_GetSessionValidationFlags) \
  F(C_AsyncComplete) \
  F(C_AsyncGetID) \
  F(C_AsyncJoin) \
  F(C_WrapKeyAuthenticated) \
  F(C_UnwrapKeyAuthenticated)
// clang-format on

#pragma once

#include <openssl/digest.h>

#include "mechanisms/mechanism.h"
#include "mechanisms/operation.h"

namespace secretmem {

// Hash is one hash function and the mechanisms that are built on it alone.
struct Hash {
  const EVP_MD* (*md)();
  uint8_t* (*whole)(const uint8_t* data, size_t length, uint8_t* out);
  CK_MECHANISM_TYPE digest;
  CK_MECHANISM_TYPE hmac;
  CK_MECHANISM_TYPE hmac_general;
  CK_KEY_TYPE hmac_key;              // of keys for this HMAC alone
  CK_MECHANISM_TYPE key_derivation;  // the digest of a key
};

// Hashes returns SHA-1, SHA-224, SHA-256, SHA-384, SHA-512 and SHA-512/256.
std::span<const Hash> Hashes();

// FindHash returns the hash of a digest mechanism, or null.
const Hash* FindHash(CK_MECHANISM_TYPE digest);

// Digests (PKCS#11 3.2, 6.20 to 6.24): |type| is the row's.
CkResult<std::unique_ptr<DigestOperation>> BeginDigest(CK_MECHANISM_TYPE type, Parameter parameter);

// HMAC with the whole tag, or the general-length form, whose parameter is the tag's length.
CkResult<std::unique_ptr<SignOperation>> SignHmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                  const Key& key);
CkResult<std::unique_ptr<VerifyOperation>> VerifyHmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key);

}  // namespace secretmem

// RSA keys, the parameters of their mechanisms, and OpenSSL's computation beside the module's.
#pragma once

#include <string>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

// RsaNumbers are the numbers of a private key, without leading zeros.
struct RsaNumbers {
  Bytes n, e, d, p, q, exponent1, exponent2, coefficient;
  bool operator==(const RsaNumbers&) const = default;
};

// RsaNumbersOf reads a DER PrivateKeyInfo or RSAPrivateKey.
RsaNumbers RsaNumbersOf(const Bytes& der);

// WithoutZeros drops leading zero bytes.
Bytes WithoutZeros(Bytes number);

// Templates of session objects, not private; the private key is not sensitive, and extractable.
// The second form has what the specification requires and no more.
Template RsaPublicKey(const Bytes& n, const Bytes& e);
Template RsaPrivateKey(const RsaNumbers& numbers);
Template LeastRsaPrivateKey(const Bytes& n, const Bytes& d);

// RsaHash is a hash function by its name in Wycheproof's files and OpenSSL, and PKCS#11's numbers.
struct RsaHash {
  const char* name;
  const char* openssl;
  CK_MECHANISM_TYPE digest;
  CK_ULONG mgf;
  CK_MECHANISM_TYPE pkcs1;
  CK_MECHANISM_TYPE pss;
  CK_ULONG size;
};
// FindRsaHash returns null for a hash that PKCS#11 has no RSA mechanism for.
const RsaHash* FindRsaHash(const std::string& name);

// RsaMechanism is a mechanism with the bytes of its parameter. The label must outlive an OAEP one.
struct RsaMechanism {
  CK_MECHANISM_TYPE type;
  Bytes parameter{};
};
RsaMechanism Pss(CK_MECHANISM_TYPE type, const RsaHash& hash, const RsaHash& mgf, CK_ULONG salt);
RsaMechanism Oaep(const RsaHash& hash, const RsaHash& mgf, const Bytes& label);

// Outcome is a return code, and what was written if it is CKR_OK.
struct Outcome {
  CK_RV rv;
  Bytes bytes{};
  bool operator==(const Outcome&) const = default;
};

// The single-part calls, Init included, with a buffer for the longest result.
Outcome RsaSign(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                const Bytes& data);
CK_RV RsaVerify(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                const Bytes& data, const Bytes& signature);
Outcome RsaEncrypt(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                   const Bytes& data);
Outcome RsaDecrypt(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                   const Bytes& data);

// References, by OpenSSL. An empty |mgf| means PKCS#1 v1.5, in OAEP's functions, too.
Bytes ReferenceHash(const char* hash, const Bytes& data);
bool ReferenceRsaVerify(const RsaNumbers& key, const char* hash, const char* mgf, int salt,
                        const Bytes& data, const Bytes& signature);
Bytes ReferenceRsaSign(const RsaNumbers& key, const char* hash, const char* mgf, int salt,
                       const Bytes& data);
Bytes ReferenceRsaEncrypt(const RsaNumbers& key, const char* hash, const char* mgf,
                          const Bytes& label, const Bytes& data);
Bytes ReferenceRsaDecrypt(const RsaNumbers& key, const char* hash, const char* mgf,
                          const Bytes& label, const Bytes& data);

}  // namespace secretmem::conformance

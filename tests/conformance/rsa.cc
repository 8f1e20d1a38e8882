#include "tests/conformance/rsa.h"

#include <algorithm>
#include <cstring>

#include "tests/conformance/module.h"

namespace secretmem::conformance {
namespace {

constexpr RsaHash kHashes[] = {
    {"SHA-1", "SHA1", CKM_SHA_1, CKG_MGF1_SHA1, CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS, 20},
    {"SHA-224", "SHA224", CKM_SHA224, CKG_MGF1_SHA224, CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS,
     28},
    {"SHA-256", "SHA256", CKM_SHA256, CKG_MGF1_SHA256, CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS,
     32},
    {"SHA-384", "SHA384", CKM_SHA384, CKG_MGF1_SHA384, CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS,
     48},
    {"SHA-512", "SHA512", CKM_SHA512, CKG_MGF1_SHA512, CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS,
     64},
};

template <class T>
Bytes BytesOf(const T& value) {
  Bytes bytes(sizeof(value));
  memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

Template PrivateBase() {
  return Template()
      .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
      .With(CKA_KEY_TYPE, CK_ULONG{CKK_RSA})
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true)
      .With(CKA_SIGN, true)
      .With(CKA_DECRYPT, true);
}

using Init = CK_RV (*)(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE);
using Whole = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG*);

CK_RV Begin(Init init, CK_SESSION_HANDLE session, RsaMechanism& its, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism{its.type, its.parameter.empty() ? nullptr : its.parameter.data(),
                         its.parameter.size()};
  return init(session, &mechanism, key);
}

Outcome Run(Init init, Whole whole, CK_SESSION_HANDLE session, RsaMechanism& mechanism,
            CK_OBJECT_HANDLE key, Bytes data) {
  if (const CK_RV rv = Begin(init, session, mechanism, key); rv != CKR_OK) return {rv};
  Bytes out(1024);
  CK_ULONG length = out.size();
  data.reserve(1);  // no data are not a null pointer
  const CK_RV rv = whole(session, data.data(), data.size(), out.data(), &length);
  if (rv != CKR_OK) return {rv};
  out.resize(length);
  return {rv, out};
}

}  // namespace

Bytes WithoutZeros(Bytes number) {
  number.erase(number.begin(), std::ranges::find_if(number, [](CK_BYTE b) { return b != 0; }));
  return number;
}

Template RsaPublicKey(const Bytes& n, const Bytes& e) {
  return Template()
      .With(CKA_CLASS, CK_ULONG{CKO_PUBLIC_KEY})
      .With(CKA_KEY_TYPE, CK_ULONG{CKK_RSA})
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_VERIFY, true)
      .With(CKA_ENCRYPT, true)
      .With(CKA_MODULUS, n)
      .With(CKA_PUBLIC_EXPONENT, e);
}

Template RsaPrivateKey(const RsaNumbers& numbers) {
  return PrivateBase()
      .With(CKA_MODULUS, numbers.n)
      .With(CKA_PUBLIC_EXPONENT, numbers.e)
      .With(CKA_PRIVATE_EXPONENT, numbers.d)
      .With(CKA_PRIME_1, numbers.p)
      .With(CKA_PRIME_2, numbers.q)
      .With(CKA_EXPONENT_1, numbers.exponent1)
      .With(CKA_EXPONENT_2, numbers.exponent2)
      .With(CKA_COEFFICIENT, numbers.coefficient);
}

Template LeastRsaPrivateKey(const Bytes& n, const Bytes& d) {
  return PrivateBase().With(CKA_MODULUS, n).With(CKA_PRIVATE_EXPONENT, d);
}

const RsaHash* FindRsaHash(const std::string& name) {
  const auto* found = std::ranges::find_if(kHashes, [&](auto& its) { return its.name == name; });
  return found == std::end(kHashes) ? nullptr : found;
}

RsaMechanism Pss(CK_MECHANISM_TYPE type, const RsaHash& hash, const RsaHash& mgf, CK_ULONG salt) {
  CK_RSA_PKCS_PSS_PARAMS parameter{};
  parameter.hashAlg = hash.digest;
  parameter.mgf = mgf.mgf;
  parameter.sLen = salt;
  return {type, BytesOf(parameter)};
}

RsaMechanism Oaep(const RsaHash& hash, const RsaHash& mgf, const Bytes& label) {
  CK_RSA_PKCS_OAEP_PARAMS parameter{};
  parameter.hashAlg = hash.digest;
  parameter.mgf = mgf.mgf;
  parameter.source = CKZ_DATA_SPECIFIED;
  parameter.pSourceData = label.empty() ? nullptr : const_cast<CK_BYTE*>(label.data());
  parameter.ulSourceDataLen = label.size();
  return {CKM_RSA_PKCS_OAEP, BytesOf(parameter)};
}

Outcome RsaSign(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                const Bytes& data) {
  return Run(P11().C_SignInit, P11().C_Sign, session, mechanism, key, data);
}

CK_RV RsaVerify(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                const Bytes& data, const Bytes& signature) {
  if (const CK_RV rv = Begin(P11().C_VerifyInit, session, mechanism, key); rv != CKR_OK) return rv;
  Bytes data_copy = data, signature_copy = signature;
  // Nothing is not a null pointer.
  data_copy.reserve(1);
  signature_copy.reserve(1);
  return P11().C_Verify(session, data_copy.data(), data_copy.size(), signature_copy.data(),
                        signature_copy.size());
}

Outcome RsaEncrypt(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                   const Bytes& data) {
  return Run(P11().C_EncryptInit, P11().C_Encrypt, session, mechanism, key, data);
}

Outcome RsaDecrypt(CK_SESSION_HANDLE session, RsaMechanism mechanism, CK_OBJECT_HANDLE key,
                   const Bytes& data) {
  return Run(P11().C_DecryptInit, P11().C_Decrypt, session, mechanism, key, data);
}

}  // namespace secretmem::conformance

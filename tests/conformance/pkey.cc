#include "tests/conformance/pkey.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <cstdlib>
#include <string>

#include "tests/conformance/openssl.h"

namespace secretmem::conformance {
namespace {

// Encoded calls one of OpenSSL's i2d functions.
template <class T>
Bytes Encoded(int (*encode)(T*, unsigned char**), T* value) {
  unsigned char* der = nullptr;
  const int size = encode(value, &der);
  Check(size > 0, "encoding");
  const Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

Pkey GeneratePkey(const char* type, const char* parameter, bool explicit_curve) {
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr);
  EVP_PKEY* key = nullptr;
  Check(EVP_PKEY_keygen_init(context) == 1, type);
  if (parameter != nullptr && std::string(type) == "RSA") {
    Check(EVP_PKEY_CTX_set_rsa_keygen_bits(context, std::atoi(parameter)) == 1, parameter);
  } else if (parameter != nullptr) {
    Check(EVP_PKEY_CTX_set_group_name(context, parameter) == 1, parameter);
    if (explicit_curve) {
      Check(EVP_PKEY_CTX_set_ec_param_enc(context, OPENSSL_EC_EXPLICIT_CURVE) == 1, "explicit");
    }
  }
  Check(EVP_PKEY_generate(context, &key) == 1, type);
  EVP_PKEY_CTX_free(context);
  return Pkey(key);
}

Bytes Pkcs8Of(const EVP_PKEY* key) {
  PKCS8_PRIV_KEY_INFO* info = EVP_PKEY2PKCS8(key);
  const Bytes der = Encoded<const PKCS8_PRIV_KEY_INFO>(i2d_PKCS8_PRIV_KEY_INFO, info);
  PKCS8_PRIV_KEY_INFO_free(info);
  return der;
}

Bytes PublicKeyInfoOf(EVP_PKEY* key) { return Encoded<const EVP_PKEY>(i2d_PUBKEY, key); }

Pkey ParsePkcs8(const Bytes& der) {
  const unsigned char* at = der.data();
  PKCS8_PRIV_KEY_INFO* info = d2i_PKCS8_PRIV_KEY_INFO(nullptr, &at, static_cast<long>(der.size()));
  if (info == nullptr || at != der.data() + der.size()) {
    PKCS8_PRIV_KEY_INFO_free(info);
    return nullptr;
  }
  Pkey key(EVP_PKCS82PKEY(info));
  PKCS8_PRIV_KEY_INFO_free(info);
  return key;
}

Pkey ParsePublicKeyInfo(const Bytes& der) {
  const unsigned char* at = der.data();
  Pkey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size())));
  return at == der.data() + der.size() ? std::move(key) : nullptr;
}

Bytes EcPointOf(const EVP_PKEY* key) {
  Bytes point(200);
  size_t size = 0;
  Check(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(),
                                        &size) == 1,
        "point");
  point.resize(size);
  return point;
}

bool ReferenceVerify(EVP_PKEY* key, const char* hash, const Bytes& data, const Bytes& signature) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Check(EVP_DigestVerifyInit_ex(context, nullptr, hash, nullptr, nullptr, key, nullptr) == 1,
        "verify");
  const bool right =
      EVP_DigestVerify(context, signature.data(), signature.size(), data.data(), data.size()) == 1;
  EVP_MD_CTX_free(context);
  return right;
}

Bytes ReferenceKeyWrap(const char* name, const Bytes& key, const Bytes& data, bool wrap) {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  Bytes out(data.size() + 16);
  int written = 0;
  Check(EVP_CipherInit_ex2(context, cipher, key.data(), nullptr, wrap ? 1 : 0, nullptr) == 1 &&
            EVP_CipherUpdate(context, out.data(), &written, data.data(),
                             static_cast<int>(data.size())) == 1,
        name);
  EVP_CIPHER_free(cipher);
  EVP_CIPHER_CTX_free(context);
  out.resize(static_cast<size_t>(written));
  return out;
}

Bytes DerLong(CK_BYTE tag, const Bytes& contents) {
  Bytes der;
  der.reserve(contents.size() + 4);
  der.push_back(tag);
  const size_t size = contents.size();
  if (size > 127) der.push_back(size > 255 ? 0x82 : 0x81);
  if (size > 255) der.push_back(static_cast<CK_BYTE>(size >> 8));
  der.push_back(static_cast<CK_BYTE>(size));
  der.insert(der.end(), contents.begin(), contents.end());
  return der;
}

Bytes Concat(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes EcPkcs8(const EcCurve& curve, const Bytes& scalar, const Bytes& rest) {
  const Bytes key = DerLong(0x30, Concat({FromHex("020101"), DerLong(0x04, scalar), rest}));
  const Bytes algorithm = DerLong(0x30, Concat({FromHex("06072a8648ce3d0201"), curve.Params()}));
  return DerLong(0x30, Concat({FromHex("020100"), algorithm, DerLong(0x04, key)}));
}

}  // namespace secretmem::conformance

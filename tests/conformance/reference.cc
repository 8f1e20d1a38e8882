// The independent computations: OpenSSL's libcrypto, never the module under test.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include <string>

#include "tests/conformance/openssl.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

using Key = Owned<EVP_PKEY, EVP_PKEY_free>;

Key PrivateKey(const Bytes& bytes) {
  Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, bytes.data(), bytes.size()));
  Check(key != nullptr, "private key");
  return key;
}

// Encode collects what an i2d function writes.
template <typename F>
Bytes Encode(F i2d) {
  unsigned char* der = nullptr;
  const int length = i2d(&der);
  Check(length > 0, "DER");
  Bytes bytes(der, der + length);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

Bytes ReferencePublicKey(const Bytes& private_key) {
  const Key key = PrivateKey(private_key);
  Bytes result(32);
  size_t length = result.size();
  Check(EVP_PKEY_get_raw_public_key(key.get(), result.data(), &length) == 1, "public key");
  return result;
}

Bytes ReferenceX25519(const Bytes& private_key, const Bytes& peer) {
  const Key key = PrivateKey(private_key);
  const Key other(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), peer.size()));
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new(key.get(), nullptr));
  Bytes result(32);
  size_t length = result.size();
  Check(other != nullptr && EVP_PKEY_derive_init(context.get()) == 1 &&
            EVP_PKEY_derive_set_peer(context.get(), other.get()) == 1 &&
            EVP_PKEY_derive(context.get(), result.data(), &length) == 1 && length == 32,
        "X25519");
  return result;
}

Bytes ReferenceX963(const char* digest, const Bytes& secret, const Bytes& info, size_t length) {
  const Owned<EVP_KDF, EVP_KDF_free> kdf(EVP_KDF_fetch(nullptr, "X963KDF", nullptr));
  const Owned<EVP_KDF_CTX, EVP_KDF_CTX_free> context(EVP_KDF_CTX_new(kdf.get()));
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>(digest), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<CK_BYTE*>(secret.data()),
                                        secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<CK_BYTE*>(info.data()),
                                        info.size()),
      OSSL_PARAM_construct_end()};
  Bytes result(length);
  Check(EVP_KDF_derive(context.get(), result.data(), length, parameters) == 1, "X9.63 KDF");
  return result;
}

Bytes ReferenceRandom(size_t length) {
  Bytes result(length);
  Check(RAND_bytes(result.data(), static_cast<int>(length)) == 1, "random");
  return result;
}

Certificate SelfSignedCertificate() {
  const Key key(EVP_EC_gen("P-256"));
  const Owned<X509, X509_free> certificate(X509_new());
  X509* x509 = certificate.get();
  Check(key != nullptr && x509 != nullptr, "certificate");
  X509_NAME* name = X509_get_subject_name(x509);
  const auto* text = reinterpret_cast<const unsigned char*>("Conformance");
  Check(X509_set_version(x509, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x509), 77) == 1 &&
            X509_gmtime_adj(X509_getm_notBefore(x509), 0) != nullptr &&
            X509_gmtime_adj(X509_getm_notAfter(x509), 86400) != nullptr &&
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0) == 1 &&
            X509_set_issuer_name(x509, name) == 1 && X509_set_pubkey(x509, key.get()) == 1 &&
            X509_sign(x509, key.get(), EVP_sha256()) > 0,
        "certificate");
  return {
      Encode([&](unsigned char** out) { return i2d_X509(x509, out); }),
      Encode([&](unsigned char** out) { return i2d_X509_NAME(name, out); }),
      Encode([&](unsigned char** out) { return i2d_X509_NAME(X509_get_issuer_name(x509), out); }),
      Encode([&](unsigned char** out) {
        return i2d_ASN1_INTEGER(X509_get0_serialNumber(x509), out);
      })};
}

}  // namespace secretmem::conformance

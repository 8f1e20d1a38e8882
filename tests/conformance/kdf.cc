#include "tests/conformance/kdf.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "tests/conformance/module.h"

namespace secretmem::conformance {
namespace {

// Parameters collects an OSSL_PARAM list that keeps what it points to.
class Parameters {
 public:
  Parameters& Text(const char* name, std::string value) {
    texts_.push_back(std::make_unique<std::string>(std::move(value)));
    list_.push_back(OSSL_PARAM_construct_utf8_string(name, texts_.back()->data(), 0));
    return *this;
  }
  Parameters& Octets(const char* name, const Bytes& value) {
    octets_.push_back(std::make_unique<Bytes>(value));
    octets_.back()->reserve(1);
    list_.push_back(
        OSSL_PARAM_construct_octet_string(name, octets_.back()->data(), octets_.back()->size()));
    return *this;
  }
  Parameters& Number(const char* name, unsigned value) {
    numbers_.push_back(std::make_unique<unsigned>(value));
    list_.push_back(OSSL_PARAM_construct_uint(name, numbers_.back().get()));
    return *this;
  }
  const OSSL_PARAM* data() {
    list_.push_back(OSSL_PARAM_construct_end());
    return list_.data();
  }

 private:
  std::vector<OSSL_PARAM> list_;
  std::vector<std::unique_ptr<std::string>> texts_;
  std::vector<std::unique_ptr<Bytes>> octets_;
  std::vector<std::unique_ptr<unsigned>> numbers_;
};

Bytes Run(const char* kdf_name, Parameters parameters, size_t size) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, kdf_name, nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  Bytes out(size);
  const bool done = EVP_KDF_derive(context, out.data(), out.size(), parameters.data()) == 1;
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  if (!done) throw std::runtime_error(std::string("the reference computation failed: ") + kdf_name);
  return out;
}

}  // namespace

Template BaseSecret(const Bytes& value) {
  return SecretObject(value)
      .With(CKA_DERIVE, true)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true);
}

Template DerivedSecret(size_t size) {
  Template wanted = Template()
                        .With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY})
                        .With(CKA_KEY_TYPE, CK_ULONG{CKK_GENERIC_SECRET})
                        .With(CKA_TOKEN, false)
                        .With(CKA_PRIVATE, false)
                        .With(CKA_SENSITIVE, false)
                        .With(CKA_EXTRACTABLE, true);
  if (size != 0) wanted.With(CKA_VALUE_LEN, CK_ULONG{size});
  return wanted;
}

CK_RV DeriveBy(CK_SESSION_HANDLE session, CK_MECHANISM mechanism, CK_OBJECT_HANDLE base,
               Template wanted, CK_OBJECT_HANDLE& key) {
  key = CK_INVALID_HANDLE;
  return P11().C_DeriveKey(session, &mechanism, base, wanted.data(), wanted.size(), &key);
}

CK_HKDF_PARAMS Hkdf::Params() {
  return {static_cast<CK_BBOOL>(extract),
          static_cast<CK_BBOOL>(expand),
          hash,
          salt_type,
          salt.empty() ? nullptr : salt.data(),
          static_cast<CK_ULONG>(salt.size()),
          salt_key,
          info.empty() ? nullptr : info.data(),
          static_cast<CK_ULONG>(info.size())};
}

Bytes ReferenceHkdf(const char* mode, const char* hash, const Bytes& key, const Bytes& salt,
                    const Bytes& info, size_t size) {
  Parameters parameters;
  parameters.Text(OSSL_KDF_PARAM_DIGEST, hash)
      .Text(OSSL_KDF_PARAM_MODE, mode)
      .Octets(OSSL_KDF_PARAM_KEY, key);
  if (!salt.empty()) parameters.Octets(OSSL_KDF_PARAM_SALT, salt);
  if (!info.empty()) parameters.Octets(OSSL_KDF_PARAM_INFO, info);
  return Run("HKDF", std::move(parameters), size);
}

Bytes ReferenceKbkdf(const char* hash, const Bytes& key, const Bytes& label, const Bytes& context,
                     size_t size) {
  Parameters parameters;
  parameters.Text(OSSL_KDF_PARAM_MODE, "counter")
      .Octets(OSSL_KDF_PARAM_KEY, key)
      .Octets(OSSL_KDF_PARAM_SALT, label)
      .Octets(OSSL_KDF_PARAM_INFO, context);
  if (hash != nullptr) {
    parameters.Text(OSSL_KDF_PARAM_MAC, "HMAC").Text(OSSL_KDF_PARAM_DIGEST, hash);
  } else {
    parameters.Text(OSSL_KDF_PARAM_MAC, "CMAC").Text(OSSL_KDF_PARAM_CIPHER, "AES-128-CBC");
  }
  return Run("KBKDF", std::move(parameters), size);
}

Bytes ReferencePbkdf2(const char* hash, const Bytes& password, const Bytes& salt,
                      unsigned iterations, size_t size) {
  Parameters parameters;
  parameters.Text(OSSL_KDF_PARAM_DIGEST, hash)
      .Octets(OSSL_KDF_PARAM_PASSWORD, password)
      .Octets(OSSL_KDF_PARAM_SALT, salt)
      .Number(OSSL_KDF_PARAM_ITER, iterations);
  return Run("PBKDF2", std::move(parameters), size);
}

Bytes ReferenceTlsPrf(const char* hash, const Bytes& secret, const std::string& label,
                      const Bytes& seed, size_t size) {
  Parameters parameters;
  parameters.Text(OSSL_KDF_PARAM_DIGEST, hash)
      .Octets(OSSL_KDF_PARAM_SECRET, secret)
      .Octets(OSSL_KDF_PARAM_SEED, Bytes(label.begin(), label.end()))
      .Octets(OSSL_KDF_PARAM_SEED, seed);
  return Run("TLS1-PRF", std::move(parameters), size);
}

}  // namespace secretmem::conformance

#include "mechanisms/rsa_cipher.h"

#include <openssl/evp.h>
#include <openssl/mem.h>

#include <algorithm>

#include "mechanisms/boringssl_error.h"
#include "mechanisms/digest.h"
#include "mechanisms/rsa_key.h"
#include "mechanisms/rsa_pkcs1_decrypt.h"
#include "mechanisms/rsa_sign.h"

namespace secretmem {
namespace {

// Scheme is a mechanism with its parameter and key.
struct Scheme {
  CK_MECHANISM_TYPE type;
  OpenRsaKey key;
  // OAEP's.
  const EVP_MD* hash = nullptr;
  const EVP_MD* mgf = nullptr;
  std::vector<uint8_t> label{};

  size_t size() const { return key.size(); }

  // The longest plain text.
  size_t room() const {
    switch (type) {
      case CKM_RSA_PKCS:
        return size() - kRsaPkcs1Overhead;
      case CKM_RSA_PKCS_OAEP:
        return size() - 2 - 2 * EVP_MD_size(hash);
      default:
        return size();
    }
  }
};

CkStatus ReadOaep(Parameter parameter, Scheme& scheme) {
  const auto given = ReadParameter<CK_RSA_PKCS_OAEP_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const Hash* hash = FindHash(given->hashAlg);
  scheme.mgf = FindMgf(given->mgf);
  const auto label = ParameterBytes(given->pSourceData, given->ulSourceDataLen);
  if (hash == nullptr || scheme.mgf == nullptr || !label) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  // Clients without a label leave the source out, too.
  if (given->source != CKZ_DATA_SPECIFIED && (given->source != 0 || !label->empty())) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  scheme.hash = hash->md();
  scheme.label.assign(label->begin(), label->end());
  if (scheme.size() < 2 + 2 * EVP_MD_size(scheme.hash)) return Refuse(CKR_KEY_SIZE_RANGE);
  return {};
}

CkResult<Scheme> Begin(CK_MECHANISM_TYPE type, Parameter parameter, CkResult<OpenRsaKey> key) {
  if (!key) return Refuse(key.error());
  Scheme scheme{.type = type, .key = std::move(*key)};
  if (type == CKM_RSA_PKCS_OAEP) {
    if (auto read = ReadOaep(parameter, scheme); !read) return Refuse(read.error());
  } else if (!parameter.empty()) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return scheme;
}

// The functions below run on the secret stack. |out| holds the modulus's length.

CK_RV Encrypt(const Scheme& scheme, RSA* rsa, std::span<const uint8_t> in, std::span<uint8_t> out) {
  size_t written = 0;
  if (scheme.type == CKM_RSA_PKCS) {
    return RSA_encrypt(rsa, &written, out.data(), out.size(), in.data(), in.size(),
                       RSA_PKCS1_PADDING)
               ? CKR_OK
               : FailureOr(CKR_FUNCTION_FAILED);
  }
  uint8_t padded[kRsaMaxBytes] = {};
  if (scheme.type == CKM_RSA_PKCS_OAEP) {
    if (!RSA_padding_add_PKCS1_OAEP_mgf1(padded, out.size(), in.data(), in.size(),
                                         scheme.label.data(), scheme.label.size(), scheme.hash,
                                         scheme.mgf)) {
      return FailureOr(CKR_FUNCTION_FAILED);
    }
  } else {
    std::ranges::copy(in, padded + out.size() - in.size());
  }
  // All that it has left to refuse is a number above the modulus.
  return RSA_encrypt(rsa, &written, out.data(), out.size(), padded, out.size(), RSA_NO_PADDING)
             ? CKR_OK
             : FailureOr(CKR_DATA_INVALID);
}

bool DecryptOaep(const Scheme& scheme, RSA* rsa, std::span<const uint8_t> in, uint8_t* plain,
                 size_t* length) {
  const bssl::UniquePtr<EVP_PKEY> pkey(EVP_PKEY_new());
  if (pkey == nullptr || !EVP_PKEY_set1_RSA(pkey.get(), rsa)) return false;
  const bssl::UniquePtr<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(pkey.get(), nullptr));
  if (context == nullptr || !EVP_PKEY_decrypt_init(context.get()) ||
      !EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) ||
      !EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), scheme.hash) ||
      !EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), scheme.mgf)) {
    return false;
  }
  if (!scheme.label.empty()) {
    bssl::UniquePtr<uint8_t> label(
        static_cast<uint8_t*>(OPENSSL_memdup(scheme.label.data(), scheme.label.size())));
    if (label == nullptr ||
        !EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), label.get(), scheme.label.size())) {
      return false;
    }
    (void)label.release();
  }
  return EVP_PKEY_decrypt(context.get(), plain, length, in.data(), in.size()) == 1;
}

CkResult<size_t> Decrypt(const Scheme& scheme, RsaKey& key, std::span<const uint8_t> in,
                         std::span<uint8_t> out) {
  if (scheme.type == CKM_RSA_PKCS) {
    const auto length = DecryptPkcs1(key, in, out);
    if (!length) return Refuse(FailureOr(CKR_ENCRYPTED_DATA_INVALID));
    return *length;
  }
  uint8_t plain[kRsaMaxBytes];
  size_t length = sizeof(plain);
  const bool decrypted = scheme.type == CKM_RSA_PKCS_OAEP
                             ? DecryptOaep(scheme, key.rsa.get(), in, plain, &length)
                             : RSA_decrypt(key.rsa.get(), &length, plain, sizeof(plain), in.data(),
                                           in.size(), RSA_NO_PADDING) == 1;
  if (!decrypted || length > out.size()) {
    return Refuse(FailureOr(CKR_ENCRYPTED_DATA_INVALID));
  }
  std::copy_n(plain, length, out.begin());
  return length;
}

class OnePart : public CipherOperation {
 public:
  explicit OnePart(Scheme scheme) : scheme_(std::move(scheme)) {}

  size_t update_size(size_t) const override { return 0; }
  size_t final_size() const override { return 0; }
  CkResult<size_t> Update(std::span<const uint8_t>, std::span<uint8_t>) override {
    return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
  }
  CkResult<size_t> Final(std::span<uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }

 protected:
  Scheme scheme_;
};

class Encryption : public OnePart {
 public:
  using OnePart::OnePart;

  size_t whole_size(size_t) const override { return scheme_.size(); }
  CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (in.size() > scheme_.room()) return Refuse(CKR_DATA_LEN_RANGE);
    const auto done = Flatten(scheme_.key.key->With([&](RsaKey& key) {
      return Encrypt(scheme_, key.rsa.get(), in, out.first(scheme_.size()));
    }));
    if (!done) return Refuse(done.error());
    return scheme_.size();
  }
};

class Decryption : public OnePart {
 public:
  using OnePart::OnePart;

  size_t whole_size(size_t) const override { return scheme_.room(); }
  CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (in.size() != scheme_.size()) return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
    const auto done = ToCk(scheme_.key.key->With(
        [&](RsaKey& key) { return Decrypt(scheme_, key, in, out.first(scheme_.room())); }));
    if (!done) return Refuse(done.error());
    return *done;
  }
};

}  // namespace

CkResult<std::unique_ptr<CipherOperation>> EncryptRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key) {
  auto scheme = Begin(type, parameter, OpenRsaPublic(key));
  if (!scheme) return Refuse(scheme.error());
  return std::make_unique<Encryption>(std::move(*scheme));
}

CkResult<std::unique_ptr<CipherOperation>> DecryptRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key) {
  auto scheme = Begin(type, parameter, OpenRsaPrivate(key));
  if (!scheme) return Refuse(scheme.error());
  return std::make_unique<Decryption>(std::move(*scheme));
}

CkResult<std::vector<uint8_t>> WrapRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                       const Key& wrapping, const Vault& material) {
  const auto scheme = Begin(type, parameter, OpenRsaPublic(wrapping));
  if (!scheme) return Refuse(scheme.error());
  if (material.size() > scheme->room()) return Refuse(CKR_KEY_SIZE_RANGE);
  std::vector<uint8_t> wrapped(scheme->size());
  const auto done = Flatten(scheme->key.key->With([&](RsaKey& key) {
    return material.WithSecret([&](std::span<const uint8_t> plain) -> CK_RV {
      return Encrypt(*scheme, key.rsa.get(), plain, wrapped);
    });
  }));
  if (!done) return Refuse(done.error());
  return wrapped;
}

CkResult<Vault> UnwrapRsa(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                          std::span<const uint8_t> wrapped, std::span<const size_t> lengths) {
  const auto scheme = Begin(type, parameter, OpenRsaPrivate(unwrapping));
  if (!scheme) return Refuse(scheme.error());
  if (wrapped.size() != scheme->size()) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  std::vector<size_t> fitting;
  std::ranges::copy_if(lengths, std::back_inserter(fitting),
                       [&](size_t length) { return length > 0 && length <= scheme->room(); });
  // No such key can be in it, whatever the padding.
  if (!lengths.empty() && fitting.empty()) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  auto unwrapped = ToCk(scheme->key.key->With([&](RsaKey& key) -> CkResult<Vault> {
    uint8_t plain[kRsaMaxBytes];
    const std::span<uint8_t> room(plain, scheme->room());
    size_t size = 0;
    if (type == CKM_RSA_PKCS) {
      const auto written = UnwrapPkcs1(key, wrapped, fitting, room);
      if (!written) return Refuse(FailureOr(CKR_WRAPPED_KEY_INVALID));
      size = *written;
    } else {
      const auto written = Decrypt(*scheme, key, wrapped, room);
      if (!written) return Refuse(written.error());
      size = *written;
    }
    if (size == 0) return Refuse(CKR_WRAPPED_KEY_INVALID);
    return ToCk(Vault::CopyOf(room.first(size)));
  }));
  if (!unwrapped) return Refuse(unwrapped.error());
  return std::move(*unwrapped);
}

}  // namespace secretmem

#include "mechanisms/rsa_sign.h"

#include <openssl/digest.h>
#include <openssl/mem.h>

#include <algorithm>

#include "mechanisms/boringssl_error.h"
#include "mechanisms/digest.h"
#include "mechanisms/rsa_key.h"

namespace secretmem {
namespace {

enum class Padding : uint8_t { kPkcs1, kNone, kPss };

// One mechanism; |digest| is the hash that it applies to the data, or absent.
struct Scheme {
  CK_MECHANISM_TYPE type;
  Padding padding;
  CK_MECHANISM_TYPE digest = CK_UNAVAILABLE_INFORMATION;

  bool hashes() const { return digest != CK_UNAVAILABLE_INFORMATION; }
};

constexpr Scheme kSchemes[] = {
    {CKM_RSA_PKCS, Padding::kPkcs1},
    {CKM_RSA_X_509, Padding::kNone},
    {CKM_RSA_PKCS_PSS, Padding::kPss},
    {CKM_SHA1_RSA_PKCS, Padding::kPkcs1, CKM_SHA_1},
    {CKM_SHA224_RSA_PKCS, Padding::kPkcs1, CKM_SHA224},
    {CKM_SHA256_RSA_PKCS, Padding::kPkcs1, CKM_SHA256},
    {CKM_SHA384_RSA_PKCS, Padding::kPkcs1, CKM_SHA384},
    {CKM_SHA512_RSA_PKCS, Padding::kPkcs1, CKM_SHA512},
    {CKM_SHA1_RSA_PKCS_PSS, Padding::kPss, CKM_SHA_1},
    {CKM_SHA224_RSA_PKCS_PSS, Padding::kPss, CKM_SHA224},
    {CKM_SHA256_RSA_PKCS_PSS, Padding::kPss, CKM_SHA256},
    {CKM_SHA384_RSA_PKCS_PSS, Padding::kPss, CKM_SHA384},
    {CKM_SHA512_RSA_PKCS_PSS, Padding::kPss, CKM_SHA512},
};

// Signature is one scheme with its parameter and key: what both directions need.
class Signature {
 public:
  using Open = CkResult<OpenRsaKey> (*)(const Key&);
  static CkResult<Signature> Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                   Open open);

  size_t size() const { return key_.size(); }
  const Scheme& scheme() const { return *scheme_; }
  size_t max_recovered() const {
    return scheme_->padding == Padding::kPkcs1 ? size() - kRsaPkcs1Overhead : size();
  }

  // |data| is the hash where the scheme hashes.
  CkStatus CheckLength(std::span<const uint8_t> data) const;
  CkStatus Sign(std::span<const uint8_t> data, std::span<uint8_t> out) const;
  CkStatus Verify(std::span<const uint8_t> data, std::span<const uint8_t> signature) const;
  // Recover is for schemes that do not hash.
  CkResult<std::vector<uint8_t>> Recover(std::span<const uint8_t> signature) const;

 private:
  Signature(const Scheme* scheme, OpenRsaKey key) : scheme_(scheme), key_(std::move(key)) {}

  CkStatus ReadPss(Parameter parameter);
  CK_RV SignOnStack(RSA* rsa, std::span<const uint8_t> data, std::span<uint8_t> out) const;
  CK_RV VerifyOnStack(RSA* rsa, std::span<const uint8_t> data,
                      std::span<const uint8_t> signature) const;
  bool RecoverOnStack(RSA* rsa, std::span<const uint8_t> signature, uint8_t* out,
                      size_t* length) const;

  const Scheme* scheme_;
  OpenRsaKey key_;
  const EVP_MD* hash_ = nullptr;  // null: raw data
  const EVP_MD* mgf_ = nullptr;
  int salt_ = 0;
};

CkResult<Signature> Signature::Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                     Open open) {
  const auto* scheme = std::ranges::find(kSchemes, type, &Scheme::type);
  if (scheme == std::end(kSchemes)) return Refuse(CKR_MECHANISM_INVALID);
  auto opened = open(key);
  if (!opened) return Refuse(opened.error());
  Signature signature(scheme, std::move(*opened));
  if (scheme->hashes()) signature.hash_ = FindHash(scheme->digest)->md();
  if (scheme->padding == Padding::kPss) {
    if (auto read = signature.ReadPss(parameter); !read) return Refuse(read.error());
  } else if (!parameter.empty()) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return signature;
}

CkStatus Signature::ReadPss(Parameter parameter) {
  const auto given = ReadParameter<CK_RSA_PKCS_PSS_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const Hash* hash = FindHash(given->hashAlg);
  mgf_ = FindMgf(given->mgf);
  if (hash == nullptr || mgf_ == nullptr ||
      (scheme_->hashes() && given->hashAlg != scheme_->digest)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  hash_ = hash->md();
  // RFC 8017, 9.1.1: the encoded message is one bit shorter than the modulus.
  const size_t room = (key_.bits - 1 + 7) / 8;
  const size_t needed = EVP_MD_size(hash_) + 2;
  if (room < needed || given->sLen > room - needed) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  salt_ = static_cast<int>(given->sLen);
  return {};
}

CkStatus Signature::CheckLength(std::span<const uint8_t> data) const {
  bool fits = true;
  if (hash_ != nullptr) {
    fits = data.size() == EVP_MD_size(hash_);
  } else if (scheme_->padding == Padding::kPkcs1) {
    fits = data.size() <= size() - kRsaPkcs1Overhead;
  } else {
    fits = data.size() <= size();
  }
  if (!fits) return Refuse(CKR_DATA_LEN_RANGE);
  return {};
}

CK_RV Signature::SignOnStack(RSA* rsa, std::span<const uint8_t> data,
                             std::span<uint8_t> out) const {
  size_t written = 0;
  switch (scheme_->padding) {
    case Padding::kPss:
      return RSA_sign_pss_mgf1(rsa, &written, out.data(), out.size(), data.data(), data.size(),
                               hash_, mgf_, salt_)
                 ? CKR_OK
                 : FailureOr(CKR_FUNCTION_FAILED);
    case Padding::kPkcs1: {
      if (hash_ == nullptr) {
        return RSA_sign_raw(rsa, &written, out.data(), out.size(), data.data(), data.size(),
                            RSA_PKCS1_PADDING)
                   ? CKR_OK
                   : FailureOr(CKR_FUNCTION_FAILED);
      }
      unsigned length = 0;
      // The length of a hash fits whatever integer type BoringSSL takes here.
      return RSA_sign(EVP_MD_type(hash_), data.data(), static_cast<unsigned>(data.size()),
                      out.data(), &length, rsa)
                 ? CKR_OK
                 : FailureOr(CKR_FUNCTION_FAILED);
    }
    case Padding::kNone: {
      uint8_t padded[kRsaMaxBytes] = {};
      std::ranges::copy(data, padded + out.size() - data.size());
      // All that it has left to refuse is a number above the modulus.
      return RSA_sign_raw(rsa, &written, out.data(), out.size(), padded, out.size(), RSA_NO_PADDING)
                 ? CKR_OK
                 : FailureOr(CKR_DATA_INVALID);
    }
  }
  return CKR_GENERAL_ERROR;
}

CK_RV Signature::VerifyOnStack(RSA* rsa, std::span<const uint8_t> data,
                               std::span<const uint8_t> signature) const {
  if (scheme_->padding == Padding::kPss) {
    return RSA_verify_pss_mgf1(rsa, data.data(), data.size(), hash_, mgf_, salt_, signature.data(),
                               signature.size())
               ? CKR_OK
               : FailureOr(CKR_SIGNATURE_INVALID);
  }
  if (hash_ != nullptr) {
    return RSA_verify(EVP_MD_type(hash_), data.data(), data.size(), signature.data(),
                      signature.size(), rsa)
               ? CKR_OK
               : FailureOr(CKR_SIGNATURE_INVALID);
  }
  uint8_t recovered[kRsaMaxBytes];
  size_t length = 0;
  if (!RecoverOnStack(rsa, signature, recovered, &length)) return FailureOr(CKR_SIGNATURE_INVALID);
  const std::span<const uint8_t> signed_data(recovered, length);
  if (scheme_->padding == Padding::kPkcs1)
    return std::ranges::equal(signed_data, data) ? CKR_OK : CKR_SIGNATURE_INVALID;
  const auto zeros = signed_data.first(length - data.size());
  const bool same = std::ranges::all_of(zeros, [](uint8_t byte) { return byte == 0; }) &&
                    std::ranges::equal(signed_data.subspan(zeros.size()), data);
  return same ? CKR_OK : CKR_SIGNATURE_INVALID;
}

// |out| holds kRsaMaxBytes.
bool Signature::RecoverOnStack(RSA* rsa, std::span<const uint8_t> signature, uint8_t* out,
                               size_t* length) const {
  return RSA_verify_raw(rsa, length, out, kRsaMaxBytes, signature.data(), signature.size(),
                        scheme_->padding == Padding::kPkcs1 ? RSA_PKCS1_PADDING : RSA_NO_PADDING) ==
         1;
}

CkResult<std::vector<uint8_t>> Signature::Recover(std::span<const uint8_t> signature) const {
  if (signature.size() != size()) return Refuse(CKR_SIGNATURE_LEN_RANGE);
  std::vector<uint8_t> data(kRsaMaxBytes);
  size_t length = 0;
  const auto done = Flatten(key_.key->With([&](RsaKey& key) -> CK_RV {
    return RecoverOnStack(key.rsa.get(), signature, data.data(), &length)
               ? CKR_OK
               : FailureOr(CKR_SIGNATURE_INVALID);
  }));
  if (!done) return Refuse(done.error());
  data.resize(length);
  return data;
}

CkStatus Signature::Sign(std::span<const uint8_t> data, std::span<uint8_t> out) const {
  if (auto fits = CheckLength(data); !fits) return fits;
  return Flatten(key_.key->With(
      [&](RsaKey& key) { return SignOnStack(key.rsa.get(), data, out.first(size())); }));
}

CkStatus Signature::Verify(std::span<const uint8_t> data,
                           std::span<const uint8_t> signature) const {
  if (auto fits = CheckLength(data); !fits) return fits;
  if (signature.size() != size()) return Refuse(CKR_SIGNATURE_LEN_RANGE);
  return Flatten(
      key_.key->With([&](RsaKey& key) { return VerifyOnStack(key.rsa.get(), data, signature); }));
}

// In one part.
class RawSigner : public SignOperation {
 public:
  explicit RawSigner(Signature signature) : signature_(std::move(signature)) {}

  size_t max_size() const override { return signature_.size(); }
  CkStatus Update(std::span<const uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }
  CkResult<size_t> Final(std::span<uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }
  CkResult<size_t> Sign(std::span<const uint8_t> data, std::span<uint8_t> out) override {
    if (auto done = signature_.Sign(data, out); !done) return Refuse(done.error());
    return signature_.size();
  }

 private:
  Signature signature_;
};

class RawVerifier : public VerifyOperation {
 public:
  explicit RawVerifier(Signature signature) : signature_(std::move(signature)) {}

  CkStatus Update(std::span<const uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }
  CkStatus Final(std::span<const uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }
  CkStatus Verify(std::span<const uint8_t> data, std::span<const uint8_t> signature) override {
    return signature_.Verify(data, signature);
  }

 private:
  Signature signature_;
};

class Recoverer : public RecoverOperation {
 public:
  explicit Recoverer(Signature signature) : signature_(std::move(signature)) {}

  size_t max_size() const override { return signature_.max_recovered(); }
  CkResult<std::vector<uint8_t>> Recover(std::span<const uint8_t> signature) override {
    return signature_.Recover(signature);
  }

 private:
  Signature signature_;
};

class HashSigner : public SignOperation {
 public:
  HashSigner(Signature signature, std::unique_ptr<DigestOperation> digest)
      : signature_(std::move(signature)), digest_(std::move(digest)) {}

  size_t max_size() const override { return signature_.size(); }
  CkStatus Update(std::span<const uint8_t> data) override { return digest_->Update(data); }
  CkResult<size_t> Final(std::span<uint8_t> out) override {
    uint8_t hash[EVP_MAX_MD_SIZE];
    const std::span<uint8_t> digest(hash, digest_->size());
    if (auto done = digest_->Final(digest); !done) return Refuse(done.error());
    if (auto done = signature_.Sign(digest, out); !done) return Refuse(done.error());
    return signature_.size();
  }

 private:
  Signature signature_;
  std::unique_ptr<DigestOperation> digest_;
};

class HashVerifier : public VerifyOperation {
 public:
  HashVerifier(Signature signature, std::unique_ptr<DigestOperation> digest)
      : signature_(std::move(signature)), digest_(std::move(digest)) {}

  CkStatus Update(std::span<const uint8_t> data) override { return digest_->Update(data); }
  CkStatus Final(std::span<const uint8_t> signature) override {
    uint8_t hash[EVP_MAX_MD_SIZE];
    const std::span<uint8_t> digest(hash, digest_->size());
    if (auto done = digest_->Final(digest); !done) return done;
    return signature_.Verify(digest, signature);
  }

 private:
  Signature signature_;
  std::unique_ptr<DigestOperation> digest_;
};

// Make puts a signature under way into the operation that fits its scheme.
template <class Operation, class Raw, class Hashing>
CkResult<std::unique_ptr<Operation>> Make(CkResult<Signature> signature) {
  if (!signature) return Refuse(signature.error());
  if (!signature->scheme().hashes()) return std::make_unique<Raw>(std::move(*signature));
  auto digest = BeginDigest(signature->scheme().digest, {});
  if (!digest) return Refuse(digest.error());
  return std::make_unique<Hashing>(std::move(*signature), std::move(*digest));
}

}  // namespace

const EVP_MD* FindMgf(CK_ULONG mgf) {
  switch (mgf) {
    case CKG_MGF1_SHA1:
      return EVP_sha1();
    case CKG_MGF1_SHA224:
      return EVP_sha224();
    case CKG_MGF1_SHA256:
      return EVP_sha256();
    case CKG_MGF1_SHA384:
      return EVP_sha384();
    case CKG_MGF1_SHA512:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

CkResult<std::unique_ptr<SignOperation>> SignRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                 const Key& key) {
  return Make<SignOperation, RawSigner, HashSigner>(
      Signature::Begin(type, parameter, key, OpenRsaPrivate));
}

CkResult<std::unique_ptr<VerifyOperation>> VerifyRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                     const Key& key) {
  return Make<VerifyOperation, RawVerifier, HashVerifier>(
      Signature::Begin(type, parameter, key, OpenRsaPublic));
}

CkResult<std::unique_ptr<RecoverOperation>> RecoverRsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key) {
  auto signature = Signature::Begin(type, parameter, key, OpenRsaPublic);
  if (!signature) return Refuse(signature.error());
  return std::make_unique<Recoverer>(std::move(*signature));
}

}  // namespace secretmem

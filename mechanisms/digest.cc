#include "mechanisms/digest.h"

#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/sha.h>

#include <algorithm>

#include "vault/secret_box.h"

namespace secretmem {
namespace {

constexpr Hash kHashes[] = {
    {EVP_sha1, SHA1, CKM_SHA_1, CKM_SHA_1_HMAC, CKM_SHA_1_HMAC_GENERAL, CKK_SHA_1_HMAC,
     CKM_SHA1_KEY_DERIVATION},
    {EVP_sha224, SHA224, CKM_SHA224, CKM_SHA224_HMAC, CKM_SHA224_HMAC_GENERAL, CKK_SHA224_HMAC,
     CKM_SHA224_KEY_DERIVATION},
    {EVP_sha256, SHA256, CKM_SHA256, CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL, CKK_SHA256_HMAC,
     CKM_SHA256_KEY_DERIVATION},
    {EVP_sha384, SHA384, CKM_SHA384, CKM_SHA384_HMAC, CKM_SHA384_HMAC_GENERAL, CKK_SHA384_HMAC,
     CKM_SHA384_KEY_DERIVATION},
    {EVP_sha512, SHA512, CKM_SHA512, CKM_SHA512_HMAC, CKM_SHA512_HMAC_GENERAL, CKK_SHA512_HMAC,
     CKM_SHA512_KEY_DERIVATION},
    {EVP_sha512_256, SHA512_256, CKM_SHA512_256, CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL,
     CKK_SHA512_256_HMAC, CKM_SHA512_256_KEY_DERIVATION},
};

CkStatus Done(const VaultResult<bool>& result) {
  if (!result) return Refuse(RvOf(result.error()));
  if (!*result) return Refuse(CKR_FUNCTION_FAILED);
  return {};
}

// Digest makes its context when the first part comes, so that data in one part are one borrow.
class Digest : public DigestOperation {
 public:
  explicit Digest(const Hash& hash) : hash_(hash) {}

  size_t size() const override { return EVP_MD_size(hash_.md()); }

  CkStatus Update(std::span<const uint8_t> data) override {
    return InSlices(data, [&](std::span<const uint8_t> slice) {
      return With([&](EVP_MD_CTX* context) {
        return EVP_DigestUpdate(context, slice.data(), slice.size()) == 1;
      });
    });
  }

  CkStatus UpdateSecret(const Vault& secret) override {
    return Flatten(secret.WithSecret([&](std::span<const uint8_t> bytes) {
      const CkStatus done = Update(bytes);
      return done ? CKR_OK : done.error();
    }));
  }

  CkStatus Final(std::span<uint8_t> out) override {
    return With(
        [&](EVP_MD_CTX* context) { return EVP_DigestFinal_ex(context, out.data(), nullptr) == 1; });
  }

  CkStatus Whole(std::span<const uint8_t> data, std::span<uint8_t> out) override {
    if (data.size() > kSliceBytes) {
      const CkStatus done = Update(data);
      return done ? Final(out) : done;
    }
    return ToCk(OnShallowStack([&] { hash_.whole(data.data(), data.size(), out.data()); }));
  }

 private:
  // With calls |f(context)|, which returns whether that went well, in a borrow.
  template <class F>
  CkStatus With(F&& f) {
    if (!context_) {
      auto made = ToCk(SecretBox<bssl::ScopedEVP_MD_CTX>::Make());
      if (!made) return Refuse(made.error());
      context_.emplace(std::move(*made));
    }
    return Done(context_->With([&](bssl::ScopedEVP_MD_CTX& context) {
      const bool begun = EVP_MD_CTX_md(context.get()) != nullptr ||
                         EVP_DigestInit_ex(context.get(), hash_.md(), nullptr) == 1;
      return begun && f(context.get());
    }));
  }

  const Hash& hash_;
  std::optional<SecretBox<bssl::ScopedEVP_MD_CTX>> context_;
};

// Hmac is an HMAC under way, cut to |size| bytes at the end.
class Hmac {
 public:
  static CkResult<Hmac> Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key);

  size_t size() const { return size_; }

  CkStatus Update(std::span<const uint8_t> data) {
    return InSlices(data, [&](std::span<const uint8_t> slice) {
      return Done(context_.With([&](bssl::ScopedHMAC_CTX& context) {
        return HMAC_Update(context.get(), slice.data(), slice.size()) == 1;
      }));
    });
  }

  // Finish calls use(tag) with size() bytes on the secret stack.
  template <class Use>
  CkStatus Finish(Use&& use) {
    return Flatten(context_.With([&](bssl::ScopedHMAC_CTX& context) -> CK_RV {
      uint8_t tag[EVP_MAX_MD_SIZE];
      if (!HMAC_Final(context.get(), tag, nullptr)) return CKR_FUNCTION_FAILED;
      return use(std::span<const uint8_t>(tag, size_));
    }));
  }

 private:
  Hmac(SecretBox<bssl::ScopedHMAC_CTX> context, size_t size)
      : context_(std::move(context)), size_(size) {}

  SecretBox<bssl::ScopedHMAC_CTX> context_;
  size_t size_;
};

CkResult<Hmac> Hmac::Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key) {
  const auto* hash = std::ranges::find_if(
      kHashes, [&](const Hash& its) { return its.hmac == type || its.hmac_general == type; });
  if (hash == std::end(kHashes)) return Refuse(CKR_MECHANISM_INVALID);
  if (key.object_class != CKO_SECRET_KEY ||
      (key.key_type != CKK_GENERIC_SECRET && key.key_type != hash->hmac_key)) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  size_t size = EVP_MD_size(hash->md());
  if (type == hash->hmac_general) {
    const auto wanted = ReadParameter<CK_ULONG>(parameter);
    if (!wanted) return Refuse(wanted.error());
    if (*wanted == 0 || *wanted > size) return Refuse(CKR_MECHANISM_PARAM_INVALID);
    size = *wanted;
  } else if (!parameter.empty()) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  auto context = ToCk(SecretBox<bssl::ScopedHMAC_CTX>::Make());
  if (!context) return Refuse(context.error());
  const auto begun = Done(key.secret->WithSecret([&](std::span<const uint8_t> secret) {
    return context->With([&](bssl::ScopedHMAC_CTX& its) {
      return HMAC_Init_ex(its.get(), secret.data(), secret.size(), hash->md(), nullptr) == 1;
    });
  }));
  if (!begun) return Refuse(begun.error());
  return Hmac(std::move(*context), size);
}

class HmacSigner : public SignOperation {
 public:
  explicit HmacSigner(Hmac hmac) : hmac_(std::move(hmac)) {}

  size_t max_size() const override { return hmac_.size(); }
  CkStatus Update(std::span<const uint8_t> data) override { return hmac_.Update(data); }
  CkResult<size_t> Final(std::span<uint8_t> out) override {
    const auto done = hmac_.Finish([&](std::span<const uint8_t> tag) {
      std::ranges::copy(tag, out.begin());
      return CKR_OK;
    });
    if (!done) return Refuse(done.error());
    return hmac_.size();
  }

 private:
  Hmac hmac_;
};

class HmacVerifier : public VerifyOperation {
 public:
  explicit HmacVerifier(Hmac hmac) : hmac_(std::move(hmac)) {}

  CkStatus Update(std::span<const uint8_t> data) override { return hmac_.Update(data); }
  CkStatus Final(std::span<const uint8_t> signature) override {
    if (signature.size() != hmac_.size()) return Refuse(CKR_SIGNATURE_LEN_RANGE);
    return hmac_.Finish([&](std::span<const uint8_t> tag) -> CK_RV {
      return CRYPTO_memcmp(tag.data(), signature.data(), tag.size()) == 0 ? CKR_OK
                                                                          : CKR_SIGNATURE_INVALID;
    });
  }

 private:
  Hmac hmac_;
};

}  // namespace

std::span<const Hash> Hashes() { return kHashes; }

const Hash* FindHash(CK_MECHANISM_TYPE digest) {
  const auto* found = std::ranges::find(kHashes, digest, &Hash::digest);
  return found == std::end(kHashes) ? nullptr : found;
}

CkResult<std::unique_ptr<DigestOperation>> BeginDigest(CK_MECHANISM_TYPE type,
                                                       Parameter parameter) {
  const Hash* hash = FindHash(type);
  if (hash == nullptr) return Refuse(CKR_MECHANISM_INVALID);
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return std::make_unique<Digest>(*hash);
}

CkResult<std::unique_ptr<SignOperation>> SignHmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                  const Key& key) {
  auto hmac = Hmac::Begin(type, parameter, key);
  if (!hmac) return Refuse(hmac.error());
  return std::make_unique<HmacSigner>(std::move(*hmac));
}

CkResult<std::unique_ptr<VerifyOperation>> VerifyHmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key) {
  auto hmac = Hmac::Begin(type, parameter, key);
  if (!hmac) return Refuse(hmac.error());
  return std::make_unique<HmacVerifier>(std::move(*hmac));
}

}  // namespace secretmem

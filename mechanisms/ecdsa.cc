#include "mechanisms/ecdsa.h"

#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ecdsa.h>
#include <openssl/nid.h>

#include <algorithm>

#include "mechanisms/digest.h"
#include "mechanisms/weierstrass.h"

namespace secretmem {
namespace {

struct HashOf {
  CK_MECHANISM_TYPE type;
  CK_MECHANISM_TYPE digest;
};

constexpr HashOf kHashes[] = {
    {CKM_ECDSA_SHA1, CKM_SHA_1},    {CKM_ECDSA_SHA224, CKM_SHA224}, {CKM_ECDSA_SHA256, CKM_SHA256},
    {CKM_ECDSA_SHA384, CKM_SHA384}, {CKM_ECDSA_SHA512, CKM_SHA512},
};

using SharedKey = std::shared_ptr<SecretBox<EcKey>>;

CkResult<SharedKey> OpenEcPublic(const Key& key, const Curve& curve) {
  auto box = ToCk(SecretBox<EcKey>::Make());
  if (!box) return Refuse(box.error());
  const auto parsed = ToCk(box->With([&](EcKey& its) {
    its.key = ParsePoint(curve, key.attributes.Get(CKA_EC_POINT).value());
    return its.key != nullptr;
  }));
  if (!parsed) return Refuse(parsed.error());
  // The attributes were checked when the object was made.
  if (!*parsed) return Refuse(CKR_FUNCTION_FAILED);
  return std::make_shared<SecretBox<EcKey>>(std::move(*box));
}

// Ecdsa is what signing and verifying share.
class Ecdsa {
 public:
  static CkResult<Ecdsa> Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                               CK_OBJECT_CLASS object_class);

  const Curve& curve() const { return *curve_; }

  CkStatus Update(std::span<const uint8_t> data) {
    if (digest_ == nullptr) return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
    return digest_->Update(data);
  }

  // Finish calls use(key, digest) on a secret stack with the digest of the parts.
  template <class Use>
  CkStatus Finish(Use&& use) {
    if (digest_ == nullptr) return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
    uint8_t bytes[EVP_MAX_MD_SIZE];
    const std::span<uint8_t> digest(bytes, digest_->size());
    if (auto done = digest_->Final(digest); !done) return done;
    return WithKey([&](EcKey& its) -> CK_RV { return use(*its.key, digest); });
  }

  // Whole calls use(key, digest) with the digest of |data|, or with |data| for CKM_ECDSA.
  template <class Use>
  CkStatus Whole(std::span<const uint8_t> data, Use&& use) {
    if (digest_ != nullptr) {
      if (auto updated = Update(data); !updated) return updated;
      return Finish(use);
    }
    // It would count as zero, for which anybody can make up signatures.
    if (data.empty()) return Refuse(CKR_DATA_LEN_RANGE);
    return WithKey([&](EcKey& its) -> CK_RV { return use(*its.key, Truncated(data)); });
  }

 private:
  Ecdsa(SharedKey key, std::unique_ptr<DigestOperation> digest, const Curve* curve)
      : key_(std::move(key)), digest_(std::move(digest)), curve_(curve) {}

  // WithKey calls |f(key)| on a stack that is deep enough for the curve: P-256 uses 4 KiB.
  template <class F>
  CkStatus WithKey(F&& f) {
    if (curve_->nid != NID_X9_62_prime256v1) return Flatten(key_->With(f));
    return Flatten(OnShallowStack([&] { return key_->With(f); }));
  }

  // The library cuts to the bits of the order; this spares it bytes that do not count.
  std::span<const uint8_t> Truncated(std::span<const uint8_t> digest) const {
    return digest.first(std::min(digest.size(), curve_->bytes));
  }

  SharedKey key_;
  std::unique_ptr<DigestOperation> digest_;  // null for CKM_ECDSA
  const Curve* curve_;
};

CkResult<Ecdsa> Ecdsa::Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                             CK_OBJECT_CLASS object_class) {
  if (key.key_type != CKK_EC || key.object_class != object_class) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto curve = CurveOf(key.attributes);
  if (!curve) return Refuse(curve.error());
  auto opened =
      object_class == CKO_PRIVATE_KEY ? OpenEcPrivate(key, **curve) : OpenEcPublic(key, **curve);
  if (!opened) return Refuse(opened.error());
  std::unique_ptr<DigestOperation> digest;
  const auto* hash = std::ranges::find(kHashes, type, &HashOf::type);
  if (hash != std::end(kHashes)) {
    auto begun = BeginDigest(hash->digest, {});
    if (!begun) return Refuse(begun.error());
    digest = std::move(*begun);
  }
  return Ecdsa(std::move(*opened), std::move(digest), *curve);
}

// Into signs, with r and s each filling half of |out|.
struct Into {
  std::span<uint8_t> out;

  CK_RV operator()(const EC_KEY& key, std::span<const uint8_t> digest) const {
    const size_t half = out.size() / 2;
    const bssl::UniquePtr<ECDSA_SIG> signature(ECDSA_do_sign(digest.data(), digest.size(), &key));
    if (signature == nullptr ||
        !BN_bn2bin_padded(out.data(), half, ECDSA_SIG_get0_r(signature.get())) ||
        !BN_bn2bin_padded(out.data() + half, half, ECDSA_SIG_get0_s(signature.get()))) {
      return CKR_FUNCTION_FAILED;
    }
    return CKR_OK;
  }
};

// Against verifies |signature|, which has the curve's length.
struct Against {
  std::span<const uint8_t> signature;

  CK_RV operator()(const EC_KEY& key, std::span<const uint8_t> digest) const {
    const size_t half = signature.size() / 2;
    const bssl::UniquePtr<ECDSA_SIG> parsed(ECDSA_SIG_new());
    bssl::UniquePtr<BIGNUM> r(BN_bin2bn(signature.data(), half, nullptr));
    bssl::UniquePtr<BIGNUM> s(BN_bin2bn(signature.data() + half, half, nullptr));
    if (parsed == nullptr || r == nullptr || s == nullptr ||
        !ECDSA_SIG_set0(parsed.get(), r.get(), s.get())) {
      return CKR_DEVICE_MEMORY;
    }
    (void)r.release();
    (void)s.release();
    return ECDSA_do_verify(digest.data(), digest.size(), parsed.get(), &key)
               ? CKR_OK
               : CKR_SIGNATURE_INVALID;
  }
};

class Signer : public SignOperation {
 public:
  explicit Signer(Ecdsa ecdsa) : ecdsa_(std::move(ecdsa)) {}

  size_t max_size() const override { return 2 * ecdsa_.curve().bytes; }
  CkStatus Update(std::span<const uint8_t> data) override { return ecdsa_.Update(data); }
  CkResult<size_t> Final(std::span<uint8_t> out) override { return Size(ecdsa_.Finish(Into{out})); }
  CkResult<size_t> Sign(std::span<const uint8_t> data, std::span<uint8_t> out) override {
    return Size(ecdsa_.Whole(data, Into{out}));
  }

 private:
  CkResult<size_t> Size(const CkStatus& done) const {
    if (!done) return Refuse(done.error());
    return max_size();
  }

  Ecdsa ecdsa_;
};

class Verifier : public VerifyOperation {
 public:
  explicit Verifier(Ecdsa ecdsa) : ecdsa_(std::move(ecdsa)) {}

  CkStatus Update(std::span<const uint8_t> data) override { return ecdsa_.Update(data); }
  CkStatus Final(std::span<const uint8_t> signature) override {
    if (signature.size() != 2 * ecdsa_.curve().bytes) return Refuse(CKR_SIGNATURE_LEN_RANGE);
    return ecdsa_.Finish(Against{signature});
  }
  CkStatus Verify(std::span<const uint8_t> data, std::span<const uint8_t> signature) override {
    if (signature.size() != 2 * ecdsa_.curve().bytes) return Refuse(CKR_SIGNATURE_LEN_RANGE);
    return ecdsa_.Whole(data, Against{signature});
  }

 private:
  Ecdsa ecdsa_;
};

}  // namespace

CkResult<std::unique_ptr<SignOperation>> SignEcdsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                   const Key& key) {
  auto ecdsa = Ecdsa::Begin(type, parameter, key, CKO_PRIVATE_KEY);
  if (!ecdsa) return Refuse(ecdsa.error());
  return std::make_unique<Signer>(std::move(*ecdsa));
}

CkResult<std::unique_ptr<VerifyOperation>> VerifyEcdsa(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key) {
  auto ecdsa = Ecdsa::Begin(type, parameter, key, CKO_PUBLIC_KEY);
  if (!ecdsa) return Refuse(ecdsa.error());
  return std::make_unique<Verifier>(std::move(*ecdsa));
}

}  // namespace secretmem

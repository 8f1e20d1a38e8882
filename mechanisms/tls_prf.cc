#include "mechanisms/tls_prf.h"

#include <openssl/hmac.h>
#include <openssl/mem.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "mechanisms/operation.h"
#include "mechanisms/symmetric.h"

namespace secretmem {
namespace {

constexpr CK_ULONG kLeastVerifyData = 12;
constexpr CK_ULONG kMostVerifyData = 64;

// The values of CK_TLS_MAC_PARAMS's ulServerOrClient.
constexpr CK_ULONG kServer = 1;
constexpr CK_ULONG kClient = 2;

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// VerifyData is a TLS MAC under way. The whole of the seed goes into both HMACs of the PRF, so it
// is kept until the end; it is a hash of what was sent in the clear, no secret.
class VerifyData {
 public:
  static CkResult<VerifyData> Begin(Parameter parameter, const Key& key) {
    const auto given = ReadParameter<CK_TLS_MAC_PARAMS>(parameter);
    if (!given) return Refuse(given.error());
    const EVP_MD* md = FindTlsHash(given->prfHashMechanism);
    if (md == nullptr || given->ulMacLength < kLeastVerifyData ||
        given->ulMacLength > kMostVerifyData ||
        (given->ulServerOrClient != kServer && given->ulServerOrClient != kClient)) {
      return Refuse(CKR_MECHANISM_PARAM_INVALID);
    }
    if (auto right = CheckSecretKey(key, CKK_GENERIC_SECRET); !right) return Refuse(right.error());
    return VerifyData(md, key.secret,
                      given->ulServerOrClient == kServer ? "server finished" : "client finished",
                      given->ulMacLength);
  }

  size_t size() const { return size_; }

  CkStatus Update(std::span<const uint8_t> data) {
    seed_.insert(seed_.end(), data.begin(), data.end());
    return {};
  }

  // Finish calls use(tag) with size() bytes on the secret stack.
  template <class Use>
  CkStatus Finish(Use&& use) {
    return Flatten(secret_->WithSecret([&](std::span<const uint8_t> secret) -> CK_RV {
      uint8_t tag[kMostVerifyData];
      const std::array seed = {BytesOf(label_), std::span<const uint8_t>(seed_)};
      if (!TlsPrf(md_, secret, seed, {tag, size_})) return CKR_FUNCTION_FAILED;
      return use(std::span<const uint8_t>(tag, size_));
    }));
  }

 private:
  VerifyData(const EVP_MD* md, const Vault* secret, std::string_view label, size_t size)
      : md_(md), secret_(secret), label_(label), size_(size) {}

  const EVP_MD* md_;
  const Vault* secret_;
  std::string_view label_;
  size_t size_;
  std::vector<uint8_t> seed_;
};

class TlsSigner : public SignOperation {
 public:
  explicit TlsSigner(VerifyData data) : data_(std::move(data)) {}

  size_t max_size() const override { return data_.size(); }
  CkStatus Update(std::span<const uint8_t> data) override { return data_.Update(data); }
  CkResult<size_t> Final(std::span<uint8_t> out) override {
    const auto done = data_.Finish([&](std::span<const uint8_t> tag) -> CK_RV {
      std::ranges::copy(tag, out.begin());
      return CKR_OK;
    });
    if (!done) return Refuse(done.error());
    return data_.size();
  }

 private:
  VerifyData data_;
};

class TlsVerifier : public VerifyOperation {
 public:
  explicit TlsVerifier(VerifyData data) : data_(std::move(data)) {}

  CkStatus Update(std::span<const uint8_t> data) override { return data_.Update(data); }
  CkStatus Final(std::span<const uint8_t> signature) override {
    if (signature.size() != data_.size()) return Refuse(CKR_SIGNATURE_LEN_RANGE);
    return data_.Finish([&](std::span<const uint8_t> tag) -> CK_RV {
      return CRYPTO_memcmp(tag.data(), signature.data(), tag.size()) == 0 ? CKR_OK
                                                                          : CKR_SIGNATURE_INVALID;
    });
  }

 private:
  VerifyData data_;
};

}  // namespace

const EVP_MD* FindTlsHash(CK_MECHANISM_TYPE digest) {
  switch (digest) {
    case CKM_SHA256:
      return EVP_sha256();
    case CKM_SHA384:
      return EVP_sha384();
    case CKM_SHA512:
      return EVP_sha512();
    default:
      return nullptr;
  }
}

bool TlsPrf(const EVP_MD* md, std::span<const uint8_t> secret,
            std::span<const std::span<const uint8_t>> seed, std::span<uint8_t> out) {
  bssl::ScopedHMAC_CTX hmac;
  if (!HMAC_Init_ex(hmac.get(), secret.data(), secret.size(), md, nullptr)) return false;
  const size_t size = EVP_MD_size(md);
  const auto update_seed = [&] {
    return std::ranges::all_of(seed, [&](std::span<const uint8_t> part) {
      return InSafeSlices(part, [&](std::span<const uint8_t> slice) {
        return HMAC_Update(hmac.get(), slice.data(), slice.size()) == 1;
      });
    });
  };
  const auto restart = [&] { return HMAC_Init_ex(hmac.get(), nullptr, 0, nullptr, nullptr) == 1; };
  uint8_t chain[EVP_MAX_MD_SIZE];  // A(i)
  if (!update_seed() || !HMAC_Final(hmac.get(), chain, nullptr)) return false;
  for (size_t at = 0; at < out.size(); at += size) {
    uint8_t block[EVP_MAX_MD_SIZE];
    if (!restart() || !HMAC_Update(hmac.get(), chain, size) || !update_seed() ||
        !HMAC_Final(hmac.get(), block, nullptr)) {
      return false;
    }
    const auto rest = out.subspan(at);
    std::copy_n(block, std::min(size, rest.size()), rest.begin());
    if (!restart() || !HMAC_Update(hmac.get(), chain, size) ||
        !HMAC_Final(hmac.get(), chain, nullptr)) {
      return false;
    }
  }
  return true;
}

CkResult<std::unique_ptr<SignOperation>> SignTls(CK_MECHANISM_TYPE, Parameter parameter,
                                                 const Key& key) {
  auto data = VerifyData::Begin(parameter, key);
  if (!data) return Refuse(data.error());
  return std::make_unique<TlsSigner>(std::move(*data));
}

CkResult<std::unique_ptr<VerifyOperation>> VerifyTls(CK_MECHANISM_TYPE, Parameter parameter,
                                                     const Key& key) {
  auto data = VerifyData::Begin(parameter, key);
  if (!data) return Refuse(data.error());
  return std::make_unique<TlsVerifier>(std::move(*data));
}

}  // namespace secretmem

#include <openssl/cipher.h>
#include <openssl/cmac.h>
#include <openssl/mem.h>

#include <algorithm>

#include "mechanisms/aes.h"
#include "mechanisms/symmetric.h"
#include "vault/secret_box.h"

namespace secretmem {
namespace {

// Cmac is a CMAC under way, cut to |size| bytes at the end.
class Cmac {
 public:
  static CkResult<Cmac> Begin(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key) {
    size_t size = kAesBlock;
    if (type == CKM_AES_CMAC_GENERAL) {
      const auto wanted = ReadParameter<CK_ULONG>(parameter);
      if (!wanted) return Refuse(wanted.error());
      if (*wanted == 0 || *wanted > kAesBlock) return Refuse(CKR_MECHANISM_PARAM_INVALID);
      size = *wanted;
    } else if (!parameter.empty()) {
      return Refuse(CKR_MECHANISM_PARAM_INVALID);
    }
    if (auto right = CheckSecretKey(key, CKK_AES); !right) return Refuse(right.error());
    auto context = ToCk(Box::Make());
    if (!context) return Refuse(context.error());
    const auto begun = Succeeded(key.secret->WithSecret([&](std::span<const uint8_t> secret) {
      return context->With([&](bssl::UniquePtr<CMAC_CTX>& its) {
        const EVP_CIPHER* cipher = secret.size() == 16   ? EVP_aes_128_cbc()
                                   : secret.size() == 24 ? EVP_aes_192_cbc()
                                                         : EVP_aes_256_cbc();
        its.reset(CMAC_CTX_new());
        return its != nullptr &&
               CMAC_Init(its.get(), secret.data(), secret.size(), cipher, nullptr) == 1;
      });
    }));
    if (!begun) return Refuse(begun.error());
    return Cmac(std::move(*context), size);
  }

  size_t size() const { return size_; }

  CkStatus Update(std::span<const uint8_t> data) {
    return InSlices(data, [&](std::span<const uint8_t> slice) {
      return Succeeded(context_.With([&](bssl::UniquePtr<CMAC_CTX>& context) {
        return CMAC_Update(context.get(), slice.data(), slice.size()) == 1;
      }));
    });
  }

  // Finish calls use(tag) with size() bytes on the secret stack.
  template <class Use>
  CkStatus Finish(Use&& use) {
    return Flatten(context_.With([&](bssl::UniquePtr<CMAC_CTX>& context) -> CK_RV {
      uint8_t tag[kAesBlock];
      size_t written = 0;
      if (!CMAC_Final(context.get(), tag, &written)) return CKR_FUNCTION_FAILED;
      return use(std::span<const uint8_t>(tag, size_));
    }));
  }

 private:
  using Box = SecretBox<bssl::UniquePtr<CMAC_CTX>>;

  Cmac(Box context, size_t size) : context_(std::move(context)), size_(size) {}

  Box context_;
  size_t size_;
};

class CmacSigner : public SignOperation {
 public:
  explicit CmacSigner(Cmac cmac) : cmac_(std::move(cmac)) {}

  size_t max_size() const override { return cmac_.size(); }
  CkStatus Update(std::span<const uint8_t> data) override { return cmac_.Update(data); }
  CkResult<size_t> Final(std::span<uint8_t> out) override {
    const auto done = cmac_.Finish([&](std::span<const uint8_t> tag) {
      std::ranges::copy(tag, out.begin());
      return CKR_OK;
    });
    if (!done) return Refuse(done.error());
    return cmac_.size();
  }

 private:
  Cmac cmac_;
};

class CmacVerifier : public VerifyOperation {
 public:
  explicit CmacVerifier(Cmac cmac) : cmac_(std::move(cmac)) {}

  CkStatus Update(std::span<const uint8_t> data) override { return cmac_.Update(data); }
  CkStatus Final(std::span<const uint8_t> signature) override {
    if (signature.size() != cmac_.size()) return Refuse(CKR_SIGNATURE_LEN_RANGE);
    return cmac_.Finish([&](std::span<const uint8_t> tag) -> CK_RV {
      return CRYPTO_memcmp(tag.data(), signature.data(), tag.size()) == 0 ? CKR_OK
                                                                          : CKR_SIGNATURE_INVALID;
    });
  }

 private:
  Cmac cmac_;
};

}  // namespace

CkResult<std::unique_ptr<SignOperation>> SignCmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                  const Key& key) {
  auto cmac = Cmac::Begin(type, parameter, key);
  if (!cmac) return Refuse(cmac.error());
  return std::make_unique<CmacSigner>(std::move(*cmac));
}

CkResult<std::unique_ptr<VerifyOperation>> VerifyCmac(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key) {
  auto cmac = Cmac::Begin(type, parameter, key);
  if (!cmac) return Refuse(cmac.error());
  return std::make_unique<CmacVerifier>(std::move(*cmac));
}

}  // namespace secretmem

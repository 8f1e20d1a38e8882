#include <openssl/curve25519.h>

#include "mechanisms/edwards.h"

namespace secretmem {
namespace {

CkStatus CheckKey(const Key& key, CK_OBJECT_CLASS object_class) {
  if (key.key_type != CKK_EC_EDWARDS || key.object_class != object_class) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return {};
}

CkStatus CheckParameter(Parameter parameter) {
  if (parameter.empty()) return {};
  const auto given = ReadParameter<CK_EDDSA_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  // Neither Ed25519ph nor Ed25519ctx.
  if (given->phFlag != CK_FALSE || given->ulContextDataLen != 0) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return {};
}

// Message collects the parts of a message.
class Message {
 public:
  CkStatus Add(std::span<const uint8_t> part) {
    bytes_.insert(bytes_.end(), part.begin(), part.end());
    return {};
  }
  std::span<const uint8_t> whole() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

class Signer : public SignOperation {
 public:
  explicit Signer(std::shared_ptr<SecretBox<Ed25519Key>> key) : key_(std::move(key)) {}

  size_t max_size() const override { return kEd25519SignatureBytes; }
  CkStatus Update(std::span<const uint8_t> data) override { return message_.Add(data); }
  CkResult<size_t> Final(std::span<uint8_t> out) override { return Sign(message_.whole(), out); }

  // Hashes the message twice, with safe points in between: vault/sliced_hash.cc.
  CkResult<size_t> Sign(std::span<const uint8_t> data, std::span<uint8_t> out) override {
    // Made aside, because |out| may be in the middle of |data|.
    uint8_t signature[kEd25519SignatureBytes];
    const auto status = OnShallowStack([&] {
      return key_->With([&](Ed25519Key& key) -> CK_RV {
        return ED25519_sign(signature, data.data(), data.size(), key.bytes) ? CKR_OK
                                                                            : CKR_FUNCTION_FAILED;
      });
    });
    if (const auto done = Flatten(status); !done) return Refuse(done.error());
    std::copy_n(signature, sizeof(signature), out.begin());
    return sizeof(signature);
  }

 private:
  std::shared_ptr<SecretBox<Ed25519Key>> key_;
  Message message_;
};

class Verifier : public VerifyOperation {
 public:
  explicit Verifier(const Ed25519PublicKey& key) : key_(key) {}

  CkStatus Update(std::span<const uint8_t> data) override { return message_.Add(data); }
  CkStatus Final(std::span<const uint8_t> signature) override {
    return Verify(message_.whole(), signature);
  }

  // Nothing here is secret or on BoringSSL's heap, so it runs where it is called.
  CkStatus Verify(std::span<const uint8_t> data, std::span<const uint8_t> signature) override {
    if (signature.size() != kEd25519SignatureBytes) return Refuse(CKR_SIGNATURE_LEN_RANGE);
    if (!ED25519_verify(data.data(), data.size(), signature.data(), key_.data())) {
      return Refuse(CKR_SIGNATURE_INVALID);
    }
    return {};
  }

 private:
  const Ed25519PublicKey key_;
  Message message_;
};

}  // namespace

CkResult<std::unique_ptr<SignOperation>> SignEddsa(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                                   const Key& key) {
  if (auto checked = CheckKey(key, CKO_PRIVATE_KEY); !checked) return Refuse(checked.error());
  if (auto checked = CheckParameter(parameter); !checked) return Refuse(checked.error());
  auto opened = OpenEdwardsPrivate(key);
  if (!opened) return Refuse(opened.error());
  return std::make_unique<Signer>(std::move(*opened));
}

CkResult<std::unique_ptr<VerifyOperation>> VerifyEddsa(CK_MECHANISM_TYPE /*type*/,
                                                       Parameter parameter, const Key& key) {
  if (auto checked = CheckKey(key, CKO_PUBLIC_KEY); !checked) return Refuse(checked.error());
  if (auto checked = CheckParameter(parameter); !checked) return Refuse(checked.error());
  const auto point = ParseEd25519Point(key.attributes.Get(CKA_EC_POINT).value());
  if (!point) return Refuse(CKR_FUNCTION_FAILED);
  return std::make_unique<Verifier>(*point);
}

}  // namespace secretmem

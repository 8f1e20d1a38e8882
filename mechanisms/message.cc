#include "mechanisms/message.h"

#include "mechanisms/aead.h"
#include "mechanisms/nonce_source.h"

namespace secretmem {
namespace {

// MessageParameter is a message's own parameter structure.
struct MessageParameter {
  std::span<uint8_t> nonce;
  NonceRequest request;
  std::span<uint8_t> tag;
};

CkResult<MessageParameter> ReadGcm(Parameter parameter) {
  const auto given = ReadParameter<CK_GCM_MESSAGE_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const auto nonce = ParameterBytes(given->pIv, given->ulIvLen);
  const CK_ULONG bits = given->ulTagBits;
  const bool right_tag = given->pTag != nullptr && bits % 8 == 0 &&
                         (bits == 32 || bits == 64 || bits >= 96) && bits <= 128;
  if (!nonce || nonce->empty() || !right_tag) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return MessageParameter{{given->pIv, given->ulIvLen},
                          {given->ivGenerator, given->ulIvFixedBits},
                          {given->pTag, bits / 8}};
}

CkResult<MessageParameter> ReadChaCha(Parameter parameter) {
  const auto given = ReadParameter<CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  constexpr CK_ULONG kNonce = 12;
  constexpr CK_ULONG kTag = 16;
  if (given->pNonce == nullptr || given->pTag == nullptr ||
      (given->ulNonceLen != kNonce && given->ulNonceLen != kNonce * 8)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return MessageParameter{{given->pNonce, kNonce}, {CKG_NO_GENERATE, 0}, {given->pTag, kTag}};
}

CkResult<MessageParameter> Read(CK_MECHANISM_TYPE type, Parameter parameter) {
  return type == CKM_AES_GCM ? ReadGcm(parameter) : ReadChaCha(parameter);
}

class MessageEncryption : public MessageOperation {
 public:
  MessageEncryption(CK_MECHANISM_TYPE type, Aead aead) : type_(type), aead_(std::move(aead)) {}

  CkResult<size_t> Whole(Parameter parameter, std::span<const uint8_t> aad,
                         std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (in.size() > aead_.max_data()) return Refuse(CKR_DATA_LEN_RANGE);
    if (auto begun = Begin(parameter, aad); !begun) return Refuse(begun.error());
    return Next(parameter, in, out, true);
  }

  CkStatus Begin(Parameter parameter, std::span<const uint8_t> aad) override {
    const auto read = Read(type_, parameter);
    if (!read) return Refuse(read.error());
    if (auto chosen = nonces_.Next(read->request, read->nonce); !chosen) return chosen;
    done_ = 0;
    return aead_.Start(read->nonce, aad, {0, read->tag.size()}, Direction::kEncrypt);
  }

  size_t next_size(size_t input, bool) const override { return input; }

  CkResult<size_t> Next(Parameter parameter, std::span<const uint8_t> in, std::span<uint8_t> out,
                        bool last) override {
    const auto read = Read(type_, parameter);
    if (!read) return Refuse(read.error());
    if (in.size() > aead_.max_data() - done_) return Refuse(CKR_DATA_LEN_RANGE);
    if (auto made = aead_.Crypt(in, out); !made) return Refuse(made.error());
    done_ += in.size();
    if (last) {
      if (auto made = aead_.MakeTag(read->tag); !made) return Refuse(made.error());
    }
    return in.size();
  }

 private:
  CK_MECHANISM_TYPE type_;
  Aead aead_;
  NonceSource nonces_;
  uint64_t done_ = 0;
};

class MessageDecryption : public MessageOperation {
 public:
  MessageDecryption(CK_MECHANISM_TYPE type, Aead aead) : type_(type), aead_(std::move(aead)) {}

  CkResult<size_t> Whole(Parameter parameter, std::span<const uint8_t> aad,
                         std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const auto read = Read(type_, parameter);
    if (!read) return Refuse(read.error());
    return Open(read->nonce, aad, in, read->tag, out);
  }

  CkStatus Begin(Parameter parameter, std::span<const uint8_t> aad) override {
    const auto read = Read(type_, parameter);
    if (!read) return Refuse(read.error());
    nonce_.assign(read->nonce.begin(), read->nonce.end());
    aad_.assign(aad.begin(), aad.end());
    kept_.clear();
    return {};
  }

  size_t next_size(size_t input, bool last) const override {
    return last ? kept_.size() + input : 0;
  }

  CkResult<size_t> Next(Parameter parameter, std::span<const uint8_t> in, std::span<uint8_t> out,
                        bool last) override {
    const auto read = Read(type_, parameter);
    if (!read) return Refuse(read.error());
    if (in.size() > aead_.max_data() - kept_.size()) return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
    kept_.insert(kept_.end(), in.begin(), in.end());
    if (!last) return 0;
    return Open(nonce_, aad_, kept_, read->tag, out);
  }

 private:
  CkResult<size_t> Open(std::span<const uint8_t> nonce, std::span<const uint8_t> aad,
                        std::span<const uint8_t> in, std::span<const uint8_t> tag,
                        std::span<uint8_t> out) {
    if (in.size() > aead_.max_data()) return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
    const auto opened = aead_.Open(nonce, aad, in, tag, out);
    if (opened) return in.size();
    return Refuse(opened.error() == CKR_ENCRYPTED_DATA_INVALID ? CKR_AEAD_DECRYPT_FAILED
                                                               : opened.error());
  }

  CK_MECHANISM_TYPE type_;
  Aead aead_;
  std::vector<uint8_t> nonce_;
  std::vector<uint8_t> aad_;
  std::vector<uint8_t> kept_;
};

template <class Operation>
CkResult<std::unique_ptr<MessageOperation>> Make(CK_MECHANISM_TYPE type, Parameter parameter,
                                                 const Key& key) {
  const size_t size = type == CKM_AES_GCM ? sizeof(CK_GCM_MESSAGE_PARAMS)
                                          : sizeof(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS);
  // What it says is said again with each message.
  if (!parameter.empty() && parameter.size() != size) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  auto aead = Aead::Make(type, key);
  if (!aead) return Refuse(aead.error());
  return std::make_unique<Operation>(type, std::move(*aead));
}

}  // namespace

CkResult<std::unique_ptr<MessageOperation>> EncryptMessages(CK_MECHANISM_TYPE type,
                                                            Parameter parameter, const Key& key) {
  return Make<MessageEncryption>(type, parameter, key);
}

CkResult<std::unique_ptr<MessageOperation>> DecryptMessages(CK_MECHANISM_TYPE type,
                                                            Parameter parameter, const Key& key) {
  return Make<MessageDecryption>(type, parameter, key);
}

}  // namespace secretmem

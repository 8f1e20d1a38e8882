#include "mechanisms/hpke.h"

#include <algorithm>

#include "mechanisms/hpke_context.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

constexpr size_t kTag = 16;
constexpr size_t kMostExported = 255 * kHpkeSecretBytes;

// ReadSealing reads the parameter where there is something to encrypt.
CkResult<HpkeRequest> ReadSealing(Parameter parameter, std::span<const uint8_t> associated = {}) {
  auto request = ReadHpke(parameter);
  if (!request) return request;
  if (request->bare_kem || request->aead->key_bytes == 0 || !request->exporter_context.empty() ||
      (!associated.empty() && !request->aad.empty())) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (!associated.empty()) request->aad.assign(associated.begin(), associated.end());
  return request;
}

// ReadEncapsulation reads it where a key is all there is.
CkResult<HpkeRequest> ReadEncapsulation(Parameter parameter) {
  auto request = ReadHpke(parameter);
  if (request && (!request->aad.empty() || !request->enc.empty())) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return request;
}

// Encryption was set up when it began: |aead_| has begun its message.
class Encryption : public CipherOperation {
 public:
  Encryption(Aead aead, std::vector<uint8_t> prefix)
      : aead_(std::move(aead)), prefix_(std::move(prefix)) {}

  CkStatus Check(Part part, size_t input) const override {
    if (part != Part::kWhole) return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
    if (input > aead_.max_data()) return Refuse(CKR_DATA_LEN_RANGE);
    return {};
  }
  size_t update_size(size_t) const override { return 0; }
  size_t final_size() const override { return 0; }
  size_t whole_size(size_t input) const override { return prefix_.size() + input + kTag; }

  CkResult<size_t> Update(std::span<const uint8_t>, std::span<uint8_t>) override {
    return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
  }
  CkResult<size_t> Final(std::span<uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }
  CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const auto body = out.subspan(prefix_.size());
    auto done = aead_.Crypt(in, body.first(in.size()));
    if (done) done = aead_.MakeTag(body.subspan(in.size(), kTag));
    if (!done) return Refuse(done.error());
    // Only now: |in| may lie where this goes.
    std::ranges::copy(prefix_, out.begin());
    return whole_size(in.size());
  }

 private:
  Aead aead_;
  std::vector<uint8_t> prefix_;
};

class Decryption : public CipherOperation {
 public:
  // |psk| lasts as |key| does.
  Decryption(HpkeRequest request, const Key& key, const Vault* psk)
      : request_(std::move(request)), key_(key), psk_(psk) {
    key_.named = {};
    sent_.assign(request_.enc.begin(), request_.enc.end());
  }

  CkStatus Check(Part part, size_t input) const override {
    if (part != Part::kWhole) return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
    if (input < request_.prefix() + kTag) return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
    return {};
  }
  size_t update_size(size_t) const override { return 0; }
  size_t final_size() const override { return 0; }
  size_t whole_size(size_t input) const override {
    return input - std::min(input, request_.prefix() + kTag);
  }

  CkResult<size_t> Update(std::span<const uint8_t>, std::span<uint8_t>) override {
    return Refuse(CKR_FUNCTION_NOT_SUPPORTED);
  }
  CkResult<size_t> Final(std::span<uint8_t>) override { return Refuse(CKR_FUNCTION_NOT_SUPPORTED); }
  CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (auto right = Check(Part::kWhole, in.size()); !right) return Refuse(right.error());
    const auto enc = sent_.empty() ? in.first(request_.prefix()) : std::span<const uint8_t>(sent_);
    const auto context = BeginHpkeRecipient(request_, key_, psk_, enc);
    if (!context) return Refuse(context.error());
    auto aead = context->MakeAead(*request_.aead);
    if (!aead) return Refuse(aead.error());
    const auto body = in.subspan(request_.prefix());
    const size_t size = body.size() - kTag;
    const auto opened = Flatten(context->nonce->WithSecret([&](std::span<const uint8_t> nonce) {
      const auto done =
          aead->Open(nonce, request_.aad, body.first(size), body.last(kTag), out.first(size));
      return done ? CKR_OK : done.error();
    }));
    if (!opened) return Refuse(opened.error());
    return size;
  }

 private:
  HpkeRequest request_;
  Key key_;
  const Vault* psk_;
  std::vector<uint8_t> sent_;  // what pEncapsulatedKey had when this began
};

CkResult<size_t> LengthOf(const HpkeRequest& request, SecretRequest wanted) {
  if (!request.bare_kem) {
    const auto length = SecretLength(wanted, std::nullopt);
    if (length && *length > kMostExported) return Refuse(CKR_KEY_SIZE_RANGE);
    return length;
  }
  if (!wanted.length) wanted.length = kHpkeSecretBytes;
  const auto length = SecretLength(wanted, kHpkeSecretBytes);
  if (length && *length != kHpkeSecretBytes) return Refuse(CKR_TEMPLATE_INCONSISTENT);
  return length;
}

CkResult<NewKey> Export(const HpkeRequest& request, HpkeContext context, size_t length) {
  if (request.bare_kem) return AsSecretKey(std::move(context.secret));
  auto exported = ToCk(Vault::New(length));
  if (!exported) return Refuse(exported.error());
  const auto done = Succeeded(exported->WriteSecret([&](std::span<uint8_t> out) {
    return context.secret.WithSecret([&](std::span<const uint8_t> exporter) {
      return HpkeExport(request.suite(), exporter, request.exporter_context, out);
    });
  }));
  if (!done) return Refuse(done.error());
  return AsSecretKey(std::move(*exported));
}

}  // namespace

CkResult<KeysNamed> HpkeNamesKeys(Parameter parameter) {
  const auto request = ReadHpke(parameter);
  if (!request) return Refuse(request.error());
  KeysNamed named;
  named.as_base = true;
  if (request->psk) named.handles.push_back(*request->psk);
  return named;
}

CkResult<std::unique_ptr<CipherOperation>> EncryptHpke(CK_MECHANISM_TYPE /*type*/,
                                                       Parameter parameter, const Key& key) {
  const auto request = ReadSealing(parameter);
  if (!request) return Refuse(request.error());
  const auto psk = FindPsk(*request, key);
  if (!psk) return Refuse(psk.error());
  std::vector<uint8_t> enc(request->kem->enc_bytes);
  const auto context = BeginHpkeSender(*request, key, *psk, enc);
  if (!context) return Refuse(context.error());
  auto aead = context->MakeAead(*request->aead);
  if (!aead) return Refuse(aead.error());
  const auto started = context->Start(*aead, request->aad, 0, Direction::kEncrypt);
  if (!started) return Refuse(started.error());
  if (!request->enc.empty()) {
    std::ranges::copy(enc, request->enc.begin());
    enc.clear();
  }
  return std::make_unique<Encryption>(std::move(*aead), std::move(enc));
}

CkResult<std::unique_ptr<CipherOperation>> DecryptHpke(CK_MECHANISM_TYPE /*type*/,
                                                       Parameter parameter, const Key& key) {
  auto request = ReadSealing(parameter);
  if (!request) return Refuse(request.error());
  if (key.key_type != request->kem->key_type || key.object_class != CKO_PRIVATE_KEY) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  const auto psk = FindPsk(*request, key);
  if (!psk) return Refuse(psk.error());
  return std::make_unique<Decryption>(std::move(*request), key, *psk);
}

CkResult<std::vector<uint8_t>> WrapHpkeWith(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                            const Key& wrapping, const Vault& material,
                                            std::span<const uint8_t> associated) {
  const auto request = ReadSealing(parameter, associated);
  if (!request) return Refuse(request.error());
  const auto psk = FindPsk(*request, wrapping);
  if (!psk) return Refuse(psk.error());
  std::vector<uint8_t> wrapped(request->prefix() + material.size() + kTag);
  const std::span<uint8_t> body = std::span(wrapped).subspan(request->prefix());
  std::vector<uint8_t> enc(request->kem->enc_bytes);
  const auto context = BeginHpkeSender(*request, wrapping, *psk, enc);
  if (!context) return Refuse(context.error());
  auto aead = context->MakeAead(*request->aead);
  if (!aead) return Refuse(aead.error());
  auto done = context->Start(*aead, request->aad, material.size(), Direction::kEncrypt);
  if (done) {
    done = Flatten(material.WithSecret([&](std::span<const uint8_t> plain) {
      const auto encrypted = aead->Crypt(plain, body.first(plain.size()));
      return encrypted ? CKR_OK : encrypted.error();
    }));
  }
  if (done) done = aead->MakeTag(body.last(kTag));
  if (!done) return Refuse(done.error());
  std::ranges::copy(enc, request->enc.empty() ? wrapped.data() : request->enc.data());
  return wrapped;
}

CkResult<Vault> UnwrapHpkeWith(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                               const Key& unwrapping, std::span<const uint8_t> wrapped,
                               std::span<const uint8_t> associated) {
  const auto request = ReadSealing(parameter, associated);
  if (!request) return Refuse(request.error());
  const auto psk = FindPsk(*request, unwrapping);
  if (!psk) return Refuse(psk.error());
  if (wrapped.size() <= request->prefix() + kTag) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  const auto enc = request->enc.empty() ? wrapped.first(request->prefix())
                                        : std::span<const uint8_t>(request->enc);
  const auto context = BeginHpkeRecipient(*request, unwrapping, *psk, enc);
  if (!context) return Refuse(context.error());
  auto aead = context->MakeAead(*request->aead);
  if (!aead) return Refuse(aead.error());
  const auto body = wrapped.subspan(request->prefix());
  std::optional<CkResult<Vault>> opened;
  const auto borrowed = ToCk(context->nonce->WithSecret([&](std::span<const uint8_t> nonce) {
    opened.emplace(
        aead->OpenVault(nonce, request->aad, body.first(body.size() - kTag), body.last(kTag)));
  }));
  if (!borrowed) return Refuse(borrowed.error());
  return std::move(*opened);
}

CkResult<std::vector<uint8_t>> WrapHpke(CK_MECHANISM_TYPE type, Parameter parameter,
                                        const Key& wrapping, const Vault& material) {
  return WrapHpkeWith(type, parameter, wrapping, material, {});
}

CkResult<Vault> UnwrapHpke(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                           std::span<const uint8_t> wrapped, std::span<const size_t> /*lengths*/) {
  return UnwrapHpkeWith(type, parameter, unwrapping, wrapped, {});
}

CkResult<size_t> HpkeCiphertextSize(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                    const Key& key) {
  const auto request = ReadEncapsulation(parameter);
  if (!request) return Refuse(request.error());
  if (key.key_type != request->kem->key_type) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  return request->kem->enc_bytes;
}

CkResult<Encapsulated> EncapsulateHpke(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                       const Key& key, const SecretRequest& wanted) {
  const auto request = ReadEncapsulation(parameter);
  if (!request) return Refuse(request.error());
  const auto psk = FindPsk(*request, key);
  if (!psk) return Refuse(psk.error());
  const auto length = LengthOf(*request, wanted);
  if (!length) return Refuse(length.error());
  std::vector<uint8_t> enc(request->kem->enc_bytes);
  auto context = BeginHpkeSender(*request, key, *psk, enc);
  if (!context) return Refuse(context.error());
  auto secret = Export(*request, std::move(*context), *length);
  if (!secret) return Refuse(secret.error());
  return Encapsulated{std::move(*secret), std::move(enc)};
}

CkResult<NewKey> DecapsulateHpke(CK_MECHANISM_TYPE /*type*/, Parameter parameter, const Key& key,
                                 const SecretRequest& wanted, std::span<const uint8_t> ciphertext) {
  const auto request = ReadEncapsulation(parameter);
  if (!request) return Refuse(request.error());
  const auto psk = FindPsk(*request, key);
  if (!psk) return Refuse(psk.error());
  const auto length = LengthOf(*request, wanted);
  if (!length) return Refuse(length.error());
  if (ciphertext.size() != request->kem->enc_bytes) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  auto context = BeginHpkeRecipient(*request, key, *psk, ciphertext);
  if (!context) {
    const bool invalid = context.error() == CKR_ENCRYPTED_DATA_INVALID;
    return Refuse(invalid ? CKR_WRAPPED_KEY_INVALID : context.error());
  }
  return Export(*request, std::move(*context), *length);
}

}  // namespace secretmem

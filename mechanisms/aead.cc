#include "mechanisms/aead.h"

#include <openssl/mem.h>

#include <algorithm>
#include <array>

#include "mechanisms/nonce_source.h"

namespace secretmem {
namespace {

// Messages up to this size are decrypted once, into secret memory, and copied out when the tag has
// proved right; longer ones are gone through twice.
constexpr size_t kOnce = size_t{64} << 10;

// Messages up to this size are encrypted in one borrow, tag and all.
constexpr size_t kInOneBorrow = size_t{4} << 20;

// InOneBorrow runs |f|, which returns a CkResult, on a shallow stack: borrows inside cost next to
// nothing. None of the AEADs needs more.
template <class F>
auto InOneBorrow(F&& f) -> std::invoke_result_t<F&> {
  auto result = ToCk(OnShallowStack(f));
  if (!result) return Refuse(result.error());
  return std::move(*result);
}

template <class F>
auto Visit(AeadState& state, F&& f) {
  return std::visit(std::forward<F>(f), state);
}

bool IsGcmTag(CK_ULONG bits) { return bits == 32 || bits == 64 || (bits >= 96 && bits <= 128); }

template <class Size>
const uint8_t* Pointer(Size word) {
  return reinterpret_cast<const uint8_t*>(word);
}

CkResult<AeadParameter> ReadGcm(Parameter parameter) {
  // Pointers and CK_ULONGs alike: pIv, ulIvLen, ulIvBits, pAAD, ulAADLen, ulTagBits.
  std::array<CK_ULONG, 6> words{};
  constexpr size_t kWithoutIvBits = 5 * sizeof(CK_ULONG);
  if (parameter.size() == sizeof(words)) {
    memcpy(words.data(), parameter.data(), sizeof(words));
  } else if (parameter.size() == kWithoutIvBits) {
    memcpy(words.data(), parameter.data(), 2 * sizeof(CK_ULONG));
    memcpy(&words[3], parameter.data() + 2 * sizeof(CK_ULONG), 3 * sizeof(CK_ULONG));
  } else {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const auto nonce = ParameterBytes(Pointer(words[0]), words[1]);
  const auto aad = ParameterBytes(Pointer(words[3]), words[4]);
  if (!nonce || !aad || nonce->empty() || !IsGcmTag(words[5]) || words[5] % 8 != 0) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return AeadParameter{*nonce, *aad, words[5] / 8, std::nullopt};
}

CkResult<AeadParameter> ReadCcm(Parameter parameter) {
  const auto given = ReadParameter<CK_CCM_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const auto nonce = ParameterBytes(given->pNonce, given->ulNonceLen);
  const auto aad = ParameterBytes(given->pAAD, given->ulAADLen);
  const CK_ULONG tag = given->ulMACLen;
  if (!nonce || !aad || nonce->size() < 7 || nonce->size() > 13 || tag < 4 || tag > 16 ||
      tag % 2 != 0) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const size_t length_bits = (15 - nonce->size()) * 8;
  if (length_bits < 64 && given->ulDataLen >> length_bits != 0) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return AeadParameter{*nonce, *aad, tag, given->ulDataLen};
}

CkResult<AeadParameter> ReadChaCha(Parameter parameter) {
  const auto given = ReadParameter<CK_SALSA20_CHACHA20_POLY1305_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  constexpr CK_ULONG kNonce = 12;
  if (given->ulNonceLen != kNonce && given->ulNonceLen != kNonce * 8) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const auto nonce = ParameterBytes(given->pNonce, kNonce);
  const auto aad = ParameterBytes(given->pAAD, given->ulAADLen);
  if (!nonce || !aad) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return AeadParameter{*nonce, *aad, 16, std::nullopt};
}

// Message is what a message is to begin with. The key schedule is made when data comes, so that a
// message in one part is one borrow.
struct Message {
  CK_MECHANISM_TYPE type;
  Key key;
  std::vector<uint8_t> nonce;
  std::vector<uint8_t> aad;
  size_t tag_size;
  std::optional<uint64_t> data_size;

  uint64_t max_data() const { return data_size.value_or(Aead::MaxData(type)); }

  // Encrypt makes an Aead that is ready for the plaintext.
  CkResult<Aead> Encrypt() const {
    auto made = Aead::Make(type, key);
    if (!made) return made;
    const AeadShape shape{data_size.value_or(0), tag_size};
    if (auto begun = made->Start(nonce, aad, shape, Direction::kEncrypt); !begun) {
      return Refuse(begun.error());
    }
    return made;
  }
};

CkResult<Message> ReadMessage(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key) {
  const auto read = ReadAeadParameter(type, parameter);
  if (!read) return Refuse(read.error());
  if (auto right = Aead::CheckKey(type, key); !right) return Refuse(right.error());
  return Message{type,
                 key,
                 {read->nonce.begin(), read->nonce.end()},
                 {read->aad.begin(), read->aad.end()},
                 read->tag_size,
                 read->data_size};
}

class AeadEncryption : public CipherOperation {
 public:
  explicit AeadEncryption(Message message) : message_(std::move(message)) {}

  CkStatus Check(Part part, size_t input) const override {
    if (input > message_.max_data() - done_) return Refuse(CKR_DATA_LEN_RANGE);
    // CCM: the length was promised.
    if (part != Part::kUpdate && message_.data_size && done_ + input != *message_.data_size) {
      return Refuse(CKR_DATA_LEN_RANGE);
    }
    return {};
  }
  size_t update_size(size_t input) const override { return input; }
  size_t final_size() const override { return message_.tag_size; }

  CkResult<size_t> Update(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (auto right = Check(Part::kUpdate, in.size()); !right) return Refuse(right.error());
    if (auto begun = Begin(); !begun) return Refuse(begun.error());
    if (auto made = aead_->Crypt(in, out); !made) return Refuse(made.error());
    done_ += in.size();
    return in.size();
  }
  CkResult<size_t> Final(std::span<uint8_t> out) override {
    if (auto right = Check(Part::kFinal, 0); !right) return Refuse(right.error());
    if (auto begun = Begin(); !begun) return Refuse(begun.error());
    const auto made = aead_->MakeTag(out.first(message_.tag_size));
    if (!made) return Refuse(made.error());
    return message_.tag_size;
  }
  CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    // Longer ones let signals and forks through in between.
    if (in.size() > kInOneBorrow) return CipherOperation::Whole(in, out);
    return InOneBorrow([&] {
      auto written = CipherOperation::Whole(in, out);
      aead_.reset();
      return written;
    });
  }

 private:
  CkStatus Begin() {
    if (aead_) return {};
    auto begun = InOneBorrow([&] { return message_.Encrypt(); });
    if (!begun) return Refuse(begun.error());
    aead_.emplace(std::move(*begun));
    return {};
  }

  const Message message_;
  std::optional<Aead> aead_;
  uint64_t done_ = 0;
};

class AeadDecryption : public CipherOperation {
 public:
  explicit AeadDecryption(Message message) : message_(std::move(message)) {}

  CkStatus Check(Part part, size_t input) const override {
    const uint64_t most = message_.max_data() + message_.tag_size;
    const uint64_t total = kept_.size() + uint64_t{input};
    if (total > most) return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
    if (part == Part::kUpdate) return {};
    if (total < message_.tag_size || (message_.data_size && total != most)) {
      return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
    }
    return {};
  }
  size_t update_size(size_t) const override { return 0; }
  size_t final_size() const override { return Plain(kept_.size()); }
  size_t whole_size(size_t input) const override { return Plain(input); }

  CkResult<size_t> Update(std::span<const uint8_t> in, std::span<uint8_t>) override {
    if (auto right = Check(Part::kUpdate, in.size()); !right) return Refuse(right.error());
    kept_.insert(kept_.end(), in.begin(), in.end());
    return 0;
  }
  CkResult<size_t> Final(std::span<uint8_t> out) override {
    if (auto right = Check(Part::kFinal, 0); !right) return Refuse(right.error());
    return Open(kept_, out);
  }
  CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (auto right = Check(Part::kWhole, in.size()); !right) return Refuse(right.error());
    return Open(in, out);
  }

 private:
  size_t Plain(size_t size) const { return size - std::min(size, message_.tag_size); }

  CkResult<size_t> Open(std::span<const uint8_t> in, std::span<uint8_t> out) {
    const size_t size = Plain(in.size());
    const auto open = [&]() -> CkStatus {
      auto aead = Aead::Make(message_.type, message_.key);
      if (!aead) return Refuse(aead.error());
      return aead->Open(message_.nonce, message_.aad, in.first(size), in.subspan(size),
                        out.first(size));
    };
    const CkStatus opened = size > kOnce ? open() : InOneBorrow(open);
    if (!opened) return Refuse(opened.error());
    return size;
  }

  const Message message_;
  std::vector<uint8_t> kept_;
};

}  // namespace

CkStatus Aead::CheckKey(CK_MECHANISM_TYPE type, const Key& key) {
  return CheckSecretKey(key, type == CKM_CHACHA20_POLY1305 ? CKK_CHACHA20 : CKK_AES);
}

uint64_t Aead::MaxData(CK_MECHANISM_TYPE type) {
  // RFC 8439, 2.8; NIST SP 800-38D, 5.2.1.1. CCM's limit comes with its parameters.
  switch (type) {
    case CKM_CHACHA20_POLY1305:
      return (uint64_t{1} << 38) - 64;
    case CKM_AES_GCM:
      return (uint64_t{1} << 36) - 32;
    default:
      return uint64_t{1} << 62;
  }
}

CkResult<Aead> Aead::Make(CK_MECHANISM_TYPE type, const Key& key) {
  if (auto right = CheckKey(type, key); !right) return Refuse(right.error());
  auto box = ToCk(Box::Make());
  if (!box) return Refuse(box.error());
  const auto keyed = Succeeded(key.secret->WithSecret([&](std::span<const uint8_t> bytes) {
    return box->With([&](AeadState& state) {
      if (type == CKM_CHACHA20_POLY1305) {
        state.emplace<ChaChaState>();
      } else if (type == CKM_AES_CCM) {
        state.emplace<CcmState>();
      }
      return Visit(state, [&](auto& its) { return its.SetKey(bytes); });
    });
  }));
  if (!keyed) return Refuse(keyed.error());
  return Aead(std::move(*box), MaxData(type));
}

CkStatus Aead::Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape shape,
                     Direction direction) {
  return Succeeded(state_.With([&](AeadState& state) {
    return Visit(state, [&](auto& its) { return its.Start(nonce, aad, shape, direction); });
  }));
}

CkStatus Aead::Crypt(std::span<const uint8_t> in, std::span<uint8_t> out) {
  const std::span<const uint8_t> settled(Settle(in, out), in.size());
  return InSlices(settled, [&](std::span<const uint8_t> slice) {
    uint8_t* to = out.data() + (slice.data() - settled.data());
    return Succeeded(state_.With([&](AeadState& state) {
      return Visit(state, [&](auto& its) { return its.Crypt(slice, to); });
    }));
  });
}

CkStatus Aead::MakeTag(std::span<uint8_t> tag) {
  return Succeeded(state_.With(
      [&](AeadState& state) { return Visit(state, [&](auto& its) { return its.MakeTag(tag); }); }));
}

CkStatus Aead::CheckAll(std::span<const uint8_t> in, std::span<const uint8_t> tag) {
  const auto gone_through = InSlices(in, [&](std::span<const uint8_t> slice) {
    return Succeeded(state_.With([&](AeadState& state) {
      return Visit(state, [&](auto& its) {
        uint8_t nowhere[8 << 10];
        for (; !slice.empty(); slice = slice.subspan(std::min(slice.size(), sizeof(nowhere)))) {
          if (!its.Crypt(slice.first(std::min(slice.size(), sizeof(nowhere))), nowhere)) {
            return false;
          }
        }
        return true;
      });
    }));
  });
  if (!gone_through) return gone_through;
  return Flatten(state_.With([&](AeadState& state) -> CK_RV {
    const bool same = Visit(state, [&](auto& its) { return its.CheckTag(tag); });
    return same ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
  }));
}

CkStatus Aead::Open(std::span<const uint8_t> nonce, std::span<const uint8_t> aad,
                    std::span<const uint8_t> in, std::span<const uint8_t> tag,
                    std::span<uint8_t> out) {
  const AeadShape shape{in.size(), tag.size()};
  if (auto begun = Start(nonce, aad, shape, Direction::kDecrypt); !begun) return begun;
  if (in.size() > kOnce) {
    if (auto right = CheckAll(in, tag); !right) return right;
    if (auto begun = Start(nonce, aad, shape, Direction::kDecrypt); !begun) return begun;
    return Crypt(in, out);
  }
  return Flatten(state_.With([&](AeadState& state) -> CK_RV {
    const bssl::UniquePtr<uint8_t> plain(
        static_cast<uint8_t*>(OPENSSL_malloc(std::max<size_t>(in.size(), 1))));
    if (plain == nullptr) return CKR_DEVICE_MEMORY;
    return Visit(state, [&](auto& its) -> CK_RV {
      if (!its.Crypt(in, plain.get())) return CKR_FUNCTION_FAILED;
      if (!its.CheckTag(tag)) return CKR_ENCRYPTED_DATA_INVALID;
      std::copy_n(plain.get(), in.size(), out.data());
      return CKR_OK;
    });
  }));
}

CkResult<Vault> Aead::OpenVault(std::span<const uint8_t> nonce, std::span<const uint8_t> aad,
                                std::span<const uint8_t> in, std::span<const uint8_t> tag) {
  if (in.empty()) return Refuse(CKR_ENCRYPTED_DATA_LEN_RANGE);
  if (auto begun = Start(nonce, aad, {in.size(), tag.size()}, Direction::kDecrypt); !begun) {
    return Refuse(begun.error());
  }
  auto vault = ToCk(Vault::New(in.size()));
  if (!vault) return vault;
  const auto opened = Flatten(vault->WriteSecret([&](std::span<uint8_t> plain) {
    return state_.With([&](AeadState& state) -> CK_RV {
      return Visit(state, [&](auto& its) -> CK_RV {
        if (!its.Crypt(in, plain.data())) return CKR_FUNCTION_FAILED;
        return its.CheckTag(tag) ? CKR_OK : CKR_ENCRYPTED_DATA_INVALID;
      });
    });
  }));
  if (!opened) return Refuse(opened.error());
  return vault;
}

CkResult<AeadParameter> ReadAeadParameter(CK_MECHANISM_TYPE type, Parameter parameter) {
  switch (type) {
    case CKM_AES_GCM:
      return ReadGcm(parameter);
    case CKM_AES_CCM:
      return ReadCcm(parameter);
    case CKM_CHACHA20_POLY1305:
      return ReadChaCha(parameter);
    default:
      return Refuse(CKR_MECHANISM_INVALID);
  }
}

CkResult<AeadParameter> ReadGcmWrap(Parameter parameter, bool make_nonce) {
  if (parameter.size() != sizeof(CK_GCM_WRAP_PARAMS)) return ReadGcm(parameter);
  const auto given = ReadParameter<CK_GCM_WRAP_PARAMS>(parameter);
  const auto nonce = ParameterBytes(given->pIv, given->ulIvLen);
  const auto aad = ParameterBytes(given->pAAD, given->ulAADLen);
  if (!nonce || !aad || nonce->empty() || !IsGcmTag(given->ulTagBits) ||
      given->ulTagBits % 8 != 0) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (make_nonce) {
    // One key is wrapped, so a counter would begin anew each time.
    const CK_GENERATOR_FUNCTION generator =
        given->ivGenerator == CKG_GENERATE ? CKG_GENERATE_RANDOM : given->ivGenerator;
    if (generator != CKG_NO_GENERATE && generator != CKG_GENERATE_RANDOM) {
      return Refuse(CKR_MECHANISM_PARAM_INVALID);
    }
    NonceSource source;
    const auto made = source.Next({generator, given->ulIvFixedBits}, {given->pIv, given->ulIvLen});
    if (!made) return Refuse(made.error());
  }
  return AeadParameter{*nonce, *aad, given->ulTagBits / 8, std::nullopt};
}

CkResult<std::unique_ptr<CipherOperation>> EncryptAead(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key) {
  auto message = ReadMessage(type, parameter, key);
  if (!message) return Refuse(message.error());
  return std::make_unique<AeadEncryption>(std::move(*message));
}

CkResult<std::unique_ptr<CipherOperation>> DecryptAead(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key) {
  auto message = ReadMessage(type, parameter, key);
  if (!message) return Refuse(message.error());
  return std::make_unique<AeadDecryption>(std::move(*message));
}

}  // namespace secretmem

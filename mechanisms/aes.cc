#include "mechanisms/aes.h"

#include <openssl/aes.h>

#include <algorithm>

#include "mechanisms/symmetric.h"
#include "vault/secret_box.h"

namespace secretmem {
namespace {

__extension__ typedef unsigned __int128 Uint128;

struct AesState {
  AES_KEY key;
  uint8_t iv[kAesBlock];       // CBC: the block before; CTR: the counter block
  uint8_t pending[kAesBlock];  // input that does not make a block yet; CTR: the key stream
  unsigned used;               // CTR: bytes of the key stream used up
};
using AesBox = SecretBox<AesState>;

CkResult<AesBox> MakeState(const Key& key, Direction direction, std::span<const uint8_t> iv) {
  if (auto right = CheckSecretKey(key, CKK_AES); !right) return Refuse(right.error());
  auto box = ToCk(AesBox::Make());
  if (!box) return box;
  const auto keyed = Succeeded(key.secret->WithSecret([&](std::span<const uint8_t> bytes) {
    return box->With([&](AesState& state) {
      std::ranges::copy(iv, state.iv);
      const auto bits = static_cast<unsigned>(bytes.size() * 8);
      return (direction == Direction::kEncrypt
                  ? AES_set_encrypt_key(bytes.data(), bits, &state.key)
                  : AES_set_decrypt_key(bytes.data(), bits, &state.key)) == 0;
    });
  }));
  if (!keyed) return Refuse(keyed.error());
  return box;
}

// Unpadded removes PKCS#7's from the last block: how many bytes remain, or nothing if it is wrong.
// Every byte is looked at, whatever they are.
std::optional<size_t> Unpadded(std::span<const uint8_t, kAesBlock> block) {
  const uint32_t pad = block[kAesBlock - 1];
  uint32_t wrong = (pad - 1) >> 4;  // not of 1 to 16
  for (uint32_t i = 0; i < kAesBlock; ++i) {
    // All ones for the last |pad| bytes.
    const uint32_t within = 0U - ((static_cast<uint32_t>(kAesBlock) - 1 - i - pad) >> 31);
    wrong |= within & (block[i] ^ pad);
  }
  if (wrong != 0) return std::nullopt;
  return kAesBlock - pad;
}

// MoveInSlices is memmove, in a borrow, with safe points.
void MoveInSlices(const uint8_t* from, uint8_t* to, size_t size) {
  // From that end where no byte is overwritten that is still to be moved.
  const bool upwards = std::less<const uint8_t*>()(to, from);
  for (size_t done = 0; done < size;) {
    const size_t slice = std::min(kSliceBytes, size - done);
    const size_t at = upwards ? done : size - done - slice;
    memmove(to + at, from + at, slice);
    done += slice;
    if (done < size) SafePoint();
  }
}

// BlockCipher is ECB and CBC. A block that is not full waits for more; a decryption with padding
// also keeps a full one back, since it may be the last.
class BlockCipher : public CipherOperation {
 public:
  BlockCipher(AesBox state, CK_MECHANISM_TYPE type, Direction direction)
      : state_(std::move(state)), type_(type), direction_(direction) {}

  CkStatus Check(Part part, size_t input) const override {
    const size_t total = part == Part::kFinal ? pending_ : pending_ + input;
    if (part == Part::kUpdate) return {};
    if (!padded()) return total % kAesBlock == 0 ? CkStatus() : Refuse(LengthError());
    if (encrypts()) return {};
    return total != 0 && total % kAesBlock == 0 ? CkStatus() : Refuse(LengthError());
  }

  size_t update_size(size_t input) const override {
    const size_t total = pending_ + input;
    if (KeepsBack()) return total == 0 ? 0 : (total - 1) / kAesBlock * kAesBlock;
    return total / kAesBlock * kAesBlock;
  }
  size_t final_size() const override { return padded() ? kAesBlock : 0; }
  size_t whole_size(size_t input) const override {
    return padded() && encrypts() ? (input / kAesBlock + 1) * kAesBlock : input;
  }

  CkResult<size_t> Update(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    const size_t size = update_size(in.size());
    const auto moved = Succeeded(state_.With([&](AesState& state) {
      if (size == 0) {
        std::ranges::copy(in, state.pending + pending_);
        return true;
      }
      // Everything goes to its place in |out| first, and is worked on there: |in| may overlap it.
      const size_t taken = size - pending_;
      uint8_t rest[kAesBlock];
      std::ranges::copy(in.subspan(taken), rest);
      MoveInSlices(in.data(), out.data() + pending_, taken);
      std::copy_n(state.pending, pending_, out.data());
      std::copy_n(rest, in.size() - taken, state.pending);
      return true;
    }));
    if (!moved) return Refuse(moved.error());
    pending_ = pending_ + in.size() - size;
    const auto done = InSlices(out.first(size), [&](std::span<const uint8_t> slice) {
      uint8_t* at = out.data() + (slice.data() - out.data());
      return Succeeded(state_.With([&](AesState& state) {
        Transform(state, at, slice.size());
        return true;
      }));
    });
    if (!done) return Refuse(done.error());
    return size;
  }

  CkResult<size_t> Final(std::span<uint8_t> out) override {
    if (auto right = Check(Part::kFinal, 0); !right) return Refuse(right.error());
    if (!padded()) return 0;
    size_t size = kAesBlock;
    const auto done = Flatten(state_.With([&](AesState& state) -> CK_RV {
      uint8_t block[kAesBlock];
      std::ranges::copy(state.pending, block);
      if (encrypts()) {
        std::fill(block + pending_, std::end(block), static_cast<uint8_t>(kAesBlock - pending_));
      }
      Transform(state, block, kAesBlock);
      if (!encrypts()) {
        const auto remains = Unpadded(block);
        if (!remains) return CKR_ENCRYPTED_DATA_INVALID;
        size = *remains;
      }
      std::copy_n(block, size, out.data());
      return CKR_OK;
    }));
    if (!done) return Refuse(done.error());
    return size;
  }

 private:
  bool padded() const { return type_ == CKM_AES_CBC_PAD; }
  bool encrypts() const { return direction_ == Direction::kEncrypt; }
  bool KeepsBack() const { return padded() && !encrypts(); }
  CK_RV LengthError() const {
    return encrypts() ? CKR_DATA_LEN_RANGE : CKR_ENCRYPTED_DATA_LEN_RANGE;
  }

  void Transform(AesState& state, uint8_t* data, size_t size) const {
    const int mode = encrypts() ? AES_ENCRYPT : AES_DECRYPT;
    if (type_ != CKM_AES_ECB) {
      AES_cbc_encrypt(data, data, size, &state.key, state.iv, mode);
      return;
    }
    for (size_t at = 0; at < size; at += kAesBlock) {
      AES_ecb_encrypt(data + at, data + at, &state.key, mode);
    }
  }

  AesBox state_;
  CK_MECHANISM_TYPE type_;
  Direction direction_;
  size_t pending_ = 0;
};

// CounterCipher is CTR. |blocks| is how many counter values there are before the counter field
// overflows, which it must not.
class CounterCipher : public CipherOperation {
 public:
  CounterCipher(AesBox state, Direction direction, Uint128 blocks)
      : state_(std::move(state)), direction_(direction), bytes_left_(blocks * kAesBlock) {
    // 2^128 values, or what comes close: more than anybody's data.
    if (blocks == 0 || blocks >> 100 != 0) bytes_left_ = ~static_cast<Uint128>(0);
  }

  CkStatus Check(Part part, size_t input) const override {
    if (part == Part::kFinal || input <= bytes_left_) return {};
    return Refuse(direction_ == Direction::kEncrypt ? CKR_DATA_LEN_RANGE
                                                    : CKR_ENCRYPTED_DATA_LEN_RANGE);
  }
  size_t update_size(size_t input) const override { return input; }
  size_t final_size() const override { return 0; }

  CkResult<size_t> Update(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    if (auto right = Check(Part::kUpdate, in.size()); !right) return Refuse(right.error());
    const std::span<const uint8_t> settled(Settle(in, out), in.size());
    const auto done = InSlices(settled, [&](std::span<const uint8_t> slice) {
      uint8_t* to = out.data() + (slice.data() - settled.data());
      return Succeeded(state_.With([&](AesState& state) {
        AES_ctr128_encrypt(slice.data(), to, slice.size(), &state.key, state.iv, state.pending,
                           &state.used);
        return true;
      }));
    });
    if (!done) return Refuse(done.error());
    bytes_left_ -= in.size();
    return in.size();
  }
  CkResult<size_t> Final(std::span<uint8_t>) override { return 0; }

 private:
  AesBox state_;
  Direction direction_;
  Uint128 bytes_left_;
};

CkResult<std::unique_ptr<CipherOperation>> BeginCounter(Parameter parameter, const Key& key,
                                                        Direction direction) {
  const auto given = ReadParameter<CK_AES_CTR_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const CK_ULONG bits = given->ulCounterBits;
  if (bits == 0 || bits > 128) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  Uint128 counter = 0;
  for (const uint8_t byte : given->cb) counter = counter << 8 | byte;
  Uint128 values = 0;  // 2^128 with 128 bits
  if (bits < 128) {
    values = static_cast<Uint128>(1) << bits;
    counter &= values - 1;
  }
  // Either direction is an encryption of counters.
  auto state = MakeState(key, Direction::kEncrypt, given->cb);
  if (!state) return Refuse(state.error());
  return std::make_unique<CounterCipher>(std::move(*state), direction, values - counter);
}

CkResult<std::unique_ptr<CipherOperation>> Begin(CK_MECHANISM_TYPE type, Parameter parameter,
                                                 const Key& key, Direction direction) {
  if (type == CKM_AES_CTR) return BeginCounter(parameter, key, direction);
  // ECB has no parameter, but clients leave one there.
  const bool chained = type != CKM_AES_ECB;
  if (chained && parameter.size() != kAesBlock) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  auto state = MakeState(key, direction, chained ? parameter : Parameter());
  if (!state) return Refuse(state.error());
  return std::make_unique<BlockCipher>(std::move(*state), type, direction);
}

}  // namespace

CkResult<std::unique_ptr<CipherOperation>> EncryptAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key) {
  return Begin(type, parameter, key, Direction::kEncrypt);
}

CkResult<std::unique_ptr<CipherOperation>> DecryptAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                                      const Key& key) {
  return Begin(type, parameter, key, Direction::kDecrypt);
}

}  // namespace secretmem

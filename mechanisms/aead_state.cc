#include "mechanisms/aead_state.h"

#include <openssl/mem.h>

#include <algorithm>

#include "mechanisms/operation.h"

namespace secretmem {
namespace {

constexpr size_t kTag = 16;

void StoreBigEndian(uint64_t value, uint8_t* end, size_t size) {
  for (size_t i = 0; i < size; ++i, value >>= 8) *--end = static_cast<uint8_t>(value);
}

bool SameTag(std::span<const uint8_t> made, std::span<const uint8_t> given) {
  return CRYPTO_memcmp(made.data(), given.data(), given.size()) == 0;
}

}  // namespace

bool GcmState::SetKey(std::span<const uint8_t> key) {
  const EVP_CIPHER* cipher = key.size() == 16   ? EVP_aes_128_gcm()
                             : key.size() == 24 ? EVP_aes_192_gcm()
                                                : EVP_aes_256_gcm();
  return EVP_CipherInit_ex(context_.get(), cipher, nullptr, key.data(), nullptr, 1) == 1;
}

bool GcmState::Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape,
                     Direction direction) {
  const int encrypt = direction == Direction::kEncrypt ? 1 : 0;
  int ignored;
  return EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_IVLEN,
                             static_cast<int>(nonce.size()), nullptr) == 1 &&
         EVP_CipherInit_ex(context_.get(), nullptr, nullptr, nullptr, nonce.data(), encrypt) == 1 &&
         InSafeSlices(aad, [&](std::span<const uint8_t> slice) {
           return slice.empty() || EVP_CipherUpdate(context_.get(), nullptr, &ignored, slice.data(),
                                                    static_cast<int>(slice.size())) == 1;
         });
}

bool GcmState::Crypt(std::span<const uint8_t> in, uint8_t* out) {
  int written = 0;
  return in.empty() || (EVP_CipherUpdate(context_.get(), out, &written, in.data(),
                                         static_cast<int>(in.size())) == 1 &&
                        static_cast<size_t>(written) == in.size());
}

bool GcmState::MakeTag(std::span<uint8_t> tag) {
  int ignored;
  uint8_t nothing[kTag];
  return EVP_CipherFinal_ex(context_.get(), nothing, &ignored) == 1 &&
         EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag.size()),
                             tag.data()) == 1;
}

bool GcmState::CheckTag(std::span<const uint8_t> tag) {
  int ignored;
  uint8_t nothing[kTag];
  return EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                             const_cast<uint8_t*>(tag.data())) == 1 &&
         EVP_CipherFinal_ex(context_.get(), nothing, &ignored) == 1;
}

bool CcmState::SetKey(std::span<const uint8_t> key) {
  return AES_set_encrypt_key(key.data(), static_cast<unsigned>(key.size() * 8), &key_) == 0;
}

bool CcmState::Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape shape,
                     Direction direction) {
  encrypts_ = direction == Direction::kEncrypt;
  const size_t length_size = 15 - nonce.size();
  mac_[0] = static_cast<uint8_t>((aad.empty() ? 0 : 0x40) | (shape.tag_size - 2) / 2 << 3 |
                                 (length_size - 1));
  std::ranges::copy(nonce, mac_ + 1);
  StoreBigEndian(shape.data_size, std::end(mac_), length_size);
  AES_encrypt(mac_, mac_, &key_);
  mac_used_ = 0;
  if (!aad.empty()) {
    uint8_t size[6] = {0xff, 0xfe};
    if (aad.size() < 0xff00) {
      StoreBigEndian(aad.size(), size + 2, 2);
      Authenticate({size, 2});
    } else {
      StoreBigEndian(aad.size(), size + 6, 4);
      Authenticate(size);
    }
    InSafeSlices(aad, [&](std::span<const uint8_t> slice) {
      Authenticate(slice);
      return true;
    });
    PadBlock();
  }
  std::ranges::fill(counter_, uint8_t{0});
  counter_[0] = static_cast<uint8_t>(length_size - 1);
  std::ranges::copy(nonce, counter_ + 1);
  AES_encrypt(counter_, mask_, &key_);
  counter_[15] = 1;
  stream_used_ = 0;
  return true;
}

void CcmState::Authenticate(std::span<const uint8_t> data) {
  for (const uint8_t byte : data) {
    mac_[mac_used_++] ^= byte;
    if (mac_used_ == sizeof(mac_)) PadBlock();
  }
}

// The rest of the block is zeros: nothing to add to it.
void CcmState::PadBlock() {
  if (mac_used_ == 0) return;
  AES_encrypt(mac_, mac_, &key_);
  mac_used_ = 0;
}

bool CcmState::Crypt(std::span<const uint8_t> in, uint8_t* out) {
  if (in.empty()) return true;
  if (encrypts_) Authenticate(in);
  AES_ctr128_encrypt(in.data(), out, in.size(), &key_, counter_, stream_, &stream_used_);
  if (!encrypts_) Authenticate({out, in.size()});
  return true;
}

bool CcmState::MakeTag(std::span<uint8_t> tag) {
  PadBlock();
  for (size_t i = 0; i < tag.size(); ++i) tag[i] = mac_[i] ^ mask_[i];
  return true;
}

bool CcmState::CheckTag(std::span<const uint8_t> tag) {
  uint8_t made[kTag];
  return MakeTag({made, tag.size()}) && SameTag(made, tag);
}

bool ChaChaState::SetKey(std::span<const uint8_t> key) {
  if (key.size() != sizeof(key_)) return false;
  std::ranges::copy(key, key_);
  return true;
}

bool ChaChaState::Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape,
                        Direction direction) {
  encrypts_ = direction == Direction::kEncrypt;
  std::ranges::copy(nonce, nonce_);
  uint8_t first[64] = {};
  CRYPTO_chacha_20(first, first, sizeof(first), key_, nonce_, 0);
  CRYPTO_poly1305_init(&poly_, first);
  counter_ = 1;
  stream_left_ = 0;
  data_size_ = 0;
  aad_size_ = aad.size();
  InSafeSlices(aad, [&](std::span<const uint8_t> slice) {
    CRYPTO_poly1305_update(&poly_, slice.data(), slice.size());
    return true;
  });
  PadTo16(aad_size_);
  return true;
}

void ChaChaState::PadTo16(uint64_t size) {
  constexpr uint8_t kZeros[16] = {};
  CRYPTO_poly1305_update(&poly_, kZeros, (16 - size % 16) % 16);
}

void ChaChaState::Stream(std::span<const uint8_t> in, uint8_t* out) {
  const auto use_rest = [&] {
    const size_t size = std::min<size_t>(stream_left_, in.size());
    const uint8_t* stream = std::end(stream_) - stream_left_;
    for (size_t i = 0; i < size; ++i) out[i] = in[i] ^ stream[i];
    stream_left_ -= static_cast<unsigned>(size);
    in = in.subspan(size);
    out += size;
  };
  use_rest();
  const size_t blocks = in.size() / sizeof(stream_);
  if (blocks > 0) {
    CRYPTO_chacha_20(out, in.data(), blocks * sizeof(stream_), key_, nonce_, counter_);
    counter_ += static_cast<uint32_t>(blocks);
    in = in.subspan(blocks * sizeof(stream_));
    out += blocks * sizeof(stream_);
  }
  if (in.empty()) return;
  std::ranges::fill(stream_, uint8_t{0});
  CRYPTO_chacha_20(stream_, stream_, sizeof(stream_), key_, nonce_, counter_++);
  stream_left_ = sizeof(stream_);
  use_rest();
}

bool ChaChaState::Crypt(std::span<const uint8_t> in, uint8_t* out) {
  if (in.empty()) return true;
  if (!encrypts_) CRYPTO_poly1305_update(&poly_, in.data(), in.size());
  Stream(in, out);
  if (encrypts_) CRYPTO_poly1305_update(&poly_, out, in.size());
  data_size_ += in.size();
  return true;
}

bool ChaChaState::MakeTag(std::span<uint8_t> tag) {
  PadTo16(data_size_);
  uint8_t sizes[16];
  for (size_t i = 0; i < 8; ++i) {
    sizes[i] = static_cast<uint8_t>(aad_size_ >> 8 * i);
    sizes[8 + i] = static_cast<uint8_t>(data_size_ >> 8 * i);
  }
  CRYPTO_poly1305_update(&poly_, sizes, sizeof(sizes));
  CRYPTO_poly1305_finish(&poly_, tag.data());
  return true;
}

bool ChaChaState::CheckTag(std::span<const uint8_t> tag) {
  uint8_t made[kTag];
  return MakeTag(made) && SameTag(made, tag);
}

}  // namespace secretmem

#include "mechanisms/key_wrap.h"

#include <openssl/aes.h>

#include <algorithm>

#include "mechanisms/aes.h"
#include "mechanisms/gcm_wrap.h"
#include "mechanisms/symmetric.h"

namespace secretmem {
namespace {

constexpr size_t kSemiblock = 8;
// Far above any key, and what BoringSSL's lengths allow.
constexpr size_t kMostWrapped = size_t{1} << 24;

size_t RoundUp(size_t size, size_t step) { return (size + step - 1) / step * step; }

bool IsKwp(CK_MECHANISM_TYPE type) {
  return type == CKM_AES_KEY_WRAP_KWP || type == CKM_AES_KEY_WRAP_PAD;
}

bool IsCbc(CK_MECHANISM_TYPE type) { return type == CKM_AES_CBC || type == CKM_AES_CBC_PAD; }

// The IV that the mechanism takes: CBC's block, or RFC 3394's other initial value.
CkResult<const uint8_t*> ReadIv(CK_MECHANISM_TYPE type, Parameter parameter) {
  constexpr uint8_t kKwpIv[] = {0xa6, 0x59, 0x59, 0xa6};
  if (IsCbc(type)) {
    if (parameter.size() == kAesBlock) return parameter.data();
  } else if (parameter.empty() || (IsKwp(type) && std::ranges::equal(parameter, kKwpIv))) {
    return nullptr;
  } else if (type == CKM_AES_KEY_WRAP && parameter.size() == kSemiblock) {
    return parameter.data();
  }
  return Refuse(CKR_MECHANISM_PARAM_INVALID);
}

// Cbc works in place.
void Cbc(std::span<uint8_t> bytes, const AES_KEY& key, const uint8_t* iv, int direction) {
  uint8_t chain[kAesBlock];
  std::copy_n(iv, kAesBlock, chain);
  AES_cbc_encrypt(bytes.data(), bytes.data(), bytes.size(), &key, chain, direction);
}

// How many bytes of |room| are PKCS#7's padding; nothing if it is none.
std::optional<size_t> PaddingOf(std::span<const uint8_t> bytes) {
  const size_t pad = bytes.back();
  if (pad == 0 || pad > kAesBlock) return std::nullopt;
  unsigned wrong = 0;
  for (const uint8_t byte : bytes.last(pad)) wrong |= byte ^ static_cast<unsigned>(pad);
  if (wrong != 0) return std::nullopt;
  return pad;
}

struct Sizes {
  size_t plain;    // with its padding, where the result is made
  size_t wrapped;  // the most
};

CkResult<Sizes> SizesOf(CK_MECHANISM_TYPE type, size_t key) {
  if (key > kMostWrapped) return Refuse(CKR_KEY_SIZE_RANGE);
  switch (type) {
    case CKM_AES_CBC:
      return Sizes{RoundUp(key, kAesBlock), RoundUp(key, kAesBlock)};
    case CKM_AES_CBC_PAD:
      return Sizes{RoundUp(key + 1, kAesBlock), RoundUp(key + 1, kAesBlock)};
    case CKM_AES_KEY_WRAP: {
      const size_t plain = RoundUp(key, kSemiblock);
      if (plain < 2 * kSemiblock) return Refuse(CKR_KEY_SIZE_RANGE);
      return Sizes{plain, plain + kSemiblock};
    }
    default:
      return Sizes{key, RoundUp(key, kSemiblock) + kSemiblock};
  }
}

// WrapInto fills |scratch|, secret memory, from |plain|; on the secret stack.
bool WrapInto(CK_MECHANISM_TYPE type, const AES_KEY& key, const uint8_t* iv,
              std::span<const uint8_t> plain, const Sizes& sizes, std::span<uint8_t> scratch) {
  if (IsKwp(type)) {
    size_t written = 0;
    return AES_wrap_key_padded(&key, scratch.data(), &written, sizes.wrapped, plain.data(),
                               plain.size()) == 1 &&
           written == sizes.wrapped;
  }
  // The plain key, padded, goes where the result will be, before its end.
  const auto at = scratch.last(sizes.plain);
  std::ranges::copy(plain, at.begin());
  if (type == CKM_AES_KEY_WRAP) {
    return AES_wrap_key(&key, iv, scratch.data(), at.data(), sizes.plain) ==
           static_cast<int>(sizes.wrapped);
  }
  if (type == CKM_AES_CBC_PAD) {
    const size_t pad = sizes.plain - plain.size();
    std::ranges::fill(at.last(pad), static_cast<uint8_t>(pad));
  }
  Cbc(at, key, iv, AES_ENCRYPT);
  return true;
}

}  // namespace

CkResult<std::vector<uint8_t>> WrapAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                       const Key& wrapping, const Vault& material) {
  if (type == CKM_AES_GCM) return WrapGcm(type, parameter, wrapping, material, {});
  const auto iv = ReadIv(type, parameter);
  if (!iv) return Refuse(iv.error());
  if (auto right = CheckSecretKey(wrapping, CKK_AES); !right) return Refuse(right.error());
  const auto sizes = SizesOf(type, material.size());
  if (!sizes) return Refuse(sizes.error());
  auto scratch = ToCk(Vault::New(sizes->wrapped));
  if (!scratch) return Refuse(scratch.error());
  std::vector<uint8_t> wrapped(sizes->wrapped);
  const auto done = Succeeded(scratch->WriteSecret([&](std::span<uint8_t> room) {
    return wrapping.secret->WithSecret([&](std::span<const uint8_t> secret) {
      return material.WithSecret([&](std::span<const uint8_t> plain) {
        AES_KEY key;
        if (AES_set_encrypt_key(secret.data(), static_cast<unsigned>(secret.size() * 8), &key) !=
                0 ||
            !WrapInto(type, key, *iv, plain, *sizes, room)) {
          return false;
        }
        std::ranges::copy(room, wrapped.begin());
        return true;
      });
    });
  }));
  if (!done) return Refuse(done.error());
  return wrapped;
}

namespace {

// UnwrapInto fills |room|, of the wrapped key's size, and says how much of it is the key. On the
// secret stack.
std::optional<size_t> UnwrapInto(CK_MECHANISM_TYPE type, const AES_KEY& key, const uint8_t* iv,
                                 std::span<const uint8_t> wrapped, std::span<uint8_t> room) {
  if (IsKwp(type)) {
    size_t written = 0;
    if (!AES_unwrap_key_padded(&key, room.data(), &written, room.size(), wrapped.data(),
                               wrapped.size())) {
      return std::nullopt;
    }
    return written;
  }
  if (type == CKM_AES_KEY_WRAP) {
    const int written = AES_unwrap_key(&key, iv, room.data(), wrapped.data(), wrapped.size());
    if (written <= 0) return std::nullopt;
    return static_cast<size_t>(written);
  }
  std::ranges::copy(wrapped, room.begin());
  Cbc(room, key, iv, AES_DECRYPT);
  if (type == CKM_AES_CBC) return room.size();
  const auto padding = PaddingOf(room);
  if (!padding) return std::nullopt;
  return room.size() - *padding;
}

bool IsWrappedLength(CK_MECHANISM_TYPE type, size_t size) {
  if (size > kMostWrapped) return false;
  if (IsCbc(type)) return size > 0 && size % kAesBlock == 0;
  return size % kSemiblock == 0 && size >= (IsKwp(type) ? 2 : 3) * kSemiblock;
}

}  // namespace

CkResult<Vault> UnwrapAes(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                          std::span<const uint8_t> wrapped, std::span<const size_t> lengths) {
  if (type == CKM_AES_GCM) return UnwrapGcm(type, parameter, unwrapping, wrapped, {});
  const auto iv = ReadIv(type, parameter);
  if (!iv) return Refuse(iv.error());
  if (auto right = CheckSecretKey(unwrapping, CKK_AES); !right) return Refuse(right.error());
  if (!IsWrappedLength(type, wrapped.size())) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  auto room = ToCk(Vault::New(wrapped.size()));
  if (!room) return room;
  std::optional<Vault> key;
  const auto done = Flatten(room->WriteSecret([&](std::span<uint8_t> bytes) {
    return unwrapping.secret->WithSecret([&](std::span<const uint8_t> secret) -> CK_RV {
      AES_KEY schedule;
      if (AES_set_decrypt_key(secret.data(), static_cast<unsigned>(secret.size() * 8), &schedule) !=
          0) {
        return CKR_FUNCTION_FAILED;
      }
      auto size = UnwrapInto(type, schedule, *iv, wrapped, bytes);
      if (!size || *size == 0) return CKR_WRAPPED_KEY_INVALID;
      // Zeros that were added are taken off again.
      const size_t step = type == CKM_AES_CBC ? kAesBlock : kSemiblock;
      const bool with_zeros = type == CKM_AES_CBC || type == CKM_AES_KEY_WRAP;
      const size_t length = lengths.size() == 1 ? lengths.front() : *size;
      if (with_zeros && length < *size && *size - length < step) {
        const auto zeros = bytes.subspan(length, *size - length);
        if (std::ranges::any_of(zeros, [](uint8_t byte) { return byte != 0; })) {
          return CKR_WRAPPED_KEY_INVALID;
        }
        size = length;
      }
      auto copy = Vault::CopyOf(bytes.first(*size));
      if (!copy) return RvOf(copy.error());
      key.emplace(std::move(*copy));
      return CKR_OK;
    });
  }));
  if (!done) return Refuse(done.error());
  return std::move(*key);
}

}  // namespace secretmem

#include "mechanisms/nonce_source.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "vault/secret_stack.h"

namespace secretmem {
namespace {

constexpr size_t kCounterBytes = 8;

CkStatus Random(std::span<uint8_t> bytes) {
  return ToCk(OnShallowStack([&] { RAND_bytes(bytes.data(), bytes.size()); }));
}

// CopyLast sets the last |bits| bits of |nonce| from those of |from|, which has its length.
void CopyLast(std::span<uint8_t> nonce, std::span<const uint8_t> from, size_t bits) {
  const size_t whole = bits / 8;
  std::ranges::copy(from.last(whole), nonce.last(whole).begin());
  if (bits % 8 == 0) return;
  const auto mask = static_cast<uint8_t>((1U << bits % 8) - 1);
  uint8_t& byte = nonce[nonce.size() - whole - 1];
  byte = static_cast<uint8_t>((byte & ~mask) | (from[from.size() - whole - 1] & mask));
}

}  // namespace

CkStatus NonceSource::Next(const NonceRequest& request, std::span<uint8_t> nonce) {
  if (request.generator == CKG_NO_GENERATE) return {};
  constexpr size_t kMostNonce = 256;
  if (request.generator > CKG_GENERATE_COUNTER_XOR || nonce.size() > kMostNonce ||
      request.fixed_bits >= nonce.size() * 8) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const size_t free_bits = nonce.size() * 8 - request.fixed_bits;
  const bool random = request.generator == CKG_GENERATE_RANDOM ||
                      (request.generator == CKG_GENERATE && free_bits >= 64);
  std::array<uint8_t, kMostNonce> made_room{};
  const auto made = std::span(made_room).first(nonce.size());
  if (random) {
    if (free_bits < 64) return Refuse(CKR_MECHANISM_PARAM_INVALID);
    if (auto drawn = Random(made); !drawn) return drawn;
    CopyLast(nonce, made, free_bits);
    return {};
  }

  if (free_bits < 64 ? count_ >> free_bits != 0 : count_ == ~uint64_t{0}) {
    return Refuse(CKR_KEY_EXHAUSTED);
  }
  const bool combined = request.generator == CKG_GENERATE_COUNTER_XOR;
  if (count_ == 0) {
    if (combined) {
      base_.assign(nonce.begin(), nonce.end());
    } else {
      std::array<uint8_t, sizeof(start_)> start;
      if (auto drawn = Random(start); !drawn) return drawn;
      memcpy(&start_, start.data(), sizeof(start_));
    }
  }
  if (combined && base_.size() != nonce.size()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  if (combined) std::ranges::copy(base_, made.begin());
  uint64_t counter = (combined ? 0 : start_) + count_++;
  for (size_t i = 0; i < std::min(kCounterBytes, made.size()); ++i, counter >>= 8) {
    made[made.size() - 1 - i] ^= static_cast<uint8_t>(counter);
  }
  CopyLast(nonce, made, free_bits);
  return {};
}

}  // namespace secretmem

#include "mechanisms/rsa_pkcs1_decrypt.h"

#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <algorithm>
#include <string_view>

namespace secretmem {
namespace {

// What comes before the message: 0, 2, at least eight bytes that are not zero, 0.
constexpr size_t kPrefix = 11;
constexpr size_t kLengthCandidates = 128;

// Masks: all ones for true.
uint32_t Opaque(uint32_t value) {
  // Keeps the compiler from making a branch of what follows.
  __asm__ volatile("" : "+r"(value));
  return value;
}
uint32_t IsZero(uint32_t value) { return Opaque(0U - ((~value & (value - 1)) >> 31)); }
uint32_t IsEqual(uint32_t a, uint32_t b) { return IsZero(a ^ b); }
// For numbers below 2^31.
uint32_t IsLess(uint32_t a, uint32_t b) { return Opaque(0U - ((a - b) >> 31)); }
uint32_t Select(uint32_t mask, uint32_t yes, uint32_t no) { return (yes & mask) | (no & ~mask); }

// Expand fills |out| with HMAC-SHA-256(key, counter || label || length of |out| in bits).
bool Expand(std::span<const uint8_t, SHA256_DIGEST_LENGTH> key, std::string_view label,
            std::span<uint8_t> out) {
  const size_t bits = out.size() * 8;
  bssl::ScopedHMAC_CTX context;
  for (unsigned counter = 0; !out.empty(); ++counter) {
    const uint8_t number[] = {static_cast<uint8_t>(counter >> 8), static_cast<uint8_t>(counter)};
    const uint8_t length[] = {static_cast<uint8_t>(bits >> 8), static_cast<uint8_t>(bits)};
    uint8_t block[SHA256_DIGEST_LENGTH];
    if (!HMAC_Init_ex(context.get(), key.data(), key.size(), EVP_sha256(), nullptr) ||
        !HMAC_Update(context.get(), number, sizeof(number)) ||
        !HMAC_Update(context.get(), reinterpret_cast<const uint8_t*>(label.data()), label.size()) ||
        !HMAC_Update(context.get(), length, sizeof(length)) ||
        !HMAC_Final(context.get(), block, nullptr)) {
      return false;
    }
    const size_t take = std::min(out.size(), sizeof(block));
    std::copy_n(block, take, out.begin());
    out = out.subspan(take);
  }
  return true;
}

// AlternativeLength takes the last of the candidates that is short enough.
using Candidates = std::span<const uint8_t, 2 * kLengthCandidates>;
uint32_t AlternativeLength(Candidates candidates, uint32_t longest) {
  uint32_t mask = longest;
  for (const int shift : {1, 2, 4, 8}) mask |= mask >> shift;
  uint32_t length = 0;
  for (size_t i = 0; i < candidates.size(); i += 2) {
    const uint32_t candidate =
        (static_cast<uint32_t>(candidates[i] << 8) | candidates[i + 1]) & mask;
    length = Select(IsLess(candidate, longest), candidate, length);
  }
  return length;
}

// MessageAt returns where the message begins in a padded one, and in |*good| whether it is one.
uint32_t MessageAt(std::span<const uint8_t> padded, uint32_t* good) {
  *good = IsZero(padded[0]) & IsEqual(padded[1], 2);
  uint32_t found = 0;
  uint32_t zero_at = 0;
  for (uint32_t i = 2; i < padded.size(); ++i) {
    const uint32_t zero = IsZero(padded[i]);
    zero_at = Select(~found & zero, i, zero_at);
    found |= zero;
  }
  *good &= found & ~IsLess(zero_at, kPrefix - 1);
  return zero_at + 1;
}

// Lengths decides, without a branch, whether a message's length will do, and what the alternative's
// is. |total| is the modulus's length.
struct AnyLength {
  uint32_t Fits(uint32_t /*length*/) const { return ~0U; }
  uint32_t Alternative(Candidates candidates, uint32_t total) const {
    return AlternativeLength(candidates, total - 10);
  }
};

struct NotEmpty {
  uint32_t Fits(uint32_t length) const { return ~IsZero(length); }
  uint32_t Alternative(Candidates candidates, uint32_t total) const {
    const uint32_t length = AlternativeLength(candidates, total - 10);
    return length | (IsZero(length) & 1);
  }
};

struct OneOf {
  std::span<const size_t> lengths;

  uint32_t Fits(uint32_t length) const {
    uint32_t fits = 0;
    for (const size_t one : lengths) fits |= IsEqual(length, static_cast<uint32_t>(one));
    return fits;
  }
  uint32_t Alternative(Candidates candidates, uint32_t /*total*/) const {
    const uint32_t drawn = static_cast<uint32_t>(candidates[0] << 8) | candidates[1];
    const uint32_t chosen = (drawn * static_cast<uint32_t>(lengths.size())) >> 16;
    uint32_t length = 0;
    for (uint32_t i = 0; i < lengths.size(); ++i) {
      length = Select(IsEqual(i, chosen), static_cast<uint32_t>(lengths[i]), length);
    }
    return length;
  }
};

template <class Lengths>
std::optional<size_t> Decrypt(RsaKey& key, std::span<const uint8_t> ciphertext,
                              const Lengths& lengths, std::span<uint8_t> out) {
  const size_t size = ciphertext.size();
  uint8_t padded[kRsaMaxBytes], alternative[kRsaMaxBytes], candidates[2 * kLengthCandidates];
  size_t decrypted = 0;
  if (size > sizeof(padded) || !RSA_decrypt(key.rsa.get(), &decrypted, padded, sizeof(padded),
                                            ciphertext.data(), size, RSA_NO_PADDING)) {
    return {};
  }
  uint8_t derived[SHA256_DIGEST_LENGTH];
  if (HMAC(EVP_sha256(), key.rejection_seed.data(), key.rejection_seed.size(), ciphertext.data(),
           size, derived, nullptr) == nullptr ||
      !Expand(derived, "length", candidates) || !Expand(derived, "message", {alternative, size})) {
    return {};
  }
  const auto total = static_cast<uint32_t>(size);
  uint32_t good;
  const uint32_t message_at = MessageAt({padded, size}, &good);
  good &= lengths.Fits(total - message_at);
  const uint32_t length = lengths.Alternative(candidates, total);
  const uint32_t begin = Select(good, message_at, total - length);
  for (size_t i = 0; i < size; ++i) {
    padded[i] = static_cast<uint8_t>(Select(good, padded[i], alternative[i]));
  }
  // From here on it is the length that shows, which the caller is told anyway.
  const size_t written = std::min<size_t>(total - begin, out.size());
  std::copy_n(padded + begin, written, out.begin());
  return written;
}

}  // namespace

std::optional<size_t> DecryptPkcs1(RsaKey& key, std::span<const uint8_t> ciphertext,
                                   std::span<uint8_t> out) {
  return Decrypt(key, ciphertext, AnyLength{}, out);
}

std::optional<size_t> UnwrapPkcs1(RsaKey& key, std::span<const uint8_t> ciphertext,
                                  std::span<const size_t> lengths, std::span<uint8_t> out) {
  if (lengths.empty()) return Decrypt(key, ciphertext, NotEmpty{}, out);
  return Decrypt(key, ciphertext, OneOf{lengths}, out);
}

}  // namespace secretmem

#include "vault/pbkdf2.h"

#include <openssl/sha.h>

#include <algorithm>

namespace secretmem {
namespace {

// One slice takes a few milliseconds.
constexpr uint32_t kSliceIterations = 10'000;

// The hash functions by their bare contexts: an iteration is two compressions and no allocation.
template <class ContextType, size_t kBlock, size_t kDigest, auto kInit, auto kUpdate, auto kFinal>
struct Hash {
  using Context = ContextType;
  static constexpr size_t kBlockBytes = kBlock;
  static constexpr size_t kDigestBytes = kDigest;
  static void Init(Context& context) { kInit(&context); }
  static void Update(Context& context, std::span<const uint8_t> data) {
    kUpdate(&context, data.data(), data.size());
  }
  static void Final(Context& context, uint8_t (&out)[kDigest]) { kFinal(out, &context); }
};

using Sha1 = Hash<SHA_CTX, SHA_CBLOCK, 20, SHA1_Init, SHA1_Update, SHA1_Final>;
using Sha224 = Hash<SHA256_CTX, SHA224_CBLOCK, 28, SHA224_Init, SHA224_Update, SHA224_Final>;
using Sha256 = Hash<SHA256_CTX, SHA256_CBLOCK, 32, SHA256_Init, SHA256_Update, SHA256_Final>;
using Sha384 = Hash<SHA512_CTX, SHA384_CBLOCK, 48, SHA384_Init, SHA384_Update, SHA384_Final>;
using Sha512 = Hash<SHA512_CTX, SHA512_CBLOCK, 64, SHA512_Init, SHA512_Update, SHA512_Final>;
using Sha512_256 =
    Hash<SHA512_CTX, SHA512_CBLOCK, 32, SHA512_256_Init, SHA512_256_Update, SHA512_256_Final>;

// State is one block of PBKDF2 that can stop and go on. It lives in a vault.
template <class H>
struct State {
  typename H::Context inner;  // after the padded key
  typename H::Context outer;
  uint8_t last[H::kDigestBytes];
  uint8_t sum[H::kDigestBytes];

  void Prf(std::span<const uint8_t> data, std::span<const uint8_t> more) {
    typename H::Context context = inner;
    H::Update(context, data);
    H::Update(context, more);
    H::Final(context, last);
    context = outer;
    H::Update(context, last);
    H::Final(context, last);
  }

  void SetPassword(std::span<const uint8_t> password) {
    uint8_t key[H::kBlockBytes] = {};
    if (password.size() > sizeof(key)) {
      H::Init(inner);
      H::Update(inner, password);
      H::Final(inner, last);
      std::copy(std::begin(last), std::end(last), key);
    } else {
      std::copy(password.begin(), password.end(), key);
    }
    for (uint8_t& byte : key) byte ^= 0x36;
    H::Init(inner);
    H::Update(inner, key);
    for (uint8_t& byte : key) byte ^= 0x36 ^ 0x5c;
    H::Init(outer);
    H::Update(outer, key);
  }

  // The first iteration of block |number|.
  void Begin(std::span<const uint8_t> salt, uint32_t number) {
    const uint8_t bytes[4] = {static_cast<uint8_t>(number >> 24),
                              static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 8),
                              static_cast<uint8_t>(number)};
    Prf(salt, bytes);
    std::copy(std::begin(last), std::end(last), sum);
  }

  void Run(uint32_t iterations) {
    for (uint32_t i = 0; i < iterations; ++i) {
      Prf(last, {});
      for (size_t j = 0; j < sizeof(sum); ++j) sum[j] ^= last[j];
    }
  }
};

template <class H>
VaultResult<Vault> Derive(std::span<const uint8_t> password, std::span<const uint8_t> salt,
                          uint32_t iterations, size_t size) {
  auto state = Vault::New(sizeof(State<H>));
  if (!state) return state;
  auto derived = Vault::New(size);
  if (!derived) return derived;
  // A vault is aligned to 16 and its bytes are a State from here on.
  const auto with = [&](auto&& use) {
    return state->template WriteSecret<sizeof(State<H>)>(
        [&](WritableSecretView<sizeof(State<H>)> bytes) {
          use(*reinterpret_cast<State<H>*>(bytes.data()));
        });
  };
  VaultResult<void> done = with([&](State<H>& its) { its.SetPassword(password); });
  uint32_t number = 0;
  for (size_t at = 0; done && at < size; at += H::kDigestBytes) {
    done = with([&](State<H>& its) { its.Begin(salt, ++number); });
    for (uint32_t left = iterations - 1; done && left > 0;) {
      const uint32_t slice = std::min(left, kSliceIterations);
      done = with([&](State<H>& its) { its.Run(slice); });
      left -= slice;
    }
    if (!done) break;
    VaultResult<void> copied;
    done = with([&](State<H>& its) {
      copied = derived->WriteSecret([&](std::span<uint8_t> out) {
        std::copy_n(its.sum, std::min(sizeof(its.sum), size - at),
                    out.begin() + static_cast<ptrdiff_t>(at));
      });
    });
    if (done) done = copied;
  }
  if (!done) return std::unexpected(done.error());
  return derived;
}

}  // namespace

VaultResult<Vault> Pbkdf2(Pbkdf2Hash hash, std::span<const uint8_t> password,
                          std::span<const uint8_t> salt, uint32_t iterations, size_t size) {
  switch (hash) {
    case Pbkdf2Hash::kSha1:
      return Derive<Sha1>(password, salt, iterations, size);
    case Pbkdf2Hash::kSha224:
      return Derive<Sha224>(password, salt, iterations, size);
    case Pbkdf2Hash::kSha256:
      return Derive<Sha256>(password, salt, iterations, size);
    case Pbkdf2Hash::kSha384:
      return Derive<Sha384>(password, salt, iterations, size);
    case Pbkdf2Hash::kSha512:
      return Derive<Sha512>(password, salt, iterations, size);
    case Pbkdf2Hash::kSha512_256:
      return Derive<Sha512_256>(password, salt, iterations, size);
  }
  return std::unexpected(VaultError{VaultErrc::kCrypto});
}

}  // namespace secretmem

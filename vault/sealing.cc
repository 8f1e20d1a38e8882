#include "vault/sealing.h"

#include <openssl/aead.h>
#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>

namespace secretmem {
namespace {

constexpr size_t kNonceBytes = 24;
constexpr size_t kTagBytes = 16;
static_assert(kSealingOverhead == kNonceBytes + kTagBytes);

// One slice of PBKDF2 takes a few milliseconds.
constexpr uint32_t kSliceIterations = 10'000;

std::unexpected<VaultError> Failure(VaultErrc code) { return std::unexpected(VaultError{code}); }

// Encrypt and Decrypt run on a secret stack already.
VaultResult<void> Encrypt(SecretView<kSealingKeyBytes> key, std::span<const uint8_t> associated,
                          std::span<const uint8_t> plain, std::span<uint8_t> sealed) {
  bssl::ScopedEVP_AEAD_CTX context;
  RAND_bytes(sealed.data(), kNonceBytes);
  size_t length = 0;
  if (!EVP_AEAD_CTX_init(context.get(), EVP_aead_xchacha20_poly1305(), key.data(), key.size(),
                         kTagBytes, nullptr) ||
      !EVP_AEAD_CTX_seal(context.get(), sealed.data() + kNonceBytes, &length,
                         sealed.size() - kNonceBytes, sealed.data(), kNonceBytes, plain.data(),
                         plain.size(), associated.data(), associated.size()) ||
      length != plain.size() + kTagBytes) {
    return Failure(VaultErrc::kCrypto);
  }
  return {};
}

VaultResult<void> Decrypt(SecretView<kSealingKeyBytes> key, std::span<const uint8_t> associated,
                          std::span<const uint8_t> sealed, std::span<uint8_t> plain) {
  bssl::ScopedEVP_AEAD_CTX context;
  if (!EVP_AEAD_CTX_init(context.get(), EVP_aead_xchacha20_poly1305(), key.data(), key.size(),
                         kTagBytes, nullptr)) {
    return Failure(VaultErrc::kCrypto);
  }
  size_t length = 0;
  if (!EVP_AEAD_CTX_open(context.get(), plain.data(), &length, plain.size(), sealed.data(),
                         kNonceBytes, sealed.data() + kNonceBytes, sealed.size() - kNonceBytes,
                         associated.data(), associated.size()) ||
      length != plain.size()) {
    return Failure(VaultErrc::kSealBroken);
  }
  return {};
}

// Pbkdf2 is one block of RFC 8018's PBKDF2 that can stop and go on. It lives in a vault.
struct Pbkdf2 {
  SHA256_CTX inner;  // after the padded key
  SHA256_CTX outer;
  uint8_t last[SHA256_DIGEST_LENGTH];
  uint8_t sum[SHA256_DIGEST_LENGTH];

  void Prf(std::span<const uint8_t> data, std::span<const uint8_t> more) {
    SHA256_CTX context = inner;
    SHA256_Update(&context, data.data(), data.size());
    SHA256_Update(&context, more.data(), more.size());
    SHA256_Final(last, &context);
    context = outer;
    SHA256_Update(&context, last, sizeof(last));
    SHA256_Final(last, &context);
  }

  void Begin(std::span<const uint8_t> pin, std::span<const uint8_t> salt) {
    uint8_t key[SHA256_CBLOCK] = {};
    if (pin.size() > sizeof(key)) {
      SHA256(pin.data(), pin.size(), key);
    } else {
      std::copy(pin.begin(), pin.end(), key);
    }
    for (uint8_t& byte : key) byte ^= 0x36;
    SHA256_Init(&inner);
    SHA256_Update(&inner, key, sizeof(key));
    for (uint8_t& byte : key) byte ^= 0x36 ^ 0x5c;
    SHA256_Init(&outer);
    SHA256_Update(&outer, key, sizeof(key));
    constexpr uint8_t kFirstBlock[4] = {0, 0, 0, 1};
    Prf(salt, kFirstBlock);
    std::copy(std::begin(last), std::end(last), sum);
  }

  void Run(uint32_t iterations) {
    for (uint32_t i = 0; i < iterations; ++i) {
      Prf(last, {});
      for (size_t j = 0; j < sizeof(sum); ++j) sum[j] ^= last[j];
    }
  }
};

}  // namespace

VaultResult<Vault> NewSealingKey() {
  auto key = Vault::New(kSealingKeyBytes);
  if (!key) return key;
  auto drawn =
      key->WriteSecret([](std::span<uint8_t> bytes) { RAND_bytes(bytes.data(), bytes.size()); });
  if (!drawn) return std::unexpected(drawn.error());
  return key;
}

VaultResult<Vault> StretchPin(std::span<const uint8_t> pin, std::span<const uint8_t> salt,
                              uint32_t iterations) {
  auto state = Vault::New(sizeof(Pbkdf2));
  if (!state) return state;
  // A vault is aligned to 16 and its bytes are a Pbkdf2 from here on.
  const auto with = [&](auto&& use) {
    return state->WriteSecret<sizeof(Pbkdf2)>([&](WritableSecretView<sizeof(Pbkdf2)> bytes) {
      use(*reinterpret_cast<Pbkdf2*>(bytes.data()));
    });
  };
  if (auto begun = with([&](Pbkdf2& its) { its.Begin(pin, salt); }); !begun) {
    return std::unexpected(begun.error());
  }
  // The first iteration is part of Begin.
  for (uint32_t left = iterations - 1; left > 0;) {
    const uint32_t slice = std::min(left, kSliceIterations);
    if (auto ran = with([&](Pbkdf2& its) { its.Run(slice); }); !ran) {
      return std::unexpected(ran.error());
    }
    left -= slice;
  }
  auto key = Vault::New(kSealingKeyBytes);
  if (!key) return key;
  auto copied = with([&](Pbkdf2& its) {
    (void)key->WriteSecret(
        [&](std::span<uint8_t> out) { std::copy_n(its.sum, kSealingKeyBytes, out.begin()); });
  });
  if (!copied) return std::unexpected(copied.error());
  return key;
}

VaultResult<Vault> DeriveSealingKey(const Vault& key, std::string_view label) {
  auto derived = Vault::New(kSealingKeyBytes);
  if (!derived) return derived;
  auto done = key.WithSecret<kSealingKeyBytes>(
      [&](SecretView<kSealingKeyBytes> secret) -> VaultResult<void> {
        return derived->WriteSecret([&](std::span<uint8_t> out) -> VaultResult<void> {
          if (!HKDF(out.data(), out.size(), EVP_sha256(), secret.data(), secret.size(), nullptr, 0,
                    reinterpret_cast<const uint8_t*>(label.data()), label.size())) {
            return Failure(VaultErrc::kCrypto);
          }
          return {};
        });
      });
  if (!done) return std::unexpected(done.error());
  return derived;
}

VaultResult<std::vector<uint8_t>> Seal(const Vault& key, std::span<const uint8_t> associated,
                                       const Vault& plain) {
  std::vector<uint8_t> sealed(plain.size() + kSealingOverhead);
  auto done = key.WithSecret<kSealingKeyBytes>(
      [&](SecretView<kSealingKeyBytes> secret) -> VaultResult<void> {
        return plain.WithSecret([&](std::span<const uint8_t> bytes) {
          return Encrypt(secret, associated, bytes, sealed);
        });
      });
  if (!done) return std::unexpected(done.error());
  return sealed;
}

VaultResult<Vault> Unseal(const Vault& key, std::span<const uint8_t> associated,
                          std::span<const uint8_t> sealed) {
  if (sealed.size() <= kSealingOverhead) return Failure(VaultErrc::kSealBroken);
  auto plain = Vault::New(sealed.size() - kSealingOverhead);
  if (!plain) return plain;
  auto done = key.WithSecret<kSealingKeyBytes>(
      [&](SecretView<kSealingKeyBytes> secret) -> VaultResult<void> {
        return plain->WriteSecret(
            [&](std::span<uint8_t> bytes) { return Decrypt(secret, associated, sealed, bytes); });
      });
  if (!done) return std::unexpected(done.error());
  return plain;
}

VaultResult<std::vector<uint8_t>> SealPublic(const Vault& key, std::span<const uint8_t> associated,
                                             std::span<const uint8_t> plain) {
  std::vector<uint8_t> sealed(plain.size() + kSealingOverhead);
  auto done = key.WithSecret<kSealingKeyBytes>([&](SecretView<kSealingKeyBytes> secret) {
    return Encrypt(secret, associated, plain, sealed);
  });
  if (!done) return std::unexpected(done.error());
  return sealed;
}

VaultResult<std::vector<uint8_t>> UnsealPublic(const Vault& key,
                                               std::span<const uint8_t> associated,
                                               std::span<const uint8_t> sealed) {
  if (sealed.size() < kSealingOverhead) return Failure(VaultErrc::kSealBroken);
  std::vector<uint8_t> plain(sealed.size() - kSealingOverhead);
  auto done = key.WithSecret<kSealingKeyBytes>([&](SecretView<kSealingKeyBytes> secret) {
    return Decrypt(secret, associated, sealed, plain);
  });
  if (!done) return std::unexpected(done.error());
  return plain;
}

VaultResult<KeyedHash> HashUnder(const Vault& key, std::span<const uint8_t> data) {
  return key.WithSecret([&](std::span<const uint8_t> secret) -> VaultResult<KeyedHash> {
    KeyedHash hash;
    unsigned length = 0;
    if (HMAC(EVP_sha256(), secret.data(), secret.size(), data.data(), data.size(), hash.data(),
             &length) == nullptr) {
      return Failure(VaultErrc::kCrypto);
    }
    return hash;
  });
}

KeyedHash Checksum(std::span<const uint8_t> data) {
  KeyedHash hash;
  SHA256(data.data(), data.size(), hash.data());
  return hash;
}

}  // namespace secretmem

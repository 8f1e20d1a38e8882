#include "vault/sealing.h"

#include <openssl/aead.h>
#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "vault/pbkdf2.h"

namespace secretmem {
namespace {

constexpr size_t kNonceBytes = 24;
constexpr size_t kTagBytes = 16;
static_assert(kSealingOverhead == kNonceBytes + kTagBytes);

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
  return Pbkdf2(Pbkdf2Hash::kSha256, pin, salt, iterations, kSealingKeyBytes);
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

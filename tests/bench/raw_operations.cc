// BoringSSL's own calls, linked statically, with its ordinary heap and stack.

#include <openssl/aead.h>
#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/ec_key.h>
#include <openssl/ecdh.h>
#include <openssl/ecdsa.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <array>
#include <cstdarg>
#include <memory>
#include <vector>

#include "tests/bench/demands.h"

// The build has the library's sources say these where they mean syscall(2), and SHA512_Update in
// Ed25519.
extern "C" int secretmem_boringssl_sha512_update(SHA512_CTX* context, const void* data,
                                                 size_t size) {
  return SHA512_Update(context, data, size);
}
extern "C" long secretmem_boringssl_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  void* first = va_arg(list, void*);
  const size_t second = va_arg(list, size_t);
  const unsigned third = va_arg(list, unsigned);
  va_end(list);
  return syscall(number, first, second, third);
}

namespace secretmem::bench::raw {
namespace {

void Must(bool done, const char* what) {
  if (!done) throw std::runtime_error(std::string("BoringSSL: ") + what);
}

std::shared_ptr<EC_KEY> NewP256() {
  std::shared_ptr<EC_KEY> key(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1), EC_KEY_free);
  Must(EC_KEY_generate_key(key.get()), "EC_KEY_generate_key");
  return key;
}

Worker AesGcm(size_t bytes) {
  return [bytes]() -> Work {
    constexpr uint8_t kKey[32] = {1};
    std::shared_ptr<EVP_AEAD_CTX> context(
        EVP_AEAD_CTX_new(EVP_aead_aes_256_gcm(), kKey, sizeof(kKey), 16), EVP_AEAD_CTX_free);
    auto in = std::make_shared<std::vector<uint8_t>>(bytes, uint8_t{7});
    auto out = std::make_shared<std::vector<uint8_t>>(bytes + 16);
    return [=] {
      constexpr uint8_t kNonce[12] = {3};
      size_t size = 0;
      Must(EVP_AEAD_CTX_seal(context.get(), out->data(), &size, out->size(), kNonce, sizeof(kNonce),
                             in->data(), in->size(), nullptr, 0),
           "EVP_AEAD_CTX_seal");
    };
  };
}

}  // namespace

Worker X25519Derive() {
  std::array<uint8_t, 32> key, peer, unused;
  X25519_keypair(unused.data(), key.data());
  X25519_keypair(peer.data(), unused.data());
  return [=]() -> Work {
    return [=] {
      uint8_t shared[32];
      Must(X25519(shared, key.data(), peer.data()), "X25519");
    };
  };
}

Worker X25519Generate() {
  return []() -> Work {
    return [] {
      uint8_t public_key[32], private_key[32];
      X25519_keypair(public_key, private_key);
    };
  };
}

Worker Ed25519Sign() {
  std::array<uint8_t, 64> key;
  std::array<uint8_t, 32> public_key;
  ED25519_keypair(public_key.data(), key.data());
  return [=]() -> Work {
    return [=] {
      constexpr uint8_t kMessage[32] = {5};
      uint8_t signature[64];
      Must(ED25519_sign(signature, kMessage, sizeof(kMessage), key.data()), "ED25519_sign");
    };
  };
}

Worker P256Derive() {
  const auto key = NewP256();
  const auto peer = NewP256();
  return [=]() -> Work {
    return [=] {
      uint8_t shared[32];
      Must(ECDH_compute_key(shared, sizeof(shared), EC_KEY_get0_public_key(peer.get()), key.get(),
                            nullptr) == sizeof(shared),
           "ECDH_compute_key");
    };
  };
}

Worker P256Generate() {
  return []() -> Work { return [] { (void)NewP256(); }; };
}

Worker P256Sign() {
  const auto key = NewP256();
  return [=]() -> Work {
    return [=] {
      constexpr uint8_t kDigest[32] = {5};
      uint8_t signature[80];
      unsigned size = 0;
      Must(ECDSA_sign(0, kDigest, sizeof(kDigest), signature, &size, key.get()), "ECDSA_sign");
    };
  };
}

Worker RsaSign() {
  std::shared_ptr<RSA> key(RSA_new(), RSA_free);
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> exponent(BN_new(), BN_free);
  Must(BN_set_word(exponent.get(), RSA_F4) &&
           RSA_generate_key_ex(key.get(), 2048, exponent.get(), nullptr),
       "RSA_generate_key_ex");
  return [=]() -> Work {
    return [=] {
      constexpr uint8_t kDigest[32] = {5};
      uint8_t signature[256];
      unsigned size = 0;
      Must(RSA_sign(NID_sha256, kDigest, sizeof(kDigest), signature, &size, key.get()), "RSA_sign");
    };
  };
}

Worker Aes256Gcm1MiB() { return AesGcm(size_t{1} << 20); }
Worker Aes256Gcm16KiB() { return AesGcm(size_t{1} << 14); }

Worker Random32() {
  return []() -> Work {
    return [] {
      uint8_t bytes[32];
      RAND_bytes(bytes, sizeof(bytes));
    };
  };
}

Worker Sha256Of64() {
  return []() -> Work {
    return [] {
      constexpr uint8_t kData[64] = {5};
      uint8_t digest[32];
      SHA256(kData, sizeof(kData), digest);
      __asm__ __volatile__("" : : "r"(digest) : "memory");
    };
  };
}

}  // namespace secretmem::bench::raw

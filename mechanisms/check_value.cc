#include "mechanisms/check_value.h"

#include <openssl/aes.h>
#include <openssl/sha.h>

#include <algorithm>

#include "vault/secret_stack.h"

namespace secretmem {
namespace {

CheckValue FirstBytes(const uint8_t* bytes) {
  CheckValue value;
  std::copy_n(bytes, value.size(), value.begin());
  return value;
}

CheckValue OfSha1(std::span<const uint8_t> bytes) {
  uint8_t digest[SHA_DIGEST_LENGTH];
  SHA1(bytes.data(), bytes.size(), digest);
  return FirstBytes(digest);
}

}  // namespace

CkResult<CheckValue> CheckValueOf(CK_KEY_TYPE key_type, const Vault& secret) {
  return ToCk(OnShallowStack([&] {
    return secret.WithSecret([&](std::span<const uint8_t> bytes) -> CheckValue {
      if (key_type != CKK_AES) return OfSha1(bytes);
      AES_KEY key;
      uint8_t block[AES_BLOCK_SIZE] = {};
      AES_set_encrypt_key(bytes.data(), static_cast<unsigned>(bytes.size() * 8), &key);
      AES_encrypt(block, block, &key);
      return FirstBytes(block);
    });
  }));
}

CheckValue CertificateCheckValue(std::span<const uint8_t> value) { return OfSha1(value); }

}  // namespace secretmem

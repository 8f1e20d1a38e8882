#include "tests/conformance/macs.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdexcept>

namespace secretmem::conformance {
namespace {

constexpr Hash kHashes[] = {
    {"SHA1", 20, CKM_SHA_1, CKM_SHA_1_HMAC, CKM_SHA_1_HMAC_GENERAL},
    {"SHA224", 28, CKM_SHA224, CKM_SHA224_HMAC, CKM_SHA224_HMAC_GENERAL},
    {"SHA256", 32, CKM_SHA256, CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL},
    {"SHA384", 48, CKM_SHA384, CKM_SHA384_HMAC, CKM_SHA384_HMAC_GENERAL},
    {"SHA512", 64, CKM_SHA512, CKM_SHA512_HMAC, CKM_SHA512_HMAC_GENERAL},
    {"SHA512-256", 32, CKM_SHA512_256, CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL},
};

}  // namespace

std::span<const Hash> AllHashes() { return kHashes; }

Bytes ReferenceDigest(const char* hash, const Bytes& data) {
  Bytes digest(EVP_MAX_MD_SIZE);
  size_t size = 0;
  if (EVP_Q_digest(nullptr, hash, nullptr, data.data(), data.size(), digest.data(), &size) != 1) {
    throw std::runtime_error("the reference computation failed: digest");
  }
  digest.resize(size);
  return digest;
}

Bytes ReferenceHmac(const char* hash, const Bytes& key, const Bytes& data) {
  Bytes tag(EVP_MAX_MD_SIZE);
  size_t size = 0;
  if (EVP_Q_mac(nullptr, "HMAC", nullptr, hash, nullptr, key.data(), key.size(), data.data(),
                data.size(), tag.data(), tag.size(), &size) == nullptr) {
    throw std::runtime_error("the reference computation failed: HMAC");
  }
  tag.resize(size);
  return tag;
}

Template MacKey(const Bytes& value) {
  return SecretObject(value).With(CKA_SIGN, true).With(CKA_VERIFY, true);
}

}  // namespace secretmem::conformance

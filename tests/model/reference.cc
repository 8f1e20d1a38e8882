#include "tests/model/reference.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <memory>
#include <stdexcept>

namespace secretmem::model {
namespace {

void Check(bool good) {
  if (!good) throw std::runtime_error("the reference computation failed");
}

using PKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using PKeyContext = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const EVP_CIPHER* CbcOf(const Bytes& key) {
  return key.size() == 16   ? EVP_aes_128_cbc()
         : key.size() == 24 ? EVP_aes_192_cbc()
                            : EVP_aes_256_cbc();
}

std::optional<Bytes> Cbc(const Bytes& key, const Bytes& iv, const Bytes& data, int encrypt) {
  const CipherContext context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  Check(EVP_CipherInit_ex(context.get(), CbcOf(key), nullptr, key.data(), iv.data(), encrypt) == 1);
  Bytes out(data.size() + 16);
  int first = 0;
  int last = 0;
  Check(EVP_CipherUpdate(context.get(), out.data(), &first, data.data(),
                         static_cast<int>(data.size())) == 1);
  if (EVP_CipherFinal_ex(context.get(), out.data() + first, &last) != 1) return std::nullopt;
  out.resize(static_cast<size_t>(first + last));
  return out;
}

}  // namespace

Bytes Sha256(const Bytes& data) {
  Bytes digest(32);
  Check(EVP_Digest(data.data(), data.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return digest;
}

Bytes HmacSha256(const Bytes& key, const Bytes& data) {
  Bytes mac(32);
  Check(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(),
             mac.data(), nullptr) != nullptr);
  return mac;
}

Bytes EncryptCbcPad(const Bytes& key, const Bytes& iv, const Bytes& data) {
  return Cbc(key, iv, data, 1).value();
}

std::optional<Bytes> DecryptCbcPad(const Bytes& key, const Bytes& iv, const Bytes& data) {
  if (data.empty() || data.size() % 16 != 0) return std::nullopt;
  return Cbc(key, iv, data, 0);
}

Bytes X25519PublicKey(const Bytes& private_key) {
  const PKey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key.data(),
                                              private_key.size()),
                 EVP_PKEY_free);
  Bytes raw(32);
  size_t size = raw.size();
  Check(key && EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size) == 1);
  return raw;
}

Bytes X25519(const Bytes& private_key, const Bytes& peer) {
  const PKey mine(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key.data(),
                                               private_key.size()),
                  EVP_PKEY_free);
  const PKey theirs(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), peer.size()),
                    EVP_PKEY_free);
  Check(mine && theirs);
  const PKeyContext context(EVP_PKEY_CTX_new(mine.get(), nullptr), EVP_PKEY_CTX_free);
  Check(context && EVP_PKEY_derive_init(context.get()) == 1 &&
        EVP_PKEY_derive_set_peer(context.get(), theirs.get()) == 1);
  Bytes secret(32);
  size_t size = secret.size();
  Check(EVP_PKEY_derive(context.get(), secret.data(), &size) == 1);
  return secret;
}

}  // namespace secretmem::model

#include "tests/conformance/hpke.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

namespace secretmem::conformance {
namespace {

CK_BYTE* Data(Bytes& bytes) { return bytes.empty() ? nullptr : bytes.data(); }

Bytes Join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes Hmac(const Bytes& key, const Bytes& data) {
  Bytes out(32);
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(),
       &size);
  return out;
}

Bytes Extract(const Bytes& suite, const Bytes& salt, std::string_view label, const Bytes& ikm) {
  return Hmac(salt.empty() ? Bytes(32) : salt,
              Join({ToBytes("HPKE-v1"), suite, ToBytes(label), ikm}));
}

// At most one block.
Bytes Expand(const Bytes& suite, const Bytes& prk, std::string_view label, const Bytes& info,
             size_t length) {
  Bytes block = Hmac(prk, Join({{0, static_cast<CK_BYTE>(length)},
                                ToBytes("HPKE-v1"),
                                suite,
                                ToBytes(label),
                                info,
                                {1}}));
  block.resize(length);
  return block;
}

struct Keys {
  Bytes key;
  Bytes nonce;
};

Keys Schedule(const Hpke& hpke, const Bytes& dh, const Bytes& enc, const Bytes& public_key) {
  const Bytes kem = Join({ToBytes("KEM"), {0x00, 0x20}});
  const Bytes shared =
      Expand(kem, Extract(kem, {}, "eae_prk", dh), "shared_secret", Join({enc, public_key}), 32);
  const Bytes suite =
      Join({ToBytes("HPKE"), {0x00, 0x20, 0x00, 0x01, 0x00, static_cast<CK_BYTE>(hpke.aead)}});
  const Bytes context = Join(
      {{0}, Extract(suite, {}, "psk_id_hash", {}), Extract(suite, {}, "info_hash", hpke.info)});
  const Bytes secret = Extract(suite, shared, "secret", {});
  const size_t size = hpke.aead == CK_SECRETMEM_HPKE_AES_128_GCM ? 16 : 32;
  return {Expand(suite, secret, "key", context, size),
          Expand(suite, secret, "base_nonce", context, 12)};
}

const EVP_CIPHER* Cipher(CK_ULONG aead) {
  if (aead == CK_SECRETMEM_HPKE_AES_128_GCM) return EVP_aes_128_gcm();
  return aead == CK_SECRETMEM_HPKE_AES_256_GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
}

// The ciphertext with its tag, or the plain text; empty if the tag is wrong.
Bytes Crypt(const Hpke& hpke, const Keys& keys, const Bytes& in, bool seal) {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  Bytes out(in.size() + 16);
  int size = 0, ignored = 0;
  const int body = static_cast<int>(seal ? in.size() : in.size() - 16);
  EVP_CipherInit_ex(context, Cipher(hpke.aead), nullptr, keys.key.data(), keys.nonce.data(), seal);
  EVP_CipherUpdate(context, nullptr, &ignored, hpke.aad.data(), static_cast<int>(hpke.aad.size()));
  EVP_CipherUpdate(context, out.data(), &size, in.data(), body);
  if (!seal) {
    Bytes tag(in.end() - 16, in.end());
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag.data());
  }
  const bool done = EVP_CipherFinal_ex(context, out.data() + size, &ignored) == 1;
  if (seal) EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, out.data() + size);
  EVP_CIPHER_CTX_free(context);
  out.resize(!done ? 0 : static_cast<size_t>(size) + (seal ? 16 : 0));
  return out;
}

}  // namespace

OwnedMechanism Hpke::Mechanism() {
  const CK_SECRETMEM_HPKE_PARAMS parameters{
      mode,          kem,        kdf,           aead,          Data(info), info.size(),
      Data(aad),     aad.size(), Data(enc),     enc.size(),    psk,        Data(psk_id),
      psk_id.size(), output,     Data(context), context.size()};
  return OwnedMechanism::Of(CKM_SECRETMEM_HPKE, parameters);
}

Bytes ReferenceSeal(const Hpke& hpke, const Bytes& public_key, const Bytes& plain) {
  const Bytes scalar = ReferenceRandom(32);
  const Bytes enc = ReferencePublicKey(scalar);
  const Keys keys = Schedule(hpke, ReferenceX25519(scalar, public_key), enc, public_key);
  return Join({enc, Crypt(hpke, keys, plain, true)});
}

Bytes ReferenceOpen(const Hpke& hpke, const Bytes& private_key, const Bytes& sealed) {
  const Bytes enc(sealed.begin(), sealed.begin() + 32);
  const Keys keys =
      Schedule(hpke, ReferenceX25519(private_key, enc), enc, ReferencePublicKey(private_key));
  return Crypt(hpke, keys, Bytes(sealed.begin() + 32, sealed.end()), false);
}

}  // namespace secretmem::conformance

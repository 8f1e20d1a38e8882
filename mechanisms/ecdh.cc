#include "mechanisms/ecdh.h"

#include <openssl/curve25519.h>
#include <openssl/digest.h>

#include <algorithm>

#include "mechanisms/montgomery.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

struct Kdf {
  CK_ULONG type;
  const EVP_MD* (*digest)();  // null: the secret itself
};

constexpr Kdf kKdfs[] = {
    {CKD_NULL, nullptr},          {CKD_SHA1_KDF, EVP_sha1},     {CKD_SHA224_KDF, EVP_sha224},
    {CKD_SHA256_KDF, EVP_sha256}, {CKD_SHA384_KDF, EVP_sha384}, {CKD_SHA512_KDF, EVP_sha512},
};

struct Ecdh1Parameter {
  const Kdf* kdf;
  std::span<const uint8_t> shared_data;
  std::span<const uint8_t> public_data;
};

CkResult<Ecdh1Parameter> ReadEcdh1(Parameter parameter) {
  const auto given = ReadParameter<CK_ECDH1_DERIVE_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const auto* kdf = std::ranges::find(kKdfs, CK_ULONG{given->kdf}, &Kdf::type);
  if (kdf == std::end(kKdfs)) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto shared = ParameterBytes(given->pSharedData, given->ulSharedDataLen);
  const auto peer = ParameterBytes(given->pPublicData, given->ulPublicDataLen);
  if (!shared || !peer || peer->empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  if (kdf->digest == nullptr && !shared->empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return Ecdh1Parameter{kdf, *shared, *peer};
}

// X963Kdf is ANSI X9.63's: hashes of secret, counter from 1, shared data. On a secret stack.
bool X963Kdf(const EVP_MD* digest, std::span<const uint8_t> secret,
             std::span<const uint8_t> shared_data, std::span<uint8_t> out) {
  bssl::ScopedEVP_MD_CTX context;
  for (uint32_t counter = 1; !out.empty(); ++counter) {
    const uint8_t number[] = {static_cast<uint8_t>(counter >> 24),
                              static_cast<uint8_t>(counter >> 16),
                              static_cast<uint8_t>(counter >> 8), static_cast<uint8_t>(counter)};
    uint8_t block[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!EVP_DigestInit_ex(context.get(), digest, nullptr) ||
        !EVP_DigestUpdate(context.get(), secret.data(), secret.size()) ||
        !EVP_DigestUpdate(context.get(), number, sizeof(number)) ||
        !EVP_DigestUpdate(context.get(), shared_data.data(), shared_data.size()) ||
        !EVP_DigestFinal_ex(context.get(), block, &size)) {
      return false;
    }
    const size_t take = std::min<size_t>(size, out.size());
    std::copy_n(block, take, out.begin());
    out = out.subspan(take);
  }
  return true;
}

CK_RV X25519Into(std::span<uint8_t> out, SecretView<kX25519Bytes> key, const X25519PublicKey& peer,
                 const Ecdh1Parameter& parameter) {
  uint8_t secret[kX25519Bytes];
  if (!X25519(secret, key.data(), peer.data())) return CKR_PUBLIC_KEY_INVALID;
  if (parameter.kdf->digest == nullptr) {
    std::copy_n(secret + sizeof(secret) - out.size(), out.size(), out.begin());
    return CKR_OK;
  }
  return X963Kdf(parameter.kdf->digest(), secret, parameter.shared_data, out) ? CKR_OK
                                                                              : CKR_FUNCTION_FAILED;
}

// DeriveX25519 runs on a secret stack already, which makes the vaults cheaper.
CkResult<Vault> DeriveX25519(const Vault& base, const X25519PublicKey& peer,
                             const Ecdh1Parameter& parameter, size_t length) {
  auto derived = ToCk(Vault::New(length));
  if (!derived) return derived;
  const auto status = base.WithSecret<kX25519Bytes>([&](SecretView<kX25519Bytes> key) {
    return derived->WriteSecret(
        [&](std::span<uint8_t> out) { return X25519Into(out, key, peer, parameter); });
  });
  if (const auto done = Flatten(status); !done) return Refuse(done.error());
  return derived;
}

}  // namespace

CkResult<NewKey> DeriveEcdh1(Parameter parameter, const Key& base, const SecretRequest& request) {
  if (base.object_class != CKO_PRIVATE_KEY || base.key_type != CKK_EC_MONTGOMERY) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  const auto read = ReadEcdh1(parameter);
  if (!read) return Refuse(read.error());
  const auto peer = ParseX25519Point(read->public_data);
  if (!peer) return Refuse(CKR_PUBLIC_KEY_INVALID);
  const bool plain = read->kdf->digest == nullptr;
  const auto length =
      SecretLength(request, plain ? std::optional<size_t>(kX25519Bytes) : std::nullopt);
  if (!length) return Refuse(length.error());

  auto derived =
      ToCk(OnShallowStack([&] { return DeriveX25519(*base.secret, *peer, *read, *length); }));
  if (!derived) return Refuse(derived.error());
  if (!*derived) return Refuse(derived->error());
  return NewKey{std::move(**derived), {{CKA_VALUE_LEN, UlongBytes(*length)}}};
}

}  // namespace secretmem

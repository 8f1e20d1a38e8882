#include "mechanisms/ecdh.h"

#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/ecdh.h>

#include <algorithm>

#include "mechanisms/montgomery.h"
#include "mechanisms/secret_key.h"
#include "mechanisms/weierstrass.h"

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

// Deliver makes the key of the shared secret. On a secret stack.
CK_RV Deliver(std::span<uint8_t> out, std::span<const uint8_t> shared,
              const Ecdh1Parameter& parameter) {
  if (parameter.kdf->digest == nullptr) {
    std::ranges::copy(shared.last(out.size()), out.begin());
    return CKR_OK;
  }
  return X963Kdf(parameter.kdf->digest(), shared, parameter.shared_data, out) ? CKR_OK
                                                                              : CKR_FUNCTION_FAILED;
}

CK_RV X25519Into(std::span<uint8_t> out, SecretView<kX25519Bytes> key, const X25519PublicKey& peer,
                 const Ecdh1Parameter& parameter) {
  uint8_t shared[kX25519Bytes];
  if (!X25519(shared, key.data(), peer.data())) return CKR_PUBLIC_KEY_INVALID;
  return Deliver(out, shared, parameter);
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

CK_RV WeierstrassInto(std::span<uint8_t> out, const Curve& curve, const EC_KEY& key,
                      const Ecdh1Parameter& parameter) {
  const auto peer = ParsePoint(curve, parameter.public_data);
  if (peer == nullptr) return CKR_PUBLIC_KEY_INVALID;
  uint8_t shared[kMaxCurveBytes];
  if (ECDH_compute_key(shared, curve.bytes, EC_KEY_get0_public_key(peer.get()), &key, nullptr) !=
      static_cast<int>(curve.bytes)) {
    return CKR_FUNCTION_FAILED;
  }
  return Deliver(out, {shared, curve.bytes}, parameter);
}

// DeriveWeierstrass runs on a secret stack already, too.
CkResult<Vault> DeriveWeierstrass(const Key& base, const Curve& curve,
                                  const Ecdh1Parameter& parameter, size_t length) {
  auto derived = ToCk(Vault::New(length));
  if (!derived) return derived;
  const auto key = OpenEcPrivate(base, curve);
  if (!key) return Refuse(key.error());
  const auto status = (*key)->With([&](EcKey& its) {
    return derived->WriteSecret(
        [&](std::span<uint8_t> out) { return WeierstrassInto(out, curve, *its.key, parameter); });
  });
  if (const auto done = Flatten(status); !done) return Refuse(done.error());
  return derived;
}

// LengthOf is the derived key's length in bytes, where the shared secret has |available|.
CkResult<size_t> LengthOf(const SecretRequest& request, const Ecdh1Parameter& parameter,
                          size_t available) {
  if (parameter.kdf->digest != nullptr) return SecretLength(request, std::nullopt);
  return SecretLength(request, available);
}

CkResult<NewKey> Derived(VaultResult<CkResult<Vault>> result) {
  auto vault = ToCk(std::move(result));
  if (!vault) return Refuse(vault.error());
  if (!*vault) return Refuse(vault->error());
  const CK_ULONG length = (*vault)->size();
  return NewKey{std::move(**vault), {{CKA_VALUE_LEN, UlongBytes(length)}}};
}

CkResult<NewKey> DeriveMontgomery(const Ecdh1Parameter& parameter, const Key& base,
                                  const SecretRequest& request) {
  const auto peer = ParseX25519Point(parameter.public_data);
  if (!peer) return Refuse(CKR_PUBLIC_KEY_INVALID);
  const auto length = LengthOf(request, parameter, kX25519Bytes);
  if (!length) return Refuse(length.error());
  return Derived(
      OnShallowStack([&] { return DeriveX25519(*base.secret, *peer, parameter, *length); }));
}

CkResult<NewKey> DeriveEc(const Ecdh1Parameter& parameter, const Key& base,
                          const SecretRequest& request) {
  const auto curve = CurveOf(base.attributes);
  if (!curve) return Refuse(curve.error());
  const auto length = LengthOf(request, parameter, (*curve)->bytes);
  if (!length) return Refuse(length.error());
  return Derived(
      OnSecretStack([&] { return DeriveWeierstrass(base, **curve, parameter, *length); }));
}

}  // namespace

CkResult<NewKey> DeriveEcdh1(Parameter parameter, const Key& base, const SecretRequest& request) {
  const bool montgomery = base.key_type == CKK_EC_MONTGOMERY;
  if (base.object_class != CKO_PRIVATE_KEY || (!montgomery && base.key_type != CKK_EC)) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  const auto read = ReadEcdh1(parameter);
  if (!read) return Refuse(read.error());
  return montgomery ? DeriveMontgomery(*read, base, request) : DeriveEc(*read, base, request);
}

CkResult<NewKey> DeriveEcdh1Cofactor(Parameter parameter, const Key& base,
                                     const SecretRequest& request) {
  if (base.key_type != CKK_EC) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  return DeriveEcdh1(parameter, base, request);
}

}  // namespace secretmem

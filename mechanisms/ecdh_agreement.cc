#include "mechanisms/ecdh_agreement.h"

#include <openssl/bn.h>
#include <openssl/curve25519.h>
#include <openssl/ec.h>
#include <openssl/ecdh.h>

#include <algorithm>

#include "mechanisms/montgomery.h"

namespace secretmem {
namespace {

constexpr EcdhKdf kKdfs[] = {
    {CKD_NULL, nullptr},          {CKD_SHA1_KDF, EVP_sha1},     {CKD_SHA224_KDF, EVP_sha224},
    {CKD_SHA256_KDF, EVP_sha256}, {CKD_SHA384_KDF, EVP_sha384}, {CKD_SHA512_KDF, EVP_sha512},
};

// X963Kdf is ANSI X9.63's: hashes of secret, counter from 1, shared data.
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

// Deliver makes the key of the shared secret.
CK_RV Deliver(std::span<const uint8_t> shared, const EcdhSharing& sharing, SecretPart part,
              std::span<uint8_t> out) {
  if (sharing.kdf->digest == nullptr) {
    if (out.size() > shared.size()) return CKR_FUNCTION_FAILED;
    std::ranges::copy(
        part == SecretPart::kFirst ? shared.first(out.size()) : shared.last(out.size()),
        out.begin());
    return CKR_OK;
  }
  return X963Kdf(sharing.kdf->digest(), shared, sharing.shared_data, out) ? CKR_OK
                                                                          : CKR_FUNCTION_FAILED;
}

CK_RV AgreeOnCurve(const EcDomain& domain, const EC_KEY& key, std::span<const uint8_t> point,
                   const EcdhSharing& sharing, SecretPart part, std::span<uint8_t> out) {
  const auto peer = ParsePoint(*domain.curve, point);
  if (peer == nullptr) return CKR_PUBLIC_KEY_INVALID;
  uint8_t shared[kMaxCurveBytes];
  if (ECDH_compute_key(shared, domain.bytes, EC_KEY_get0_public_key(peer.get()), &key, nullptr) !=
      static_cast<int>(domain.bytes)) {
    return CKR_FUNCTION_FAILED;
  }
  return Deliver({shared, domain.bytes}, sharing, part, out);
}

}  // namespace

CkResult<EcdhSharing> ReadEcdhSharing(CK_ULONG kdf, const void* shared_data, CK_ULONG length) {
  const auto* found = std::ranges::find(kKdfs, kdf, &EcdhKdf::type);
  const auto shared = ParameterBytes(shared_data, length);
  if (found == std::end(kKdfs) || !shared || (found->digest == nullptr && !shared->empty())) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return EcdhSharing{found, *shared};
}

CkResult<EcDomain> DomainOf(const Key& key) {
  if (key.key_type == CKK_EC_MONTGOMERY) return EcDomain{nullptr, kX25519Bytes, kX25519Bytes};
  if (key.key_type != CKK_EC) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  const auto curve = CurveOf(key.attributes);
  if (!curve) return Refuse(curve.error());
  return EcDomain{*curve, (*curve)->bytes, 1 + 2 * (*curve)->bytes};
}

CkResult<std::span<const uint8_t>> PointOf(const Key& key) {
  const auto point = key.attributes.Get(CKA_EC_POINT);
  if (key.object_class != CKO_PUBLIC_KEY || !point) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  return *point;
}

CK_RV Agree(const EcDomain& domain, std::span<const uint8_t> scalar, std::span<const uint8_t> point,
            const EcdhSharing& sharing, SecretPart part, std::span<uint8_t> out) {
  uint8_t shared[kMaxCurveBytes];
  if (domain.curve == nullptr) {
    // Of another length only if a store is damaged.
    if (scalar.size() != kX25519Bytes) return CKR_FUNCTION_FAILED;
    const auto peer = ParseX25519Point(point);
    if (!peer || !X25519(shared, scalar.data(), peer->data())) {
      return CKR_PUBLIC_KEY_INVALID;
    }
    return Deliver({shared, kX25519Bytes}, sharing, part, out);
  }
  const auto key = ParseScalar(*domain.curve, scalar);
  if (key == nullptr) return CKR_FUNCTION_FAILED;
  return AgreeOnCurve(domain, *key, point, sharing, part, out);
}

CK_RV Agree(const EcDomain& domain, const Key& key, std::span<const uint8_t> point,
            const EcdhSharing& sharing, SecretPart part, std::span<uint8_t> out) {
  VaultResult<CK_RV> done;
  if (domain.curve == nullptr) {
    done = key.secret->WithSecret([&](std::span<const uint8_t> scalar) {
      return Agree(domain, scalar, point, sharing, part, out);
    });
  } else {
    const auto opened = OpenEcPrivate(key, *domain.curve);
    if (!opened) return opened.error();
    done = (*opened)->With(
        [&](EcKey& its) { return AgreeOnCurve(domain, *its.key, point, sharing, part, out); });
  }
  return done ? *done : RvOf(done.error());
}

bool Draw(const EcDomain& domain, Ephemeral& ephemeral) {
  if (domain.curve == nullptr) {
    X25519_keypair(ephemeral.point, ephemeral.scalar);
    return true;
  }
  const bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(domain.curve->nid));
  return key != nullptr && EC_KEY_generate_key(key.get()) &&
         BN_bn2bin_padded(ephemeral.scalar, domain.bytes, EC_KEY_get0_private_key(key.get())) &&
         EC_POINT_point2oct(EC_KEY_get0_group(key.get()), EC_KEY_get0_public_key(key.get()),
                            POINT_CONVERSION_UNCOMPRESSED, ephemeral.point, domain.point_bytes,
                            nullptr) == domain.point_bytes;
}

}  // namespace secretmem

// Keys of CKK_EC as PKCS#8 and as SubjectPublicKeyInfo.

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec.h>

#include "mechanisms/ec_params.h"
#include "mechanisms/pkcs8.h"
#include "mechanisms/weierstrass.h"

namespace secretmem {
namespace {

// id-ecPublicKey, RFC 5480, 2.1.1; the contents of the OID.
constexpr uint8_t kIdEcPublicKey[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};

// PublicOf computes the public key of a private one. In a borrow.
bssl::UniquePtr<EC_POINT> PublicOf(const EC_KEY& key) {
  const EC_GROUP* group = EC_KEY_get0_group(&key);
  bssl::UniquePtr<EC_POINT> point(EC_POINT_new(group));
  if (point == nullptr ||
      !EC_POINT_mul(group, point.get(), EC_KEY_get0_private_key(&key), nullptr, nullptr, nullptr)) {
    return nullptr;
  }
  return point;
}

}  // namespace

CkResult<Vault> WeierstrassToPkcs8(const Key& key) {
  const auto curve = CurveOf(key.attributes);
  if (!curve) return Refuse(curve.error());
  auto written =
      ToCk(key.secret->WithSecret([&](std::span<const uint8_t> scalar) -> CkResult<Vault> {
        const auto parsed = ParseScalar(**curve, scalar);
        if (parsed == nullptr) return Refuse(FailureOr(CKR_FUNCTION_FAILED));
        const auto point = PublicOf(*parsed);
        if (point == nullptr || !EC_KEY_set_public_key(parsed.get(), point.get())) {
          return Refuse(FailureOr(CKR_FUNCTION_FAILED));
        }
        return WritePkcs8(kIdEcPublicKey, (*curve)->params, [&](CBB* out) {
          return EC_KEY_marshal_private_key(out, parsed.get(), EC_PKEY_NO_PARAMETERS);
        });
      }));
  if (!written) return Refuse(written.error());
  return std::move(*written);
}

CkResult<NewKey> WeierstrassFromPkcs8(std::span<const uint8_t> der) {
  auto info = ReadPkcs8(der);
  if (!info || !CBS_mem_equal(&info->algorithm, kIdEcPublicKey, sizeof(kIdEcPublicKey))) {
    return Refuse(CKR_WRAPPED_KEY_INVALID);
  }
  const auto curve = FindCurve({CBS_data(&info->parameters), CBS_len(&info->parameters)});
  if (!curve) {
    return Refuse(curve.error() == CKR_CURVE_NOT_SUPPORTED ? CKR_CURVE_NOT_SUPPORTED
                                                           : CKR_WRAPPED_KEY_INVALID);
  }
  const bssl::UniquePtr<EC_KEY> empty(EC_KEY_new_by_curve_name((*curve)->nid));
  if (empty == nullptr) return Refuse(CKR_DEVICE_MEMORY);
  // Checks that a public key in it is the private one's.
  const bssl::UniquePtr<EC_KEY> parsed(
      EC_KEY_parse_private_key(&info->private_key, EC_KEY_get0_group(empty.get())));
  if (parsed == nullptr || CBS_len(&info->private_key) != 0) {
    return Refuse(FailureOr(CKR_WRAPPED_KEY_INVALID));
  }
  auto secret = ToCk(Vault::New((*curve)->bytes));
  if (!secret) return Refuse(secret.error());
  const auto taken = secret->WriteSecret([&](std::span<uint8_t> scalar) -> CK_RV {
    return BN_bn2bin_padded(scalar.data(), scalar.size(), EC_KEY_get0_private_key(parsed.get()))
               ? CKR_OK
               : CKR_FUNCTION_FAILED;
  });
  if (const auto done = Flatten(taken); !done) return Refuse(done.error());
  return NewKey{std::move(*secret), {{CKA_EC_PARAMS, Bytes((*curve)->params)}}};
}

CkResult<std::vector<uint8_t>> WeierstrassPublicKeyInfo(const Key& key) {
  const auto curve = CurveOf(key.attributes);
  if (!curve) return Refuse(curve.error());
  if (key.object_class == CKO_PUBLIC_KEY) {
    const auto point = key.attributes.Get(CKA_EC_POINT);
    if (!point) return Refuse(CKR_TEMPLATE_INCOMPLETE);
    return PublicKeyInfo(kIdEcPublicKey, (*curve)->params, InsideDer(*point));
  }
  const auto opened = OpenEcPrivate(key, **curve);
  if (!opened) return Refuse(opened.error());
  uint8_t bytes[kMaxPointBytes];
  size_t size = 0;
  const auto encoded = Flatten((*opened)->With([&](EcKey& its) -> CK_RV {
    const auto point = PublicOf(*its.key);
    if (point == nullptr) return FailureOr(CKR_FUNCTION_FAILED);
    size = EC_POINT_point2oct(EC_KEY_get0_group(its.key.get()), point.get(),
                              POINT_CONVERSION_UNCOMPRESSED, bytes, sizeof(bytes), nullptr);
    return size != 0 ? CKR_OK : FailureOr(CKR_FUNCTION_FAILED);
  }));
  if (!encoded) return Refuse(encoded.error());
  return PublicKeyInfo(kIdEcPublicKey, (*curve)->params, {bytes, size});
}

}  // namespace secretmem

#include "mechanisms/weierstrass.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec.h>
#include <openssl/nid.h>

#include <algorithm>

#include "mechanisms/ec_params.h"

namespace secretmem {
namespace {

constexpr uint8_t kP224[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21};
constexpr uint8_t kP256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr uint8_t kP384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
constexpr uint8_t kP521[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};

constexpr Curve kCurves[] = {
    {NID_secp224r1, 28, kP224, {"secp224r1", "P-224"}},
    {NID_X9_62_prime256v1, 32, kP256, {"secp256r1", "prime256v1", "P-256"}},
    {NID_secp384r1, 48, kP384, {"secp384r1", "P-384"}},
    {NID_secp521r1, kMaxCurveBytes, kP521, {"secp521r1", "P-521"}},
};

// Public is a point, uncompressed, in ordinary memory.
struct Public {
  uint8_t bytes[kMaxPointBytes];
  size_t size = 0;

  std::vector<uint8_t> Der() const { return OctetString({bytes, size}); }
};

bool Encode(const EC_KEY& key, Public& out) {
  out.size =
      EC_POINT_point2oct(EC_KEY_get0_group(&key), EC_KEY_get0_public_key(&key),
                         POINT_CONVERSION_UNCOMPRESSED, out.bytes, sizeof(out.bytes), nullptr);
  return out.size != 0;
}

}  // namespace

CkResult<const Curve*> FindCurve(std::span<const uint8_t> params) {
  CBS input, name;
  CBS_init(&input, params.data(), params.size());
  std::string_view text;
  if (CBS_get_asn1(&input, &name, CBS_ASN1_PRINTABLESTRING) && CBS_len(&input) == 0) {
    text = {reinterpret_cast<const char*>(CBS_data(&name)), CBS_len(&name)};
  }
  for (const Curve& curve : kCurves) {
    if (std::ranges::equal(params, curve.params)) return &curve;
    if (!text.empty() && std::ranges::find(curve.names, text) != std::end(curve.names)) {
      return &curve;
    }
  }
  return RefuseParams(params);
}

CkResult<const Curve*> CurveOf(const AttributeSource& source) {
  const auto params = source.Get(CKA_EC_PARAMS);
  if (!params) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  return FindCurve(*params);
}

CkResult<std::shared_ptr<SecretBox<EcKey>>> OpenEcPrivate(const Key& key, const Curve& curve) {
  return key.cache->Get<EcKey>([&]() -> CkResult<SecretBox<EcKey>> {
    auto box = ToCk(SecretBox<EcKey>::Make());
    if (!box) return box;
    const auto parsed = ToCk(key.secret->WithSecret([&](std::span<const uint8_t> scalar) {
      return box->With([&](EcKey& its) {
        its.key = ParseScalar(curve, scalar);
        return its.key != nullptr;
      });
    }));
    if (!parsed) return Refuse(parsed.error());
    // The bytes were checked when they came in.
    if (!*parsed) return Refuse(CKR_DEVICE_MEMORY);
    return box;
  });
}

bssl::UniquePtr<EC_KEY> ParseScalar(const Curve& curve, std::span<const uint8_t> scalar) {
  bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(curve.nid));
  bssl::UniquePtr<BIGNUM> number(BN_bin2bn(scalar.data(), scalar.size(), nullptr));
  // What is not below the order is refused by the setter.
  if (key == nullptr || number == nullptr || BN_is_zero(number.get()) ||
      !EC_KEY_set_private_key(key.get(), number.get())) {
    return nullptr;
  }
  return key;
}

bssl::UniquePtr<EC_KEY> ParsePoint(const Curve& curve, std::span<const uint8_t> point) {
  // No raw form is as long as one in DER.
  const auto is_raw = [&](size_t size) {
    return size == 1 + curve.bytes || size == 1 + 2 * curve.bytes;
  };
  if (!is_raw(point.size())) point = InsideDer(point);
  if (!is_raw(point.size())) return nullptr;
  bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name(curve.nid));
  if (key == nullptr) return nullptr;
  const EC_GROUP* group = EC_KEY_get0_group(key.get());
  bssl::UniquePtr<EC_POINT> parsed(EC_POINT_new(group));
  if (parsed == nullptr ||
      !EC_POINT_oct2point(group, parsed.get(), point.data(), point.size(), nullptr) ||
      !EC_KEY_set_public_key(key.get(), parsed.get())) {
    return nullptr;
  }
  return key;
}

CkResult<NewKeyPair> GenerateWeierstrass(Parameter parameter, const AttributeSource& wanted) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto curve = CurveOf(wanted);
  if (!curve) return Refuse(curve.error());
  auto secret = ToCk(Vault::New((*curve)->bytes));
  if (!secret) return Refuse(secret.error());
  Public point;
  const auto drawn = secret->WriteSecret([&](std::span<uint8_t> scalar) -> CK_RV {
    const bssl::UniquePtr<EC_KEY> key(EC_KEY_new_by_curve_name((*curve)->nid));
    if (key == nullptr || !EC_KEY_generate_key(key.get()) ||
        !BN_bn2bin_padded(scalar.data(), scalar.size(), EC_KEY_get0_private_key(key.get())) ||
        !Encode(*key, point)) {
      return CKR_FUNCTION_FAILED;
    }
    return CKR_OK;
  });
  if (const auto done = Flatten(drawn); !done) return Refuse(done.error());
  const auto params = Bytes((*curve)->params);
  return NewKeyPair{std::move(*secret),
                    {{CKA_EC_PARAMS, params}, {CKA_EC_POINT, point.Der()}},
                    {{CKA_EC_PARAMS, params}}};
}

CkResult<AttributeValues> ImportWeierstrassPublic(const AttributeSource& given) {
  const auto point = given.Get(CKA_EC_POINT);
  if (!point) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  const auto curve = CurveOf(given);
  if (!curve) return Refuse(curve.error());
  Public stored;
  const auto status = OnSecretStack([&]() -> CK_RV {
    const auto key = ParsePoint(**curve, *point);
    return key != nullptr && Encode(*key, stored) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  });
  if (const auto done = Flatten(status); !done) return Refuse(done.error());
  return AttributeValues{{CKA_EC_PARAMS, Bytes((*curve)->params)}, {CKA_EC_POINT, stored.Der()}};
}

CkResult<NewKey> ImportWeierstrassPrivate(const AttributeSource& given) {
  const auto value = given.Get(CKA_VALUE);
  if (!value) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  const auto curve = CurveOf(given);
  if (!curve) return Refuse(curve.error());
  auto secret = ToCk(Vault::New((*curve)->bytes));
  if (!secret) return Refuse(secret.error());
  const auto taken = secret->WriteSecret([&](std::span<uint8_t> scalar) -> CK_RV {
    const auto key = ParseScalar(**curve, *value);
    if (key == nullptr) return CKR_ATTRIBUTE_VALUE_INVALID;
    return BN_bn2bin_padded(scalar.data(), scalar.size(), EC_KEY_get0_private_key(key.get()))
               ? CKR_OK
               : CKR_FUNCTION_FAILED;
  });
  if (const auto done = Flatten(taken); !done) return Refuse(done.error());
  return NewKey{std::move(*secret), {{CKA_EC_PARAMS, Bytes((*curve)->params)}}};
}

}  // namespace secretmem

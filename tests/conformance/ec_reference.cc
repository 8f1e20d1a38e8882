// OpenSSL's libcrypto on the NIST curves and Ed25519.
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>

#include <string>

#include "tests/conformance/ec.h"
#include "tests/conformance/openssl.h"

namespace secretmem::conformance {
namespace {

using Pkey = Owned<EVP_PKEY, EVP_PKEY_free>;
using Context = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using Number = Owned<BIGNUM, BN_free>;
using Point = Owned<EC_POINT, EC_POINT_free>;
using Group = Owned<EC_GROUP, EC_GROUP_free>;
using Signature = Owned<ECDSA_SIG, ECDSA_SIG_free>;

Number NumberOf(const CK_BYTE* bytes, size_t size) {
  return Number(BN_bin2bn(bytes, static_cast<int>(size), nullptr));
}

Pkey EcKey(const EcCurve& curve, const Bytes& point, const Bytes* scalar) {
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  const Number number = scalar == nullptr ? nullptr : NumberOf(scalar->data(), scalar->size());
  Check(OSSL_PARAM_BLD_push_utf8_string(builder.get(), "group", curve.name, 0) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(builder.get(), "pub", point.data(), point.size()) == 1,
        "parameters");
  if (number) Check(OSSL_PARAM_BLD_push_BN(builder.get(), "priv", number.get()) == 1, "scalar");
  const Owned<OSSL_PARAM, OSSL_PARAM_free> params(OSSL_PARAM_BLD_to_param(builder.get()));
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  Check(EVP_PKEY_fromdata_init(context.get()) == 1 &&
            EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.get()) == 1,
        "EC key");
  return Pkey(key);
}

Bytes Digest(const char* hash, const Bytes& data) {
  if (*hash == '\0') return data;
  Bytes digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  Check(EVP_Digest(data.data(), data.size(), digest.data(), &size, EVP_get_digestbyname(hash),
                   nullptr) == 1,
        "digest");
  digest.resize(size);
  return digest;
}

}  // namespace

Bytes ReferenceEcPoint(const EcCurve& curve, const Bytes& scalar, bool compressed) {
  const Group group(EC_GROUP_new_by_curve_name(OBJ_sn2nid(curve.name)));
  const Point point(EC_POINT_new(group.get()));
  const Number number = NumberOf(scalar.data(), scalar.size());
  Check(EC_POINT_mul(group.get(), point.get(), number.get(), nullptr, nullptr, nullptr) == 1,
        "point");
  Bytes bytes(1 + 2 * curve.bytes);
  bytes.resize(
      EC_POINT_point2oct(group.get(), point.get(),
                         compressed ? POINT_CONVERSION_COMPRESSED : POINT_CONVERSION_UNCOMPRESSED,
                         bytes.data(), bytes.size(), nullptr));
  Check(!bytes.empty(), "point");
  return bytes;
}

EcKeyPair ReferenceEcKey(const EcCurve& curve) {
  const Pkey key(EVP_EC_gen(curve.name));
  BIGNUM* number = nullptr;
  Check(EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1, "scalar");
  const Number owned(number);
  Bytes scalar(curve.bytes);
  Check(BN_bn2binpad(number, scalar.data(), static_cast<int>(scalar.size())) > 0, "scalar");
  return {scalar, ReferenceEcPoint(curve, scalar)};
}

Bytes ReferenceEcdh(const EcCurve& curve, const Bytes& scalar, const Bytes& point) {
  const Pkey key = EcKey(curve, ReferenceEcPoint(curve, scalar), &scalar);
  const Pkey peer = EcKey(curve, point, nullptr);
  const Context context(EVP_PKEY_CTX_new(key.get(), nullptr));
  Bytes result(curve.bytes);
  size_t length = result.size();
  Check(EVP_PKEY_derive_init(context.get()) == 1 &&
            EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1 &&
            EVP_PKEY_derive(context.get(), result.data(), &length) == 1 && length == curve.bytes,
        "ECDH");
  return result;
}

Bytes ReferenceEcdsaSign(const EcCurve& curve, const Bytes& scalar, const char* hash,
                         const Bytes& data) {
  const Pkey key = EcKey(curve, ReferenceEcPoint(curve, scalar), &scalar);
  const Context context(EVP_PKEY_CTX_new(key.get(), nullptr));
  const Bytes digest = Digest(hash, data);
  Bytes der(256);
  size_t length = der.size();
  Check(EVP_PKEY_sign_init(context.get()) == 1 &&
            EVP_PKEY_sign(context.get(), der.data(), &length, digest.data(), digest.size()) == 1,
        "ECDSA");
  const unsigned char* at = der.data();
  const Signature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(length)));
  Bytes raw(2 * curve.bytes);
  const int half = static_cast<int>(curve.bytes);
  Check(BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), half) == half &&
            BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + half, half) == half,
        "signature");
  return raw;
}

bool ReferenceEcdsaVerify(const EcCurve& curve, const Bytes& point, const char* hash,
                          const Bytes& data, const Bytes& raw) {
  Check(raw.size() == 2 * curve.bytes, "signature's length");
  const Signature signature(ECDSA_SIG_new());
  Check(ECDSA_SIG_set0(signature.get(), NumberOf(raw.data(), curve.bytes).release(),
                       NumberOf(raw.data() + curve.bytes, curve.bytes).release()) == 1,
        "signature");
  unsigned char* der = nullptr;
  const int length = i2d_ECDSA_SIG(signature.get(), &der);
  Check(length > 0, "signature");
  const Pkey key = EcKey(curve, point, nullptr);
  const Context context(EVP_PKEY_CTX_new(key.get(), nullptr));
  const Bytes digest = Digest(hash, data);
  Check(EVP_PKEY_verify_init(context.get()) == 1, "ECDSA");
  const bool verified = EVP_PKEY_verify(context.get(), der, static_cast<size_t>(length),
                                        digest.data(), digest.size()) == 1;
  OPENSSL_free(der);
  return verified;
}

Bytes ReferenceEd25519Public(const Bytes& seed) {
  const Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  Bytes result(32);
  size_t length = result.size();
  Check(key && EVP_PKEY_get_raw_public_key(key.get(), result.data(), &length) == 1, "Ed25519");
  return result;
}

Bytes ReferenceEd25519Sign(const Bytes& seed, const Bytes& data) {
  const Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  Bytes result(64);
  size_t length = result.size();
  Check(key && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
            EVP_DigestSign(context.get(), result.data(), &length, data.data(), data.size()) == 1,
        "Ed25519");
  return result;
}

}  // namespace secretmem::conformance

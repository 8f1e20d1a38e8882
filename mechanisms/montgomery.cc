#include "mechanisms/montgomery.h"

#include <openssl/curve25519.h>

#include <algorithm>

#include "mechanisms/ec_params.h"
#include "mechanisms/pkcs8.h"

namespace secretmem {
namespace {

constexpr uint8_t kIdX25519[] = {0x06, 0x03, 0x2b, 0x65, 0x6e};
constexpr auto kOid = std::span(kIdX25519).subspan<2>();

// Further forms that clients send for the same curve.
constexpr uint8_t kName[] = {0x13, 0x0a, 'c', 'u', 'r', 'v', 'e', '2', '5', '5', '1', '9'};
// pkcs11-tool 0.23 to 0.25: the length is one too large.
constexpr uint8_t kMiscountedName[] = {0x13, 0x0b, 'c', 'u', 'r', 'v',
                                       'e',  '2',  '5', '5', '1', '9'};
// 1.3.6.1.4.1.3029.1.5.1, the OID before RFC 8410.
constexpr uint8_t kOldOid[] = {0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04,
                               0x01, 0x97, 0x55, 0x01, 0x05, 0x01};
// NSS's own.
constexpr uint8_t kNssOid[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01};

// Two clients take a raw key that begins like a short DER OCTET STRING for DER.
bool LooksLikeDer(const X25519PublicKey& key) { return key[0] == 0x04 && key[1] <= 0x1e; }

}  // namespace

CkResult<std::vector<uint8_t>> CheckMontgomeryParams(std::span<const uint8_t> params) {
  if (IsOneOf(params, {kIdX25519, kName, kMiscountedName, kOldOid, kNssOid})) {
    return Bytes(kIdX25519);
  }
  return RefuseParams(params);
}

std::optional<X25519PublicKey> ParseX25519Point(std::span<const uint8_t> point) {
  X25519PublicKey key;
  if (point.size() != key.size()) point = InsideDer(point);
  if (point.size() != key.size()) return {};
  std::ranges::copy(point, key.begin());
  return key;
}

CkResult<NewKeyPair> GenerateMontgomery(Parameter parameter, const AttributeSource& wanted) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto params = wanted.Get(CKA_EC_PARAMS);
  if (!params) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  auto stored = CheckMontgomeryParams(*params);
  if (!stored) return Refuse(stored.error());

  X25519PublicKey public_key;
  auto secret = OnShallowStack([&]() -> VaultResult<Vault> {
    auto vault = Vault::New(kX25519Bytes);
    if (!vault) return vault;
    auto drawn = vault->WriteSecret<kX25519Bytes>([&](WritableSecretView<32> key) {
      do {
        X25519_keypair(public_key.data(), key.data());
      } while (LooksLikeDer(public_key));
    });
    if (!drawn) return std::unexpected(drawn.error());
    return vault;
  });
  if (!secret) return Refuse(RvOf(secret.error()));
  return NewKeyPair{std::move(*secret),
                    {{CKA_EC_PARAMS, *stored}, {CKA_EC_POINT, Bytes(public_key)}},
                    {{CKA_EC_PARAMS, *stored}}};
}

CkResult<AttributeValues> ImportMontgomeryPublic(const AttributeSource& given) {
  const auto params = given.Get(CKA_EC_PARAMS);
  const auto point = given.Get(CKA_EC_POINT);
  if (!params || !point) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  auto stored = CheckMontgomeryParams(*params);
  if (!stored) return Refuse(stored.error());
  const auto key = ParseX25519Point(*point);
  if (!key) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  return AttributeValues{{CKA_EC_PARAMS, std::move(*stored)}, {CKA_EC_POINT, Bytes(*key)}};
}

CkResult<NewKey> ImportMontgomeryPrivate(const AttributeSource& given) {
  const auto params = given.Get(CKA_EC_PARAMS);
  const auto value = given.Get(CKA_VALUE);
  if (!params || !value) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  auto stored = CheckMontgomeryParams(*params);
  if (!stored) return Refuse(stored.error());
  if (value->size() != kX25519Bytes) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  auto secret = ToCk(Vault::CopyOf(*value));
  if (!secret) return Refuse(secret.error());
  return NewKey{std::move(*secret), {{CKA_EC_PARAMS, std::move(*stored)}}};
}

CkResult<Vault> MontgomeryToPkcs8(const Key& key) { return WriteRfc8410Key(kOid, *key.secret); }

CkResult<NewKey> MontgomeryFromPkcs8(std::span<const uint8_t> der) {
  auto secret = ReadRfc8410Key(kOid, der);
  if (!secret) return Refuse(secret.error());
  return NewKey{std::move(*secret), {{CKA_EC_PARAMS, Bytes(kIdX25519)}}};
}

CkResult<std::vector<uint8_t>> MontgomeryPublicKeyInfo(const Key& key) {
  X25519PublicKey public_key;
  if (key.object_class == CKO_PUBLIC_KEY) {
    const auto point = key.attributes.Get(CKA_EC_POINT);
    const auto parsed = point ? ParseX25519Point(*point) : std::nullopt;
    if (!parsed) return Refuse(CKR_FUNCTION_FAILED);
    public_key = *parsed;
  } else {
    const auto computed =
        ToCk(key.secret->WithSecret<kX25519Bytes>([&](SecretView<kX25519Bytes> secret) {
          X25519_public_from_private(public_key.data(), secret.data());
        }));
    if (!computed) return Refuse(computed.error());
  }
  return PublicKeyInfo(kOid, {}, public_key);
}

}  // namespace secretmem

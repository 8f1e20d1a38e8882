#include "mechanisms/edwards.h"

#include <openssl/curve25519.h>

#include <algorithm>

#include "mechanisms/ec_params.h"
#include "mechanisms/pkcs8.h"

namespace secretmem {
namespace {

constexpr uint8_t kIdEd25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
constexpr auto kOid = std::span(kIdEd25519).subspan<2>();
constexpr uint8_t kName[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
                             'd',  's',  '2', '5', '5', '1', '9'};
// 1.3.6.1.4.1.11591.15.1
constexpr uint8_t kOldOid[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01};

// CheckParams returns the form of CKA_EC_PARAMS that is stored.
CkResult<std::vector<uint8_t>> CheckParams(const AttributeSource& source) {
  const auto params = source.Get(CKA_EC_PARAMS);
  if (!params) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (!IsOneOf(*params, {kIdEd25519, kName, kOldOid})) return RefuseParams(*params);
  return Bytes(kIdEd25519);
}

}  // namespace

std::optional<Ed25519PublicKey> ParseEd25519Point(std::span<const uint8_t> point) {
  Ed25519PublicKey key;
  if (point.size() != key.size()) point = InsideDer(point);
  if (point.size() != key.size()) return {};
  std::ranges::copy(point, key.begin());
  return key;
}

CkResult<NewKeyPair> GenerateEdwards(Parameter parameter, const AttributeSource& wanted) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto params = CheckParams(wanted);
  if (!params) return Refuse(params.error());
  auto secret = ToCk(Vault::New(kEd25519SeedBytes));
  if (!secret) return Refuse(secret.error());
  Ed25519PublicKey public_key;
  const auto drawn =
      secret->WriteSecret<kEd25519SeedBytes>([&](WritableSecretView<kEd25519SeedBytes> seed) {
        uint8_t private_key[ED25519_PRIVATE_KEY_LEN];
        ED25519_keypair(public_key.data(), private_key);
        std::copy_n(private_key, seed.size(), seed.begin());
      });
  if (!drawn) return Refuse(RvOf(drawn.error()));
  return NewKeyPair{std::move(*secret),
                    {{CKA_EC_PARAMS, *params}, {CKA_EC_POINT, OctetString(public_key)}},
                    {{CKA_EC_PARAMS, *params}}};
}

CkResult<AttributeValues> ImportEdwardsPublic(const AttributeSource& given) {
  const auto point = given.Get(CKA_EC_POINT);
  if (!point) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  auto params = CheckParams(given);
  if (!params) return Refuse(params.error());
  const auto key = ParseEd25519Point(*point);
  if (!key) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  return AttributeValues{{CKA_EC_PARAMS, std::move(*params)}, {CKA_EC_POINT, OctetString(*key)}};
}

CkResult<NewKey> ImportEdwardsPrivate(const AttributeSource& given) {
  const auto value = given.Get(CKA_VALUE);
  if (!value) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  auto params = CheckParams(given);
  if (!params) return Refuse(params.error());
  if (value->size() != kEd25519SeedBytes) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  auto secret = ToCk(Vault::CopyOf(*value));
  if (!secret) return Refuse(secret.error());
  return NewKey{std::move(*secret), {{CKA_EC_PARAMS, std::move(*params)}}};
}

CkResult<Vault> EdwardsToPkcs8(const Key& key) { return WriteRfc8410Key(kOid, *key.secret); }

CkResult<NewKey> EdwardsFromPkcs8(std::span<const uint8_t> der) {
  auto secret = ReadRfc8410Key(kOid, der);
  if (!secret) return Refuse(secret.error());
  return NewKey{std::move(*secret), {{CKA_EC_PARAMS, Bytes(kIdEd25519)}}};
}

CkResult<std::vector<uint8_t>> EdwardsPublicKeyInfo(const Key& key) {
  Ed25519PublicKey public_key;
  if (key.object_class == CKO_PUBLIC_KEY) {
    const auto point = key.attributes.Get(CKA_EC_POINT);
    const auto parsed = point ? ParseEd25519Point(*point) : std::nullopt;
    if (!parsed) return Refuse(CKR_FUNCTION_FAILED);
    public_key = *parsed;
  } else {
    const auto opened = OpenEdwardsPrivate(key);
    if (!opened) return Refuse(opened.error());
    const auto copied = ToCk((*opened)->With([&](Ed25519Key& its) {
      std::copy_n(its.bytes + kEd25519SeedBytes, public_key.size(), public_key.begin());
    }));
    if (!copied) return Refuse(copied.error());
  }
  return PublicKeyInfo(kOid, {}, public_key);
}

CkResult<std::shared_ptr<SecretBox<Ed25519Key>>> OpenEdwardsPrivate(const Key& key) {
  return key.cache->Get<Ed25519Key>([&]() -> CkResult<SecretBox<Ed25519Key>> {
    auto box = ToCk(SecretBox<Ed25519Key>::Make());
    if (!box) return box;
    const auto expanded =
        key.secret->WithSecret<kEd25519SeedBytes>([&](SecretView<kEd25519SeedBytes> seed) {
          return box->With([&](Ed25519Key& its) {
            Ed25519PublicKey public_key;
            ED25519_keypair_from_seed(public_key.data(), its.bytes, seed.data());
          });
        });
    if (!expanded) return Refuse(RvOf(expanded.error()));
    return box;
  });
}

}  // namespace secretmem

#include "mechanisms/ecdh.h"

#include <openssl/nid.h>

#include <algorithm>

#include "mechanisms/ec_params.h"
#include "mechanisms/ecdh_agreement.h"
#include "mechanisms/montgomery.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

struct Ecdh1Parameter {
  EcdhSharing sharing;
  std::span<const uint8_t> public_data;
};

CkResult<Ecdh1Parameter> ReadEcdh1(Parameter parameter) {
  const auto given = ReadParameter<CK_ECDH1_DERIVE_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const auto sharing =
      ReadEcdhSharing(CK_ULONG{given->kdf}, given->pSharedData, given->ulSharedDataLen);
  const auto peer = ParameterBytes(given->pPublicData, given->ulPublicDataLen);
  if (!sharing || !peer) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return Ecdh1Parameter{*sharing, *peer};
}

// For encapsulation, where the other side's key is not in the parameter.
CkResult<EcdhSharing> ReadKem(Parameter parameter) {
  const auto read = ReadEcdh1(parameter);
  if (!read) return Refuse(read.error());
  if (!read->public_data.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return read->sharing;
}

// LengthOf is the new key's length in bytes.
CkResult<size_t> LengthOf(const SecretRequest& request, const EcdhSharing& sharing,
                          const EcDomain& domain) {
  if (sharing.kdf->digest != nullptr) return SecretLength(request, std::nullopt);
  return SecretLength(request, domain.bytes);
}

// On runs |f| on a secret stack that is deep enough for the curve: inside, vaults are cheaper.
template <class F>
CkResult<NewKey> On(const EcDomain& domain, F&& f) {
  // X25519 uses 2 KiB, P-256 4 KiB.
  const bool shallow = domain.curve == nullptr || domain.curve->nid == NID_X9_62_prime256v1;
  VaultResult<CkResult<Vault>> result = shallow ? OnShallowStack(f) : OnSecretStack(f);
  auto vault = ToCk(std::move(result));
  if (!vault) return Refuse(vault.error());
  if (!*vault) return Refuse(vault->error());
  return AsSecretKey(std::move(**vault));
}

CkResult<NewKey> DeriveFrom(const Key& base, const EcDomain& domain, const EcdhSharing& sharing,
                            std::span<const uint8_t> point, const SecretRequest& request) {
  const auto length = LengthOf(request, sharing, domain);
  if (!length) return Refuse(length.error());
  return On(domain, [&]() -> CkResult<Vault> {
    auto derived = ToCk(Vault::New(*length));
    if (!derived) return derived;
    const auto status = derived->WriteSecret([&](std::span<uint8_t> out) {
      return Agree(domain, base, point, sharing, SecretPart::kLast, out);
    });
    if (const auto done = Flatten(status); !done) return Refuse(done.error());
    return derived;
  });
}

// Montgomery keys have no cofactor mechanism: their cofactor is in the scalar.
CkResult<EcDomain> DomainFor(CK_MECHANISM_TYPE type, const Key& key, CK_OBJECT_CLASS wanted) {
  if (key.object_class != wanted || (type == CKM_ECDH1_COFACTOR_DERIVE && key.key_type != CKK_EC)) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return DomainOf(key);
}

CkResult<NewKey> Derive(CK_MECHANISM_TYPE type, Parameter parameter, const Key& base,
                        const SecretRequest& request) {
  const auto domain = DomainFor(type, base, CKO_PRIVATE_KEY);
  if (!domain) return Refuse(domain.error());
  const auto read = ReadEcdh1(parameter);
  if (!read) return Refuse(read.error());
  if (read->public_data.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return DeriveFrom(base, *domain, read->sharing, read->public_data, request);
}

// PointInDer tells how many bytes CKA_EC_POINT has: raw for X25519, else a DER OCTET STRING.
size_t PointInDer(const EcDomain& domain) {
  if (domain.curve == nullptr) return domain.point_bytes;
  return domain.point_bytes + (domain.point_bytes < 0x80 ? 2 : 3);
}

}  // namespace

CkResult<NewKey> DeriveEcdh1(Parameter parameter, const Key& base, const SecretRequest& request) {
  return Derive(CKM_ECDH1_DERIVE, parameter, base, request);
}

CkResult<NewKey> DeriveEcdh1Cofactor(Parameter parameter, const Key& base,
                                     const SecretRequest& request) {
  return Derive(CKM_ECDH1_COFACTOR_DERIVE, parameter, base, request);
}

CkResult<size_t> EcdhCiphertextSize(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key) {
  const auto domain = DomainFor(type, key, CKO_PUBLIC_KEY);
  if (!domain) return Refuse(domain.error());
  if (const auto read = ReadKem(parameter); !read) return Refuse(read.error());
  return PointInDer(*domain);
}

CkResult<Encapsulated> EncapsulateEcdh(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                       const SecretRequest& request) {
  const auto domain = DomainFor(type, key, CKO_PUBLIC_KEY);
  if (!domain) return Refuse(domain.error());
  const auto sharing = ReadKem(parameter);
  if (!sharing) return Refuse(sharing.error());
  const auto point = PointOf(key);
  if (!point) return Refuse(point.error());
  const auto length = LengthOf(request, *sharing, *domain);
  if (!length) return Refuse(length.error());
  std::vector<uint8_t> sent(domain->point_bytes);
  auto secret = On(*domain, [&]() -> CkResult<Vault> {
    auto shared = ToCk(Vault::New(*length));
    if (!shared) return shared;
    const auto status = shared->WriteSecret([&](std::span<uint8_t> out) -> CK_RV {
      Ephemeral ephemeral;
      if (!Draw(*domain, ephemeral)) return CKR_FUNCTION_FAILED;
      std::copy_n(ephemeral.point, sent.size(), sent.begin());
      return Agree(*domain, {ephemeral.scalar, domain->bytes}, *point, *sharing, SecretPart::kLast,
                   out);
    });
    if (const auto done = Flatten(status); !done) return Refuse(done.error());
    return shared;
  });
  if (!secret) return Refuse(secret.error());
  if (domain->curve != nullptr) sent = OctetString(sent);
  return Encapsulated{std::move(*secret), std::move(sent)};
}

CkResult<NewKey> DecapsulateEcdh(CK_MECHANISM_TYPE type, Parameter parameter, const Key& key,
                                 const SecretRequest& request,
                                 std::span<const uint8_t> ciphertext) {
  const auto domain = DomainFor(type, key, CKO_PRIVATE_KEY);
  if (!domain) return Refuse(domain.error());
  const auto sharing = ReadKem(parameter);
  if (!sharing) return Refuse(sharing.error());
  // Where there are several forms, only that no form is longer is known by the length.
  if (domain->curve == nullptr ? ciphertext.size() != domain->point_bytes
                               : ciphertext.size() > PointInDer(*domain)) {
    return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  }
  auto secret = DeriveFrom(key, *domain, *sharing, ciphertext, request);
  if (!secret && secret.error() == CKR_PUBLIC_KEY_INVALID) return Refuse(CKR_WRAPPED_KEY_INVALID);
  return secret;
}

}  // namespace secretmem

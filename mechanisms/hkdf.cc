#include "mechanisms/hkdf.h"

#include <openssl/hkdf.h>

#include <algorithm>

#include "mechanisms/digest.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

struct HkdfParameter {
  bool extract;
  bool expand;
  const EVP_MD* md;
  std::span<const uint8_t> salt;
  std::optional<CK_OBJECT_HANDLE> salt_key;
  std::span<const uint8_t> info;
};

CkResult<HkdfParameter> Read(Parameter parameter) {
  const auto given = ReadParameter<CK_HKDF_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  if (given->bExtract > CK_TRUE || given->bExpand > CK_TRUE) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const Hash* hash = FindHash(given->prfHashMechanism);
  if (hash == nullptr) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  HkdfParameter read{given->bExtract == CK_TRUE, given->bExpand == CK_TRUE, hash->md(), {}, {}, {}};
  if (!read.extract && !read.expand) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  // What the parts that are not done would need is not looked at.
  if (read.extract) {
    switch (given->ulSaltType) {
      case CKF_HKDF_SALT_NULL:
        break;
      case CKF_HKDF_SALT_DATA: {
        const auto salt = ParameterBytes(given->pSalt, given->ulSaltLen);
        if (!salt) return Refuse(salt.error());
        read.salt = *salt;
        break;
      }
      case CKF_HKDF_SALT_KEY:
        read.salt_key = given->hSaltKey;
        break;
      default:
        return Refuse(CKR_MECHANISM_PARAM_INVALID);
    }
  }
  if (read.expand) {
    const auto info = ParameterBytes(given->pInfo, given->ulInfoLen);
    if (!info) return Refuse(info.error());
    read.info = *info;
  }
  return read;
}

// CheckKeys returns the salt's vault, or null where there is none.
CkResult<const Vault*> CheckKeys(const Derivation& derivation, const HkdfParameter& read) {
  if (derivation.base.object_class != CKO_SECRET_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  if (derivation.named.size() != (read.salt_key ? 1U : 0U) || derivation.wanted.size() != 1) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (!read.salt_key) return nullptr;
  const Key& salt = derivation.named.front();
  if (salt.object_class != CKO_SECRET_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  return salt.secret;
}

// LengthOf decides how many bytes come out. Data, which has no key type, counts as a generic
// secret.
CkResult<size_t> LengthOf(const HkdfParameter& read, SecretRequest request) {
  const size_t hash_size = EVP_MD_size(read.md);
  if (!read.expand) {
    if (!request.length) request.length = hash_size;
    const auto length = SecretLength(request, hash_size);
    if (length && *length != hash_size) return Refuse(CKR_TEMPLATE_INCONSISTENT);
    return length;
  }
  const auto length = SecretLength(request, std::nullopt);
  if (length && *length > 255 * hash_size) return Refuse(CKR_KEY_SIZE_RANGE);
  return length;
}

// Run is HKDF on a secret stack; |out| has the length that LengthOf said.
bool Run(const HkdfParameter& read, std::span<const uint8_t> secret, std::span<const uint8_t> salt,
         std::span<uint8_t> out) {
  if (!read.extract) {
    return HKDF_expand(out.data(), out.size(), read.md, secret.data(), secret.size(),
                       read.info.data(), read.info.size()) == 1;
  }
  uint8_t extracted[EVP_MAX_MD_SIZE];
  size_t size = 0;
  if (!HKDF_extract(extracted, &size, read.md, secret.data(), secret.size(), salt.data(),
                    salt.size())) {
    return false;
  }
  if (!read.expand) {
    std::copy_n(extracted, out.size(), out.begin());
    return true;
  }
  return HKDF_expand(out.data(), out.size(), read.md, extracted, size, read.info.data(),
                     read.info.size()) == 1;
}

CkStatus RunInto(const HkdfParameter& read, const Vault& base, const Vault* salt,
                 std::span<uint8_t> out) {
  return Flatten(base.WithSecret([&](std::span<const uint8_t> secret) -> VaultResult<CK_RV> {
    const auto run = [&](std::span<const uint8_t> with) -> CK_RV {
      return Run(read, secret, with, out) ? CKR_OK : CKR_FUNCTION_FAILED;
    };
    return salt == nullptr ? VaultResult<CK_RV>(run(read.salt)) : salt->WithSecret(run);
  }));
}

}  // namespace

CkResult<NewKey> GenerateHkdfKey(Parameter parameter, const SecretRequest& request) {
  return GenerateGenericSecret(parameter, request);
}

CkResult<KeysNamed> HkdfNamesKeys(Parameter parameter) {
  const auto read = Read(parameter);
  if (!read) return Refuse(read.error());
  KeysNamed named;
  if (read->salt_key) named.handles.push_back(*read->salt_key);
  return named;
}

CkResult<std::vector<NewKey>> DeriveHkdf(const Derivation& derivation) {
  const auto read = Read(derivation.parameter);
  if (!read) return Refuse(read.error());
  const auto salt = CheckKeys(derivation, *read);
  if (!salt) return Refuse(salt.error());
  const auto length = LengthOf(*read, derivation.wanted.front());
  if (!length) return Refuse(length.error());
  auto derived = ToCk(Vault::New(*length));
  if (!derived) return Refuse(derived.error());
  const auto done = derived->WriteSecret([&](std::span<uint8_t> out) -> CK_RV {
    const auto run = RunInto(*read, *derivation.base.secret, *salt, out);
    return run ? CKR_OK : run.error();
  });
  if (auto flat = Flatten(done); !flat) return Refuse(flat.error());
  std::vector<NewKey> keys;
  keys.push_back(AsSecretKey(std::move(*derived)));
  return keys;
}

CkResult<std::vector<uint8_t>> DeriveHkdfData(const Derivation& derivation) {
  const auto read = Read(derivation.parameter);
  if (!read) return Refuse(read.error());
  const auto salt = CheckKeys(derivation, *read);
  if (!salt) return Refuse(salt.error());
  // What leaves the token by this mechanism is no cipher's key.
  if (derivation.base.key_type != CKK_HKDF && derivation.base.key_type != CKK_GENERIC_SECRET) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  const auto length = LengthOf(*read, {CKK_GENERIC_SECRET, derivation.wanted.front().length});
  if (!length) return Refuse(length.error());
  std::vector<uint8_t> data(*length);
  if (auto run = RunInto(*read, *derivation.base.secret, *salt, data); !run) {
    return Refuse(run.error());
  }
  return data;
}

}  // namespace secretmem

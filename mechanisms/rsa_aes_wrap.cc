#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "mechanisms/key_wrap.h"
#include "mechanisms/rsa_cipher.h"

namespace secretmem {
namespace {

struct RsaAes {
  size_t key_bytes;
  CK_RSA_PKCS_OAEP_PARAMS oaep;

  Parameter oaep_parameter() const {
    return {reinterpret_cast<const uint8_t*>(&oaep), sizeof(oaep)};
  }
};

CkResult<RsaAes> Read(Parameter parameter) {
  const auto given = ReadParameter<CK_RSA_AES_KEY_WRAP_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const CK_ULONG bits = given->ulAESKeyBits;
  if (given->pOAEPParams == nullptr || (bits != 128 && bits != 192 && bits != 256)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  RsaAes read{bits / 8, {}};
  memcpy(&read.oaep, given->pOAEPParams, sizeof(read.oaep));
  return read;
}

// AesKey is |secret| as the key of CKM_AES_KEY_WRAP_KWP, which asks for no attributes.
Key AesKey(const Vault& secret, const Key& other) {
  return {CKO_SECRET_KEY, CKK_AES, other.attributes, &secret};
}

}  // namespace

CkResult<std::vector<uint8_t>> WrapRsaAes(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                          const Key& wrapping, const Vault& material) {
  const auto read = Read(parameter);
  if (!read) return Refuse(read.error());
  auto aes = ToCk(Vault::New(read->key_bytes));
  if (!aes) return Refuse(aes.error());
  const auto drawn = ToCk(
      aes->WriteSecret([](std::span<uint8_t> bytes) { RAND_bytes(bytes.data(), bytes.size()); }));
  if (!drawn) return Refuse(drawn.error());
  auto wrapped = WrapRsa(CKM_RSA_PKCS_OAEP, read->oaep_parameter(), wrapping, *aes);
  if (!wrapped) return wrapped;
  const auto rest = WrapAes(CKM_AES_KEY_WRAP_KWP, {}, AesKey(*aes, wrapping), material);
  if (!rest) return Refuse(rest.error());
  wrapped->insert(wrapped->end(), rest->begin(), rest->end());
  return wrapped;
}

CkResult<Vault> UnwrapRsaAes(CK_MECHANISM_TYPE /*type*/, Parameter parameter, const Key& unwrapping,
                             std::span<const uint8_t> wrapped, std::span<const size_t> lengths) {
  const auto read = Read(parameter);
  if (!read) return Refuse(read.error());
  const auto modulus = unwrapping.attributes.Get(CKA_MODULUS);
  if (unwrapping.object_class != CKO_PRIVATE_KEY || unwrapping.key_type != CKK_RSA || !modulus) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  if (wrapped.size() <= modulus->size()) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  const auto aes = UnwrapRsa(CKM_RSA_PKCS_OAEP, read->oaep_parameter(), unwrapping,
                             wrapped.first(modulus->size()), {});
  if (!aes) return Refuse(aes.error());
  // Which length it has is in the parameter, too.
  if (aes->size() != read->key_bytes) return Refuse(CKR_WRAPPED_KEY_INVALID);
  return UnwrapAes(CKM_AES_KEY_WRAP_KWP, {}, AesKey(*aes, unwrapping),
                   wrapped.subspan(modulus->size()), lengths);
}

}  // namespace secretmem

#include "mechanisms/reseal.h"

#include <cstring>

#include "mechanisms/vendor.h"

namespace secretmem {
namespace {

struct Inner {
  const Mechanism* row;
  Parameter parameter;
};

CkResult<Inner> ReadInner(const CK_MECHANISM* given) {
  if (given == nullptr) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  CK_MECHANISM mechanism;
  memcpy(&mechanism, given, sizeof(mechanism));
  const Mechanism* row = FindMechanism(mechanism.mechanism);
  const auto parameter = ParameterBytes(mechanism.pParameter, mechanism.ulParameterLen);
  if (row == nullptr || !parameter) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return Inner{row, *parameter};
}

}  // namespace

CkResult<Resealing> ReadResealing(Parameter parameter) {
  const auto given = ReadParameter<CK_SECRETMEM_RESEAL_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const auto decapsulation = ReadInner(given->pDecapsulation);
  const auto wrapping = ReadInner(given->pWrapping);
  const auto ciphertext = ParameterBytes(given->pCiphertext, given->ulCiphertextLen);
  if (!decapsulation || !wrapping || !ciphertext || decapsulation->row->decapsulate == nullptr ||
      wrapping->row->wrap == nullptr) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  SecretRequest wanted{CKK_GENERIC_SECRET, std::nullopt};
  if (given->ulSecretLen != 0) wanted.length = given->ulSecretLen;
  return Resealing{decapsulation->row, decapsulation->parameter, *ciphertext, wanted,
                   wrapping->row,      wrapping->parameter};
}

CkResult<std::vector<uint8_t>> Reseal(const Resealing& resealing, const Key& kem,
                                      const Key& binding) {
  auto result = ToCk(OnSecretStack([&]() -> CkResult<std::vector<uint8_t>> {
    const Mechanism& decapsulation = *resealing.decapsulation;
    const auto secret =
        decapsulation.decapsulate(decapsulation.type, resealing.decapsulation_parameter, kem,
                                  resealing.wanted, resealing.ciphertext);
    if (!secret) return Refuse(secret.error());
    const Mechanism& wrapping = *resealing.wrapping;
    return wrapping.wrap(wrapping.type, resealing.wrapping_parameter, binding, secret->secret);
  }));
  if (!result) return Refuse(result.error());
  return std::move(*result);
}

}  // namespace secretmem

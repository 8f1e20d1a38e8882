#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// Resealing is CK_SECRETMEM_RESEAL_PARAMS: two mechanisms with their parameters, which lie in the
// client's memory.
struct Resealing {
  const Mechanism* decapsulation;
  Parameter decapsulation_parameter;
  std::span<const uint8_t> ciphertext;
  SecretRequest wanted;
  const Mechanism* wrapping;
  Parameter wrapping_parameter;
};

// ReadResealing: CKR_MECHANISM_PARAM_INVALID, for mechanisms that are not known or cannot do it
// too.
CkResult<Resealing> ReadResealing(Parameter parameter);

// Reseal decapsulates with |kem| and wraps the secret to |binding| in one borrow: the secret is in
// no object, and only what is wrapped leaves. Errors are those of the two mechanisms.
CkResult<std::vector<uint8_t>> Reseal(const Resealing& resealing, const Key& kem,
                                      const Key& binding);

}  // namespace secretmem

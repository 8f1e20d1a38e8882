#pragma once

#include "pkcs11/operation_step.h"

namespace secretmem {

// UpdateCipher is a step of a multi-part encryption or decryption: produce(span of as many bytes as
// update_size says) returns how many it wrote.
template <class Produce>
Step UpdateCipher(ActiveOperation<CipherOperation>& active, size_t input, CK_BYTE* out,
                  CK_ULONG* length, Produce&& produce) {
  const size_t needed = active.operation->update_size(input);
  if (out != nullptr || needed == 0) active.multi_part = true;
  // An update that writes nothing may come without a buffer, and is one all the same.
  uint8_t nothing = 0;
  if (out == nullptr && needed == 0) out = &nothing;
  return Deliver(out, length, needed, After::kKeep, produce);
}

}  // namespace secretmem

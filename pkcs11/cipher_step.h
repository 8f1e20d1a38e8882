#pragma once

#include "pkcs11/operation_step.h"

namespace secretmem {

// UpdateCipher is a step of a multi-part encryption or decryption: produce(span of as many bytes as
// update_size says) returns how many it wrote.
template <class Produce>
Step UpdateCipher(ActiveOperation<CipherOperation>& active, size_t input, CK_BYTE* out,
                  CK_ULONG* length, Produce&& produce) {
  if (auto right = active.operation->Check(CipherOperation::Part::kUpdate, input); !right) {
    return Step::Error(right.error());
  }
  if (out != nullptr) active.multi_part = true;
  return Deliver(out, length, active.operation->update_size(input), After::kKeep, produce);
}

}  // namespace secretmem

#include "mechanisms/operation.h"

namespace secretmem {

CkResult<size_t> SignOperation::Sign(std::span<const uint8_t> data, std::span<uint8_t> out) {
  if (auto updated = Update(data); !updated) return Refuse(updated.error());
  return Final(out);
}

CkStatus VerifyOperation::Verify(std::span<const uint8_t> data,
                                 std::span<const uint8_t> signature) {
  if (auto updated = Update(data); !updated) return updated;
  return Final(signature);
}

CkResult<size_t> CipherOperation::Whole(std::span<const uint8_t> in, std::span<uint8_t> out) {
  const auto updated = Update(in, out);
  if (!updated) return updated;
  const auto finished = Final(out.subspan(*updated));
  if (!finished) return finished;
  return *updated + *finished;
}

}  // namespace secretmem

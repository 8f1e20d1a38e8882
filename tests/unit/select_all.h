#pragma once

#include <cstdint>
#include <vector>

#include "pkcs11/token.h"

namespace secretmem {

// SelectAll returns all that the present login may see and |wanted(object)| is true for.
template <class Wanted>
std::vector<CK_OBJECT_HANDLE> SelectAll(const Token& token, Wanted&& wanted) {
  return token.Select({}, token.Present(), SIZE_MAX, wanted);
}

}  // namespace secretmem

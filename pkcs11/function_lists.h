#pragma once

#include "mechanisms/cryptoki.h"

namespace secretmem {

// FunctionList240 is the list that C_GetFunctionList gives, PKCS#11 2.40's functions.
CK_FUNCTION_LIST* FunctionList240();

}  // namespace secretmem

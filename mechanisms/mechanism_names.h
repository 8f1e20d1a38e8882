#pragma once

#include <optional>
#include <string_view>

#include "mechanisms/cryptoki.h"

namespace secretmem {

// MechanismNamed returns the number of a mechanism by its name in the specification, "CKM_AES_GCM"
// for example: any that the module has, whatever BoringSSL it was built with.
std::optional<CK_MECHANISM_TYPE> MechanismNamed(std::string_view name);

}  // namespace secretmem

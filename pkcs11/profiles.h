#pragma once

#include <string_view>
#include <vector>

#include "pkcs11/object.h"

namespace secretmem {

// ProfileObjects returns the CKO_PROFILE objects of the token with this serial number: one for each
// profile (PKCS#11 Profiles 3.2, section 5) that the module fulfils, the same in every process.
// They are the module's, not the file's: public, and neither changed, copied nor destroyed.
std::vector<ObjectPtr> ProfileObjects(std::string_view serial);

}  // namespace secretmem

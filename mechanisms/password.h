#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// CKM_PKCS5_PBKD2 (PKCS#11 3.2, 6.17; RFC 8018, 5.2): a key of CKA_VALUE_LEN bytes from a password.
// The parameter is CK_PKCS5_PBKD2_PARAMS2, or the older CK_PKCS5_PBKD2_PARAMS, which differs in
// that its last member points to the password's length. Both have one size: a number that no
// password's length is (above 1 MiB) is taken for a pointer, and read with care.
// At most 100,000,000 iterations, which take about a minute; signals and forks get through.
CkResult<NewKey> GenerateFromPassword(Parameter parameter, const SecretRequest& request);

}  // namespace secretmem

#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// The simple derivations (PKCS#11 3.2, 6.43): CKM_CONCATENATE_BASE_AND_KEY, whose parameter is a
// key handle, CKM_CONCATENATE_BASE_AND_DATA, CKM_CONCATENATE_DATA_AND_BASE and
// CKM_XOR_BASE_AND_DATA with a CK_KEY_DERIVATION_STRING_DATA, CKM_EXTRACT_KEY_FROM_KEY with the
// number of the first bit, counted from the left and around the end. A shorter key takes the first
// bytes of the result, a longer one is CKR_TEMPLATE_INCONSISTENT.
CkResult<KeysNamed> ConcatenationNamesKeys(Parameter parameter);
CkResult<std::vector<NewKey>> DeriveCombination(const Derivation& derivation);

// CKM_SHA1_KEY_DERIVATION and its SHA-2 kin (PKCS#11 3.2, 6.20): the digest of the base key.
CkResult<std::vector<NewKey>> DeriveDigest(const Derivation& derivation);

}  // namespace secretmem

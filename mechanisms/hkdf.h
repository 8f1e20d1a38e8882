#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// CKM_HKDF_KEY_GEN (PKCS#11 3.2, 6.62): a random key of CKA_VALUE_LEN bytes.
CkResult<NewKey> GenerateHkdfKey(Parameter parameter, const SecretRequest& request);

// CKM_HKDF_DERIVE and CKM_HKDF_DATA (PKCS#11 3.2, 6.62; RFC 5869) with CK_HKDF_PARAMS: extraction,
// expansion, or both. Extraction alone makes as many bytes as the hash has; expansion
// CKA_VALUE_LEN, at most 255 times that: CKR_KEY_SIZE_RANGE. Keys derive from any secret key, data
// from CKK_HKDF and CKK_GENERIC_SECRET keys only: CKR_KEY_TYPE_INCONSISTENT.
CkResult<KeysNamed> HkdfNamesKeys(Parameter parameter);
CkResult<std::vector<NewKey>> DeriveHkdf(const Derivation& derivation);
CkResult<std::vector<uint8_t>> DeriveHkdfData(const Derivation& derivation);

}  // namespace secretmem

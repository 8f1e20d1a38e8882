// Derivation from secret keys, and OpenSSL's computation beside it.
#pragma once

#include <string>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

// BaseSecret is the template of a session key that may derive, not private; sensitive and not
// extractable only if said.
Template BaseSecret(const Bytes& value);

// DerivedSecret is the template of a readable session key of CKK_GENERIC_SECRET; `size` 0: without
// CKA_VALUE_LEN.
Template DerivedSecret(size_t size = 0);

// DeriveBy is C_DeriveKey with a parameter structure, or none.
CK_RV DeriveBy(CK_SESSION_HANDLE session, CK_MECHANISM mechanism, CK_OBJECT_HANDLE base,
               Template wanted, CK_OBJECT_HANDLE& key);

// MechanismOf is a CK_MECHANISM whose parameter is `parameter`, which must outlive it.
template <typename T>
CK_MECHANISM MechanismOf(CK_MECHANISM_TYPE type, T& parameter) {
  return {type, &parameter, sizeof parameter};
}

// Hkdf holds CK_HKDF_PARAMS and what it points to.
struct Hkdf {
  bool extract = true;
  bool expand = true;
  CK_MECHANISM_TYPE hash = CKM_SHA256;
  CK_ULONG salt_type = CKF_HKDF_SALT_NULL;
  Bytes salt{};
  CK_OBJECT_HANDLE salt_key = 0;
  Bytes info{};

  // Params points into this object.
  CK_HKDF_PARAMS Params();
};

// ReferenceHkdf is RFC 5869's function by OpenSSL: mode "EXTRACT_AND_EXPAND", "EXTRACT_ONLY" or
// "EXPAND_ONLY".
Bytes ReferenceHkdf(const char* mode, const char* hash, const Bytes& key, const Bytes& salt,
                    const Bytes& info, size_t size);

// ReferenceKbkdf is OpenSSL's counter mode: [i]_4 || label || 0 || context || [L]_4 with HMAC or,
// if `hash` is null, with AES-128-CMAC.
Bytes ReferenceKbkdf(const char* hash, const Bytes& key, const Bytes& label, const Bytes& context,
                     size_t size);

Bytes ReferencePbkdf2(const char* hash, const Bytes& password, const Bytes& salt,
                      unsigned iterations, size_t size);

// ReferenceTlsPrf is PRF(secret, label, seed) of RFC 5246 by OpenSSL.
Bytes ReferenceTlsPrf(const char* hash, const Bytes& secret, const std::string& label,
                      const Bytes& seed, size_t size);

}  // namespace secretmem::conformance

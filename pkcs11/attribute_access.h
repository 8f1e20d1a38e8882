#pragma once

#include "pkcs11/object.h"
#include "pkcs11/template_reader.h"

namespace secretmem {

// ReadAttributes is C_GetAttributeValue (PKCS#11 3.2, 5.7.5): every entry of the template gets its
// value, its length or CK_UNAVAILABLE_INFORMATION; the first failure is the answer. CKR_OK,
// CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_BUFFER_TOO_SMALL, CKR_ARGUMENTS_BAD, or
// a vault's failure. Secret values go from the vault to the client's buffer in one borrow.
CkStatus ReadAttributes(const Object& object, CK_ATTRIBUTE* attributes, CK_ULONG count);

// Matches says whether |object| has all attributes of |wanted| with the same values. Secret values
// are compared in constant time, and match only where they may be read.
bool Matches(const Object& object, const TemplateReader& wanted);

}  // namespace secretmem

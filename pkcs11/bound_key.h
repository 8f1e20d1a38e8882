// Keys that are bound to a binding key: CKA_SECRETMEM_BOUND_TO (mechanisms/vendor.h). A bound
// private key decapsulates and does nothing else; what it decapsulates can be wrapped to its
// binding key and used for nothing else. docs/hpke.md has the whole rule.
#pragma once

#include "mechanisms/result.h"
#include "mechanisms/vendor.h"
#include "pkcs11/object.h"
#include "pkcs11/template_reader.h"

namespace secretmem {

inline bool IsBound(const Object& object) { return object.attributes.Has(CKA_SECRETMEM_BOUND_TO); }

// SettleBoundKey brings the attributes of a new key into the form that the rule needs if they have
// CKA_SECRETMEM_BOUND_TO: no use but decapsulation, no check value, as a check value of a shortened
// secret would tell the secret. CKR_TEMPLATE_INCONSISTENT if |given| or |imposed| says otherwise,
// if the key would not be sensitive or could be extracted, and for a token object that is not
// private, which a store does not keep secret; CKR_ATTRIBUTE_VALUE_INVALID for what is no
// public key of a binding key.
CK_RV SettleBoundKey(AttributeSet& attributes, const TemplateReader& given,
                     const AttributeSet* imposed);

// MayKeepBound says whether a token may have an object with these attributes.
bool MayKeepBound(const AttributeSet& attributes);

// CheckBinding says whether |wrapping| is the binding key of |bound|, a secret or private key;
// CKR_KEY_NOT_WRAPPABLE.
CkStatus CheckBinding(const Object& wrapping, const Object& bound);

}  // namespace secretmem

#pragma once

#include "pkcs11/object.h"

namespace secretmem {

// EnforceKeyDates has IsOutsideItsDates look at the dates, or not, as it does without. The
// specification (3.2, 4.7.2) calls them information; the configuration may ask for more.
void EnforceKeyDates(bool enforce);

// IsOutsideItsDates says whether a key is before its CKA_START_DATE or after its CKA_END_DATE, by
// the wall clock, in UTC, the days themselves included; false where dates are not enforced.
bool IsOutsideItsDates(const Object& object);

}  // namespace secretmem

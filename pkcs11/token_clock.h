#pragma once

#include <optional>
#include <vector>

#include "pkcs11/clock.h"
#include "pkcs11/object_codec.h"

namespace secretmem {

// ClockRecord is a moment of a token's own time, which never goes back: within a boot it runs with
// CLOCK_BOOTTIME, whatever is done to the wall clock; from one boot to the next it is the wall
// clock, but never less than it has been. Milliseconds; token time is since 1970, if the wall clock
// was right at the token's first use.
struct ClockRecord {
  BootId boot{};
  int64_t boottime_ms = 0;
  int64_t token_ms = 0;

  bool operator==(const ClockRecord&) const = default;

  // At returns the token time at another moment of the same boot.
  int64_t At(int64_t boottime) const { return token_ms + (boottime - boottime_ms); }
};

// Advance returns what |record|, or without one the wall clock, has become by now.
ClockRecord Advance(const std::optional<ClockRecord>& record);

// EncodeClock and DecodeClock turn a record into the row of the token's file in which it is kept,
// sealed like the attributes of private objects under the |keys| of those whose time it counts. One
// clock is for private objects and one for those that need no login, so that whoever does not know
// the PIN cannot turn back the time of what it protects. CKR_DEVICE_ERROR for a row that does not
// verify.
CkResult<ObjectRow> EncodeClock(const ClockRecord& record, RowKind of, const SealingKeys& keys);
CkResult<ClockRecord> DecodeClock(const ObjectRow& row, RowKind of, const SealingKeys& keys);

// ClockUid is the uid of the row, which no object can have.
ObjectUid ClockUid(RowKind of);

}  // namespace secretmem

#include "pkcs11/token_clock.h"

#include <algorithm>
#include <cstring>

#include "vault/sealing.h"

namespace secretmem {
namespace {

// Version, boot, and the two times, little endian.
constexpr size_t kRecordBytes = 1 + sizeof(BootId) + 2 * sizeof(int64_t);
constexpr uint8_t kVersion = 1;

// Beyond every clock, and far enough from the end for sums.
constexpr int64_t kMostMs = int64_t{1} << 61;

}  // namespace

ClockRecord Advance(const std::optional<ClockRecord>& record) {
  const Clocks& clocks = CurrentClocks();
  ClockRecord now{clocks.boot(), clocks.boottime_ms(), 0};
  const bool same_boot = record && record->boot == now.boot && now.boot != BootId{} &&
                         record->boottime_ms <= now.boottime_ms;
  if (same_boot) {
    now.token_ms = record->At(now.boottime_ms);
  } else {
    now.token_ms = std::clamp<int64_t>(clocks.wall_ms(), 0, kMostMs);
    if (record) now.token_ms = std::max(now.token_ms, record->token_ms);
  }
  return now;
}

ObjectUid ClockUid(RowKind of) {
  // The uids of objects have a version and a variant, which this text has not.
  constexpr char kText[] = "token's clock";
  ObjectUid uid{};
  std::copy_n(kText, sizeof(kText) - 1, uid.begin());
  uid.back() = static_cast<uint8_t>(of);
  return uid;
}

CkResult<ObjectRow> EncodeClock(const ClockRecord& record, RowKind of, const SealingKeys& keys) {
  uint8_t plain[kRecordBytes];
  plain[0] = kVersion;
  memcpy(plain + 1, record.boot.data(), sizeof(BootId));
  memcpy(plain + 1 + sizeof(BootId), &record.boottime_ms, sizeof(int64_t));
  memcpy(plain + 1 + sizeof(BootId) + sizeof(int64_t), &record.token_ms, sizeof(int64_t));
  ObjectRow row;
  row.uid = ClockUid(of);
  row.kind = static_cast<uint8_t>(RowKind::kClock);
  auto sealed = SealPublic(*keys.attributes, row.uid, plain);
  if (!sealed) return Refuse(RvOf(sealed.error()));
  row.attributes = std::move(*sealed);
  return row;
}

CkResult<ClockRecord> DecodeClock(const ObjectRow& row, RowKind of, const SealingKeys& keys) {
  const auto plain = UnsealPublic(*keys.attributes, ClockUid(of), row.attributes);
  if (!plain) return Refuse(RvOf(plain.error()));
  if (plain->size() != kRecordBytes || plain->front() != kVersion) return Refuse(CKR_DEVICE_ERROR);
  ClockRecord record;
  const uint8_t* at = plain->data() + 1;
  memcpy(record.boot.data(), at, sizeof(BootId));
  memcpy(&record.boottime_ms, at + sizeof(BootId), sizeof(int64_t));
  memcpy(&record.token_ms, at + sizeof(BootId) + sizeof(int64_t), sizeof(int64_t));
  const auto fits = [](int64_t time) { return time >= 0 && time <= kMostMs; };
  if (!fits(record.boottime_ms) || !fits(record.token_ms)) return Refuse(CKR_DEVICE_ERROR);
  return record;
}

}  // namespace secretmem

// The lifetimes of a token's keys: deadlines, the token's own clock, and what goes from its file.

#include <algorithm>

#include "mechanisms/vendor.h"
#include "pkcs11/log.h"
#include "pkcs11/token.h"

namespace secretmem {
namespace {

using Kind = StoreError::Kind;

// A restart with the wall clock set back can give a key this much more time.
constexpr int64_t kRenewMs = 60'000;

// The clock is renewed when a key with a lifetime is made, but not for each of many.
constexpr int64_t kRenewAtBirthMs = 1'000;

// How long rows that could not be deleted wait.
constexpr int64_t kTryAgainMs = 10'000;

// Keys taken out, or rows deleted, at once, so that calls, forks and other processes come between.
constexpr size_t kBatch = 1'000;

int64_t SumMs(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? kNoDeadline - 1 : sum;
}

}  // namespace

void Token::SetAlarm(std::shared_ptr<Alarm> alarm) {
  alarm_ = alarm;
  table_.SetAlarm(std::move(alarm));
}

CkResult<ClockRecord> Token::StoreClock(RowKind kind, const std::optional<ClockRecord>& known,
                                        IfMissing if_missing) {
  const uint64_t incarnation = incarnation_;
  const auto keys = KeysFor(kind);
  if (!keys) return Refuse(keys.error());
  // A round that fails is one in which another process has done the same.
  constexpr int kRounds = 16;
  for (int round = 0; round < kRounds; ++round) {
    const auto there =
        store_.Call([&](TokenStore& store) { return store.LoadRow(ClockUid(kind)); });
    if (!there && there.error().kind != Kind::kNoObject) {
      return Refuse(RvOfStoreError(there.error()));
    }
    if (!there && if_missing == IfMissing::kFail) {
      LogError("the clock of the token file is missing: it was taken away from outside");
      return Refuse(CKR_DEVICE_ERROR);
    }
    ClockRecord record = known ? *known : Advance(std::nullopt);
    if (there) {
      const auto before = DecodeClock(*there, kind, **keys);
      if (!before) {
        LogError("the clock of the token file does not verify: it was changed from outside");
        return Refuse(before.error());
      }
      record = Advance(*before);
      if (known) record.token_ms = std::max(record.token_ms, known->At(record.boottime_ms));
      const bool fresh = before->boot == record.boot && record.boot != BootId{} &&
                         before->boottime_ms <= record.boottime_ms &&
                         record.boottime_ms - before->boottime_ms < kRenewAtBirthMs;
      if (fresh) return record;
    }
    auto row = EncodeClock(record, kind, **keys);
    if (!row) return Refuse(row.error());
    const auto done = store_.Call([&](TokenStore& store) {
      if (!there) return store.Insert(incarnation, std::span(&*row, 1));
      row->id = there->id;
      row->version = there->version;
      return store.Update(incarnation, *row);
    });
    if (done) return record;
    const Kind error = done.error().kind;
    if (error == Kind::kReadOnly && there) return record;  // as good as it gets
    if (error != Kind::kConflict && error != Kind::kNoObject) {
      return Refuse(RvOfStoreError(done.error()));
    }
  }
  return Refuse(CKR_FUNCTION_FAILED);
}

CkResult<ClockRecord> Token::ClockNow(RowKind kind, IfMissing if_missing) {
  std::optional<ClockRecord> known;
  uint64_t incarnation;
  {
    const std::lock_guard lock(mutex_);
    incarnation = incarnation_;
    if (const auto& clock = KnownClockOf(kind)) {
      const int64_t now = BoottimeMs();
      known = {clock->moment.boot, now, clock->moment.At(now)};
      if (if_missing == IfMissing::kFail || now - clock->written_ms < kRenewAtBirthMs) {
        return *known;
      }
    }
  }
  const auto stored = StoreClock(kind, known, if_missing);
  if (!stored) return stored;
  const std::lock_guard lock(mutex_);
  if (incarnation != incarnation_) return Refuse(CKR_DEVICE_REMOVED);
  // What deadlines were made of stays, to the millisecond.
  auto& clock = KnownClockOf(kind);
  if (!clock) clock = KnownClock{*stored, 0};
  clock->written_ms = stored->boottime_ms;
  const int64_t now = BoottimeMs();
  return ClockRecord{clock->moment.boot, now, clock->moment.At(now)};
}

CkStatus Token::StampLifetimes(std::span<const std::shared_ptr<Object>> objects) {
  for (const auto& object : objects) {
    const auto seconds = object->attributes.GetUlong(CKA_SECRETMEM_LIFETIME);
    if (!seconds) continue;
    const int64_t now = BoottimeMs();
    // A copy brings its original's deadline.
    const int64_t lifetime_ms = static_cast<int64_t>(*seconds) * 1000;
    object->deadline = std::min(object->deadline, SumMs(now, lifetime_ms));
    int64_t expires = CurrentClocks().wall_ms() + (object->deadline - now);
    if (object->Is(CKA_TOKEN)) {
      const auto clock = ClockNow(RowKindOf(*object), IfMissing::kMake);
      if (!clock) return Refuse(clock.error());
      expires = clock->At(object->deadline);
    }
    object->attributes.SetUlong(CKA_SECRETMEM_EXPIRES, static_cast<CK_ULONG>(expires));
    object->attributes.ShrinkToFit();
  }
  return {};
}

bool Token::SetDeadline(Object& object) {
  const auto expires = object.attributes.GetUlong(CKA_SECRETMEM_EXPIRES);
  if (!expires) return true;
  const auto clock = ClockNow(RowKindOf(object), IfMissing::kFail);
  // Without a clock nobody can say that it is still good.
  if (!clock || *expires > static_cast<CK_ULONG>(kNoDeadline)) return false;
  const auto deadline = static_cast<int64_t>(*expires);
  if (clock->token_ms < deadline) {
    object.deadline = SumMs(clock->boottime_ms, deadline - clock->token_ms);
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    expired_rows_.push_back(object.row);
  }
  if (alarm_ != nullptr) alarm_->Lower(clock->boottime_ms);
  return false;
}

std::vector<CK_OBJECT_HANDLE> Token::TakeExpired(int64_t now) {
  std::vector<CK_OBJECT_HANDLE> handles;
  for (;;) {
    const auto expired = table_.TakeExpired(now, kBatch);
    if (expired.empty()) break;
    const std::lock_guard lock(mutex_);
    for (const auto& [handle, object] : expired) {
      handles.push_back(handle);
      if (object->row != 0) expired_rows_.push_back(object->row);
    }
  }
  std::ranges::sort(handles);
  return handles;
}

void Token::DeleteExpiredRows() {
  std::vector<int64_t> rows;
  uint64_t incarnation;
  {
    const std::lock_guard lock(mutex_);
    rows.swap(expired_rows_);
    incarnation = incarnation_;
  }
  for (size_t done = 0; done < rows.size();) {
    const auto batch = std::span(rows).subspan(done, std::min(kBatch, rows.size() - done));
    const auto removed =
        store_.Call([&](TokenStore& store) { return store.Discard(incarnation, batch); });
    if (!removed && removed.error().kind != Kind::kNoObject) {
      const Kind kind = removed.error().kind;
      if (kind == Kind::kBusy || kind == Kind::kFull || kind == Kind::kIo) {
        LogWarn("expired keys stay in the token file for now: %s", removed.error().reason.c_str());
        const std::lock_guard lock(mutex_);
        if (incarnation == incarnation_) {
          expired_rows_.insert(expired_rows_.end(), rows.begin() + static_cast<ptrdiff_t>(done),
                               rows.end());
          if (alarm_ != nullptr) alarm_->Lower(BoottimeMs() + kTryAgainMs);
        }
      }
      // A file that cannot be written keeps them, and nobody loads them.
      return;
    }
    done += batch.size();
  }
}

void Token::RenewClock(RowKind kind) {
  const int64_t now = BoottimeMs();
  ClockRecord record;
  {
    const std::lock_guard lock(mutex_);
    auto& clock = KnownClockOf(kind);
    if (!clock || now - clock->written_ms < kRenewMs) return;
    if (kind == RowKind::kPrivate && login_ != Login::kUser) return;
    clock->written_ms = now;  // or tried
    record = {clock->moment.boot, now, clock->moment.At(now)};
  }
  (void)StoreClock(kind, record, IfMissing::kMake);
}

void Token::Tidy() noexcept {
  try {
    DeleteExpiredRows();
    if (table_.EarliestDeadline() == kNoDeadline) return;
    RenewClock(RowKind::kPrivate);
    RenewClock(RowKind::kStoreSealed);
  } catch (const std::bad_alloc&) {
    // The next time, then.
  }
}

}  // namespace secretmem

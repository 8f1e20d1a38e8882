#include "pkcs11/object_table.h"

#include <algorithm>
#include <atomic>
#include <unordered_set>

namespace secretmem {
namespace {

std::atomic<CK_OBJECT_HANDLE> g_next_handle{1};

}  // namespace

ObjectPtr ObjectTable::Find(CK_OBJECT_HANDLE handle) const {
  const std::lock_guard lock(mutex_);
  const Slot* slot = objects_.Find(handle);
  return slot == nullptr ? nullptr : slot->object;
}

std::optional<CK_OBJECT_HANDLE> ObjectTable::HandleOfRow(int64_t row) const {
  const auto entry = by_row_.From({row, 0});
  if (!entry || entry->by != row) return std::nullopt;
  return entry->handle;
}

CK_OBJECT_HANDLE ObjectTable::AddLocked(ObjectPtr object) {
  if (object->row != 0) {
    if (const auto known = HandleOfRow(object->row)) {
      Slot& slot = *objects_.Find(*known);
      if (slot.object->version < object->version) Exchange(slot, object);
      return *known;
    }
  }
  const CK_OBJECT_HANDLE handle = g_next_handle++;
  objects_.Insert({handle, object});
  try {
    Link(*object, handle);
  } catch (...) {
    Unlink(*object, handle);
    objects_.Erase(handle);
    throw;
  }
  return handle;
}

void ObjectTable::Exchange(Slot& slot, ObjectPtr& object) {
  try {
    Link(*object, slot.handle);
  } catch (...) {
    Unlink(*object, slot.handle, slot.object.get());
    throw;
  }
  Unlink(*slot.object, slot.handle, object.get());
  slot.object.swap(object);
}

void ObjectTable::Link(const Object& object, CK_OBJECT_HANDLE handle) {
  const IndexKeys keys = IndexKeys::Of(object.attributes);
  for (const uint64_t key : keys.all()) by_key_.Insert({key, handle});
  if (object.row != 0) {
    by_row_.Insert({object.row, handle});
  } else {
    by_session_.Insert({object.session, handle});
  }
  if (object.deadline == kNoDeadline) return;
  by_deadline_.Insert({object.deadline, handle});
  alarm_->Lower(object.deadline);
}

void ObjectTable::Unlink(const Object& object, CK_OBJECT_HANDLE handle, const Object* other) {
  const IndexKeys keys = IndexKeys::Of(object.attributes);
  const IndexKeys kept = other != nullptr ? IndexKeys::Of(other->attributes) : IndexKeys();
  for (const uint64_t key : keys.all()) {
    if (std::ranges::find(kept.all(), key) == kept.all().end()) by_key_.Erase({key, handle});
  }
  // Of an object that is read from the file again the deadline may come out some milliseconds
  // different; its row is the same, as is the session of a session object.
  if (object.deadline != kNoDeadline && (other == nullptr || other->deadline != object.deadline)) {
    by_deadline_.Erase({object.deadline, handle});
  }
  if (other != nullptr) return;
  if (object.row != 0) {
    by_row_.Erase({object.row, handle});
  } else {
    by_session_.Erase({object.session, handle});
  }
}

ObjectPtr ObjectTable::TakeOut(CK_OBJECT_HANDLE handle) {
  ObjectPtr object = std::move(objects_.Find(handle)->object);
  objects_.Erase(handle);
  Unlink(*object, handle);
  // Session objects are in no snapshot: taking them out must not make loading start again.
  if (object->row != 0) ++state_.removals;
  return object;
}

CK_OBJECT_HANDLE ObjectTable::Add(ObjectPtr object) {
  const std::lock_guard lock(mutex_);
  const int64_t row = object->row;
  const uint64_t version = object->version;
  const bool known = row != 0 && HandleOfRow(row);
  const CK_OBJECT_HANDLE handle = AddLocked(std::move(object));
  // What happened to it between its version and this moment was passed over, as nobody knew it.
  if (row != 0 && !known && (state_.sequence == 0 || state_.sequence > version)) {
    state_.sequence = version;
  }
  return handle;
}

bool ObjectTable::Replace(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr object) {
  const std::lock_guard lock(mutex_);
  Slot* slot = objects_.Find(handle);
  if (slot == nullptr || slot->object != expected) return false;
  Exchange(*slot, object);
  return true;
}

ObjectPtr ObjectTable::Remove(CK_OBJECT_HANDLE handle) {
  const std::lock_guard lock(mutex_);
  return objects_.Find(handle) == nullptr ? nullptr : TakeOut(handle);
}

void ObjectTable::RemoveSession(CK_SESSION_HANDLE session) {
  for (;;) {
    ObjectPtr dropped;  // destroyed after the lock is gone
    const std::lock_guard lock(mutex_);
    const auto its = by_session_.From({session, 0});
    if (!its || its->by != session) return;
    dropped = TakeOut(its->handle);
  }
}

HandleRange ObjectTable::Present() const { return {0, g_next_handle}; }

size_t ObjectTable::Look(const IndexKeys& keys, HandleRange& range, std::span<Slot> found) const {
  // Others have their turn after so many.
  constexpr size_t kMostSteps = 256;
  const std::span<const uint64_t> all = keys.all();
  size_t count = 0;
  // How many of the keys in turn the object of the next handle has.
  size_t has = 0;
  const std::lock_guard lock(mutex_);
  for (size_t step = 0; step < kMostSteps && count < found.size(); ++step) {
    if (has < all.size()) {
      const uint64_t key = all[step % all.size()];
      const auto entry = by_key_.From({key, range.next});
      if (!entry || entry->by != key) {
        range.next = range.end;
        break;
      }
      has = entry->handle == range.next ? has + 1 : 1;
      range.next = entry->handle;
      continue;
    }
    const auto slot = objects_.From(range.next);
    if (!slot || slot->handle >= range.end) {
      range.next = range.end;
      break;
    }
    found[count++] = *slot;
    range.next = slot->handle + 1;
    has = 0;
  }
  return count;
}

std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> ObjectTable::TakeExpired(int64_t now,
                                                                             size_t most) {
  std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> expired;
  // Nothing is allocated any more once one is out.
  expired.reserve(most);
  const std::lock_guard lock(mutex_);
  while (expired.size() < most) {
    const auto earliest = by_deadline_.First();
    if (!earliest || earliest->by > now) break;
    const CK_OBJECT_HANDLE handle = earliest->handle;
    expired.emplace_back(handle, TakeOut(handle));
  }
  return expired;
}

int64_t ObjectTable::EarliestDeadline() const {
  const std::lock_guard lock(mutex_);
  const auto earliest = by_deadline_.First();
  return earliest ? earliest->by : kNoDeadline;
}

ObjectTable::State ObjectTable::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool ObjectTable::Covers(const IndexHash& hash) const {
  const std::lock_guard lock(mutex_);
  return covers_all_ || covered_.contains(hash);
}

bool ObjectTable::CoversAll() const {
  const std::lock_guard lock(mutex_);
  return covers_all_;
}

bool ObjectTable::HasLocked(int64_t row, uint64_t version) const {
  const auto known = HandleOfRow(row);
  return known && objects_.Find(*known)->object->version >= version;
}

bool ObjectTable::IsCurrent(const ObjectRow& row) const {
  const std::lock_guard lock(mutex_);
  return HasLocked(row.id, row.version);
}

bool ObjectTable::Concerns(const ObjectRow& row) const {
  const std::lock_guard lock(mutex_);
  return covers_all_ || HandleOfRow(row.id) ||
         std::ranges::any_of(row.index, [&](const auto& hash) { return covered_.contains(hash); });
}

bool ObjectTable::Apply(const State& since, uint64_t sequence, bool complete,
                        std::span<const Change> changed, std::span<const int64_t> deleted) {
  std::vector<ObjectPtr> dropped;  // destroyed after the lock is gone
  const std::lock_guard lock(mutex_);
  if (state_ != since) return false;
  for (const Change& change : changed) {
    // The caller's own, if it has come meanwhile.
    const bool outdated = HandleOfRow(change.row) && !HasLocked(change.row, change.version);
    if (change.object == nullptr && outdated) return false;
  }
  std::vector<int64_t> gone(deleted.begin(), deleted.end());
  if (complete) {
    std::unordered_set<int64_t> kept;
    for (const Change& change : changed) kept.insert(change.row);
    for (auto entry = by_row_.First(); entry; ++entry) {
      // Newer ones came after what was read.
      if (!kept.contains(entry->by) && !HasLocked(entry->by, sequence + 1)) {
        gone.push_back(entry->by);
      }
    }
    covers_all_ = true;
  }
  dropped.reserve(gone.size());
  for (const int64_t row : gone) {
    if (const auto known = HandleOfRow(row)) dropped.push_back(TakeOut(*known));
  }
  for (const Change& change : changed) {
    if (change.object != nullptr) AddLocked(change.object);
  }
  state_.sequence = sequence;
  return true;
}

bool ObjectTable::Admit(const State& since, uint64_t sequence, std::span<const ObjectPtr> objects,
                        std::span<const IndexHash> hashes) {
  for (;;) {
    const auto some = objects.first(std::min(kBatch, objects.size()));
    objects = objects.subspan(some.size());
    const std::lock_guard lock(mutex_);
    if (state_.removals != since.removals || state_.sequence > sequence) return false;
    for (const ObjectPtr& object : some) AddLocked(object);
    if (!objects.empty()) continue;
    if (covered_.size() + hashes.size() > kMostCovered) covered_.clear();
    covered_.insert(hashes.begin(), hashes.end());
    covers_all_ |= hashes.empty();
    ++state_.questions;
    return true;
  }
}

void ObjectTable::Restart() {
  const std::lock_guard lock(mutex_);
  covered_.clear();
  covers_all_ = false;
  ++state_.removals;
  // Nothing is here that would have to be brought up to date.
  if (!by_row_.First()) state_.sequence = 0;
}

}  // namespace secretmem

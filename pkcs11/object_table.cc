#include "pkcs11/object_table.h"

#include <algorithm>
#include <atomic>
#include <unordered_set>

namespace secretmem {
namespace {

std::atomic<CK_OBJECT_HANDLE> g_next_handle{1};

}  // namespace

ObjectPtr ObjectTable::Find(CK_OBJECT_HANDLE handle) const {
  const std::shared_lock lock(mutex_);
  const auto found = objects_.find(handle);
  return found == objects_.end() ? nullptr : found->second;
}

CK_OBJECT_HANDLE ObjectTable::AddLocked(ObjectPtr object) {
  if (object->row != 0) {
    if (const auto known = rows_.find(object->row); known != rows_.end()) {
      ObjectPtr& there = objects_.at(known->second);
      if (there->version < object->version) {
        // Read from the file again, its deadline may have come out some milliseconds different.
        deadlines_.erase({there->deadline, known->second});
        NoteDeadline(*object, known->second);
        there = std::move(object);
      }
      return known->second;
    }
  }
  const CK_OBJECT_HANDLE handle = g_next_handle++;
  const auto added = objects_.emplace_hint(objects_.end(), handle, std::move(object));
  try {
    NoteDeadline(*added->second, handle);
    if (added->second->row != 0) {
      rows_.emplace(added->second->row, handle);
    } else {
      of_sessions_.emplace(added->second->session, handle);
    }
  } catch (...) {
    deadlines_.erase({added->second->deadline, handle});
    objects_.erase(added);
    throw;
  }
  return handle;
}

void ObjectTable::NoteDeadline(const Object& object, CK_OBJECT_HANDLE handle) {
  if (object.deadline == kNoDeadline) return;
  deadlines_.emplace(object.deadline, handle);
  alarm_->Lower(object.deadline);
}

ObjectTable::Objects::node_type ObjectTable::TakeOut(Objects::iterator at) {
  const ObjectPtr& object = at->second;
  // Session objects are in no snapshot: taking them out must not make loading start again.
  if (object->row != 0) {
    rows_.erase(object->row);
    ++state_.removals;
  } else {
    of_sessions_.erase({object->session, at->first});
  }
  if (object->deadline != kNoDeadline) deadlines_.erase({object->deadline, at->first});
  return objects_.extract(at);
}

CK_OBJECT_HANDLE ObjectTable::Add(ObjectPtr object) {
  const std::unique_lock lock(mutex_);
  const int64_t row = object->row;
  const uint64_t version = object->version;
  const bool known = rows_.contains(row);
  const CK_OBJECT_HANDLE handle = AddLocked(std::move(object));
  // What happened to it between its version and this moment was passed over, as nobody knew it.
  if (row != 0 && !known && (state_.sequence == 0 || state_.sequence > version)) {
    state_.sequence = version;
  }
  return handle;
}

bool ObjectTable::Replace(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr object) {
  const std::unique_lock lock(mutex_);
  const auto found = objects_.find(handle);
  if (found == objects_.end() || found->second != expected) return false;
  found->second.swap(object);
  return true;
}

ObjectPtr ObjectTable::Remove(CK_OBJECT_HANDLE handle) {
  const std::unique_lock lock(mutex_);
  const auto found = objects_.find(handle);
  if (found == objects_.end()) return nullptr;
  return std::move(TakeOut(found).mapped());
}

void ObjectTable::RemoveSession(CK_SESSION_HANDLE session) {
  Objects dropped;  // destroyed after the lock is gone
  const std::unique_lock lock(mutex_);
  for (;;) {
    const auto its = of_sessions_.lower_bound({session, 0});
    if (its == of_sessions_.end() || its->first != session) return;
    dropped.insert(TakeOut(objects_.find(its->second)));
  }
}

std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> ObjectTable::All() const {
  const std::shared_lock lock(mutex_);
  return {objects_.begin(), objects_.end()};
}

std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> ObjectTable::TakeExpired(int64_t now,
                                                                             size_t most) {
  std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> expired;
  // Nothing is allocated any more once one is out.
  expired.reserve(most);
  const std::unique_lock lock(mutex_);
  while (expired.size() < most && !deadlines_.empty() && deadlines_.begin()->first <= now) {
    const CK_OBJECT_HANDLE handle = deadlines_.begin()->second;
    expired.emplace_back(handle, std::move(TakeOut(objects_.find(handle)).mapped()));
  }
  return expired;
}

int64_t ObjectTable::EarliestDeadline() const {
  const std::shared_lock lock(mutex_);
  return deadlines_.empty() ? kNoDeadline : deadlines_.begin()->first;
}

ObjectTable::State ObjectTable::state() const {
  const std::shared_lock lock(mutex_);
  return state_;
}

bool ObjectTable::Covers(const IndexHash& hash) const {
  const std::shared_lock lock(mutex_);
  return covers_all_ || covered_.contains(hash);
}

bool ObjectTable::CoversAll() const {
  const std::shared_lock lock(mutex_);
  return covers_all_;
}

bool ObjectTable::IsCurrent(const ObjectRow& row) const {
  const std::shared_lock lock(mutex_);
  const auto known = rows_.find(row.id);
  return known != rows_.end() && objects_.at(known->second)->version >= row.version;
}

bool ObjectTable::Concerns(const ObjectRow& row) const {
  const std::shared_lock lock(mutex_);
  return covers_all_ || rows_.contains(row.id) ||
         std::ranges::any_of(row.index, [&](const auto& hash) { return covered_.contains(hash); });
}

bool ObjectTable::Apply(const State& since, uint64_t sequence, bool complete,
                        std::span<const Change> changed, std::span<const int64_t> deleted) {
  Objects dropped;  // destroyed after the lock is gone
  const std::unique_lock lock(mutex_);
  if (state_ != since) return false;
  for (const Change& change : changed) {
    if (change.object != nullptr) continue;
    // The caller's own, if it has come meanwhile.
    const auto known = rows_.find(change.row);
    if (known != rows_.end() && objects_.at(known->second)->version < change.version) return false;
  }
  const auto drop = [&](int64_t row) {
    const auto known = rows_.find(row);
    if (known == rows_.end()) return;
    dropped.insert(TakeOut(objects_.find(known->second)));
  };
  for (const int64_t row : deleted) drop(row);
  if (complete) {
    std::unordered_set<int64_t> kept;
    for (const Change& change : changed) kept.insert(change.row);
    std::vector<int64_t> gone;
    for (const auto& [row, handle] : rows_) {
      // Newer ones came after what was read.
      if (!kept.contains(row) && objects_.at(handle)->version <= sequence) gone.push_back(row);
    }
    for (const int64_t row : gone) drop(row);
    covers_all_ = true;
  }
  for (const Change& change : changed) {
    if (change.object != nullptr) AddLocked(change.object);
  }
  state_.sequence = sequence;
  return true;
}

bool ObjectTable::Admit(const State& since, uint64_t sequence, std::span<const ObjectPtr> objects,
                        std::span<const IndexHash> hashes) {
  const std::unique_lock lock(mutex_);
  if (state_.removals != since.removals || state_.sequence > sequence) return false;
  if (covered_.size() + hashes.size() > kMostCovered) covered_.clear();
  for (const ObjectPtr& object : objects) AddLocked(object);
  covers_all_ |= hashes.empty();
  covered_.insert(hashes.begin(), hashes.end());
  ++state_.questions;
  return true;
}

void ObjectTable::Restart() {
  const std::unique_lock lock(mutex_);
  covered_.clear();
  covers_all_ = false;
  ++state_.removals;
  // Nothing is here that would have to be brought up to date.
  if (rows_.empty()) state_.sequence = 0;
}

}  // namespace secretmem

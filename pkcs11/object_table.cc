#include "pkcs11/object_table.h"

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
  return AddLocked(std::move(object));
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

bool ObjectTable::Apply(const State& since, const StoreState& to, bool complete,
                        const std::vector<ObjectPtr>& changed,
                        const std::vector<int64_t>& deleted) {
  Objects dropped;  // destroyed after the lock is gone
  const std::unique_lock lock(mutex_);
  if (state_ != since) return false;
  const auto drop = [&](int64_t row) {
    const auto known = rows_.find(row);
    if (known == rows_.end()) return;
    dropped.insert(TakeOut(objects_.find(known->second)));
  };
  for (const int64_t row : deleted) drop(row);
  if (complete) {
    std::unordered_set<int64_t> kept;
    for (const ObjectPtr& object : changed) kept.insert(object->row);
    std::vector<int64_t> gone;
    for (const auto& [row, handle] : rows_) {
      if (!kept.contains(row)) gone.push_back(row);
    }
    for (const int64_t row : gone) drop(row);
  }
  for (const ObjectPtr& object : changed) AddLocked(object);
  state_.store = to;
  return true;
}

void ObjectTable::Restart() {
  const std::unique_lock lock(mutex_);
  state_.store = {};
  ++state_.removals;
}

}  // namespace secretmem

#pragma once

#include <map>
#include <set>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "pkcs11/object.h"

namespace secretmem {

// ObjectTable gives the objects of one token their handles. Handles are unique in the process and
// never used twice, so one that outlived its object is only ever invalid.
class ObjectTable {
  using Objects = std::map<CK_OBJECT_HANDLE, ObjectPtr>;

 public:
  // Find returns the object of |handle|, or null.
  ObjectPtr Find(CK_OBJECT_HANDLE handle) const;

  // Add gives |object|, which the caller made, a handle. A token object that is there already, by
  // its row, keeps the handle it has; the newer version stays.
  CK_OBJECT_HANDLE Add(ObjectPtr object);

  // Replace puts |object| in the place of the one that has |handle|, if that is still |expected|.
  bool Replace(CK_OBJECT_HANDLE handle, const ObjectPtr& expected, ObjectPtr object);

  // Remove takes |handle| out and returns what it stood for, or null.
  ObjectPtr Remove(CK_OBJECT_HANDLE handle);

  // RemoveIf takes out what |drop(object)| is true for. Like RemoveSession it cannot fail.
  template <class Drop>
  void RemoveIf(Drop&& drop) {
    Objects dropped;  // destroyed, vaults and all, after the lock is gone
    const std::unique_lock lock(mutex_);
    for (auto it = objects_.begin(); it != objects_.end();) {
      if (!drop(*it->second)) {
        ++it;
        continue;
      }
      dropped.insert(TakeOut(it++));
    }
  }

  // RemoveSession takes out the objects of a session.
  void RemoveSession(CK_SESSION_HANDLE session);

  // Select returns the handles, ascending, of the objects that |wanted(object)| is true for. It
  // runs without the lock, so |wanted| may compute.
  template <class Wanted>
  std::vector<CK_OBJECT_HANDLE> Select(Wanted&& wanted) const {
    std::vector<CK_OBJECT_HANDLE> handles;
    for (const auto& [handle, object] : All()) {
      if (wanted(*object)) handles.push_back(handle);
    }
    return handles;
  }

  std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> All() const;

  // SetAlarm has |alarm| lowered to the deadline of every object that comes. Called before any
  // does.
  void SetAlarm(std::shared_ptr<Alarm> alarm) { alarm_ = std::move(alarm); }

  // TakeExpired takes out at most |most| objects whose deadline is not after |now|, the earliest
  // first.
  std::vector<std::pair<CK_OBJECT_HANDLE, ObjectPtr>> TakeExpired(int64_t now, size_t most);

  // EarliestDeadline is kNoDeadline where no object has one.
  int64_t EarliestDeadline() const;

  // Of the token objects in the file those are here that somebody asked for. State is what these
  // correspond to: the sequence number of the store up to which all its changes are in them, 0 if
  // there never was one; and how often token objects were taken out, and more asked for, since.
  struct State {
    uint64_t sequence = 0;
    uint64_t removals = 0;
    uint64_t questions = 0;

    bool operator==(const State&) const = default;
  };
  State state() const;

  // Covers says whether all objects with |hash|, of terms that were asked for, are here; CoversAll
  // whether all objects are.
  bool Covers(const IndexHash& hash) const;
  bool CoversAll() const;

  // IsCurrent says whether the object of |row| is here in that version or a later one.
  bool IsCurrent(const ObjectRow& row) const;

  // Concerns says whether |row|, which was changed, must come here: its object is here, or it is
  // covered by what was asked for.
  bool Concerns(const ObjectRow& row) const;

  // Change is one state of a row. Without an object it did not concern the table.
  struct Change {
    int64_t row = 0;
    uint64_t version = 0;
    ObjectPtr object;
  };

  // Apply brings the token objects from |since| to the state |sequence| of the store. It does
  // nothing and returns false if the table is not at |since| any more: what was read may hold
  // objects that are gone by now, or lack some that were asked for meanwhile. With |complete|,
  // |changed| is all there is, and everything is covered from now on.
  bool Apply(const State& since, uint64_t sequence, bool complete, std::span<const Change> changed,
             std::span<const int64_t> deleted);

  // Admit takes in the objects that the store, at |sequence|, has with |hashes|, and covers these;
  // without hashes, everything. False, as Apply, if objects were taken out after |since|, or the
  // table is beyond |sequence|.
  bool Admit(const State& since, uint64_t sequence, std::span<const ObjectPtr> objects,
             std::span<const IndexHash> hashes);

  // Restart forgets what is covered, and makes every Apply and Admit under way fail.
  void Restart();

 private:
  // More terms than this are not remembered: those that were are forgotten, and read again when
  // they are asked for.
  static constexpr size_t kMostCovered = 10'000;

  CK_OBJECT_HANDLE AddLocked(ObjectPtr object);
  void NoteDeadline(const Object& object, CK_OBJECT_HANDLE handle);
  // TakeOut allocates nothing: what must go goes.
  Objects::node_type TakeOut(Objects::iterator at);

  mutable std::shared_mutex mutex_;
  Objects objects_;
  // Of token objects by row, of session objects by session.
  std::unordered_map<int64_t, CK_OBJECT_HANDLE> rows_;
  std::set<std::pair<CK_SESSION_HANDLE, CK_OBJECT_HANDLE>> of_sessions_;
  std::set<std::pair<int64_t, CK_OBJECT_HANDLE>> deadlines_;
  std::shared_ptr<Alarm> alarm_ = std::make_shared<Alarm>();
  State state_;
  std::set<IndexHash> covered_;
  bool covers_all_ = false;
};

}  // namespace secretmem

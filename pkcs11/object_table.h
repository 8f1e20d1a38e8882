#pragma once

#include <algorithm>
#include <array>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "pkcs11/dense_set.h"
#include "pkcs11/index_keys.h"
#include "pkcs11/object.h"
#include "vault/short_mutex.h"

namespace secretmem {

// HandleRange is what a search has not looked at yet: the handles from |next| on, below |end|.
struct HandleRange {
  CK_OBJECT_HANDLE next = 0;
  CK_OBJECT_HANDLE end = 0;
};

// ObjectTable gives the objects of one token their handles, and finds objects by what they have.
// Handles are unique in the process, ascending, and never used twice, so one that outlived its
// object is only ever invalid.
class ObjectTable {
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

  // RemoveIf takes out what |drop(object)| is true for, of the objects that there are when it
  // begins. Like RemoveSession it cannot fail, and gives others their turn in between.
  template <class Drop>
  void RemoveIf(Drop&& drop) {
    for (HandleRange rest = Present();;) {
      ObjectPtr dropped;  // destroyed, vault and all, after the lock is gone
      const std::lock_guard lock(mutex_);
      auto slot = objects_.From(rest.next);
      while (slot && slot->handle < rest.end && !drop(*slot->object)) ++slot;
      if (!slot || slot->handle >= rest.end) return;
      rest.next = slot->handle + 1;
      dropped = TakeOut(slot->handle);
    }
  }

  // RemoveSession takes out the objects of a session.
  void RemoveSession(CK_SESSION_HANDLE session);

  // Present returns the range that has all objects of this moment, and none that come later.
  HandleRange Present() const;

  // Select returns the handles, ascending, of at most |most| objects in |range| that have all
  // |keys| and that |wanted(object)| is true for. What it costs depends on how many have each of
  // the keys, of which the rarest counts; without keys, on how many there are. |wanted| is called
  // without the lock, so it may compute.
  template <class Wanted>
  std::vector<CK_OBJECT_HANDLE> Select(const IndexKeys& keys, HandleRange range, size_t most,
                                       Wanted&& wanted) const {
    std::vector<CK_OBJECT_HANDLE> handles;
    // As many as are asked for may do, and if not, more at a time cost less.
    for (size_t count = most; handles.size() < most && range.next < range.end; count *= 2) {
      count = std::min(count, kBatch);
      std::array<Slot, kBatch> slots;
      const size_t found = Look(keys, range, std::span(slots).first(count));
      for (size_t i = 0; i < found && handles.size() < most; ++i) {
        if (wanted(*slots[i].object)) handles.push_back(slots[i].handle);
      }
    }
    return handles;
  }

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
  // without hashes, everything. It gives others their turn in between. False, as Apply, if objects
  // were taken out after |since|, or the table is beyond |sequence|: some may be here all the same.
  bool Admit(const State& since, uint64_t sequence, std::span<const ObjectPtr> objects,
             std::span<const IndexHash> hashes);

  // Restart forgets what is covered, and makes every Apply and Admit under way fail.
  void Restart();

 private:
  struct Slot {
    CK_OBJECT_HANDLE handle = 0;
    ObjectPtr object;
    CK_OBJECT_HANDLE key() const { return handle; }
  };
  // One of the handles that |by| stands for.
  template <class By>
  struct Entry {
    By by{};
    CK_OBJECT_HANDLE handle = 0;
    const Entry& key() const { return *this; }
    auto operator<=>(const Entry&) const = default;
  };

  static constexpr size_t kBatch = 64;

  // Look fills |found| with objects in |range| that have all |keys|, and returns how many they are.
  // |range| is what it has not looked at.
  size_t Look(const IndexKeys& keys, HandleRange& range, std::span<Slot> found) const;
  // More terms than this are not remembered: those that were are forgotten, and read again when
  // they are asked for.
  static constexpr size_t kMostCovered = 10'000;

  CK_OBJECT_HANDLE AddLocked(ObjectPtr object);
  // Exchange puts |object| into the slot, and what was there into |object|.
  void Exchange(Slot& slot, ObjectPtr& object);
  // Link makes the entries of an object, Unlink removes those that |other| does not have: where
  // Link fails half-way, Unlink takes back what there is.
  void Link(const Object& object, CK_OBJECT_HANDLE handle);
  void Unlink(const Object& object, CK_OBJECT_HANDLE handle, const Object* other = nullptr);
  // TakeOut takes out an object that there is. It allocates nothing: what must go goes.
  ObjectPtr TakeOut(CK_OBJECT_HANDLE handle);
  // Of token objects.
  std::optional<CK_OBJECT_HANDLE> HandleOfRow(int64_t row) const;
  // HasLocked says whether the object of |row| is here in |version| or a later one.
  bool HasLocked(int64_t row, uint64_t version) const;

  mutable ShortMutex mutex_;
  DenseSet<Slot> objects_;
  DenseSet<Entry<uint64_t>> by_key_;
  // Of token objects by row, of session objects by session.
  DenseSet<Entry<int64_t>> by_row_;
  DenseSet<Entry<CK_SESSION_HANDLE>> by_session_;
  DenseSet<Entry<int64_t>> by_deadline_;
  std::shared_ptr<Alarm> alarm_ = std::make_shared<Alarm>();
  State state_;
  std::set<IndexHash> covered_;
  bool covers_all_ = false;
};

}  // namespace secretmem

#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "vault/short_mutex.h"

namespace secretmem {

class Session;

// SessionTable has the open sessions by handle, in shards, so that threads with sessions of their
// own do not meet.
class SessionTable {
 public:
  using Sessions = std::map<CK_SESSION_HANDLE, std::shared_ptr<Session>>;

  void Add(CK_SESSION_HANDLE handle, std::shared_ptr<Session> session);

  // Find returns the session, or null.
  std::shared_ptr<Session> Find(CK_SESSION_HANDLE handle);

  // Take takes the session out and returns it, or null.
  std::shared_ptr<Session> Take(CK_SESSION_HANDLE handle);

  // TakeAll takes out the sessions that |wanted(session)| is true for. It allocates nothing: none
  // may be left behind.
  template <class Wanted>
  Sessions TakeAll(Wanted&& wanted) {
    Sessions taken;
    for (Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (auto it = shard.sessions.begin(); it != shard.sessions.end();) {
        const auto at = it++;
        if (wanted(*at->second)) taken.insert(shard.sessions.extract(at));
      }
    }
    return taken;
  }

  // Select returns the sessions that |wanted(session)| is true for.
  template <class Wanted>
  std::vector<std::shared_ptr<Session>> Select(Wanted&& wanted) {
    std::vector<std::shared_ptr<Session>> selected;
    for (Shard& shard : shards_) {
      const std::lock_guard lock(shard.mutex);
      for (const auto& [handle, session] : shard.sessions) {
        if (wanted(*session)) selected.push_back(session);
      }
    }
    return selected;
  }

 private:
  struct alignas(64) Shard {
    ShortMutex mutex;
    Sessions sessions;
  };
  Shard& ShardOf(CK_SESSION_HANDLE handle) { return shards_[handle % shards_.size()]; }

  std::array<Shard, kStripes> shards_;
};

}  // namespace secretmem

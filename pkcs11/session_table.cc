#include "pkcs11/session_table.h"

#include <utility>

namespace secretmem {

void SessionTable::Add(CK_SESSION_HANDLE handle, std::shared_ptr<Session> session) {
  Shard& shard = ShardOf(handle);
  const std::lock_guard lock(shard.mutex);
  shard.sessions.emplace_hint(shard.sessions.end(), handle, std::move(session));
}

std::shared_ptr<Session> SessionTable::Find(CK_SESSION_HANDLE handle) {
  Shard& shard = ShardOf(handle);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.sessions.find(handle);
  return found == shard.sessions.end() ? nullptr : found->second;
}

std::shared_ptr<Session> SessionTable::Take(CK_SESSION_HANDLE handle) {
  Sessions::node_type node;
  Shard& shard = ShardOf(handle);
  {
    const std::lock_guard lock(shard.mutex);
    node = shard.sessions.extract(handle);
  }
  return node ? std::move(node.mapped()) : nullptr;
}

}  // namespace secretmem

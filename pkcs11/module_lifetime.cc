// What the module does about keys whose lifetime is over.

#include <algorithm>
#include <ranges>

#include "pkcs11/module.h"

namespace secretmem {
namespace {

// How often the tokens' clocks and files are looked after, beside what expires.
constexpr int64_t kTidyMs = 10'000;

}  // namespace

void Session::EndExpiredOperations(std::span<const CK_OBJECT_HANDLE> expired) {
  const std::lock_guard lock(mutex);
  EndOperations([](const Object& object) { return object.IsExpired(); });
  if (!search) return;
  auto& handles = search->handles;
  const auto rest = handles.begin() + static_cast<ptrdiff_t>(search->next);
  handles.erase(std::remove_if(rest, handles.end(),
                               [&](CK_OBJECT_HANDLE found) {
                                 return std::ranges::binary_search(expired, found);
                               }),
                handles.end());
}

Module::Module(const Config& config, bool may_start_threads)
    : config_(config), reaper_(*alarm_, may_start_threads, [this] { Tend(); }) {}

void Module::Tend() noexcept {
  const int64_t due = alarm_->due();
  if (due == kNoDeadline) return;
  try {
    const int64_t now = BoottimeMs();
    int64_t tidy = next_tidy_ms_;
    if (now >= tidy && next_tidy_ms_.compare_exchange_strong(tidy, now + kTidyMs)) {
      // The alarm too: keys that went before their deadline did not set it back.
      Sweep(now);
    } else if (now >= due) {
      Sweep(now);
    }
  } catch (const std::bad_alloc&) {
    // Expired keys are out of reach; the next call tries again to wipe them.
  }
}

void Module::Watch() noexcept {
  try {
    reaper_.Watch();
  } catch (...) {
    // The next call tries again.
  }
}

std::vector<std::shared_ptr<Token>> Module::Tokens() {
  std::vector<std::shared_ptr<Token>> tokens;
  {
    const std::lock_guard lock(slots_mutex_);
    for (const Slot& slot : slots_) {
      if (slot.token != nullptr) tokens.push_back(slot.token);
    }
  }
  // A token whose place another has taken lives on in its sessions.
  const std::shared_lock lock(sessions_mutex_);
  for (const auto& session : std::views::values(sessions_)) {
    if (std::ranges::find(tokens, session->token) == tokens.end()) tokens.push_back(session->token);
  }
  return tokens;
}

void Module::Sweep(int64_t now) {
  std::vector<std::shared_ptr<Token>> tokens;
  {
    // Whoever comes meanwhile waits, so that no call returns before what has expired is wiped.
    const std::lock_guard sweeping(sweep_mutex_);
    tokens = Tokens();
    alarm_->BeginSweep();
    int64_t next = kNoDeadline;
    for (const auto& token : tokens) {
      const auto expired = token->TakeExpired(now);
      next = std::min(next, token->EarliestDeadline());
      if (expired.empty()) continue;
      std::vector<std::shared_ptr<Session>> sessions;
      {
        const std::shared_lock lock(sessions_mutex_);
        for (const auto& session : std::views::values(sessions_)) {
          if (session->token == token) sessions.push_back(session);
        }
      }
      for (const auto& session : sessions) session->EndExpiredOperations(expired);
    }
    alarm_->EndSweep(next);
  }
  // The files last: they can take long.
  for (const auto& token : tokens) token->Tidy();
}

}  // namespace secretmem

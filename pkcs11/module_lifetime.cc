// What the module does about keys whose lifetime is over.

#include <algorithm>

#include "pkcs11/module.h"

namespace secretmem {
namespace {

// How often a sweep is made even where nothing expires: for the tokens' clocks, and because the
// alarm stays where it was when keys go before their deadline.
constexpr int64_t kSweepMs = 10'000;

}  // namespace

void Session::EndExpiredOperations() {
  const std::lock_guard lock(mutex);
  EndOperations([](const Object& object) { return object.IsExpired(); });
}

Module::Module(const Config& config, bool may_start_threads)
    : config_(config),
      mechanisms_(config.mechanisms),
      reaper_(*alarm_, may_start_threads, [this] { Reap(); }) {}

void Module::SweepIfDue(int64_t now) {
  int64_t next = next_sweep_ms_;
  const bool its_time = now >= next && next_sweep_ms_.compare_exchange_strong(next, now + kSweepMs);
  if (its_time || now >= alarm_->due()) Sweep(now);
}

void Module::Tend() noexcept {
  if (alarm_->due() == kNoDeadline) return;
  try {
    SweepIfDue(BoottimeMs());
    if (files_due_ && !reaper_.Wake()) TidyFiles();
  } catch (const std::bad_alloc&) {
    // Expired keys are out of reach; the next call tries again to wipe them.
  }
}

void Module::Reap() noexcept {
  try {
    SweepIfDue(BoottimeMs());
    TidyFiles();
  } catch (const std::bad_alloc&) {
    // The reaper comes again.
  }
}

void Module::TidyFiles() {
  if (!files_due_.exchange(false)) return;
  for (const auto& token : Tokens()) token->Tidy();
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
  for (const auto& session : sessions_.Select([](const Session&) { return true; })) {
    if (std::ranges::find(tokens, session->token) == tokens.end()) tokens.push_back(session->token);
  }
  return tokens;
}

void Module::Sweep(int64_t now) {
  // Whoever comes meanwhile waits, so that no call returns before what has expired is wiped.
  const std::lock_guard sweeping(sweep_mutex_);
  alarm_->BeginSweep();
  int64_t next = kNoDeadline;
  for (const auto& token : Tokens()) {
    const auto expired = token->TakeExpired(now);
    next = std::min(next, token->EarliestDeadline());
    if (expired.empty()) continue;
    const auto sessions =
        sessions_.Select([&](const Session& session) { return session.token == token; });
    for (const auto& session : sessions) session->EndExpiredOperations();
  }
  files_due_ = true;
  alarm_->EndSweep(next);
}

}  // namespace secretmem

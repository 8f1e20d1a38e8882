#include "pkcs11/module.h"

#include <algorithm>
#include <atomic>
#include <charconv>

#include "pkcs11/log.h"

namespace secretmem {
namespace {

// Across C_Finalize and C_Initialize, too, no handle comes twice.
std::atomic<CK_SESSION_HANDLE> g_next_session{1};

// The slot number is the first four hexadecimal digits of the serial number, which is the file's
// name: it can be told without opening the file, and is the same in every process.
std::optional<CK_SLOT_ID> SlotOfPath(const std::string& path) {
  const size_t name = path.rfind('/') + 1;
  constexpr size_t kDigits = 4;
  if (path.size() - name < kDigits) return std::nullopt;
  CK_SLOT_ID id = 0;
  const char* end = path.data() + name + kDigits;
  const auto [stop, error] = std::from_chars(path.data() + name, end, id, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return id;
}

bool IsTaken(const std::vector<Slot>& slots, CK_SLOT_ID id) {
  return std::ranges::find(slots, id, &Slot::id) != slots.end();
}

CK_SLOT_ID SmallestFree(const std::vector<Slot>& slots) {
  CK_SLOT_ID id = 0;
  while (IsTaken(slots, id)) ++id;
  return id;
}

}  // namespace

bool Session::IsClosed() {
  const std::lock_guard lock(mutex);
  return closed_;
}

void Session::EndPrivateOperations() {
  const std::lock_guard lock(mutex);
  EndOperations([](const Object& object) { return object.Is(CKA_PRIVATE); });
}

void Session::Close() {
  {
    const std::lock_guard lock(mutex);
    if (closed_) return;
    closed_ = true;
    search.reset();
    digest.Cancel();
    sign.Cancel();
    verify.Cancel();
    sign_recover.Cancel();
    verify_recover.Cancel();
    verify_signature.Cancel();
    encrypt.Cancel();
    decrypt.Cancel();
    message_encrypt.Cancel();
    message_decrypt.Cancel();
  }
  token->ForgetSession(handle);
  token->SessionClosed(read_write());
}

Module::~Module() { CloseEverything(); }

void Module::CloseEverything() {
  reaper_.Stop();
  const auto closing = sessions_.TakeAll([](const Session&) { return true; });
  // While the user is still logged in. Without memory it is done after a later login.
  try {
    for (const auto& token : Tokens()) token->Tidy();
  } catch (const std::bad_alloc&) {
  }
  for (const auto& [handle, session] : closing) session->Close();
}

CkStatus Module::ScanLocked() {
  const auto listed = [&] {
    const ForkGuard guard;
    return ListTokenFiles(config_.tokens_directory);
  }();
  if (!listed) return Refuse(RvOfStoreError(listed.error()));
  std::vector<std::string> paths = *listed;
  std::vector<Slot> slots;
  CK_SLOT_ID empty = CK_UNAVAILABLE_INFORMATION;
  for (Slot& slot : slots_) {
    if (slot.path.empty()) {
      empty = slot.id;
    } else if (const auto there = std::ranges::find(paths, slot.path); there != paths.end()) {
      paths.erase(there);
      slots.push_back(std::move(slot));
    }
  }
  for (std::string& path : paths) {
    auto id = SlotOfPath(path);
    if (!id || IsTaken(slots, *id)) id = SmallestFree(slots);
    slots.push_back({*id, std::move(path), nullptr});
  }
  std::ranges::sort(slots, {}, &Slot::id);
  if (empty == CK_UNAVAILABLE_INFORMATION || IsTaken(slots, empty)) {
    empty = SmallestFree(slots);
  }
  slots.push_back({empty, {}, nullptr});
  slots_ = std::move(slots);
  scanned_ = true;
  return {};
}

CkResult<std::vector<CK_SLOT_ID>> Module::Slots(bool refresh) {
  const std::lock_guard lock(slots_mutex_);
  if (refresh || !scanned_) {
    if (auto scanned = ScanLocked(); !scanned) return Refuse(scanned.error());
  }
  std::vector<CK_SLOT_ID> ids;
  for (const Slot& slot : slots_) ids.push_back(slot.id);
  return ids;
}

CkResult<Slot*> Module::FindSlotLocked(CK_SLOT_ID id) {
  if (!scanned_) {
    if (auto scanned = ScanLocked(); !scanned) return Refuse(scanned.error());
  }
  const auto found = std::ranges::find(slots_, id, &Slot::id);
  if (found == slots_.end()) return Refuse(CKR_SLOT_ID_INVALID);
  return &*found;
}

CkResult<bool> Module::HasToken(CK_SLOT_ID id) {
  const std::lock_guard lock(slots_mutex_);
  const auto slot = FindSlotLocked(id);
  if (!slot) return Refuse(slot.error());
  return !(*slot)->path.empty();
}

CkResult<std::shared_ptr<Token>> Module::TokenAt(CK_SLOT_ID id, bool may_be_missing) {
  const std::lock_guard lock(slots_mutex_);
  const auto found = FindSlotLocked(id);
  if (!found) return Refuse(found.error());
  Slot* slot = *found;
  if (slot->path.empty()) {
    if (may_be_missing) return nullptr;
    return Refuse(CKR_TOKEN_NOT_RECOGNIZED);
  }
  if (slot->token == nullptr) {
    auto opened = Token::Open(config_, slot->path);
    if (!opened) return Refuse(opened.error());
    (*opened)->SetAlarm(alarm_);
    slot->token = std::move(*opened);
  }
  return slot->token;
}

CkStatus Module::InitToken(CK_SLOT_ID id, Pin so_pin, const std::array<uint8_t, 32>& label) {
  const auto token = TokenAt(id, /*may_be_missing=*/true);
  if (!token) return Refuse(token.error());
  if (*token != nullptr) return (*token)->Reinitialise(so_pin, label);
  auto created = Token::Create(config_, id, so_pin, label);
  if (!created) return Refuse(created.error());
  const std::lock_guard lock(slots_mutex_);
  const auto found = FindSlotLocked(id);
  Slot* slot = found.value_or(nullptr);
  // A scan on another thread has seen the new file already.
  if (slot != nullptr && slot->path == (*created)->path()) return {};
  // The other of two threads that were told to make a token in the same slot was faster; this one's
  // gets a slot of its own at the next scan.
  if (slot == nullptr || !slot->path.empty()) return Refuse(CKR_FUNCTION_FAILED);
  slot->path = (*created)->path();
  (*created)->SetAlarm(alarm_);
  slot->token = std::move(*created);
  // A new slot without a token comes at the next scan, when the client asks for the list again.
  return {};
}

void Module::Drop(CK_SLOT_ID id, const std::shared_ptr<Token>& token) {
  const std::lock_guard lock(slots_mutex_);
  const auto slot = FindSlotLocked(id);
  if (slot && (*slot)->token == token) (*slot)->token = nullptr;
}

CkResult<CK_SESSION_HANDLE> Module::OpenSession(CK_SLOT_ID slot, CK_FLAGS flags) {
  auto token = TokenAt(slot);
  if (!token) return Refuse(token.error());
  if (auto there = (*token)->CheckForSession(); !there) {
    // Another process has put a new token here. Sessions of the old one keep that; this one gets
    // the new.
    if (there.error() != CKR_DEVICE_REMOVED) return Refuse(there.error());
    Drop(slot, *token);
    token = TokenAt(slot);
    if (!token) return Refuse(token.error());
    if (there = (*token)->CheckForSession(); !there) return Refuse(there.error());
  }
  const CK_SESSION_HANDLE handle = g_next_session++;
  auto session = std::make_shared<Session>(handle, slot, *token, flags, mechanisms_);
  if (auto opened = (*token)->SessionOpened(session->read_write()); !opened) {
    return Refuse(opened.error());
  }
  try {
    sessions_.Add(handle, session);
  } catch (...) {
    session->Close();
    throw;
  }
  return handle;
}

CkStatus Module::CloseSession(CK_SESSION_HANDLE handle) {
  const std::shared_ptr<Session> session = sessions_.Take(handle);
  if (session == nullptr) return Refuse(CKR_SESSION_HANDLE_INVALID);
  session->Close();
  return {};
}

CkStatus Module::CloseAllSessions(CK_SLOT_ID slot) {
  if (auto known = HasToken(slot); !known) return Refuse(known.error());
  const auto closing =
      sessions_.TakeAll([&](const Session& session) { return session.slot == slot; });
  for (const auto& [handle, session] : closing) session->Close();
  return {};
}

CkResult<std::shared_ptr<Session>> Module::FindSession(CK_SESSION_HANDLE handle) {
  std::shared_ptr<Session> session = sessions_.Find(handle);
  if (session == nullptr) return Refuse(CKR_SESSION_HANDLE_INVALID);
  return session;
}

CkStatus Module::LogOut(const std::shared_ptr<Token>& token) {
  // First, because it may fail. What begins meanwhile is refused by the count of logouts.
  const auto sessions =
      sessions_.Select([&](const Session& session) { return session.token == token; });
  if (auto done = token->LogOut(); !done) return done;
  for (const auto& session : sessions) session->EndPrivateOperations();
  return {};
}

}  // namespace secretmem

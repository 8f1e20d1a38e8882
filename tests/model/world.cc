// Slots, tokens, sessions and PINs; what the other files build on.
#include "tests/model/world.h"

#include <cstring>

#include "tests/blackbox/module.h"
#include "tests/conformance/rv.h"

namespace secretmem::model {

using blackbox::P11;
using blackbox::Utf8;
using conformance::RvName;

namespace {

constexpr unsigned kMaxFailures = 3;
constexpr size_t kMaxSessions = 6;

std::string Label() {
  std::string label = "model";
  label.resize(32, ' ');
  return label;
}

}  // namespace

World::World(uint64_t seed) : random_(seed), user_pin_("user pin") {
  blackbox::Must(blackbox::Initialise(), "C_Initialize");
  slot_ = blackbox::MakeToken("model", so_pin_, *user_pin_);
  initialised_ = true;
}

void World::Fail(const std::string& what) { throw Mismatch(what); }

void World::Expect(const char* call, CK_RV want, CK_RV got) {
  ++calls_;
  last_calls_.push_back(std::string(call) + " = " + RvName(got));
  if (last_calls_.size() > 40) last_calls_.pop_front();
  if (want != got) Fail(std::string(call) + ": expected " + RvName(want) + ", got " + RvName(got));
}

void World::ExpectBytes(const char* what, const Bytes& want, const Bytes& got) {
  if (want == got) return;
  const auto hex = [](const Bytes& bytes) {
    std::string text;
    for (const CK_BYTE byte : bytes) {
      char digits[3];
      snprintf(digits, sizeof(digits), "%02x", byte);
      text += digits;
    }
    return text;
  };
  Fail(std::string(what) + ": expected " + hex(want) + ", got " + hex(got));
}

World::World(uint64_t seed, const World& shared, std::string label)
    : random_(seed), label_(std::move(label)) {
  Follow(shared);
}

void World::Choose(std::span<const Choice> choices) {
  unsigned total = 0;
  for (const Choice& choice : choices) total += choice.weight;
  size_t at = random_.Below(total);
  for (const Choice& choice : choices) {
    if (at < choice.weight) return (this->*choice.step)();
    at -= choice.weight;
  }
}

void World::Step() {
  if (!initialised_) {
    if (random_.Coin()) return Initialise();
  } else if (sessions_.empty() && random_.Coin()) {
    return OpenSession();
  } else if (!IsBeside() && login_ == LoggedIn::kNobody && random_.OneIn(6)) {
    return LogIn();
  }
  // First what a world beside others leaves alone.
  static constexpr Choice kChoices[] = {
      {1, &World::Initialise},      {1, &World::Finalise},       {1, &World::CloseAllSessions},
      {6, &World::TokenInfo},       {10, &World::LogIn},         {5, &World::LogOut},
      {2, &World::InitToken},       {5, &World::InitPin},        {5, &World::SetPin},
      {12, &World::OpenSession},    {8, &World::CloseSession},   {8, &World::SessionInfo},
      {40, &World::CreateObject},   {20, &World::GenerateKey},   {20, &World::GenerateKeyPair},
      {20, &World::DeriveKey},      {25, &World::CopyObject},    {45, &World::DestroyObject},
      {60, &World::ReadAttributes}, {40, &World::SetAttributes}, {25, &World::FindInit},
      {40, &World::FindNext},       {25, &World::FindFinal},     {60, &World::Begin},
      {50, &World::Whole},          {50, &World::Update},        {50, &World::Final},
      {8, &World::Cancel},          {4, &World::GenerateRandom}, {3, &World::CheckEverything}};
  constexpr size_t kOfAll = 9;
  Choose(std::span(kChoices).subspan(IsBeside() ? kOfAll : 0));
}

void World::StepShared(const std::vector<std::unique_ptr<World>>& others) {
  others_sessions_ = others_read_write_ = 0;
  for (const auto& other : others) {
    others_sessions_ += other->sessions_.size();
    for (const auto& [handle, session] : other->sessions_) {
      others_read_write_ += session.read_write ? 1 : 0;
    }
  }
  // With a session of its own nobody is logged out by others that close theirs.
  while (sessions_.empty()) OpenSession();
  if (login_ == LoggedIn::kNobody && random_.Coin()) return LogIn();
  static constexpr Choice kChoices[] = {{10, &World::LogIn},    {4, &World::LogOut},
                                        {4, &World::SetPin},    {4, &World::InitPin},
                                        {4, &World::TokenInfo}, {2, &World::SessionInfo},
                                        {1, &World::InitToken}, {3, &World::FinaliseAndInitialise}};
  Choose(kChoices);
}

void World::Follow(const World& shared) {
  if (processes_ != shared.processes_) {
    ForgetProcess();
  } else if (logouts_ != shared.logouts_) {
    DropPrivate();
  }
  processes_ = shared.processes_;
  logouts_ = shared.logouts_;
  initialised_ = shared.initialised_;
  slot_ = shared.slot_;
  login_ = shared.login_;
}

void World::FinaliseAndInitialise() {
  Finalise();
  Initialise();
  others_sessions_ = others_read_write_ = 0;
  while (sessions_.empty()) OpenSession();
}

void World::Finish() {
  if (initialised_) Finalise();
}

void World::Initialise() {
  const CK_RV want = initialised_ ? CKR_CRYPTOKI_ALREADY_INITIALIZED : CKR_OK;
  Expect("C_Initialize", want, blackbox::Initialise());
  if (initialised_) return;
  initialised_ = true;
  slot_ = blackbox::FindToken("model");
}

void World::Finalise() {
  Expect("C_Finalize", initialised_ ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED,
         P11().C_Finalize(nullptr));
  initialised_ = false;
  ForgetProcess();
}

void World::ForgetProcess() {
  ++processes_;
  login_ = LoggedIn::kNobody;
  for (const auto& [handle, session] : sessions_) stale_sessions_.insert(handle);
  sessions_.clear();
  for (auto it = objects_.begin(); it != objects_.end();) {
    const int index = it->first;
    ++it;
    Object& object = objects_.at(index);
    if (object.handle != 0) stale_handles_.insert(object.handle);
    handles_.erase(object.handle);
    object.handle = 0;
    if (!object.token()) objects_.erase(index);
  }
}

CK_RV World::SessionProblem(CK_SESSION_HANDLE session) const {
  if (!initialised_) return CKR_CRYPTOKI_NOT_INITIALIZED;
  return sessions_.contains(session) ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

CK_SESSION_HANDLE World::AnySession() {
  if (!sessions_.empty() && !random_.OneIn(40)) return random_.Of(sessions_).first;
  if (!stale_sessions_.empty() && random_.Coin()) return random_.Of(stale_sessions_);
  return CK_INVALID_HANDLE;
}

Caller World::CallerOf(CK_SESSION_HANDLE session) const {
  return {login_, sessions_.at(session).read_write};
}

void World::OpenSession() {
  if (sessions_.size() >= kMaxSessions) return CloseSession();
  const bool read_write = !random_.OneIn(3);
  const bool serial = !random_.OneIn(20);
  const CK_FLAGS flags = (serial ? CKF_SERIAL_SESSION : 0UL) | (read_write ? CKF_RW_SESSION : 0UL);
  CK_SESSION_HANDLE handle = 0;
  const CK_RV rv = P11().C_OpenSession(slot_, flags, nullptr, nullptr, &handle);
  CK_RV want = CKR_OK;
  if (!initialised_) {
    want = CKR_CRYPTOKI_NOT_INITIALIZED;
  } else if (!serial) {
    want = CKR_SESSION_PARALLEL_NOT_SUPPORTED;
  } else if (!read_write && login_ == LoggedIn::kSecurityOfficer) {
    want = CKR_SESSION_READ_WRITE_SO_EXISTS;
  }
  Expect("C_OpenSession", want, rv);
  if (want != CKR_OK) return;
  if (sessions_.contains(handle) || stale_sessions_.contains(handle))
    Fail("a session handle again");
  sessions_[handle].read_write = read_write;
}

void World::DropSession(CK_SESSION_HANDLE session) {
  std::vector<int> gone;
  for (const auto& [index, object] : objects_) {
    if (object.session == session && !object.token()) gone.push_back(index);
  }
  for (const int index : gone) Forget(index);
  sessions_.erase(session);
  stale_sessions_.insert(session);
  if (sessions_.empty() && !IsBeside()) {
    login_ = LoggedIn::kNobody;
    DropPrivate();
  }
}

void World::Forget(int index) {
  const Object& object = objects_.at(index);
  if (object.handle != 0) {
    handles_.erase(object.handle);
    stale_handles_.insert(object.handle);
  }
  objects_.erase(index);
}

// Private objects leave with the user: those of sessions for good, those of the token until later.
void World::DropPrivate() {
  ++logouts_;
  std::vector<int> gone;
  for (auto& [index, object] : objects_) {
    if (!object.is_private()) continue;
    ++object.departures;
    if (object.handle != 0) {
      handles_.erase(object.handle);
      stale_handles_.insert(object.handle);
      object.handle = 0;
    }
    if (!object.token()) gone.push_back(index);
  }
  for (const int index : gone) objects_.erase(index);
  for (auto& [handle, session] : sessions_) {
    for (auto& operation : session.operations) {
      if (operation && operation->private_key) operation.reset();
    }
  }
}

void World::CloseSession() {
  const CK_SESSION_HANDLE session = AnySession();
  const CK_RV want = SessionProblem(session);
  Expect("C_CloseSession", want, P11().C_CloseSession(session));
  if (want == CKR_OK) DropSession(session);
}

void World::CloseAllSessions() {
  Expect("C_CloseAllSessions", initialised_ ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED,
         P11().C_CloseAllSessions(slot_));
  while (!sessions_.empty()) DropSession(sessions_.begin()->first);
}

void World::SessionInfo() {
  const CK_SESSION_HANDLE session = AnySession();
  CK_SESSION_INFO info{};
  const CK_RV want = SessionProblem(session);
  Expect("C_GetSessionInfo", want, P11().C_GetSessionInfo(session, &info));
  if (want != CKR_OK) return;
  const bool read_write = sessions_.at(session).read_write;
  CK_STATE state = read_write ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
  if (login_ == LoggedIn::kUser) state = read_write ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
  if (login_ == LoggedIn::kSecurityOfficer) state = CKS_RW_SO_FUNCTIONS;
  if (info.state != state) Fail("the session's state is " + std::to_string(info.state));
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0UL);
  if (info.flags != flags || info.slotID != slot_) Fail("the session's flags or slot");
}

void World::TokenInfo() {
  CK_TOKEN_INFO info{};
  const CK_RV want = initialised_ ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
  Expect("C_GetTokenInfo", want, P11().C_GetTokenInfo(slot_, &info));
  if (want != CKR_OK) return;
  CK_FLAGS flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED;
  if (user_pin_) flags |= CKF_USER_PIN_INITIALIZED;
  const auto count = [&](unsigned failures, CK_FLAGS low, CK_FLAGS final, CK_FLAGS locked) {
    if (failures > 0) flags |= low;
    if (failures + 1 == kMaxFailures) flags |= final;
    if (failures >= kMaxFailures) flags |= locked;
  };
  count(user_failures_, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED);
  count(so_failures_, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
  if (info.flags != flags) {
    Fail("the token's flags are " + std::to_string(info.flags) + ", not " + std::to_string(flags));
  }
  CK_ULONG read_write = others_read_write_;
  for (const auto& [handle, session] : sessions_) read_write += session.read_write ? 1 : 0;
  if (info.ulSessionCount != sessions_.size() + others_sessions_ ||
      info.ulRwSessionCount != read_write) {
    Fail("the token's session counts");
  }
}

const std::optional<std::string>& World::PinOf(LoggedIn role) const {
  static thread_local std::optional<std::string> so_pin;
  if (role == LoggedIn::kUser) return user_pin_;
  so_pin = so_pin_;
  return so_pin;
}

std::string World::WrongPin(const std::string& right) { return right + "x"; }

CK_RV World::Guess(LoggedIn role, const std::string& pin) {
  const auto& right = PinOf(role);
  unsigned& failures = role == LoggedIn::kUser ? user_failures_ : so_failures_;
  if (!right) return CKR_USER_PIN_NOT_INITIALIZED;
  if (failures >= kMaxFailures) return CKR_PIN_LOCKED;
  if (pin == *right) {
    failures = 0;
    return CKR_OK;
  }
  ++failures;
  return CKR_PIN_INCORRECT;
}

void World::LogIn() {
  const CK_SESSION_HANDLE session = AnySession();
  const LoggedIn role = random_.OneIn(4) ? LoggedIn::kSecurityOfficer : LoggedIn::kUser;
  const CK_USER_TYPE user = role == LoggedIn::kUser ? CKU_USER : CKU_SO;
  // A security officer whose PIN is locked would be the end of the token.
  const bool may_fail = role == LoggedIn::kUser || so_failures_ == 0;
  std::string pin = PinOf(role).value_or("none");
  if (may_fail && random_.OneIn(5)) pin = WrongPin(pin);
  const CK_RV rv = P11().C_Login(session, user, Utf8(pin), pin.size());
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && login_ == role) want = CKR_USER_ALREADY_LOGGED_IN;
  if (want == CKR_OK && login_ != LoggedIn::kNobody) want = CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
  if (want == CKR_OK && role == LoggedIn::kSecurityOfficer) {
    if (others_sessions_ != others_read_write_) want = CKR_SESSION_READ_ONLY_EXISTS;
    for (const auto& [handle, each] : sessions_) {
      if (!each.read_write) want = CKR_SESSION_READ_ONLY_EXISTS;
    }
  }
  if (want == CKR_OK) want = Guess(role, pin);
  Expect("C_Login", want, rv);
  if (want == CKR_OK) login_ = role;
}

void World::LogOut() {
  const CK_SESSION_HANDLE session = AnySession();
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && login_ == LoggedIn::kNobody) want = CKR_USER_NOT_LOGGED_IN;
  Expect("C_Logout", want, P11().C_Logout(session));
  if (want != CKR_OK) return;
  login_ = LoggedIn::kNobody;
  DropPrivate();
}

void World::InitToken() {
  const bool wrong = so_failures_ == 0 && random_.OneIn(3);
  const std::string pin = wrong ? WrongPin(so_pin_) : so_pin_;
  const CK_RV rv = P11().C_InitToken(slot_, Utf8(pin), pin.size(), Utf8(Label()));
  CK_RV want = initialised_ ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
  if (want == CKR_OK && !sessions_.empty()) want = CKR_SESSION_EXISTS;
  if (want == CKR_OK) want = Guess(LoggedIn::kSecurityOfficer, pin);
  Expect("C_InitToken", want, rv);
  if (want != CKR_OK) return;
  user_pin_.reset();
  user_failures_ = so_failures_ = 0;
  while (!objects_.empty()) Forget(objects_.begin()->first);
}

void World::InitPin() {
  const CK_SESSION_HANDLE session = AnySession();
  const std::string pin = random_.OneIn(6) ? "abc" : "user pin " + std::to_string(random_.Below(9));
  const CK_RV rv = P11().C_InitPIN(session, Utf8(pin), pin.size());
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && login_ != LoggedIn::kSecurityOfficer) want = CKR_USER_NOT_LOGGED_IN;
  if (want == CKR_OK && pin.size() < 4) want = CKR_PIN_LEN_RANGE;
  Expect("C_InitPIN", want, rv);
  if (want != CKR_OK) return;
  user_pin_ = pin;
  user_failures_ = 0;
}

void World::SetPin() {
  const CK_SESSION_HANDLE session = AnySession();
  const LoggedIn role =
      login_ == LoggedIn::kSecurityOfficer ? LoggedIn::kSecurityOfficer : LoggedIn::kUser;
  std::string old_pin = PinOf(role).value_or("none");
  const bool may_fail = role == LoggedIn::kUser || so_failures_ == 0;
  if (may_fail && random_.OneIn(4)) old_pin = WrongPin(old_pin);
  const std::string new_pin =
      random_.OneIn(6) ? "abc" : "new pin " + std::to_string(random_.Below(9));
  const CK_RV rv =
      P11().C_SetPIN(session, Utf8(old_pin), old_pin.size(), Utf8(new_pin), new_pin.size());
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && !sessions_.at(session).read_write) want = CKR_SESSION_READ_ONLY;
  if (want == CKR_OK && new_pin.size() < 4) want = CKR_PIN_LEN_RANGE;
  if (want == CKR_OK) want = Guess(role, old_pin);
  Expect("C_SetPIN", want, rv);
  if (want != CKR_OK) return;
  (role == LoggedIn::kUser ? user_pin_.emplace() : so_pin_) = new_pin;
}

void World::GenerateRandom() {
  const CK_SESSION_HANDLE session = AnySession();
  Bytes bytes(16);
  const CK_RV want = SessionProblem(session);
  Expect("C_GenerateRandom", want, P11().C_GenerateRandom(session, bytes.data(), bytes.size()));
  if (want == CKR_OK && bytes == Bytes(16)) Fail("random bytes that are all zero");
}

}  // namespace secretmem::model

#include "pkcs11/token.h"

#include <time.h>

#include <algorithm>
#include <cstring>

#include "pkcs11/log.h"
#include "pkcs11/pin.h"
#include "pkcs11/profiles.h"
#include "vault/random.h"
#include "vault/sealing.h"

namespace secretmem {
namespace {

int64_t NowUs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

using Kind = StoreError::Kind;

CK_RV RvOfKind(Kind kind) {
  switch (kind) {
    case Kind::kNotFound:
    case Kind::kStale:
      return CKR_DEVICE_REMOVED;
    case Kind::kNoObject:
      return CKR_OBJECT_HANDLE_INVALID;
    case Kind::kFull:
      return CKR_DEVICE_MEMORY;
    case Kind::kReadOnly:
      return CKR_TOKEN_WRITE_PROTECTED;
    case Kind::kCorrupt:
    case Kind::kForeign:
      return CKR_TOKEN_NOT_RECOGNIZED;
    case Kind::kConflict:
    case Kind::kExists:
    case Kind::kBusy:
    case Kind::kInvalid:
      return CKR_FUNCTION_FAILED;
    case Kind::kPermission:
    case Kind::kIo:
      break;
  }
  return CKR_DEVICE_ERROR;
}

template <class T>
CkResult<T> FromStore(StoreResult<T> result) {
  if (!result) return Refuse(RvOfStoreError(result.error()));
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*result);
  }
}

template <class T>
CkResult<T> FromVault(VaultResult<T> result) {
  if (!result) LogError("secret memory: %s", Describe(result.error().code));
  return ToCk(std::move(result));
}

CkResult<uint64_t> RandomNumber() {
  uint8_t bytes[sizeof(uint64_t)];
  if (auto drawn = FromVault(RandomBytes(bytes)); !drawn) return Refuse(drawn.error());
  uint64_t number;
  memcpy(&number, bytes, sizeof(number));
  // SQLite's integers are signed, and zero means none.
  return (number >> 1) | 1;
}

// NewRecord makes what C_InitToken writes: a fresh token key wrapped under the SO's PIN.
CkResult<TokenRecord> NewRecord(const Config& config, std::string serial, Pin so_pin,
                                const std::array<uint8_t, 32>& label) {
  TokenRecord record;
  record.label = label;
  record.serial = std::move(serial);
  const auto incarnation = RandomNumber();
  if (!incarnation) return Refuse(incarnation.error());
  record.incarnation = *incarnation;
  auto token_key = FromVault(NewSealingKey());
  if (!token_key) return Refuse(token_key.error());
  auto so = WrapUnderPin(config.pin, PinRole::kSecurityOfficer, record.serial, so_pin, *token_key);
  if (!so) return Refuse(so.error());
  record.so = std::move(*so);
  record.store_key_blob.resize(kSealingKeyBytes);
  if (auto drawn = FromVault(RandomBytes(record.store_key_blob)); !drawn) {
    return Refuse(drawn.error());
  }
  return record;
}

}  // namespace

CK_RV RvOfStoreError(const StoreError& error) {
  LogError("token store: %s", error.reason.c_str());
  return RvOfKind(error.kind);
}

CkResult<TokenRecord> Token::ReadRecord() {
  return FromStore(store_.Call([](TokenStore& store) { return store.Read(); }));
}

CkResult<std::shared_ptr<Token>> Token::Create(const Config& config, CK_SLOT_ID slot, Pin so_pin,
                                               const std::array<uint8_t, 32>& label) {
  if (auto length = CheckNewPin(config.pin, so_pin); !length) return Refuse(length.error());
  const auto number = RandomNumber();
  if (!number) return Refuse(number.error());
  char serial[17];
  snprintf(serial, sizeof(serial), "%04lx%012llx", slot & 0xffff,
           static_cast<unsigned long long>(*number & 0xffffffffffff));
  auto record = NewRecord(config, serial, so_pin, label);
  if (!record) return Refuse(record.error());
  const std::string path = TokenFilePath(config.tokens_directory, serial);
  const auto made = FromStore(CallInSlices([&]() -> StoreResult<void> {
    if (auto there = EnsureTokenDirectory(config.tokens_directory); !there) return there;
    return TokenStore::Make(path, *record);
  }));
  if (!made) return Refuse(made.error());
  auto token = FromStore(OpenFile(config, path));
  if (token) (*token)->Become(*record);
  return token;
}

StoreResult<std::shared_ptr<Token>> Token::OpenFile(const Config& config, const std::string& path) {
  // The connection is known to the fork handlers before the gate opens.
  return CallInSlices([&]() -> StoreResult<std::shared_ptr<Token>> {
    auto store = TokenStore::Open(path);
    if (!store) return std::unexpected(store.error());
    return std::shared_ptr<Token>(new Token(config, std::move(*store)));
  });
}

CkResult<std::shared_ptr<Token>> Token::Open(const Config& config, const std::string& path) {
  auto token = OpenFile(config, path);
  if (!token) {
    LogError("token store: %s", token.error().reason.c_str());
    return Refuse(token.error().kind == Kind::kNotFound ? CKR_TOKEN_NOT_PRESENT
                                                        : CKR_TOKEN_NOT_RECOGNIZED);
  }
  const auto record = (*token)->store_.Call([](TokenStore& its) { return its.Read(); });
  if (!record) {
    LogError("token store: %s", record.error().reason.c_str());
    return Refuse(CKR_TOKEN_NOT_RECOGNIZED);
  }
  (*token)->Become(*record);
  return std::move(*token);
}

void Token::Become(const TokenRecord& record) {
  incarnation_ = record.incarnation;
  for (ObjectPtr& profile : ProfileObjects(record.serial)) table_.Add(std::move(profile));
}

std::string Token::path() { return store_.path(); }

CkStatus Token::Check() {
  const int64_t now = NowUs(CLOCK_MONOTONIC);
  const auto state = store_.Call([](TokenStore& store) { return store.ChangeCounter(); });
  if (!state) return Refuse(RvOfStoreError(state.error()));
  if (state->incarnation != incarnation_) return Refuse(CKR_DEVICE_REMOVED);
  found_us_ = now;
  return {};
}

CkStatus Token::CheckForSession() {
  constexpr int64_t kHoldsUs = 1000;
  if (gone_) return Refuse(CKR_DEVICE_REMOVED);
  if (NowUs(CLOCK_MONOTONIC) < found_us_ + kHoldsUs) return {};
  return Check();
}

CkStatus Token::StillThere() {
  constexpr int64_t kEveryUs = 200'000;
  if (gone_) return Refuse(CKR_DEVICE_REMOVED);
  const int64_t now = NowUs(CLOCK_MONOTONIC_COARSE);
  int64_t due = next_check_us_;
  if (now < due || !next_check_us_.compare_exchange_strong(due, now + kEveryUs)) return {};
  const CkStatus there = Check();
  // A file that cannot be read just now may be the next time.
  if (there || there.error() != CKR_DEVICE_REMOVED) return {};
  gone_ = true;
  (void)LogOut();
  return there;
}

CkStatus Token::Info(CK_TOKEN_INFO& info) {
  const auto record = ReadRecord();
  if (!record) return Refuse(record.error());
  memcpy(info.label, record->label.data(), sizeof(info.label));
  memcpy(info.serialNumber, record->serial.data(),
         std::min(sizeof(info.serialNumber), record->serial.size()));
  info.flags |= CKF_TOKEN_INITIALIZED;
  if (!record->user.wrapped_key.empty()) info.flags |= CKF_USER_PIN_INITIALIZED;
  const auto failures = [&](const PinRecord& pin, CK_FLAGS low, CK_FLAGS final, CK_FLAGS locked) {
    const uint32_t most = config_.pin.max_failures;
    if (pin.failures > 0) info.flags |= low;
    if (most > 0 && pin.failures + 1 == most) info.flags |= final;
    if (most > 0 && pin.failures >= most) info.flags |= locked;
  };
  failures(record->user, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED);
  failures(record->so, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
  const std::lock_guard lock(mutex_);
  info.ulSessionCount = sessions_;
  info.ulRwSessionCount = read_write_sessions_;
  return {};
}

CkStatus Token::Reinitialise(Pin so_pin, const std::array<uint8_t, 32>& label) {
  {
    const std::lock_guard lock(mutex_);
    if (sessions_ > 0) return Refuse(CKR_SESSION_EXISTS);
  }
  auto record = ReadRecord();
  if (!record) return Refuse(record.error());
  const uint64_t before = record->incarnation;
  if (auto known = TryPin(PinRole::kSecurityOfficer, so_pin, *record); !known) {
    return Refuse(known.error());
  }
  auto fresh = NewRecord(config_, record->serial, so_pin, label);
  if (!fresh) return Refuse(fresh.error());
  const auto done =
      FromStore(store_.Call([&](TokenStore& store) { return store.Reinitialise(before, *fresh); }));
  if (!done) return Refuse(done.error());
  // The profiles are those of the module, and stay.
  table_.RemoveIf([](const Object& object) { return object.object_class() != CKO_PROFILE; });
  table_.Restart();
  const std::lock_guard lock(mutex_);
  incarnation_ = fresh->incarnation;
  keys_ = store_keys_ = nullptr;
  login_ = Login::kNobody;
  ++logouts_;
  private_clock_ = store_clock_ = std::nullopt;
  expired_rows_.clear();
  return {};
}

CkStatus Token::SessionOpened(bool read_write) {
  const std::lock_guard lock(mutex_);
  if (!read_write && login_ == Login::kSecurityOfficer) {
    return Refuse(CKR_SESSION_READ_WRITE_SO_EXISTS);
  }
  ++sessions_;
  if (read_write) ++read_write_sessions_;
  return {};
}

void Token::SessionClosed(bool read_write) {
  {
    const std::lock_guard lock(mutex_);
    if (read_write) --read_write_sessions_;
    if (--sessions_ > 0) return;
    // Under the same lock: a login that comes after belongs to a new session.
    login_ = Login::kNobody;
    keys_ = nullptr;
  }
  DropPrivate();
}

void Token::DropPrivate() {
  // First, so that what another thread is loading with the keys of before does not come after.
  table_.Restart();
  table_.RemoveIf([](const Object& object) { return object.Is(CKA_PRIVATE); });
}

CkStatus Token::LogIn(CK_USER_TYPE user, Pin pin) {
  if (user != CKU_USER && user != CKU_SO) return Refuse(CKR_USER_TYPE_INVALID);
  const Login wanted = user == CKU_SO ? Login::kSecurityOfficer : Login::kUser;
  const auto allowed = [&]() -> CkStatus {
    // Nobody would be left to log out.
    if (sessions_ == 0) return Refuse(CKR_SESSION_CLOSED);
    if (login_ == wanted) return Refuse(CKR_USER_ALREADY_LOGGED_IN);
    if (login_ != Login::kNobody) return Refuse(CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    if (wanted == Login::kSecurityOfficer && sessions_ > read_write_sessions_) {
      return Refuse(CKR_SESSION_READ_ONLY_EXISTS);
    }
    return {};
  };
  {
    const std::lock_guard lock(mutex_);
    if (auto may = allowed(); !may) return may;
  }
  auto record = ReadRecord();
  if (!record) return Refuse(record.error());
  auto token_key =
      TryPin(user == CKU_SO ? PinRole::kSecurityOfficer : PinRole::kUser, pin, *record);
  if (!token_key) return Refuse(token_key.error());
  auto keys = SealingKeys::From(std::move(*token_key));
  if (!keys) return Refuse(keys.error());
  {
    const std::lock_guard lock(mutex_);
    if (record->incarnation != incarnation_) return Refuse(CKR_DEVICE_REMOVED);
    // Another thread may have logged in, or closed the last session, while this one computed.
    if (auto may = allowed(); !may) return may;
    login_ = wanted;
    keys_ = std::move(*keys);
  }
  // Private objects were passed over so far.
  table_.Restart();
  return {};
}

CkStatus Token::CheckUserPin(Pin pin) {
  if (login() != Login::kUser) return Refuse(CKR_USER_NOT_LOGGED_IN);
  const auto record = ReadRecord();
  if (!record) return Refuse(record.error());
  const auto key = TryPin(PinRole::kUser, pin, *record);
  if (!key) return Refuse(key.error());
  return {};
}

CkStatus Token::LogOut() {
  {
    const std::lock_guard lock(mutex_);
    if (login_ == Login::kNobody) return Refuse(CKR_USER_NOT_LOGGED_IN);
    login_ = Login::kNobody;
    ++logouts_;
    keys_ = nullptr;
  }
  DropPrivate();
  return {};
}

CkResult<Vault> Token::TryPin(PinRole role, Pin pin, const TokenRecord& record) {
  const PinRecord& known = role == PinRole::kUser ? record.user : record.so;
  if (known.wrapped_key.empty()) return Refuse(CKR_USER_PIN_NOT_INITIALIZED);
  if (config_.pin.max_failures > 0 && known.failures >= config_.pin.max_failures) {
    return Refuse(CKR_PIN_LOCKED);
  }
  WaitAfterFailures(config_.pin, known);
  auto key = UnwrapUnderPin(role, record.serial, pin, known);
  const auto locked = [&](uint32_t failures) {
    return config_.pin.max_failures > 0 && failures >= config_.pin.max_failures;
  };
  if (key) {
    // Others may have guessed meanwhile, and locked it.
    const auto now = ReadRecord();
    if (!now) return Refuse(now.error());
    const PinRecord& pin_now = role == PinRole::kUser ? now->user : now->so;
    if (locked(pin_now.failures)) return Refuse(CKR_PIN_LOCKED);
    if (pin_now.failures > 0) {
      const auto reset = FromStore(store_.Call(
          [&](TokenStore& store) { return store.ResetPinFailures(record.incarnation, role); }));
      if (!reset) return Refuse(reset.error());
    }
    return key;
  }
  if (key.error() == CKR_PIN_INCORRECT) {
    const auto counted = FromStore(store_.Call([&](TokenStore& store) {
      return store.RecordPinFailure(record.incarnation, role, UnixMilliseconds());
    }));
    // A wrong PIN that cannot be counted is not answered as one.
    if (!counted) return Refuse(counted.error());
    // Of guesses made at once, no more are answered than of guesses one by one.
    if (locked(counted->failures - 1)) return Refuse(CKR_PIN_LOCKED);
  }
  return key;
}

CkStatus Token::InitPin(Pin pin) {
  Keys keys;
  uint64_t incarnation;
  {
    const std::lock_guard lock(mutex_);
    if (login_ != Login::kSecurityOfficer) return Refuse(CKR_USER_NOT_LOGGED_IN);
    keys = keys_;
    incarnation = incarnation_;
  }
  if (auto length = CheckNewPin(config_.pin, pin); !length) return length;
  const auto record = ReadRecord();
  if (!record) return Refuse(record.error());
  auto wrapped = WrapUnderPin(config_.pin, PinRole::kUser, record->serial, pin, keys->base);
  if (!wrapped) return Refuse(wrapped.error());
  wrapped->version = record->user.version;
  const auto done = FromStore(store_.Call(
      [&](TokenStore& store) { return store.UpdatePin(incarnation, PinRole::kUser, *wrapped); }));
  if (!done) return Refuse(done.error());
  return {};
}

CkStatus Token::SetPin(Pin old_pin, Pin new_pin) {
  const PinRole role =
      login() == Login::kSecurityOfficer ? PinRole::kSecurityOfficer : PinRole::kUser;
  if (auto length = CheckNewPin(config_.pin, new_pin); !length) return length;
  auto record = ReadRecord();
  if (!record) return Refuse(record.error());
  const auto token_key = TryPin(role, old_pin, *record);
  if (!token_key) return Refuse(token_key.error());
  auto wrapped = WrapUnderPin(config_.pin, role, record->serial, new_pin, *token_key);
  if (!wrapped) return Refuse(wrapped.error());
  // The failures that TryPin reset count as a change.
  const auto again = ReadRecord();
  if (!again) return Refuse(again.error());
  const auto& before = role == PinRole::kUser ? record->user : record->so;
  const auto& now = role == PinRole::kUser ? again->user : again->so;
  if (now.wrapped_key != before.wrapped_key) return Refuse(CKR_PIN_INCORRECT);
  wrapped->version = now.version;
  const auto done = FromStore(store_.Call(
      [&](TokenStore& store) { return store.UpdatePin(record->incarnation, role, *wrapped); }));
  if (!done) return Refuse(done.error());
  return {};
}

}  // namespace secretmem

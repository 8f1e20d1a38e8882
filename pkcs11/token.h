#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pkcs11/config.h"
#include "pkcs11/object_builder.h"
#include "pkcs11/object_codec.h"
#include "pkcs11/object_table.h"
#include "pkcs11/pin.h"
#include "pkcs11/store_gate.h"
#include "pkcs11/token_clock.h"
#include "pkcs11/token_store.h"
#include "vault/short_mutex.h"

namespace secretmem {

// RvOfStoreError logs why the store refused, and returns the code for the client.
CK_RV RvOfStoreError(const StoreError& error);

// Token is an initialised token: its file, its objects, who is logged in. Sessions are counted
// here, and live in the module. All members may be called from any thread.
class Token {
 public:
  // Create makes the token file for C_InitToken in |directory|, with a serial number that begins
  // with |slot|.
  static CkResult<std::shared_ptr<Token>> Create(const Config& config, CK_SLOT_ID slot, Pin so_pin,
                                                 const std::array<uint8_t, 32>& label);

  // Open opens an existing one. CKR_TOKEN_NOT_RECOGNIZED for a damaged or foreign file,
  // CKR_TOKEN_NOT_PRESENT for one that is gone.
  static CkResult<std::shared_ptr<Token>> Open(const Config& config, const std::string& path);

  // path returns that of the token's file.
  std::string path();

  // Info fills what C_GetTokenInfo tells, session counts included.
  CkStatus Info(CK_TOKEN_INFO& info);

  // Reinitialise is C_InitToken on this token. CKR_SESSION_EXISTS while it has sessions.
  CkStatus Reinitialise(Pin so_pin, const std::array<uint8_t, 32>& label);

  // CheckForSession fails for C_OpenSession once the token was initialised again or removed, by
  // whomever: CKR_DEVICE_REMOVED. What the file has said holds for a millisecond.
  CkStatus CheckForSession();

  // StillThere is the same for every call of every session: it asks the file a few times a second
  // at most. Once the token is gone its keys are dropped, and the answer stays CKR_DEVICE_REMOVED.
  CkStatus StillThere();

  // SessionOpened counts; CKR_SESSION_READ_WRITE_SO_EXISTS for a read-only one beside the SO's.
  // SessionClosed logs out with the last one.
  CkStatus SessionOpened(bool read_write);
  void SessionClosed(bool read_write);

  Login login() const { return login_; }

  // logouts counts how often somebody has logged out: a private key that was found at another
  // count is gone.
  uint64_t logouts() const { return logouts_; }

  // LogIn and LogOut are C_Login and C_Logout. LogOut drops private objects.
  CkStatus LogIn(CK_USER_TYPE user, Pin pin);
  CkStatus LogOut();

  // CheckUserPin tries the user's PIN while that one is logged in.
  CkStatus CheckUserPin(Pin pin);

  // InitPin is C_InitPIN: the security officer is logged in.
  CkStatus InitPin(Pin pin);

  // SetPin is C_SetPIN: the SO's PIN while that one is logged in, the user's otherwise.
  CkStatus SetPin(Pin old_pin, Pin new_pin);

  // NewUid returns an id that no object has had before, in any token. Random once, counted from
  // there, so that it costs nothing.
  CkResult<ObjectUid> NewUid();

  // Refresh takes in what other processes have done to the token's objects that are in memory.
  CkStatus Refresh();

  // Load does so too, and makes sure that all token objects are in memory that |wanted| can match,
  // and that the present login may see: few where |wanted| has an attribute that rows are found by,
  // else all there are.
  CkStatus Load(const TemplateReader& wanted = {});

  // Find returns an object that the present login may see, or null.
  ObjectPtr Find(CK_OBJECT_HANDLE handle) const;

  // Has says whether the handle stands for an object, whoever may see it.
  bool Has(CK_OBJECT_HANDLE handle) const { return table_.Find(handle) != nullptr; }

  // Add makes objects durable where they are token objects, all of them or none, and gives them
  // handles.
  CkResult<std::vector<CK_OBJECT_HANDLE>> Add(std::vector<std::shared_ptr<Object>> objects);

  // Replace puts |changed|, a new version of |before|, in its place. False, and nothing is done, if
  // somebody else has changed the object meanwhile.
  CkResult<bool> Replace(CK_OBJECT_HANDLE handle, const ObjectPtr& before,
                         std::shared_ptr<Object> changed);

  // Destroy removes the object for good.
  CkStatus Destroy(CK_OBJECT_HANDLE handle, const ObjectPtr& object);

  // SetAlarm: see ObjectTable. TakeExpired takes expired objects out and returns their handles,
  // ascending: with the operations that use them their vaults go. EarliestDeadline is the next.
  void SetAlarm(std::shared_ptr<Alarm> alarm);
  std::vector<CK_OBJECT_HANDLE> TakeExpired(int64_t now);
  int64_t EarliestDeadline() const { return table_.EarliestDeadline(); }

  // Tidy deletes expired keys from the token's file, and renews the token's clock there. Where the
  // file cannot be written just now it is tried again the next time.
  void Tidy() noexcept;

  // ForgetSession drops the objects of a session.
  void ForgetSession(CK_SESSION_HANDLE session) { table_.RemoveSession(session); }

  // Present and Select: see ObjectTable. Selected is only what the present login may see.
  HandleRange Present() const { return table_.Present(); }

  template <class Wanted>
  std::vector<CK_OBJECT_HANDLE> Select(const IndexKeys& keys, HandleRange range, size_t most,
                                       Wanted&& wanted) const {
    const bool user = login() == Login::kUser;
    return table_.Select(keys, range, most, [&](const Object& object) {
      return (user || !object.Is(CKA_PRIVATE)) && !object.IsExpired() && wanted(object);
    });
  }

 private:
  using Keys = std::shared_ptr<const SealingKeys>;

  Token(const Config& config, TokenStore store) : config_(config), store_(std::move(store)) {}

  // Become takes in what the file says the token is; before anybody else has it.
  void Become(const TokenRecord& record);

  static StoreResult<std::shared_ptr<Token>> OpenFile(const Config& config,
                                                      const std::string& path);

  // Check asks the file whether it is still this token's.
  CkStatus Check();

  // DropPrivate takes the private objects out of the table.
  void DropPrivate();

  // TryPin unwraps the token key with |pin|, counting failures and waiting as configured.
  CkResult<Vault> TryPin(PinRole role, Pin pin, const TokenRecord& record);
  CkResult<TokenRecord> ReadRecord();
  // KeysFor returns what seals rows of |kind|: null for public ones.
  CkResult<Keys> KeysFor(RowKind kind);
  CkResult<Keys> StoreKeys();
  // HashesOf returns the hashes that the present login finds objects of |term| by.
  CkResult<std::vector<IndexHash>> HashesOf(const IndexTerm& term);
  // Decode returns the object of a row; null for one that is not to be seen. What does not verify
  // stands in the log.
  CkResult<ObjectPtr> Decode(ObjectRow row);

  // The members for lifetimes are in token_lifetime.cc.
  enum class IfMissing : bool { kFail, kMake };
  // ClockNow returns the token time that counts for rows of |kind|. CKR_DEVICE_ERROR if it is not
  // there or was changed from outside.
  CkResult<ClockRecord> ClockNow(RowKind kind, IfMissing if_missing);
  // StoreClock renews the clock in the file, and makes it go as far as |known|; returns it.
  CkResult<ClockRecord> StoreClock(RowKind kind, const std::optional<ClockRecord>& known,
                                   IfMissing if_missing);
  // StampLifetimes gives new objects that have a lifetime their deadline.
  CkStatus StampLifetimes(std::span<const std::shared_ptr<Object>> objects);
  // SetDeadline does so for one from the file, and returns whether it is to be seen.
  bool SetDeadline(Object& object);
  void DeleteExpiredRows();
  void RenewClock(RowKind kind);

  const Config& config_;
  GatedStore store_;

  mutable ShortMutex mutex_;
  // These are written under |mutex_|, and read without where nothing else has to go with them.
  std::atomic<uint64_t> incarnation_ = 0;
  std::atomic<Login> login_ = Login::kNobody;
  std::atomic<uint64_t> logouts_ = 0;
  Keys keys_;            // while somebody is logged in
  Keys store_keys_;      // once a key with CKA_PRIVATE false was met
  ObjectUid first_uid_;  // once |has_first_uid_|
  std::atomic<bool> has_first_uid_ = false;
  std::atomic<uint64_t> uids_ = 0;
  size_t sessions_ = 0;
  size_t read_write_sessions_ = 0;

  // Of CLOCK_MONOTONIC: when StillThere asks the file again, and when it last said yes.
  std::atomic<int64_t> next_check_us_{0};
  std::atomic<int64_t> found_us_{std::numeric_limits<int64_t>::min()};
  std::atomic<bool> gone_{false};

  // A clock of the token's once it was read: any moment of it, and when it was last written.
  struct KnownClock {
    ClockRecord moment;
    int64_t written_ms;
  };
  // Under |mutex_|: of private objects and of those that need no login; and the rows of expired
  // objects that are to be deleted.
  std::optional<KnownClock> private_clock_;
  std::optional<KnownClock> store_clock_;
  std::vector<int64_t> expired_rows_;
  std::optional<KnownClock>& KnownClockOf(RowKind kind) {
    return kind == RowKind::kPrivate ? private_clock_ : store_clock_;
  }
  std::shared_ptr<Alarm> alarm_;

  ObjectTable table_;
};

}  // namespace secretmem

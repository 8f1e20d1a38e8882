#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "mechanisms/mechanism.h"
#include "pkcs11/alarm.h"
#include "pkcs11/attribute_set.h"
#include "pkcs11/clock.h"
#include "pkcs11/token_store.h"
#include "vault/vault.h"

namespace secretmem {

// KeySecret is the secret part of a key: a vault, or sealed bytes that become one at the first use.
// It is shared by all versions of an object, and by copies with the same bytes.
class KeySecret {
 public:
  explicit KeySecret(Vault vault);

  // |associated| is what the sealed bytes are bound to, |sealing_key| opens them.
  KeySecret(std::vector<uint8_t> sealed, std::vector<uint8_t> associated,
            std::shared_ptr<const Vault> sealing_key);

  // Open returns the vault, which lives as long as this does. CKR_DEVICE_ERROR if the sealed bytes
  // do not verify; a vault's failures. No lock is held while it unseals.
  // A broken seal stands in the log.
  CkResult<const Vault*> Open();

  // OpenQuietly is Open for callers that say it themselves.
  CkResult<const Vault*> OpenQuietly();

  // cache is where mechanisms keep what they make of the key.
  KeyCache& cache() { return cache_; }

 private:
  struct Sealed {
    const std::vector<uint8_t> sealed;
    const std::vector<uint8_t> associated;
    const std::shared_ptr<const Vault> sealing_key;
    std::mutex mutex{};
    std::optional<const Vault> vault{};       // once there it stays; under |mutex|
    std::atomic<const Vault*> open{nullptr};  // |vault| once it is there
  };

  // Most keys are of a session, and a session may have a million.
  const std::variant<Vault, std::unique_ptr<Sealed>> key_;
  KeyCache cache_;
};

// Object is one PKCS#11 object. Once it is in a table it never changes: C_SetAttributeValue puts
// another in its place.
struct Object : AttributeSource {
  AttributeSet attributes;
  std::shared_ptr<KeySecret> secret;  // null where there is none

  ObjectUid uid{};
  // Where it lies in the token's file, 0 for session objects; and those die with this session.
  int64_t row = 0;
  CK_SESSION_HANDLE session = 0;
  uint64_t version = 0;
  int64_t deadline = kNoDeadline;  // of CLOCK_BOOTTIME, in milliseconds

  // IsExpired reads the clock only where there is a deadline.
  bool IsExpired() const { return deadline != kNoDeadline && BoottimeMs() >= deadline; }

  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const override {
    return attributes.Get(type);
  }
  bool Is(CK_ATTRIBUTE_TYPE flag) const { return attributes.GetBool(flag).value_or(false); }
  CK_OBJECT_CLASS object_class() const {
    return attributes.GetUlong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  }
  CK_KEY_TYPE key_type() const {
    return attributes.GetUlong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION);
  }
};

using ObjectPtr = std::shared_ptr<const Object>;

// UniqueId is CKA_UNIQUE_ID's value, the uid as a UUID's 36 characters.
std::array<char, 36> UniqueId(const ObjectUid& uid);

}  // namespace secretmem

#include "pkcs11/pin.h"

#include <errno.h>
#include <time.h>

#include <algorithm>

#include "vault/random.h"
#include "vault/sealing.h"

namespace secretmem {
namespace {

constexpr size_t kSaltBytes = 16;

// A wrapping opens only for the token, the role and the cost that it was made for.
std::vector<uint8_t> Associated(PinRole role, std::string_view serial, const PinRecord& record) {
  std::vector<uint8_t> bytes{'p', 'i', 'n', static_cast<uint8_t>(role)};
  for (int shift = 0; shift < 32; shift += 8) {
    bytes.push_back(static_cast<uint8_t>(record.iterations >> shift));
  }
  bytes.insert(bytes.end(), record.salt.begin(), record.salt.end());
  bytes.insert(bytes.end(), serial.begin(), serial.end());
  return bytes;
}

// StretchedKey turns a PIN into the key that wraps. HMAC, which PBKDF2 is made of, takes a key and
// the same key with zero bytes behind it for one, so the length is made part of the salt.
CkResult<Vault> StretchedKey(Pin pin, const PinRecord& record) {
  std::vector<uint8_t> salt = record.salt;
  salt.push_back(static_cast<uint8_t>(pin.size()));
  salt.push_back(static_cast<uint8_t>(pin.size() >> 8));
  return ToCk(StretchPin(pin, salt, record.iterations));
}

}  // namespace

CkStatus CheckNewPin(const PinConfig& config, Pin pin) {
  if (pin.size() < config.min_length || pin.size() > config.max_length) {
    return Refuse(CKR_PIN_LEN_RANGE);
  }
  return {};
}

CkResult<PinRecord> WrapUnderPin(const PinConfig& config, PinRole role, std::string_view serial,
                                 Pin pin, const Vault& token_key) {
  PinRecord record;
  record.iterations = config.iterations;
  record.salt.resize(kSaltBytes);
  if (auto drawn = ToCk(RandomBytes(record.salt)); !drawn) return Refuse(drawn.error());
  const auto key = StretchedKey(pin, record);
  if (!key) return Refuse(key.error());
  auto wrapped = ToCk(Seal(*key, Associated(role, serial, record), token_key));
  if (!wrapped) return Refuse(wrapped.error());
  record.wrapped_key = std::move(*wrapped);
  return record;
}

CkResult<Vault> UnwrapUnderPin(PinRole role, std::string_view serial, Pin pin,
                               const PinRecord& record) {
  // The file says how often; one that was tampered with could ask for hours.
  if (record.iterations == 0 || record.iterations > kMaxPinIterations) {
    return Refuse(CKR_TOKEN_NOT_RECOGNIZED);
  }
  const auto key = StretchedKey(pin, record);
  if (!key) return Refuse(key.error());
  auto opened = Unseal(*key, Associated(role, serial, record), record.wrapped_key);
  if (!opened) {
    return Refuse(opened.error().code == VaultErrc::kSealBroken ? CKR_PIN_INCORRECT
                                                                : RvOf(opened.error()));
  }
  if (opened->size() != kSealingKeyBytes) return Refuse(CKR_TOKEN_NOT_RECOGNIZED);
  return std::move(*opened);
}

int64_t PinWaitMs(const PinConfig& config, const PinRecord& record, int64_t unix_ms) {
  const int64_t delay = PinDelayMs(config, record.failures);
  // A clock set back must not lengthen the wait beyond the delay itself, and the file may say
  // anything.
  int64_t passed;
  if (__builtin_sub_overflow(unix_ms, record.last_failure_unix_ms, &passed)) passed = 0;
  return delay - std::clamp<int64_t>(passed, 0, delay);
}

void WaitAfterFailures(const PinConfig& config, const PinRecord& record) {
  if (record.failures == 0) return;
  const int64_t left = PinWaitMs(config, record, UnixMilliseconds());
  if (left == 0) return;
  timespec wait{left / 1000, (left % 1000) * 1'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &wait) == EINTR) {
  }
}

int64_t UnixMilliseconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace secretmem

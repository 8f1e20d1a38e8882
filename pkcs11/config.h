// The configuration: a TOML file, or defaults that need none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "pkcs11/log.h"

namespace secretmem {

// kMaxPinIterations bounds the cost of one PIN, whoever asks for it: the configuration or a file.
inline constexpr uint32_t kMaxPinIterations = 100'000'000;

struct PinConfig {
  uint32_t iterations = 600'000;  // PBKDF2, for PINs set from now on. 1,000 to kMaxPinIterations.
  uint32_t min_length = 4;        // Bytes; 1 to 255.
  uint32_t max_length = 255;      // Bytes; min_length to 255.
  uint32_t max_failures = 10;     // Wrong PINs in a row that lock; 0: never. At most 1,000.
  uint32_t delay_ms = 100;        // First delay after a wrong PIN; 0: none. At most 60,000.

  bool operator==(const PinConfig&) const = default;
};

enum class MemoryProtection : uint8_t { kRequire, kAllowMlock };
enum class MemoryIsolation : uint8_t { kSlot, kPage };
// kAuto is kPkey where the processor has protection keys, else kNone.
enum class MemoryAtRest : uint8_t { kAuto, kNone, kPkey, kMprotect };

struct MemoryConfig {
  MemoryProtection protection = MemoryProtection::kRequire;
  MemoryIsolation isolation = MemoryIsolation::kSlot;
  MemoryAtRest at_rest = MemoryAtRest::kAuto;
  bool dumpable = true;  // false: the process is made undumpable (PR_SET_DUMPABLE).
  bool mseal = false;    // true: secret regions are sealed with mseal(2), and never unmapped.

  bool operator==(const MemoryConfig&) const = default;
};

struct MechanismConfig {
  bool weak = true;                         // false: OfferedMechanisms leaves out what is weak.
  std::vector<CK_MECHANISM_TYPE> disabled;  // Ascending, each once.

  bool operator==(const MechanismConfig&) const = default;
};

struct KeysConfig {
  // true: keys are of use between CKA_START_DATE and CKA_END_DATE only.
  bool enforce_dates = false;

  bool operator==(const KeysConfig&) const = default;
};

struct Config {
  std::string tokens_directory;  // Absolute.
  LogLevel log_level = LogLevel::kOff;
  PinConfig pin;
  MemoryConfig memory;
  MechanismConfig mechanisms;
  KeysConfig keys;
  std::string source;  // The file it was read from; empty: defaults.

  bool operator==(const Config&) const = default;
};

// ConfigError carries one line for the log: file, line where there is one, and what is wrong.
struct ConfigError {
  std::string reason;
};

// kMaxConfigBytes bounds the size of a configuration file.
inline constexpr size_t kMaxConfigBytes = size_t{64} << 10;

// LoadConfig reads the first of: the file SECRETMEM_PKCS11_CONF names (which must exist),
// $XDG_CONFIG_HOME/secretmem-pkcs11/config.toml (~/.config where unset),
// /etc/secretmem-pkcs11/config.toml; or takes the defaults. A file in a directory this user may not
// look into counts as missing. Unknown keys, wrong types, values out
// of range, and files that are there but cannot be read are errors. Environment variables count for
// nothing in set-uid programs. Tests name another `system_file`.
inline constexpr char kSystemConfig[] = "/etc/secretmem-pkcs11/config.toml";
std::expected<Config, ConfigError> LoadConfig(const std::string& system_file = kSystemConfig);

// ParseConfig reads `text`; `source` is the file name for messages. Leaves tokens_directory empty
// where the text does not set it.
std::expected<Config, ConfigError> ParseConfig(std::string_view text, const std::string& source);

// PinDelayMs is how long, in milliseconds, after `failures` wrong PINs in a row the next one must
// wait: delay_ms, doubled with every further failure, at most kMaxPinDelayMs (or delay_ms itself).
inline constexpr uint32_t kMaxPinDelayMs = 30'000;
uint32_t PinDelayMs(const PinConfig& pin, uint32_t failures);

}  // namespace secretmem

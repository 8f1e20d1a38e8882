// The log: lines on standard error, and only for who asked for them.
//
// Off unless SECRETMEM_PKCS11_LOG (or the configuration's log.level) says otherwise: a module is
// loaded by programs whose standard error belongs to somebody else. Messages name files, numbers
// and reasons; never a PIN, a key or anything derived from one.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace secretmem {

enum class LogLevel : uint8_t { kOff = 0, kError, kWarn, kInfo, kDebug };

// ParseLogLevel reads "off", "error", "warn", "info" or "debug".
std::optional<LogLevel> ParseLogLevel(std::string_view name);

// InitLog sets the level: SECRETMEM_PKCS11_LOG if it is set (ignored in set-uid programs), else
// `configured`. An unknown word in the environment counts as "error", and a line says so.
void InitLog(LogLevel configured);

void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();

// LogError and its like write one line, "secretmem-pkcs11: error: …\n", with one write(2): no
// locks, no allocation of ours, errno kept, no SIGPIPE, usable in a forked child and while the
// process exits. Control characters become '?', lines are cut at kMaxLogLine bytes.
inline constexpr int kMaxLogLine = 1024;
[[gnu::format(printf, 1, 2)]] void LogError(const char* format, ...);
[[gnu::format(printf, 1, 2)]] void LogWarn(const char* format, ...);
[[gnu::format(printf, 1, 2)]] void LogInfo(const char* format, ...);
[[gnu::format(printf, 1, 2)]] void LogDebug(const char* format, ...);

}  // namespace secretmem

#include "pkcs11/log.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "pkcs11/signal_shield.h"

namespace secretmem {

namespace {

// A constant-initialised atomic has no destructor to run: usable until the process is gone.
constinit std::atomic<LogLevel> g_level{LogLevel::kOff};

[[gnu::format(printf, 3, 0)]] void Write(LogLevel level, const char* word, const char* format,
                                         va_list arguments) {
  if (level > g_level.load(std::memory_order_relaxed)) return;
  const int saved_errno = errno;
  char line[kMaxLogLine];
  const int head = std::snprintf(line, sizeof line, "secretmem-pkcs11: %s: ", word);
  errno = saved_errno;  // For %m.
  const int body =
      std::vsnprintf(line + head, sizeof line - static_cast<size_t>(head), format, arguments);
  // The last byte is the newline's, in place of vsnprintf's terminator.
  const int length = std::min(head + std::max(body, 0), kMaxLogLine - 1);
  for (int i = head; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(line[i]);
    if (byte < 0x20 || byte == 0x7f) line[i] = '?';
  }
  line[length] = '\n';
  {
    const SignalShield shield;
    while (write(STDERR_FILENO, line, static_cast<size_t>(length) + 1) < 0 && errno == EINTR) {
    }
  }
  errno = saved_errno;
}

}  // namespace

std::optional<LogLevel> ParseLogLevel(std::string_view name) {
  if (name == "off") return LogLevel::kOff;
  if (name == "error") return LogLevel::kError;
  if (name == "warn") return LogLevel::kWarn;
  if (name == "info") return LogLevel::kInfo;
  if (name == "debug") return LogLevel::kDebug;
  return std::nullopt;
}

void InitLog(LogLevel configured) {
  const char* wanted = secure_getenv("SECRETMEM_PKCS11_LOG");
  if (wanted == nullptr || *wanted == '\0') {
    SetLogLevel(configured);
    return;
  }
  const std::optional<LogLevel> level = ParseLogLevel(wanted);
  SetLogLevel(level.value_or(LogLevel::kError));
  if (!level) {
    LogError("SECRETMEM_PKCS11_LOG is \"%.32s\"; it can be off, error, warn, info or debug",
             wanted);
  }
}

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }

LogLevel GetLogLevel() { return g_level.load(std::memory_order_relaxed); }

void LogError(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Write(LogLevel::kError, "error", format, arguments);
  va_end(arguments);
}

void LogWarn(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Write(LogLevel::kWarn, "warning", format, arguments);
  va_end(arguments);
}

void LogInfo(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Write(LogLevel::kInfo, "info", format, arguments);
  va_end(arguments);
}

void LogDebug(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Write(LogLevel::kDebug, "debug", format, arguments);
  va_end(arguments);
}

}  // namespace secretmem

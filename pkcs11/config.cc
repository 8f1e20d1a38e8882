#include "pkcs11/config.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

namespace secretmem {

namespace {

constexpr char kConfigName[] = "/secretmem-pkcs11/config.toml";
constexpr char kTokensName[] = "/secretmem-pkcs11/tokens";

std::unexpected<ConfigError> Failure(std::string reason) {
  return std::unexpected(ConfigError{std::move(reason)});
}

std::unexpected<ConfigError> FailureErrno(const std::string& path, int error) {
  return Failure(path + ": " + std::strerror(error));
}

// Environment returns an environment variable; nullopt if it is unset, empty or not to be trusted.
std::optional<std::string> Environment(const char* name) {
  const char* value = secure_getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

// AbsoluteEnvironment is Environment for what counts only as an absolute path.
std::optional<std::string> AbsoluteEnvironment(const char* name) {
  std::optional<std::string> value = Environment(name);
  if (value && !value->starts_with('/')) return std::nullopt;
  return value;
}

std::optional<std::string> Home() {
  if (std::optional<std::string> home = AbsoluteEnvironment("HOME")) return home;
  std::vector<char> buffer(16 << 10);
  passwd entry;
  passwd* found = nullptr;
  while (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) == ERANGE) {
    if (buffer.size() > (1u << 20)) return std::nullopt;
    buffer.resize(buffer.size() * 2);
  }
  if (found == nullptr || found->pw_dir == nullptr || *found->pw_dir != '/') return std::nullopt;
  return std::string(found->pw_dir);
}

// UserPath returns $VARIABLE/tail, else ~/fallback/tail; nullopt where there is no home.
std::optional<std::string> UserPath(const char* variable, const char* fallback, const char* tail) {
  if (const std::optional<std::string> base = AbsoluteEnvironment(variable)) return *base + tail;
  const std::optional<std::string> home = Home();
  if (!home) return std::nullopt;
  return *home + fallback + tail;
}

// ReadSmallFile reads a regular file of at most kMaxConfigBytes; nullopt if there is none.
std::expected<std::optional<std::string>, ConfigError> ReadSmallFile(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return std::nullopt;
    struct stat status;
    // A directory this user cannot even look into is not this user's: a service that changed its
    // user and kept HOME. A file that is there and cannot be read is an error.
    if (error == EACCES && lstat(path.c_str(), &status) != 0 && errno == EACCES) {
      LogWarn("%s: cannot look there, going on without", path.c_str());
      return std::nullopt;
    }
    return FailureErrno(path, error);
  }
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } const closer{fd};
  struct stat status;
  if (fstat(fd, &status) != 0) return FailureErrno(path, errno);
  if (!S_ISREG(status.st_mode)) return Failure(path + ": not a regular file");
  std::string text(kMaxConfigBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailureErrno(path, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kMaxConfigBytes) {
    return Failure(path + ": larger than " + std::to_string(kMaxConfigBytes) + " bytes");
  }
  text.resize(size);
  return text;
}

std::expected<Config, ConfigError> ReadConfig(const std::string& system_file) {
  std::vector<std::string> places;
  const std::optional<std::string> named = Environment("SECRETMEM_PKCS11_CONF");
  if (named) {
    places.push_back(*named);
  } else {
    if (const auto user = UserPath("XDG_CONFIG_HOME", "/.config", kConfigName)) {
      places.push_back(*user);
    }
    places.push_back(system_file);
  }
  for (const std::string& place : places) {
    std::expected<std::optional<std::string>, ConfigError> text = ReadSmallFile(place);
    if (!text) return std::unexpected(text.error());
    if (*text) return ParseConfig(**text, place);
    if (named) return Failure(place + ": no such file (named by SECRETMEM_PKCS11_CONF)");
  }
  return Config{};
}

}  // namespace

std::expected<Config, ConfigError> LoadConfig(const std::string& system_file) {
  std::expected<Config, ConfigError> config = ReadConfig(system_file);
  if (!config) return config;
  std::string& tokens = config->tokens_directory;
  if (tokens.starts_with("~/")) {
    const std::optional<std::string> home = Home();
    if (!home) return Failure(config->source + ": tokens.directory: there is no home directory");
    tokens = *home + tokens.substr(1);
  }
  if (tokens.empty()) {
    const auto user = UserPath("XDG_DATA_HOME", "/.local/share", kTokensName);
    if (!user) return Failure("no home directory for tokens: set tokens.directory");
    tokens = *user;
  }
  return config;
}

uint32_t PinDelayMs(const PinConfig& pin, uint32_t failures) {
  if (failures == 0 || pin.delay_ms == 0) return 0;
  const uint32_t most = std::max(pin.delay_ms, kMaxPinDelayMs);
  // delay_ms < 2^16 and at most 15 doublings: no overflow, and beyond the most allowed.
  return std::min(most, pin.delay_ms << std::min(failures - 1, 15u));
}

}  // namespace secretmem

#include "pkcs11/store_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

#include "pkcs11/descriptor.h"
#include "pkcs11/store_connection.h"

namespace secretmem {

namespace store {

namespace {

using Kind = StoreError::Kind;

constexpr std::string_view kSuffix = ".token";
constexpr std::string_view kTemporaryPrefix = ".new-";
constexpr time_t kStaleSeconds = 3600;

[[noreturn]] void ThrowErrno(const std::string& path) {
  const int error = errno;
  const Kind kind = [error] {
    switch (error) {
      case ENOENT:
        return Kind::kNotFound;
      case EACCES:
      case EPERM:
        return Kind::kPermission;
      case EROFS:
        return Kind::kReadOnly;
      case ENOSPC:
      case EDQUOT:
        return Kind::kFull;
      case EEXIST:
        return Kind::kExists;
      case ENOTDIR:
      case ELOOP:
      case ENAMETOOLONG:
        return Kind::kInvalid;
      default:
        return Kind::kIo;
    }
  }();
  Throw(kind, path + ": " + std::strerror(error));
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void Flush(const std::string& path, int flags) {
  const Descriptor file(open(path.c_str(), flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) ThrowErrno(path);
  // Some file systems know no fsync of directories; there is nothing better to do on them.
  if (fsync(file.get()) != 0 && errno != EINVAL && errno != ENOTSUP) ThrowErrno(path);
}

// RemoveStale takes away what creations that were killed left behind.
void RemoveStale(const std::string& directory_name) {
  const Directory directory(opendir(directory_name.c_str()));
  if (!directory) return;
  const time_t now = time(nullptr);
  while (const dirent* entry = readdir(directory.get())) {
    if (!std::string_view(entry->d_name).starts_with(kTemporaryPrefix)) continue;
    struct stat status;
    const int fd = dirfd(directory.get());
    if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(status.st_mode) || status.st_mtime > now - kStaleSeconds) continue;
    unlinkat(fd, entry->d_name, 0);
  }
}

// Link gives `from` the name `to` as well, or instead; fails if there is something of that name.
void Link(const std::string& from, const std::string& to) {
  constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE
  if (syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), kNoReplace) == 0) return;
  // File systems that cannot do it say EINVAL, kernels and sandboxes ENOSYS or EPERM.
  if (errno != EINVAL && errno != ENOSYS && errno != EPERM) ThrowErrno(to);
  if (link(from.c_str(), to.c_str()) != 0) ThrowErrno(to);
  unlink(from.c_str());
}

void MakeDirectory(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0) {
    if (!S_ISDIR(status.st_mode)) Throw(Kind::kInvalid, path + ": not a directory");
    return;
  }
  if (errno != ENOENT) ThrowErrno(path);
  const std::string above = DirectoryOf(path);
  MakeDirectory(above);
  if (mkdir(path.c_str(), 0700) != 0) {
    if (errno == EEXIST) return;  // Another process was quicker.
    ThrowErrno(path);
  }
  if (chmod(path.c_str(), 0700) != 0) ThrowErrno(path);  // The umask may have taken bits away.
  Flush(above, O_DIRECTORY);
}

}  // namespace

std::string CanonicalPath(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    Throw(Kind::kInvalid, "not a path of a token file");
  }
  const std::string directory = DirectoryOf(path);
  char resolved[PATH_MAX];
  if (realpath(directory.c_str(), resolved) == nullptr) ThrowErrno(directory);
  const size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..")
    Throw(Kind::kInvalid, path + ": not a file name");
  std::string result = resolved;
  if (result != "/") result += '/';
  return result + name;
}

constexpr size_t kBesideBytes = sizeof("-journal");

TemporaryFile::TemporaryFile(const std::string& path) : path_(path) {
  static constinit std::atomic<unsigned> counter{0};
  const std::string directory = DirectoryOf(path);
  RemoveStale(directory);
  for (int attempt = 0;; ++attempt) {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    name_ = directory + "/" + std::string(kTemporaryPrefix) + std::to_string(getpid()) + "-" +
            std::to_string(now.tv_nsec) + "-" + std::to_string(counter.fetch_add(1));
    // The destructor adds suffixes, and must not fail.
    name_.reserve(name_.size() + kBesideBytes);
    const Descriptor file(
        open(name_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) {
      if (errno == EEXIST && attempt < 100) continue;
      ThrowErrno(name_);
    }
    if (fchmod(file.get(), 0600) != 0) {
      unlink(name_.c_str());
      ThrowErrno(name_);
    }
    return;
  }
}

TemporaryFile::~TemporaryFile() {
  if (!published_) unlink(name_.c_str());
  const size_t size = name_.size();
  for (const char* beside : {"-journal", "-wal", "-shm"}) {
    name_ += beside;
    unlink(name_.c_str());
    name_.resize(size);
  }
}

void TemporaryFile::Publish() {
  Flush(name_, 0);
  struct stat status;
  if (lstat(path_.c_str(), &status) == 0) {
    errno = EEXIST;
    ThrowErrno(path_);
  }
  // Without a file of that name these are leftovers of a removed one, and SQLite would take the
  // log for the new file's.
  for (const char* beside : {"-wal", "-shm", "-journal"}) unlink((path_ + beside).c_str());
  Link(name_, path_);
  published_ = true;
  Flush(DirectoryOf(path_), O_DIRECTORY);
}

}  // namespace store

std::string TokenFilePath(const std::string& directory, const std::string& serial) {
  return directory + "/" + serial + std::string(store::kSuffix);
}

StoreResult<void> EnsureTokenDirectory(const std::string& directory) try {
  if (!directory.starts_with('/') || directory.find('\0') != std::string::npos) {
    store::Throw(StoreError::Kind::kInvalid, "the token directory is not an absolute path");
  }
  std::string trimmed = directory;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.pop_back();
  store::MakeDirectory(trimmed);
  return {};
} catch (StoreError& error) {
  return std::unexpected(std::move(error));
}

StoreResult<std::vector<std::string>> ListTokenFiles(const std::string& directory) try {
  std::vector<std::string> names;
  const store::Directory opened(opendir(directory.c_str()));
  if (!opened) {
    if (errno == ENOENT) return names;
    store::ThrowErrno(directory);
  }
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(opened.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (!name.starts_with('.') && name.ends_with(store::kSuffix)) {
      names.push_back(directory + "/" + std::string(name));
    }
  }
  if (errno != 0) store::ThrowErrno(directory);
  std::ranges::sort(names);
  return names;
} catch (StoreError& error) {
  return std::unexpected(std::move(error));
}

}  // namespace secretmem

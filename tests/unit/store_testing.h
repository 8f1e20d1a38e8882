// What the store's tests share.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "pkcs11/pin.h"
#include "pkcs11/token_store.h"

namespace secretmem {

// TemporaryDirectory is a directory of its own for one test.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(
      const std::filesystem::path& base = std::filesystem::temp_directory_path()) {
    std::string name = (base / "store-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() {
    chmod(path_.c_str(), 0700);
    std::filesystem::remove_all(path_);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

inline Pin PinOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// ConfigureTokensIn has this process, and its children, keep tokens in |directory|, with PINs that
// are quickly stretched.
inline void ConfigureTokensIn(const TemporaryDirectory& directory) {
  WriteFile(directory / "config.toml",
            "[tokens]\ndirectory = \"" + (directory / "tokens") + "\"\n[pin]\niterations = 1000\n");
  setenv("SECRETMEM_PKCS11_CONF", (directory / "config.toml").c_str(), 1);
}

inline constexpr uint64_t kIncarnation = 0xfedcba9876543210;

inline TokenRecord MakeRecord() {
  TokenRecord record;
  record.label.fill(' ');
  record.label[0] = 'T';
  record.serial = "0123456789abcdef";
  record.so = {Bytes("so salt"), 1000, Bytes("so wrapped key"), 0, 0, 0};
  record.store_key_blob = Bytes("store key");
  record.incarnation = kIncarnation;
  return record;
}

inline ObjectUid MakeUid(uint64_t number) {
  ObjectUid uid{};
  for (size_t i = 0; i < 8; ++i) uid[i] = static_cast<uint8_t>(number >> (8 * i));
  return uid;
}

inline ObjectRow MakeRow(uint64_t number, const std::string& text = "secret") {
  ObjectRow row;
  row.uid = MakeUid(number);
  row.kind = static_cast<uint8_t>(number);
  row.attributes = Bytes("attributes " + std::to_string(number));
  row.secret = Bytes(text);
  IndexHash common{};
  common[15] = 1;
  row.index = {common, MakeUid(number)};
  return row;
}

// MemoryBase is a base in memory where there is one: for tests of many files and no durability.
inline std::filesystem::path MemoryBase() {
  return access("/dev/shm", W_OK) == 0 ? std::filesystem::path("/dev/shm")
                                       : std::filesystem::temp_directory_path();
}

// Value fails the test, and ends it, where there is an error.
template <typename T>
T Value(StoreResult<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().reason;
    throw std::runtime_error(result.error().reason);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

template <typename T>
std::string KindOf(const StoreResult<T>& result) {
  if (result) return "no error";
  static constexpr const char* kNames[] = {
      "kNotFound", "kStale",      "kNoObject", "kConflict", "kExists",  "kBusy", "kFull",
      "kReadOnly", "kPermission", "kCorrupt",  "kForeign",  "kInvalid", "kIo"};
  return kNames[static_cast<size_t>(result.error().kind)];
}

}  // namespace secretmem

// Secrets and the forms in which they may lie in memory, as a set of 8-byte windows.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace secretmem::audit {

using Bytes = std::vector<uint8_t>;

// Secret is a value that must not be readable anywhere in the process.
struct Secret {
  std::string name;
  Bytes value;
};

// WindowSet answers which secret an 8-byte window belongs to. Every 8-byte window of every form
// of every secret is in it, but for those that IsTelling leaves out.
class WindowSet {
 public:
  struct Origin {
    uint32_t form = 0;    // index into forms()
    uint32_t offset = 0;  // of the window within the form
  };

  // AddSecret adds the value in each of kKeyForms. Values shorter than eight bytes cannot be told
  // from chance: they are refused (false).
  bool AddSecret(const Secret& secret);

  // AddForm adds one exact form under a name.
  void AddForm(const std::string& name, std::span<const uint8_t> form);

  const std::vector<std::string>& forms() const { return forms_; }
  size_t size() const { return windows_.size(); }

  const Origin* Find(uint64_t window) const {
    const uint64_t hash = Hash(window);
    if ((filter_[hash >> 6] >> (hash & 63) & 1) == 0) return nullptr;
    const auto found = windows_.find(window);
    return found == windows_.end() ? nullptr : &found->second;
  }

  // Search calls found(offset, origin) for each window of data that belongs to a secret.
  template <typename F>
  void Search(std::span<const uint8_t> data, F found) const {
    for (size_t i = 0; i + 8 <= data.size(); ++i) {
      uint64_t window;
      std::memcpy(&window, data.data() + i, sizeof(window));
      if (window == 0) continue;
      if (const Origin* origin = Find(window)) found(i, *origin);
    }
  }

 private:
  static constexpr size_t kFilterBits = 18;
  static uint64_t Hash(uint64_t window) {
    return (window * 0x9e37'79b9'7f4a'7c15) >> (64 - kFilterBits);
  }

  std::array<uint64_t, (1u << kFilterBits) / 64> filter_ = {};
  std::unordered_map<uint64_t, Origin> windows_;
  std::vector<std::string> forms_;
};

}  // namespace secretmem::audit

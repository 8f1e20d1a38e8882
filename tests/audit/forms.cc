#include "tests/audit/forms.h"

#include <algorithm>

namespace secretmem::audit {
namespace {

Bytes SwapWords(Bytes bytes, size_t word) {
  for (size_t i = 0; i + word <= bytes.size(); i += word) {
    std::reverse(bytes.begin() + static_cast<ptrdiff_t>(i),
                 bytes.begin() + static_cast<ptrdiff_t>(i + word));
  }
  return bytes;
}

size_t DistinctBytes(uint64_t window) {
  std::array<uint8_t, 8> bytes;
  std::memcpy(bytes.data(), &window, sizeof(window));
  std::sort(bytes.begin(), bytes.end());
  return static_cast<size_t>(std::unique(bytes.begin(), bytes.end()) - bytes.begin());
}

}  // namespace

bool WindowSet::AddSecret(const Secret& secret) {
  if (secret.value.size() < 8) return false;
  AddForm(secret.name, secret.value);
  AddForm(secret.name + " (reversed)", Bytes(secret.value.rbegin(), secret.value.rend()));
  AddForm(secret.name + " (4-byte words swapped)", SwapWords(secret.value, 4));
  AddForm(secret.name + " (8-byte words swapped)", SwapWords(secret.value, 8));
  return true;
}

void WindowSet::AddForm(const std::string& name, std::span<const uint8_t> form) {
  const auto index = static_cast<uint32_t>(forms_.size());
  forms_.push_back(name);
  for (size_t i = 0; i + 8 <= form.size(); ++i) {
    uint64_t window;
    std::memcpy(&window, form.data() + i, sizeof(window));
    if (DistinctBytes(window) < 5) continue;
    const uint64_t hash = Hash(window);
    filter_[hash >> 6] |= uint64_t{1} << (hash & 63);
    windows_.try_emplace(window, Origin{index, static_cast<uint32_t>(i)});
  }
}

}  // namespace secretmem::audit

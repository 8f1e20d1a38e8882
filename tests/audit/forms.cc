#include "tests/audit/forms.h"

#include <bit>

#include "tool/key_forms.h"

namespace secretmem::audit {

bool WindowSet::AddSecret(const Secret& secret) {
  if (secret.value.size() < kKeyWindow) return false;
  Bytes bytes(secret.value.size());
  for (size_t form = 0; form < std::size(kKeyForms); ++form) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = ByteOfForm(secret.value, form, i);
    AddForm(form == 0 ? secret.name : secret.name + " (" + kKeyForms[form] + ")", bytes);
  }
  return true;
}

void WindowSet::AddForm(const std::string& name, std::span<const uint8_t> form) {
  const auto index = static_cast<uint32_t>(forms_.size());
  forms_.push_back(name);
  for (size_t i = 0; i + 8 <= form.size(); ++i) {
    uint64_t window;
    std::memcpy(&window, form.data() + i, sizeof(window));
    if (!IsTelling(std::bit_cast<std::array<uint8_t, kKeyWindow>>(window))) continue;
    const uint64_t hash = Hash(window);
    filter_[hash >> 6] |= uint64_t{1} << (hash & 63);
    windows_.try_emplace(window, Origin{index, static_cast<uint32_t>(i)});
  }
}

}  // namespace secretmem::audit

#include "vault/vault.h"

#include <algorithm>
#include <utility>

#include "vault/canary.h"
#include "vault/fork_gate.h"
#include "vault/secret_heap.h"
#include "vault/secret_memory.h"

namespace secretmem {

VaultResult<Vault> Vault::New(size_t size) {
  if (size == 0) return std::unexpected(VaultError{VaultErrc::kWrongSize});
  const ForkGuard guard;
  if (LibraryHeapLost() || IsForkedWithoutHandlers()) {
    return std::unexpected(VaultError{VaultErrc::kForked});
  }
  if (IsMemoryDamaged()) return std::unexpected(VaultError{VaultErrc::kDamaged});
  auto slot = CurrentMemoryOptions().page_per_vault ? KeyHeap().AllocateAlone(size)
                                                    : KeyHeap().Allocate(size);
  if (!slot) return std::unexpected(slot.error());
  return Vault(static_cast<uint8_t*>(*slot), size, ForkGeneration());
}

VaultResult<Vault> Vault::CopyOf(std::span<const uint8_t> bytes) {
  return OnShallowStack([&]() -> VaultResult<Vault> {
    auto vault = New(bytes.size());
    if (vault) std::copy(bytes.begin(), bytes.end(), vault->data_);
    return vault;
  });
}

Vault::Vault(Vault&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      generation_(other.generation_) {}

Vault& Vault::operator=(Vault&& other) noexcept {
  // What was here dies with |taken|, at once: a mere swap would leave it to |other|.
  Vault taken(std::move(other));
  std::swap(data_, taken.data_);
  std::swap(size_, taken.size_);
  std::swap(generation_, taken.generation_);
  return *this;
}

Vault::~Vault() {
  if (data_ == nullptr) return;
  const ForkGuard guard;
  if (generation_ == ForkGeneration() && !IsForkedWithoutHandlers()) KeyHeap().Free(data_);
}

VaultResult<void> Vault::Check() const {
  if (data_ == nullptr) return std::unexpected(VaultError{VaultErrc::kWrongSize});
  if (generation_ != ForkGeneration()) return std::unexpected(VaultError{VaultErrc::kForked});
  return {};
}

}  // namespace secretmem

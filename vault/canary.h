#pragma once

#include <cstddef>

namespace secretmem {

// Canaries are 16 bytes at both ends of what secret memory is handed out in: pages of small slots,
// larger slots, stacks. What writes along from one end of a slot or from elsewhere in the process
// meets one before, or instead of, a guard page. They are looked at when a slot is given back,
// after each borrow (its stack's) and when memory is trimmed.
inline constexpr size_t kCanaryBytes = 16;

// SetCanary writes one at |at|, aligned to 16: a random number of the process, and the address.
void SetCanary(std::byte* at);

// CheckCanary notes for good if the one at |at| is not what SetCanary wrote.
bool CheckCanary(const std::byte* at);

// IsMemoryDamaged says whether a canary was ever found broken. Nothing in this process's secret
// memory can be trusted then, and every borrow fails with kDamaged.
bool IsMemoryDamaged();

}  // namespace secretmem

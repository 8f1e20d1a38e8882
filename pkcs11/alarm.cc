#include "pkcs11/alarm.h"

#include <algorithm>

namespace secretmem {

void Alarm::Lower(int64_t deadline) {
  const std::lock_guard lock(mutex_);
  meanwhile_ = std::min(meanwhile_, deadline);
  if (deadline < due_) due_ = deadline;
}

void Alarm::BeginSweep() {
  const std::lock_guard lock(mutex_);
  meanwhile_ = kNoDeadline;
}

void Alarm::EndSweep(int64_t next) {
  const std::lock_guard lock(mutex_);
  due_ = std::min(next, meanwhile_);
}

}  // namespace secretmem

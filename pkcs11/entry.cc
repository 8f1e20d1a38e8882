#include "pkcs11/entry.h"

#include <pthread.h>

#include <atomic>

#include "pkcs11/log.h"
#include "vault/canary.h"
#include "vault/error.h"
#include "vault/secret_heap.h"

namespace secretmem {

CallGuard::CallGuard() {
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old_state_);
  TakeRefusal();
}

CallGuard::~CallGuard() noexcept(false) {
  int ignored;
  pthread_setcancelstate(old_state_, &ignored);
}

CK_RV Answer(const char* function, CK_RV code) {
  if (code == CKR_FUNCTION_FAILED && TakeRefusal()) code = CKR_DEVICE_MEMORY;
  if (code == CKR_DEVICE_MEMORY) {
    LogError(
        "%s: no secret memory or no disk space is left: raise RLIMIT_MEMLOCK (ulimit -l, "
        "LimitMEMLOCK=) or make room for the token's file",
        function);
  }
  if (code == CKR_DEVICE_ERROR && IsMemoryDamaged()) {
    static std::atomic<bool> said{false};
    if (!said.exchange(true)) LogError("%s: %s", function, Describe(VaultErrc::kDamaged));
  }
  if (code != CKR_OK && GetLogLevel() >= LogLevel::kDebug) {
    LogDebug("%s: 0x%lx", function, code);
  }
  return code;
}

}  // namespace secretmem

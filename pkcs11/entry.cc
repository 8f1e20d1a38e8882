#include "pkcs11/entry.h"

#include <pthread.h>

#include "pkcs11/log.h"

namespace secretmem {

CallGuard::CallGuard() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old_state_); }

CallGuard::~CallGuard() {
  int ignored;
  pthread_setcancelstate(old_state_, &ignored);
}

CK_RV Answer(const char* function, CK_RV code) {
  if (code != CKR_OK && GetLogLevel() >= LogLevel::kDebug) {
    LogDebug("%s: 0x%lx", function, code);
  }
  return code;
}

}  // namespace secretmem

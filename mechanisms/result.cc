#include "mechanisms/result.h"

namespace secretmem {

CK_RV RvOf(const VaultError& error) {
  switch (error.code) {
    case VaultErrc::kMemoryLockLimit:
    case VaultErrc::kOutOfMemory:
      return CKR_DEVICE_MEMORY;
    case VaultErrc::kNoRandom:
      return CKR_RANDOM_NO_RNG;
    case VaultErrc::kUnsupported:
    case VaultErrc::kForbidden:
    case VaultErrc::kForked:
    case VaultErrc::kSealBroken:
    case VaultErrc::kDamaged:
      return CKR_DEVICE_ERROR;
    case VaultErrc::kWrongSize:
    case VaultErrc::kCrypto:
      break;
  }
  return CKR_FUNCTION_FAILED;
}

}  // namespace secretmem

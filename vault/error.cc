#include "vault/error.h"

namespace secretmem {

const char* Describe(VaultErrc code) {
  switch (code) {
    case VaultErrc::kUnsupported:
      return "this kernel offers no memfd_secret(2): use Linux 6.5 or newer, or boot 5.14 to 6.4 "
             "with secretmem.enable=1, or set memory.protection = \"allow-mlock\"";
    case VaultErrc::kForbidden:
      return "memfd_secret(2) is forbidden to this process, by a seccomp filter for example: allow "
             "the call, or set memory.protection = \"allow-mlock\"";
    case VaultErrc::kMemoryLockLimit:
      return "the memory-lock limit is reached: raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=)";
    case VaultErrc::kOutOfMemory:
      return "no memory, address space or descriptors are left";
    case VaultErrc::kWrongSize:
      return "the key has another length";
    case VaultErrc::kSealBroken:
      return "the sealed bytes do not verify";
    case VaultErrc::kNoRandom:
      return "getrandom(2) does not work in this process: allow the call";
    case VaultErrc::kForked:
      return "the secret memory belongs to the parent process";
    case VaultErrc::kCrypto:
      return "the cryptographic library refused the operation";
    case VaultErrc::kDamaged:
      return "memory beside keys was overwritten: something in this process writes where it should "
             "not; start it again";
  }
  return "unknown error";
}

}  // namespace secretmem

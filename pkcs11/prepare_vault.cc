#include "pkcs11/prepare_vault.h"

#include <sys/prctl.h>

#include "pkcs11/log.h"
#include "vault/secret_memory.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

MemoryOptions OptionsOf(const MemoryConfig& memory) {
  MemoryOptions options;
  switch (memory.at_rest) {
    case MemoryAtRest::kNone:
      break;
    case MemoryAtRest::kAuto:
    case MemoryAtRest::kPkey:
      options.at_rest = AtRest::kPkey;
      break;
    case MemoryAtRest::kMprotect:
      options.at_rest = AtRest::kMprotect;
      break;
  }
  options.page_per_vault = memory.isolation == MemoryIsolation::kPage;
  options.seal = memory.mseal;
  return options;
}

// ConfigureOnce puts the configuration's memory options into force, before there are any vaults.
void ConfigureOnce(const MemoryConfig& memory) {
  static bool done = false;  // under the caller's lock
  if (done) return;
  done = true;
  const MemoryOptions wanted = OptionsOf(memory);
  const MemoryOptions got = ConfigureVault(wanted);
  if (got.at_rest != wanted.at_rest && memory.at_rest != MemoryAtRest::kAuto) {
    LogWarn("memory.at_rest: this processor has no protection keys; keys at rest stay accessible");
  }
  if (got.seal != wanted.seal) LogWarn("memory.mseal: not with this kernel and memory.at_rest");
  if (!memory.dumpable && prctl(PR_SET_DUMPABLE, 0) != 0) {
    LogWarn("memory.dumpable: this process stays dumpable");
  }
  constexpr const char* kAtRest[] = {"nothing more", "a protection key", "mprotect"};
  LogInfo("keys: %s, at rest behind %s%s%s", got.page_per_vault ? "a page each" : "side by side",
          kAtRest[static_cast<size_t>(got.at_rest)], got.seal ? ", sealed" : "",
          memory.dumpable ? "" : ", process undumpable");
}

}  // namespace

CkStatus PrepareVault(const Config& config) {
  ConfigureOnce(config.memory);
  auto ready = InitialiseVault();
  if (!ready && config.memory.protection == MemoryProtection::kAllowMlock &&
      (ready.error().code == VaultErrc::kUnsupported ||
       ready.error().code == VaultErrc::kForbidden)) {
    MemoryOptions locked = CurrentMemoryOptions();
    locked.protection = Protection::kLocked;
    ConfigureMemory(locked);
    ready = InitialiseVault();
    if (ready) {
      LogWarn(
          "keys are in locked memory, which root and debuggers can read: "
          "memfd_secret is not to be had, and memory.protection is \"allow-mlock\"");
    }
  }
  if (ready) return {};
  LogError("secret memory: %s", Describe(ready.error().code));
  const CK_RV code = RvOf(ready.error());
  return Refuse(code == CKR_DEVICE_MEMORY ? code : CKR_FUNCTION_FAILED);
}

}  // namespace secretmem

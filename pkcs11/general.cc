// General-purpose functions, PKCS#11 3.2, 5.4.

#include <pthread.h>

#include <array>
#include <cstring>
#include <mutex>

#include "pkcs11/entry.h"
#include "pkcs11/function_lists.h"
#include "pkcs11/key_dates.h"
#include "pkcs11/log.h"
#include "pkcs11/prepare_vault.h"
#include "pkcs11/store_gate.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

// What outlives C_Finalize, and is left as it is at exit: clients call in from destructors.
struct Process {
  // Of those who initialise and finalise.
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  std::shared_ptr<Module> module;
  // What calls take: pointers to the same module, each with a count of its own.
  struct alignas(64) Stripe {
    ShortMutex mutex;
    std::shared_ptr<Module> module;
  };
  std::array<Stripe, kStripes> stripes;
};
alignas(Process) std::byte g_process[sizeof(Process)];

Process& ThisProcess() { return *std::launder(reinterpret_cast<Process*>(g_process)); }

struct MakeProcess {
  MakeProcess() { new (g_process) Process; }
};
const MakeProcess g_make_process;

// Read at the first C_Initialize, and kept for good: a worker that a server forks off may have
// neither the environment nor the permissions to read it again.
const Config* g_config = nullptr;

class Lock {
 public:
  Lock() { pthread_mutex_lock(&ThisProcess().mutex); }
  ~Lock() { pthread_mutex_unlock(&ThisProcess().mutex); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
};

// Publish gives |module|, which may be null, to the calls that begin from now on. Under the lock.
void Publish(const std::shared_ptr<Module>& module) {
  // Memory may run out here, and then nobody has it.
  std::array<std::shared_ptr<Module>, kStripes> its;
  for (auto& pointer : its) {
    if (module != nullptr) pointer.reset(module.get(), [module](Module*) {});
  }
  for (size_t i = 0; i < kStripes; ++i) {
    Process::Stripe& stripe = ThisProcess().stripes[i];
    const std::lock_guard lock(stripe.mutex);
    stripe.module.swap(its[i]);
  }
}

// In a child: the parent's module, whose threads are gone and whose vaults never came along, is
// left behind without a destructor.
void AbandonModule() { new (g_process) Process; }

void InstallOnce() {
  InstallStoreForkHooks();
  AddForkHooks({nullptr, nullptr, AbandonModule});
}
pthread_once_t g_install_once = PTHREAD_ONCE_INIT;

// CheckInitArgs returns the flags.
CkResult<CK_FLAGS> CheckInitArgs(const void* pointer) {
  if (pointer == nullptr) return CK_FLAGS{0};
  CK_C_INITIALIZE_ARGS args;
  memcpy(&args, pointer, sizeof(args));
  if (args.pReserved != nullptr) return Refuse(CKR_ARGUMENTS_BAD);
  const int given = (args.CreateMutex != nullptr) + (args.DestroyMutex != nullptr) +
                    (args.LockMutex != nullptr) + (args.UnlockMutex != nullptr);
  if (given != 0 && given != 4) return Refuse(CKR_ARGUMENTS_BAD);
  // Mutexes of the client's own are not needed: every thread on Linux can use the system's.
  return args.flags;
}

CkResult<const Config*> TheConfig() {
  if (g_config != nullptr) return g_config;
  // The environment's word counts for what LoadConfig itself has to say, too.
  InitLog(LogLevel::kOff);
  auto config = LoadConfig();
  if (!config) {
    LogError("configuration: %s", config.error().reason.c_str());
    return Refuse(CKR_GENERAL_ERROR);
  }
  InitLog(config->log_level);
  g_config = new Config(std::move(*config));
  return g_config;
}

}  // namespace

std::shared_ptr<Module> CurrentModule() {
  if (IsForkedWithoutHandlers()) return nullptr;
  Process::Stripe& stripe = ThisProcess().stripes[ThreadStripe()];
  const std::lock_guard lock(stripe.mutex);
  return stripe.module;
}

}  // namespace secretmem

using namespace secretmem;

CK_RV C_Initialize(CK_VOID_PTR pInitArgs) {
  return Barrier(__func__, [&]() -> CkStatus {
    const auto flags = CheckInitArgs(pInitArgs);
    if (!flags) return Refuse(flags.error());
    // Whatever lock a thread of the parent's held at that moment stays taken for ever.
    if (IsForkedWithoutHandlers()) return Refuse(CKR_FUNCTION_FAILED);
    pthread_once(&g_install_once, InstallOnce);
    const Lock lock;
    if (ThisProcess().module != nullptr) return Refuse(CKR_CRYPTOKI_ALREADY_INITIALIZED);
    const auto config = TheConfig();
    if (!config) return Refuse(config.error());
    if (auto ready = PrepareVault(**config); !ready) return ready;
    EnforceKeyDates((*config)->keys.enforce_dates);
    const auto module =
        std::make_shared<Module>(**config, (*flags & CKF_LIBRARY_CANT_CREATE_OS_THREADS) == 0);
    Publish(module);
    ThisProcess().module = module;
    LogInfo("initialised; BoringSSL %s", SECRETMEM_BORINGSSL_VERSION);
    return {};
  });
}

CK_RV C_Finalize(CK_VOID_PTR pReserved) {
  return Barrier(__func__, [&]() -> CkStatus {
    if (pReserved != nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    std::shared_ptr<Module> module;
    if (!IsForkedWithoutHandlers()) {
      const Lock lock;
      module.swap(ThisProcess().module);
      Publish(nullptr);
    }
    if (module == nullptr) return Refuse(CKR_CRYPTOKI_NOT_INITIALIZED);
    // Sessions end now even if another thread is inside a call and holds the module.
    module->CloseEverything();
    module.reset();
    TrimVault();
    return {};
  });
}

CK_RV C_GetInfo(CK_INFO_PTR pInfo) {
  return Enter(__func__, [&](Module&) -> CkStatus {
    if (pInfo == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    CK_INFO info{};
    info.cryptokiVersion = {3, 2};
    Pad(info.manufacturerID, "secretmem-pkcs11");
    Pad(info.libraryDescription, "BoringSSL " SECRETMEM_BORINGSSL_VERSION);
    info.libraryVersion = {SECRETMEM_VERSION_MAJOR, SECRETMEM_VERSION_MINOR};
    memcpy(pInfo, &info, sizeof(info));
    return {};
  });
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList) {
  if (ppFunctionList == nullptr) return CKR_ARGUMENTS_BAD;
  *ppFunctionList = FunctionList240();
  return CKR_OK;
}

// The life of the host's process: forks and exits at any moment, by the module's own entry points.

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tests/unit/store_testing.h"
#include "vault_testing.h"

namespace secretmem {
namespace {

CK_BBOOL g_true = CK_TRUE;
CK_BBOOL g_false = CK_FALSE;

CK_ATTRIBUTE Attribute(CK_ATTRIBUTE_TYPE type, void* value, CK_ULONG size) {
  return {type, value, size};
}

CK_RV Generate(CK_SESSION_HANDLE session, CK_BBOOL* on_token, CK_OBJECT_HANDLE* key) {
  static CK_BYTE curve[] = {0x06, 0x03, 0x2b, 0x65, 0x6e};  // RFC 8410, id-X25519
  CK_MECHANISM mechanism = {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  CK_ATTRIBUTE of_public[] = {Attribute(CKA_EC_PARAMS, curve, sizeof(curve)),
                              Attribute(CKA_TOKEN, on_token, 1)};
  CK_ATTRIBUTE of_private[] = {Attribute(CKA_DERIVE, &g_true, 1),
                               Attribute(CKA_PRIVATE, &g_false, 1),
                               Attribute(CKA_TOKEN, on_token, 1)};
  CK_OBJECT_HANDLE public_key;
  const CK_RV rv =
      C_GenerateKeyPair(session, &mechanism, of_public, 2, of_private, 3, &public_key, key);
  if (rv == CKR_OK && *on_token) C_DestroyObject(session, public_key);
  return rv;
}

CK_RV Derive(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_BYTE peer[32] = {9};
  CK_ECDH1_DERIVE_PARAMS parameters = {CKD_NULL, 0, nullptr, sizeof(peer), peer};
  CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
  CK_ATTRIBUTE wanted[] = {Attribute(CKA_CLASS, &secret, sizeof(secret)),
                           Attribute(CKA_KEY_TYPE, &generic, sizeof(generic)),
                           Attribute(CKA_PRIVATE, &g_false, 1)};
  CK_OBJECT_HANDLE derived;
  const CK_RV rv = C_DeriveKey(session, &mechanism, key, wanted, 3, &derived);
  return rv == CKR_OK ? C_DestroyObject(session, derived) : rv;
}

CK_RV GenerateRsa(CK_SESSION_HANDLE session) {
  CK_ULONG bits = 2048;
  CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  CK_ATTRIBUTE of_public[] = {Attribute(CKA_MODULUS_BITS, &bits, sizeof(bits))};
  CK_ATTRIBUTE of_private[] = {Attribute(CKA_PRIVATE, &g_false, 1)};
  CK_OBJECT_HANDLE keys[2];
  const CK_RV rv =
      C_GenerateKeyPair(session, &mechanism, of_public, 1, of_private, 1, &keys[0], &keys[1]);
  if (rv != CKR_OK) return rv;
  C_DestroyObject(session, keys[0]);
  return C_DestroyObject(session, keys[1]);
}

class ProcessLifeTest : public testing::Test {
 protected:
  void SetUp() override { ConfigureTokensIn(directory_); }

  // Every test is one child of its own, as the configuration is read once in a process.
  template <class F>
  void InFreshProcess(F&& f) {
    const int status = InChild([&] {
      alarm(240);
      return f();
    });
    EXPECT_EQ(status, 0) << "exit " << WEXITSTATUS(status) << " signal " << WTERMSIG(status);
  }

  static bool MakeToken() {
    CK_UTF8CHAR label[32];
    std::fill(std::begin(label), std::end(label), ' ');
    CK_UTF8CHAR pin[] = "so pin";
    return C_Initialize(nullptr) == CKR_OK && C_InitToken(0, pin, 6, label) == CKR_OK;
  }

  static CK_SESSION_HANDLE Open() {
    CK_SLOT_ID slots[4];
    CK_ULONG count = 4;
    CK_SESSION_HANDLE session = 0;
    if (C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK || count == 0) return 0;
    C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
    return session;
  }

  // What a child of fork does: afresh, with a key of its own.
  static int WorkAfresh() {
    if (C_Initialize(nullptr) != CKR_OK) return 101;
    const CK_SESSION_HANDLE session = Open();
    CK_OBJECT_HANDLE key;
    if (session == 0) return 102;
    if (Generate(session, &g_false, &key) != CKR_OK) return 103;
    return Derive(session, key) == CKR_OK ? 0 : 104;
  }

  // What a child of fork writes: a token object that carries |number|.
  static int WriteObject(CK_ULONG number) {
    if (C_Initialize(nullptr) != CKR_OK) return 101;
    const CK_SESSION_HANDLE session = Open();
    if (session == 0) return 102;
    CK_OBJECT_CLASS data = CKO_DATA;
    CK_ATTRIBUTE attributes[] = {
        Attribute(CKA_CLASS, &data, sizeof(data)), Attribute(CKA_TOKEN, &g_true, 1),
        Attribute(CKA_PRIVATE, &g_false, 1), Attribute(CKA_OBJECT_ID, &number, sizeof(number))};
    CK_OBJECT_HANDLE made;
    if (C_CreateObject(session, attributes, 4, &made) != CKR_OK) return 103;
    return C_Finalize(nullptr) == CKR_OK ? 0 : 104;
  }

  // End waits for a child, but not forever: a deadlock is an answer too.
  static int End(pid_t child) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return 99;
      }
      usleep(200);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
  }

  TemporaryDirectory directory_{MemoryBase()};
};

TEST_F(ProcessLifeTest, TwoThousandForksBesideThreadsAtWork) {
  InFreshProcess([] {
    constexpr int kForks = kSanitized ? 200 : 2000;
    const CK_SESSION_HANDLE session = MakeToken() ? Open() : 0;
    CK_OBJECT_HANDLE key;
    if (session == 0 || Generate(session, &g_false, &key) != CKR_OK) return 1;
    std::atomic<bool> stop{false};
    std::atomic<int> failed{0};
    const auto repeat = [&](auto&& work) {
      return std::thread([&, work] {
        while (!stop) failed += work() == CKR_OK ? 0 : 1;
      });
    };
    std::thread threads[] = {repeat([&] { return Derive(session, key); }), repeat([&] {
                               CK_OBJECT_HANDLE made;
                               const CK_RV rv = Generate(session, &g_true, &made);
                               return rv == CKR_OK ? C_DestroyObject(session, made) : rv;
                             }),
                             repeat([&] { return GenerateRsa(session); })};
    int wrong = 0;
    for (int i = 0; i < kForks && wrong == 0; ++i) {
      const pid_t child = fork();
      // Most only go away again, as those do that call exec.
      if (child == 0) _exit(i % 10 == 0 ? WorkAfresh() : 0);
      wrong = End(child);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    if (wrong != 0) return wrong;
    return failed == 0 && C_Finalize(nullptr) == CKR_OK ? 0 : 2;
  });
}

// The parent's connection is in the middle of a write more often than not when it forks.
TEST_F(ProcessLifeTest, ChildrenOfABusyWriterWriteTokenObjects) {
  if (kAddressSanitizer) GTEST_SKIP() << "a thread may hold its allocator's locks at the fork";
  InFreshProcess([] {
    constexpr CK_ULONG kForks = kSanitized ? 20 : 100;
    const CK_SESSION_HANDLE session = MakeToken() ? Open() : 0;
    if (session == 0) return 1;
    std::atomic<bool> stop{false};
    std::atomic<int> written{0};
    std::atomic<int> failed{0};
    const auto write = [&] {
      while (!stop) {
        CK_OBJECT_HANDLE made;
        const bool good =
            Generate(session, &g_true, &made) == CKR_OK && C_DestroyObject(session, made) == CKR_OK;
        ++(good ? written : failed);
      }
    };
    std::thread writers[] = {std::thread(write), std::thread(write)};
    int wrong = 0;
    for (CK_ULONG i = 0; i < kForks && wrong == 0; ++i) {
      const pid_t child = fork();
      if (child == 0) _exit(WriteObject(i));
      wrong = End(child);
    }
    stop = true;
    for (std::thread& writer : writers) writer.join();
    if (wrong != 0) return wrong;
    if (failed != 0 || written == 0) return 2;
    // The parent sees each child's object once.
    for (CK_ULONG i = 0; i < kForks; ++i) {
      CK_OBJECT_HANDLE found[2];
      CK_ULONG count = 0;
      CK_ATTRIBUTE id = Attribute(CKA_OBJECT_ID, &i, sizeof(i));
      if (C_FindObjectsInit(session, &id, 1) != CKR_OK ||
          C_FindObjects(session, found, 2, &count) != CKR_OK ||
          C_FindObjectsFinal(session) != CKR_OK) {
        return 3;
      }
      if (count != 1) return 4;
    }
    return C_Finalize(nullptr) == CKR_OK ? 0 : 5;
  });
}

TEST_F(ProcessLifeTest, ExitWhileThreadsDerive) {
  if (kAddressSanitizer) GTEST_SKIP() << "it reports what a process has when it exits as leaks";
  InFreshProcess([] {
    constexpr int kExits = kSanitized ? 50 : 1000;
    if (!MakeToken()) return 1;
    for (int i = 0; i < kExits; ++i) {
      const pid_t child = fork();
      if (child == 0) {
        static CK_SESSION_HANDLE session;
        static CK_OBJECT_HANDLE key;
        static std::atomic<int> derived{0};
        if (C_Initialize(nullptr) != CKR_OK) _exit(101);
        session = Open();
        if (Generate(session, &g_false, &key) != CKR_OK) _exit(102);
        for (int thread = 0; thread < 2; ++thread) {
          std::thread([] {
            for (;;) {
              if (Derive(session, key) != CKR_OK) _exit(103);
              ++derived;
            }
          }).detach();
        }
        while (derived < i % 5) usleep(10);
        exit(7);
      }
      if (const int code = End(child); code != 7) return code == 0 ? 3 : code;
    }
    return 0;
  });
}

TEST_F(ProcessLifeTest, SpawnVforkAndCloneAreHarmless) {
  InFreshProcess([] {
    const CK_SESSION_HANDLE session = MakeToken() ? Open() : 0;
    CK_OBJECT_HANDLE key;
    if (session == 0 || Generate(session, &g_false, &key) != CKR_OK) return 1;
    for (int i = 0; i < 50; ++i) {
      pid_t child;
      char name[] = "/bin/true";
      char* arguments[] = {name, nullptr};
      if (posix_spawn(&child, name, nullptr, nullptr, arguments, environ) != 0) return 2;
      if (End(child) != 0) return 3;
      child = vfork();
      if (child == 0) {
        execv(name, arguments);
        _exit(9);
      }
      if (End(child) != 0) return 4;
      child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
      if (child == 0) {
        // No fork handler ran here: it is refused, and crashes nowhere.
        CK_SESSION_INFO info;
        const bool refused = C_GetSessionInfo(session, &info) == CKR_CRYPTOKI_NOT_INITIALIZED &&
                             C_Initialize(nullptr) != CKR_OK;
        _exit(refused ? 0 : 9);
      }
      if (End(child) != 0) return 5;
      if (Derive(session, key) != CKR_OK) return 6;
    }
    return 0;
  });
}

}  // namespace
}  // namespace secretmem

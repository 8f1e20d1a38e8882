// C_Initialize and C_Finalize: PKCS#11 3.1 §5.4.1, §5.4.2, §3.7 and §5.4.4.
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/conformance/calls.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

CK_RV CreateMutex(void** mutex) {
  *mutex = new std::atomic<int>(0);
  return CKR_OK;
}
CK_RV DestroyMutex(void* mutex) {
  delete static_cast<std::atomic<int>*>(mutex);
  return CKR_OK;
}
CK_RV LockMutex(void* mutex) {
  while (static_cast<std::atomic<int>*>(mutex)->exchange(1) != 0) std::this_thread::yield();
  return CKR_OK;
}
CK_RV UnlockMutex(void* mutex) {
  static_cast<std::atomic<int>*>(mutex)->store(0);
  return CKR_OK;
}

// WithMutexes returns arguments with those of the four functions whose bit is set.
CK_C_INITIALIZE_ARGS WithMutexes(unsigned bits, CK_FLAGS flags) {
  CK_C_INITIALIZE_ARGS arguments{};
  if ((bits & 1) != 0) arguments.CreateMutex = CreateMutex;
  if ((bits & 2) != 0) arguments.DestroyMutex = DestroyMutex;
  if ((bits & 4) != 0) arguments.LockMutex = LockMutex;
  if ((bits & 8) != 0) arguments.UnlockMutex = UnlockMutex;
  arguments.flags = flags;
  return arguments;
}

class InitialiseTest : public ModuleTest {
 protected:
  // Whether the library is initialised, seen from outside.
  static bool IsInitialised() {
    CK_INFO info{};
    const CK_RV rv = P11().C_GetInfo(&info);
    EXPECT_RV_IN(rv, CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED);
    return rv == CKR_OK;
  }
};

// §5.4.4: the one call that is allowed before C_Initialize, with the list's version 2.40.
TEST_F(InitialiseTest, FunctionListNeedsNoInitialise) {
  CK_FUNCTION_LIST* first = nullptr;
  CK_FUNCTION_LIST* second = nullptr;
  ASSERT_RV(CKR_OK, P11().C_GetFunctionList(&first));
  ASSERT_RV(CKR_OK, P11().C_GetFunctionList(&second));
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first, second);
  EXPECT_EQ(first->version.major, 2);
  EXPECT_EQ(first->version.minor, 40);
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetFunctionList(nullptr));
}

// §5.4.4: a function that is not supported has its stub, never NULL.
TEST_F(InitialiseTest, FunctionListHasNoGaps) {
  std::array<void*, 68> entries{};
  const auto* list = reinterpret_cast<const CK_BYTE*>(&P11());
  static_assert(sizeof(CK_FUNCTION_LIST) == sizeof(void*) + sizeof entries);
  std::memcpy(entries.data(), list + sizeof(void*), sizeof entries);
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_NE(entries[i], nullptr) << "function " << i + 1 << " of the list";
  }
}

TEST_F(InitialiseTest, NullArguments) {
  EXPECT_RV(CKR_OK, P11().C_Initialize(nullptr));
  EXPECT_TRUE(IsInitialised());
}

// §5.4.1: every combination of the two flags without mutex functions; the module must not need
// threads of its own (NSS passes both flags).
TEST_F(InitialiseTest, EveryFlagsValue) {
  for (const CK_FLAGS flags : {CK_FLAGS{0}, CKF_LIBRARY_CANT_CREATE_OS_THREADS, CKF_OS_LOCKING_OK,
                               CKF_LIBRARY_CANT_CREATE_OS_THREADS | CKF_OS_LOCKING_OK}) {
    SCOPED_TRACE(flags);
    CK_C_INITIALIZE_ARGS arguments = WithMutexes(0, flags);
    EXPECT_RV(CKR_OK, P11().C_Initialize(&arguments));
    EXPECT_TRUE(IsInitialised());
    EXPECT_RV(CKR_OK, P11().C_Finalize(nullptr));
  }
}

// §3.7: mutex functions with CKF_OS_LOCKING_OK leave the library the choice.
TEST_F(InitialiseTest, MutexFunctionsOrOsLocking) {
  CK_C_INITIALIZE_ARGS arguments = WithMutexes(15, CKF_OS_LOCKING_OK);
  EXPECT_RV(CKR_OK, P11().C_Initialize(&arguments));
  EXPECT_TRUE(IsInitialised());
}

// §3.7: without CKF_OS_LOCKING_OK the functions must be used, or CKR_CANT_LOCK returned.
TEST_F(InitialiseTest, MutexFunctionsAlone) {
  CK_C_INITIALIZE_ARGS arguments = WithMutexes(15, 0);
  const CK_RV rv = P11().C_Initialize(&arguments);
  EXPECT_RV_IN(rv, CKR_OK, CKR_CANT_LOCK);
  EXPECT_EQ(IsInitialised(), rv == CKR_OK);
}

// §3.7: the four functions come together or not at all.
TEST_F(InitialiseTest, SomeMutexFunctions) {
  for (unsigned bits = 1; bits < 15; ++bits) {
    for (const CK_FLAGS flags : {CK_FLAGS{0}, CKF_OS_LOCKING_OK}) {
      SCOPED_TRACE(bits);
      CK_C_INITIALIZE_ARGS arguments = WithMutexes(bits, flags);
      EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Initialize(&arguments));
      EXPECT_FALSE(IsInitialised());
    }
  }
}

// §3.7: pReserved must be NULL.
TEST_F(InitialiseTest, Reserved) {
  CK_C_INITIALIZE_ARGS arguments = WithMutexes(0, CKF_OS_LOCKING_OK);
  arguments.pReserved = &arguments;
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Initialize(&arguments));
  EXPECT_FALSE(IsInitialised());
}

TEST_F(InitialiseTest, Twice) {
  ASSERT_RV(CKR_OK, Initialise());
  EXPECT_RV(CKR_CRYPTOKI_ALREADY_INITIALIZED, Initialise());
  EXPECT_RV(CKR_CRYPTOKI_ALREADY_INITIALIZED, P11().C_Initialize(nullptr));
  EXPECT_TRUE(IsInitialised());
}

TEST_F(InitialiseTest, FinalizeBeforeInitialise) {
  EXPECT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, P11().C_Finalize(nullptr));
}

// §5.4.2: pReserved must be NULL; a refused call changes nothing.
TEST_F(InitialiseTest, FinalizeReserved) {
  ASSERT_RV(CKR_OK, Initialise());
  int reserved = 0;
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_Finalize(&reserved));
  EXPECT_TRUE(IsInitialised());
  EXPECT_RV(CKR_OK, P11().C_Finalize(nullptr));
  EXPECT_FALSE(IsInitialised());
}

TEST_F(InitialiseTest, AgainAndAgain) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_RV(CKR_OK, Initialise());
    ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
    ASSERT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, P11().C_Finalize(nullptr));
  }
}

// ExpectNothingWorks: every function answers CKR_CRYPTOKI_NOT_INITIALIZED (§5.1.1). For those the
// module does not support at all, the order of the two checks is not specified.
void ExpectNothingWorks() {
  for (const Call& call : SlotCalls()) {
    SCOPED_TRACE(call.name);
    EXPECT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, call.run(0, 0));
  }
  for (const CK_SESSION_HANDLE session : {CK_SESSION_HANDLE{0}, CK_SESSION_HANDLE{1}}) {
    for (const Call& call : SessionCalls()) {
      SCOPED_TRACE(call.name);
      EXPECT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, call.run(session, 1));
    }
    for (const Call& call : CryptoCalls()) {
      SCOPED_TRACE(call.name);
      EXPECT_RV_IN(call.run(session, 1), CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_SUPPORTED);
    }
    for (const Call& call : LegacyCalls()) {
      SCOPED_TRACE(call.name);
      EXPECT_RV_IN(call.run(session, 1), CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_PARALLEL);
    }
  }
}

TEST_F(InitialiseTest, NothingWorksBefore) { ExpectNothingWorks(); }

TEST_F(InitialiseTest, NothingWorksAfterFinalize) {
  ASSERT_RV(CKR_OK, Initialise());
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  ExpectNothingWorks();
}

// §5.4.1: of several threads one initialises, the others are told that it is done.
TEST_F(InitialiseTest, Race) {
  for (int round = 0; round < 20; ++round) {
    std::array<CK_RV, 8> results{};
    std::vector<std::thread> threads;
    std::atomic<bool> go = false;
    for (CK_RV& result : results) {
      threads.emplace_back([&] {
        while (!go) std::this_thread::yield();
        result = Initialise();
      });
    }
    go = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(std::ranges::count(results, CKR_OK), 1);
    EXPECT_EQ(std::ranges::count(results, CKR_CRYPTOKI_ALREADY_INITIALIZED), 7);
    ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  }
}

class FinalizeTest : public UserTest {};

// §5.4.2: C_Finalize ends sessions, logins, searches and session objects; a new C_Initialize knows
// none of the old handles.
TEST_F(FinalizeTest, EndsEverything) {
  const CK_OBJECT_HANDLE object = Create(session_, DataObject("session object"));
  ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, nullptr, 0));
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  CK_SESSION_INFO info{};
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID, P11().C_GetSessionInfo(session_, &info));
  const CK_SESSION_HANDLE session = Open(kReadWrite);
  EXPECT_EQ(State(session), CKS_RW_PUBLIC_SESSION);
  CK_ULONG size = 0;
  EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_GetObjectSize(session, object, &size));
  EXPECT_EQ(FindAll(session, Template().With(CKA_CLASS, CKO_DATA)),
            std::vector<CK_OBJECT_HANDLE>());
}

}  // namespace
}  // namespace secretmem::conformance

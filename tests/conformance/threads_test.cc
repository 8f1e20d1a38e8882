// Many threads, each with sessions of its own: PKCS#11 3.1 §2.6.2 and §3.7.
#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class ThreadsTest : public UserTest {
 protected:
  static constexpr int kThreads = 8;

  // Run calls `body` in every thread, beginning together.
  static void Run(const std::function<void(int thread)>& body) {
    std::atomic<bool> go = false;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        while (!go) std::this_thread::yield();
        body(i);
      });
    }
    go = true;
    for (std::thread& thread : threads) thread.join();
  }
};

// Keys generated and derived side by side: each pair of threads' results belong together.
TEST_F(ThreadsTest, GenerateAndDerive) {
  Run([&](int) {
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    for (int i = 0; i < 25; ++i) {
      KeyPair pair;
      ASSERT_RV(CKR_OK, GenerateKeyPair(session, PublicTemplate(), PrivateTemplate(), pair));
      const Bytes other = ReferenceRandom(32);
      const Bytes point = RawPoint(ReadBytes(session, pair.public_key, CKA_EC_POINT));
      EXPECT_EQ(DeriveValue(session, {.base = pair.private_key,
                                      .peer = ReferencePublicKey(other),
                                      .key = SecretTemplate()}),
                ReferenceX25519(other, point));
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session, pair.public_key));
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session, pair.private_key));
    }
    EXPECT_RV(CKR_OK, P11().C_CloseSession(session));
  });
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CKO_PRIVATE_KEY)).size(), 0U);
}

// One key, all threads.
TEST_F(ThreadsTest, OneKeyForAll) {
  const Bytes value = ReferenceRandom(32);
  const CK_OBJECT_HANDLE base = Create(session_, X25519PrivateKey(value));
  Run([&](int) {
    const CK_SESSION_HANDLE session = Open(kReadOnly);
    for (int i = 0; i < 25; ++i) {
      const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
      EXPECT_EQ(DeriveValue(session, {.base = base, .peer = peer, .key = SecretTemplate()}),
                ReferenceX25519(value, peer));
    }
  });
}

// Token objects made, changed, found and destroyed by all threads: none lost, none left.
TEST_F(ThreadsTest, TokenObjects) {
  Run([&](int thread) {
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    for (int i = 0; i < 10; ++i) {
      const std::string label = "t" + std::to_string(thread) + "-" + std::to_string(i);
      const CK_OBJECT_HANDLE object = Create(session, DataObject(label).With(CKA_TOKEN, true));
      EXPECT_EQ(FindAll(session, Template().With(CKA_LABEL, label)),
                std::vector<CK_OBJECT_HANDLE>{object});
      Template change = Template().With(CKA_LABEL, label + " changed");
      EXPECT_RV(CKR_OK, P11().C_SetAttributeValue(session, object, change.data(), change.size()));
      EXPECT_EQ(ReadBytes(session, object, CKA_LABEL), ToBytes(label + " changed"));
      if (i % 2 == 0) {
        EXPECT_RV(CKR_OK, P11().C_DestroyObject(session, object));
      }
    }
  });
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CKO_DATA)).size(), 5U * kThreads);
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  EXPECT_EQ(FindAll(Open(kReadOnly), Template().With(CKA_CLASS, CKO_DATA)).size(), 5U * kThreads);
}

TEST_F(ThreadsTest, SessionsOpenAndClose) {
  Run([&](int thread) {
    for (int i = 0; i < 100; ++i) {
      const CK_SESSION_HANDLE session = Open(thread % 2 == 0 ? kReadOnly : kReadWrite);
      EXPECT_EQ(State(session), thread % 2 == 0 ? CKS_RO_USER_FUNCTIONS : CKS_RW_USER_FUNCTIONS);
      Create(session, DataObject("gone with the session"));
      EXPECT_RV(CKR_OK, P11().C_CloseSession(session));
    }
  });
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CKO_DATA)).size(), 0U);
  EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS);
}

// Logins and logouts race: each call has one of the answers that its order allows.
TEST_F(ThreadsTest, LoginAndLogout) {
  std::atomic<int> balance = 1;  // the fixture's login
  Run([&](int thread) {
    const CK_SESSION_HANDLE session = Open(kReadWrite);
    for (int i = 0; i < 20; ++i) {
      if ((thread + i) % 2 == 0) {
        const CK_RV rv = Login(session, CKU_USER, UserPin());
        EXPECT_RV_IN(rv, CKR_OK, CKR_USER_ALREADY_LOGGED_IN);
        if (rv == CKR_OK) ++balance;
      } else {
        const CK_RV rv = P11().C_Logout(session);
        EXPECT_RV_IN(rv, CKR_OK, CKR_USER_NOT_LOGGED_IN);
        if (rv == CKR_OK) --balance;
      }
    }
  });
  const CK_STATE state = State(session_);
  EXPECT_EQ(state, balance == 1 ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION);
  EXPECT_TRUE(balance == 0 || balance == 1) << balance;
}

// The library's own calls race with C_Finalize: an answer, never a crash.
TEST_F(ThreadsTest, FinalizeMeanwhile) {
  Run([&](int thread) {
    for (int i = 0; i < 50; ++i) {
      if (thread == 0) {
        EXPECT_RV_IN(P11().C_Finalize(nullptr), CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED);
        EXPECT_RV_IN(Initialise(), CKR_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED);
        continue;
      }
      CK_SESSION_HANDLE session = 0;
      const CK_RV rv = P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session);
      EXPECT_RV_IN(rv, CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SLOT_ID_INVALID);
      if (rv != CKR_OK) continue;
      Bytes bytes(16);
      EXPECT_RV_IN(P11().C_GenerateRandom(session, bytes.data(), 16), CKR_OK,
                   CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID);
      EXPECT_RV_IN(P11().C_CloseSession(session), CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED,
                   CKR_SESSION_HANDLE_INVALID);
    }
  });
}

}  // namespace
}  // namespace secretmem::conformance

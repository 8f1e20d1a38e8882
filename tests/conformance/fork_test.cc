// fork: PKCS#11 3.1 §2.5 ("Applications and processes", on fork) and §5.4.1.
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class ForkTest : public UserTest {
 protected:
  // InChild runs `body` in a forked child and returns what it returned. The child ends by _exit.
  static Bytes InChild(const std::function<Bytes()>& body) {
    int ends[2];
    if (pipe(ends) != 0) return {};
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      const Bytes bytes = body();
      const ssize_t written = write(ends[1], bytes.data(), bytes.size());
      _exit(written == static_cast<ssize_t>(bytes.size()) ? 0 : 1);
    }
    close(ends[1]);
    Bytes bytes(4096);
    size_t size = 0;
    for (ssize_t got = 1; got > 0 && size < bytes.size(); size += static_cast<size_t>(got)) {
      got = read(ends[0], bytes.data() + size, bytes.size() - size);
      if (got < 0) break;
    }
    close(ends[0]);
    bytes.resize(size);
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "the child did not end well";
    return bytes;
  }
  // CodeInChild is InChild for one return code.
  static CK_RV CodeInChild(const std::function<CK_RV()>& body) {
    const Bytes bytes = InChild([&] { return Template::Encode(body()); });
    CK_RV rv = ~CK_RV{0};
    EXPECT_EQ(bytes.size(), sizeof rv);
    if (bytes.size() == sizeof rv)
      std::copy(bytes.begin(), bytes.end(), reinterpret_cast<CK_BYTE*>(&rv));
    return rv;
  }
};

// §5.4.1: in the child the library is not initialised until it calls C_Initialize itself.
TEST_F(ForkTest, ChildIsNotInitialised) {
  EXPECT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, CodeInChild([&] {
              CK_SESSION_INFO info{};
              return P11().C_GetSessionInfo(session_, &info);
            }));
  EXPECT_RV(CKR_CRYPTOKI_NOT_INITIALIZED, CodeInChild([&] { return P11().C_Finalize(nullptr); }));
  EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS) << "the parent goes on";
}

TEST_F(ForkTest, ChildInitialises) {
  EXPECT_RV(CKR_OK, CodeInChild([] { return Initialise(); }));
  EXPECT_RV(CKR_OK, CodeInChild([] {
              const CK_RV rv = Initialise();
              return rv == CKR_OK ? P11().C_Finalize(nullptr) : rv;
            }));
  EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS);
}

// §2.5: the child does not inherit sessions, login state or session objects.
TEST_F(ForkTest, ChildHasNoSessions) {
  EXPECT_RV(CKR_SESSION_HANDLE_INVALID, CodeInChild([&] {
              CK_SESSION_INFO info{};
              const CK_RV rv = Initialise();
              return rv == CKR_OK ? P11().C_GetSessionInfo(session_, &info) : rv;
            }));
}

TEST_F(ForkTest, ChildHasNoLogin) {
  const Bytes state = InChild([&] {
    CK_SESSION_HANDLE session = 0;
    CK_SESSION_INFO info{};
    CK_RV rv = Initialise();
    if (rv == CKR_OK) rv = P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session);
    if (rv == CKR_OK) rv = P11().C_GetSessionInfo(session, &info);
    return Template::Encode(rv == CKR_OK ? info.state : 1000 + rv);
  });
  EXPECT_EQ(state, Template::Encode(CKS_RW_PUBLIC_SESSION));
}

// A key of the parent's session is not the child's; one of the token's is, after a login.
TEST_F(ForkTest, ChildUsesTokenKey) {
  const Bytes value = ReferenceRandom(32);
  const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
  const CK_OBJECT_HANDLE session_key =
      Create(session_, X25519PrivateKey(value).With(CKA_LABEL, "fork"));
  Create(session_, X25519PrivateKey(value)
                       .With(CKA_LABEL, "fork")
                       .With(CKA_TOKEN, true)
                       .With(CKA_PRIVATE, true));
  const Derivation derivation{.base = session_key, .peer = peer, .key = SecretTemplate()};
  const Bytes derived = InChild([&] {
    CK_SESSION_HANDLE session = 0;
    if (Initialise() != CKR_OK ||
        P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session) != CKR_OK ||
        Login(session, CKU_USER, UserPin()) != CKR_OK) {
      return ToBytes("no login");
    }
    const auto found = FindAll(session, Template().With(CKA_LABEL, "fork"));
    if (found.size() != 1) return ToBytes("not one key");
    return DeriveValue(session, {.base = found[0], .peer = peer, .key = SecretTemplate()});
  });
  EXPECT_EQ(derived, ReferenceX25519(value, peer));
  EXPECT_EQ(DeriveValue(session_, derivation), ReferenceX25519(value, peer));
}

// The parent's and every child's random output differ from each other.
TEST_F(ForkTest, RandomDiffers) {
  const auto random = [](CK_SESSION_HANDLE session) {
    Bytes bytes(32, 0);
    return P11().C_GenerateRandom(session, bytes.data(), 32) == CKR_OK ? bytes : Bytes();
  };
  const Bytes warm = random(session_);
  std::vector<Bytes> outputs{warm};
  for (int i = 0; i < 10; ++i) {
    outputs.push_back(InChild([&] {
      CK_SESSION_HANDLE session = 0;
      if (Initialise() != CKR_OK ||
          P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session) != CKR_OK) {
        return Bytes();
      }
      return random(session);
    }));
    outputs.push_back(random(session_));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    EXPECT_EQ(outputs[i].size(), 32U) << i;
    for (size_t j = 0; j < i; ++j) EXPECT_NE(outputs[i], outputs[j]) << i << ' ' << j;
  }
}

// A fork in the middle of a search, and a child's child.
TEST_F(ForkTest, ForkOfFork) {
  ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, nullptr, 0));
  const Bytes result = InChild([&] {
    if (Initialise() != CKR_OK) return ToBytes("child");
    return InChild([&] { return ToBytes(Initialise() == CKR_OK ? "well" : "grandchild"); });
  });
  EXPECT_EQ(result, ToBytes("well"));
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
}

// What a child commits to the token, the parent finds.
TEST_F(ForkTest, ParentSeesChildsObject) {
  EXPECT_RV(CKR_OK, CodeInChild([&] {
              CK_SESSION_HANDLE session = 0;
              CK_OBJECT_HANDLE object = 0;
              Template data = DataObject("by the child").With(CKA_TOKEN, true);
              CK_RV rv = Initialise();
              if (rv == CKR_OK) {
                rv = P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session);
              }
              if (rv == CKR_OK) {
                rv = P11().C_CreateObject(session, data.data(), data.size(), &object);
              }
              return rv;
            }));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "by the child")).size(), 1U);
}

}  // namespace
}  // namespace secretmem::conformance

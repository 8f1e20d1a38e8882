// Lifetimes of keys: CKA_SECRETMEM_LIFETIME, a vendor attribute (mechanisms/vendor.h). Other
// modules do not have it, and skip this chapter. Lifetimes are counted in real seconds here; that
// neither wall clock nor suspend change them is shown where clocks can be set.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <string>
#include <thread>

#include "mechanisms/vendor.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/hpke.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

constexpr CK_ULONG kLong = 100'000;

size_t Threads() {
  size_t count = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

// The key's deadline lies a second after it is made; this waits until it has passed.
void WaitUntilExpired() { std::this_thread::sleep_for(std::chrono::milliseconds(1'100)); }

class KeyExpiryTest : public UserTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(UserTest::SetUp());
    CK_OBJECT_HANDLE key = 0;
    Template with = Key(kLong);
    const CK_RV rv = P11().C_CreateObject(session_, with.data(), with.size(), &key);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID) GTEST_SKIP() << "no CKA_SECRETMEM_LIFETIME";
    ASSERT_RV(CKR_OK, rv);
    ASSERT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }

  // A secret key for HMACs, private.
  static Template Key(CK_ULONG lifetime) {
    return SecretObject(FromHex("000102030405060708090a0b0c0d0e0f"))
        .With(CKA_PRIVATE, true)
        .With(CKA_SIGN, true)
        .With(CKA_LABEL, "mortal")
        .With(CKA_SECRETMEM_LIFETIME, lifetime);
  }

  CK_RV CreateCode(Template key) const {
    CK_OBJECT_HANDLE handle = 0;
    return P11().C_CreateObject(session_, key.data(), key.size(), &handle);
  }

  CK_RV SignInit(CK_OBJECT_HANDLE key) const {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    return P11().C_SignInit(session_, &mechanism, key);
  }

  CK_RV ReadCode(CK_OBJECT_HANDLE key) const {
    CK_ATTRIBUTE label{CKA_LABEL, nullptr, 0};
    return P11().C_GetAttributeValue(session_, key, &label, 1);
  }

  std::vector<CK_OBJECT_HANDLE> Mortals() const {
    return FindAll(session_, Template().With(CKA_LABEL, "mortal"));
  }
};

TEST_F(KeyExpiryTest, IsReadable) {
  const CK_OBJECT_HANDLE key = Create(session_, Key(kLong));
  EXPECT_EQ(ReadUlong(session_, key, CKA_SECRETMEM_LIFETIME), kLong);
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const CK_ULONG expires = ReadUlong(session_, key, CKA_SECRETMEM_EXPIRES);
  EXPECT_LE(expires, static_cast<CK_ULONG>(now) + kLong * 1000);
  EXPECT_GT(expires, static_cast<CK_ULONG>(now) + kLong * 1000 - 600'000);
  const CK_OBJECT_HANDLE immortal = Create(session_, Key(kLong).Without(CKA_SECRETMEM_LIFETIME));
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
            ReadAttribute(session_, immortal, CKA_SECRETMEM_LIFETIME).rv);
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
            ReadAttribute(session_, immortal, CKA_SECRETMEM_EXPIRES).rv);
}

TEST_F(KeyExpiryTest, Values) {
  for (const CK_ULONG wrong : {CK_ULONG{0}, (CK_ULONG{1} << 32) + 1, ~CK_ULONG{0}}) {
    EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, CreateCode(Key(wrong))) << wrong;
  }
  EXPECT_RV(CKR_OK, CreateCode(Key(CK_ULONG{1} << 32)));
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
            CreateCode(Key(1).With(CKA_SECRETMEM_LIFETIME, Bytes{1, 0, 0, 0})));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY, CreateCode(Key(1).With(CKA_SECRETMEM_EXPIRES, kLong)));
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
            CreateCode(DataObject("data").With(CKA_SECRETMEM_LIFETIME, kLong)));
}

TEST_F(KeyExpiryTest, NeverChanges) {
  const CK_OBJECT_HANDLE mortal = Create(session_, Key(kLong));
  const CK_OBJECT_HANDLE immortal = Create(session_, Key(kLong).Without(CKA_SECRETMEM_LIFETIME));
  for (const CK_OBJECT_HANDLE key : {mortal, immortal}) {
    for (const CK_ATTRIBUTE_TYPE type : {CKA_SECRETMEM_LIFETIME, CKA_SECRETMEM_EXPIRES}) {
      for (const CK_ULONG value : {CK_ULONG{1}, kLong, kLong + 1}) {
        Template set = Template().With(type, value);
        EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
                  P11().C_SetAttributeValue(session_, key, set.data(), set.size()));
      }
    }
  }
}

TEST_F(KeyExpiryTest, CopyDoesNotOutliveItsOriginal) {
  const CK_OBJECT_HANDLE key = Create(session_, Key(kLong));
  const auto copy = [&](CK_OBJECT_HANDLE source, Template changes, CK_OBJECT_HANDLE* made) {
    return P11().C_CopyObject(session_, source, changes.data(), changes.size(), made);
  };
  CK_OBJECT_HANDLE made = 0;
  for (const bool token : {false, true}) {
    ASSERT_RV(CKR_OK, copy(key, Template().With(CKA_TOKEN, token), &made));
    EXPECT_EQ(ReadUlong(session_, made, CKA_SECRETMEM_LIFETIME), kLong);
    const auto difference = static_cast<int64_t>(ReadUlong(session_, made, CKA_SECRETMEM_EXPIRES)) -
                            static_cast<int64_t>(ReadUlong(session_, key, CKA_SECRETMEM_EXPIRES));
    EXPECT_LT(std::abs(difference), 50) << "the same moment, by two clocks";
  }
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            copy(key, Template().With(CKA_SECRETMEM_LIFETIME, kLong + 1), &made));
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
            copy(key, Template().With(CKA_SECRETMEM_EXPIRES, kLong), &made));
  ASSERT_RV(CKR_OK, copy(key, Template().With(CKA_SECRETMEM_LIFETIME, CK_ULONG{1}), &made));
  EXPECT_EQ(ReadUlong(session_, made, CKA_SECRETMEM_LIFETIME), 1U);
  WaitUntilExpired();
  EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, ReadCode(made));
  EXPECT_RV(CKR_OK, SignInit(key)) << "the original lives on";
}

TEST_F(KeyExpiryTest, UnusableAndNotFound) {
  const CK_OBJECT_HANDLE in_session = Create(session_, Key(1));
  const CK_OBJECT_HANDLE in_token = Create(session_, Key(1).With(CKA_TOKEN, true));
  const CK_OBJECT_HANDLE longer = Create(session_, Key(kLong));
  WaitUntilExpired();
  for (const CK_OBJECT_HANDLE key : {in_session, in_token}) {
    EXPECT_RV(CKR_KEY_HANDLE_INVALID, SignInit(key));
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, ReadCode(key));
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_DestroyObject(session_, key));
    CK_OBJECT_HANDLE copy = 0;
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_CopyObject(session_, key, nullptr, 0, &copy));
  }
  EXPECT_EQ(Mortals(), std::vector<CK_OBJECT_HANDLE>{longer});
}

TEST_F(KeyExpiryTest, GoneAfterARestart) {
  Create(session_, Key(1).With(CKA_TOKEN, true));
  Create(session_, Key(1).With(CKA_TOKEN, true).With(CKA_PRIVATE, false));
  Create(session_, Key(kLong).With(CKA_TOKEN, true));
  Create(session_, Key(kLong).With(CKA_TOKEN, true).With(CKA_PRIVATE, false));
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  WaitUntilExpired();
  ASSERT_RV(CKR_OK, Initialise());
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  const CK_SESSION_HANDLE session = Open(kReadOnly);
  ASSERT_RV(CKR_OK, Login(session, CKU_USER, UserPin()));
  const auto found = FindAll(session, Template().With(CKA_LABEL, "mortal"));
  ASSERT_EQ(found.size(), 2U);
  for (const CK_OBJECT_HANDLE key : found) {
    EXPECT_EQ(ReadUlong(session, key, CKA_SECRETMEM_LIFETIME), kLong);
  }
}

TEST_F(KeyExpiryTest, EndsAnOperation) {
  const CK_OBJECT_HANDLE key = Create(session_, Key(1));
  ASSERT_RV(CKR_OK, SignInit(key));
  CK_BYTE part[16] = {};
  ASSERT_RV(CKR_OK, P11().C_SignUpdate(session_, part, sizeof part));
  WaitUntilExpired();
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignUpdate(session_, part, sizeof part));
  CK_BYTE mac[32];
  CK_ULONG length = sizeof mac;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignFinal(session_, mac, &length));
  EXPECT_RV(CKR_OK, SignInit(Create(session_, Key(kLong)))) << "the session is free again";
}

// So does the end of a key that its parameter names: HPKE's pre-shared one.
TEST_F(KeyExpiryTest, PskEndsAnOperation) {
  if (!Offers(CKM_SECRETMEM_HPKE)) GTEST_SKIP() << "no HPKE";
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE to =
      Create(session_, X25519PublicKey(ReferencePublicKey(scalar)).With(CKA_ENCRYPT, true));
  const CK_OBJECT_HANDLE from = Create(session_, X25519PrivateKey(scalar).With(CKA_DECRYPT, true));
  Hpke hpke{.mode = CK_SECRETMEM_HPKE_MODE_PSK, .psk_id = ToBytes("id")};
  const auto psk = [&](CK_ULONG lifetime) {
    return Create(session_, Key(lifetime).With(CKA_VALUE, Bytes(32, 7)).With(CKA_DERIVE, true));
  };
  hpke.psk = psk(kLong);
  Bytes sealed = Encrypt(session_, to, hpke.Mechanism(), ToBytes("plain")).value;
  hpke.psk = psk(1);
  ASSERT_RV(CKR_OK, P11().C_EncryptInit(session_, hpke.Mechanism().get(), to));
  ASSERT_RV(CKR_OK, P11().C_DecryptInit(session_, hpke.Mechanism().get(), from));
  WaitUntilExpired();
  CK_BYTE out[128];
  CK_ULONG length = sizeof out;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
            P11().C_Decrypt(session_, sealed.data(), sealed.size(), out, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_Encrypt(session_, out, 1, out, &length));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, P11().C_EncryptInit(session_, hpke.Mechanism().get(), to));
}

TEST_F(KeyExpiryTest, LeavesASearch) {
  const CK_OBJECT_HANDLE first = Create(session_, Key(kLong));
  Create(session_, Key(1));
  const CK_OBJECT_HANDLE last = Create(session_, Key(kLong));
  Template wanted = Template().With(CKA_LABEL, "mortal");
  ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, wanted.data(), wanted.size()));
  CK_OBJECT_HANDLE found[3] = {};
  CK_ULONG count = 0;
  ASSERT_RV(CKR_OK, P11().C_FindObjects(session_, found, 1, &count));
  EXPECT_EQ(count, 1U);
  WaitUntilExpired();
  ASSERT_RV(CKR_OK, P11().C_FindObjects(session_, found + 1, 2, &count));
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(std::vector<CK_OBJECT_HANDLE>(found, found + 3),
            (std::vector<CK_OBJECT_HANDLE>{first, last, 0}));
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
}

// However a key is made.
TEST_F(KeyExpiryTest, EveryWayToMakeAKey) {
  CK_MECHANISM generate{CKM_AES_KEY_GEN, nullptr, 0};
  Template aes = Template()
                     .With(CKA_LABEL, "mortal")
                     .With(CKA_VALUE_LEN, CK_ULONG{16})
                     .With(CKA_WRAP, true)
                     .With(CKA_EXTRACTABLE, true)
                     .With(CKA_SECRETMEM_LIFETIME, kLong);
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, P11().C_GenerateKey(session_, &generate, aes.data(), aes.size(), &key));
  EXPECT_EQ(ReadUlong(session_, key, CKA_SECRETMEM_LIFETIME), kLong);

  CK_MECHANISM wrap{CKM_AES_KEY_WRAP, nullptr, 0};
  CK_BYTE wrapped[64];
  CK_ULONG length = sizeof wrapped;
  ASSERT_RV(CKR_OK, P11().C_WrapKey(session_, &wrap, key, key, wrapped, &length));
  Template unwrapped = Template()
                           .With(CKA_CLASS, CKO_SECRET_KEY)
                           .With(CKA_KEY_TYPE, CKK_AES)
                           .With(CKA_SECRETMEM_LIFETIME, kLong - 1);
  CK_OBJECT_HANDLE again = 0;
  ASSERT_RV(CKR_OK, P11().C_UnwrapKey(session_, &wrap, key, wrapped, length, unwrapped.data(),
                                      unwrapped.size(), &again));
  EXPECT_EQ(ReadUlong(session_, again, CKA_SECRETMEM_LIFETIME), kLong - 1);

  CK_MECHANISM pair{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  Template public_key = Template().With(CKA_EC_PARAMS, FromHex("06032b656e"));
  Template private_key = Template().With(CKA_DERIVE, true).With(CKA_SECRETMEM_LIFETIME, kLong - 2);
  CK_OBJECT_HANDLE its_public = 0;
  CK_OBJECT_HANDLE its_private = 0;
  ASSERT_RV(CKR_OK, P11().C_GenerateKeyPair(session_, &pair, public_key.data(), public_key.size(),
                                            private_key.data(), private_key.size(), &its_public,
                                            &its_private));
  EXPECT_EQ(ReadUlong(session_, its_private, CKA_SECRETMEM_LIFETIME), kLong - 2);
  EXPECT_RV(CKR_ATTRIBUTE_TYPE_INVALID,
            ReadAttribute(session_, its_public, CKA_SECRETMEM_LIFETIME).rv);

  Bytes point = ReadBytes(session_, its_public, CKA_EC_POINT);
  CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, point.size(), point.data()};
  CK_MECHANISM derive{CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
  Template secret = Template()
                        .With(CKA_CLASS, CKO_SECRET_KEY)
                        .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                        .With(CKA_SECRETMEM_LIFETIME, kLong - 3);
  CK_OBJECT_HANDLE derived = 0;
  ASSERT_RV(CKR_OK, P11().C_DeriveKey(session_, &derive, its_private, secret.data(), secret.size(),
                                      &derived));
  EXPECT_EQ(ReadUlong(session_, derived, CKA_SECRETMEM_LIFETIME), kLong - 3);
}

// Also by what PKCS#11 3.2 added.
TEST_F(KeyExpiryTest, EveryNewWayToMakeAKey) {
  ASSERT_NE(P11v32(), nullptr);
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE to =
      Create(session_, X25519PublicKey(ReferencePublicKey(scalar)).With(CKA_ENCAPSULATE, true));
  const CK_OBJECT_HANDLE from =
      Create(session_, X25519PrivateKey(scalar).With(CKA_DECAPSULATE, true));
  const Template mortal = SecretTemplate().With(CKA_SECRETMEM_LIFETIME, kLong);
  const Encapsulated sent = Encapsulate(session_, EcdhKem(CKD_NULL), to, mortal);
  ASSERT_RV(CKR_OK, sent.rv);
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK,
            Decapsulate(session_, EcdhKem(CKD_NULL), from, sent.ciphertext, mortal, received));
  const CK_OBJECT_HANDLE aes = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  const Bytes iv(12), none_associated;
  const OwnedMechanism gcm = Gcm(iv, none_associated, 128);
  const Result wrapped = WrapAuthenticated(session_, aes, gcm, sent.key, {});
  ASSERT_RV(CKR_OK, wrapped.rv);
  CK_OBJECT_HANDLE unwrapped = 0;
  ASSERT_RV(CKR_OK,
            UnwrapAuthenticated(
                session_, aes, gcm, wrapped.value, {},
                UnwrappedTemplate(CKK_GENERIC_SECRET).With(CKA_SECRETMEM_LIFETIME, CK_ULONG{1}),
                unwrapped));
  for (const CK_OBJECT_HANDLE key : {sent.key, received}) {
    EXPECT_EQ(ReadUlong(session_, key, CKA_SECRETMEM_LIFETIME), kLong);
  }
  EXPECT_RV(CKR_OK, ReadCode(unwrapped));
  WaitUntilExpired();
  EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, ReadCode(unwrapped));
  EXPECT_RV(CKR_OK, ReadCode(received));
}

// An expired KEM key decapsulates nothing more, nor does anything go to it.
TEST_F(KeyExpiryTest, KemKeyDecapsulatesNoMore) {
  ASSERT_NE(P11v32(), nullptr);
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE key = Create(session_, X25519PrivateKey(scalar)
                                                    .With(CKA_DECAPSULATE, true)
                                                    .With(CKA_SECRETMEM_LIFETIME, CK_ULONG{1}));
  const Bytes ciphertext = ReferencePublicKey(ReferenceRandom(32));
  CK_OBJECT_HANDLE received = 0;
  ASSERT_RV(CKR_OK,
            Decapsulate(session_, EcdhKem(CKD_NULL), key, ciphertext, SecretTemplate(), received));
  WaitUntilExpired();
  CK_OBJECT_HANDLE none = 0;
  EXPECT_RV(CKR_KEY_HANDLE_INVALID,
            Decapsulate(session_, EcdhKem(CKD_NULL), key, ciphertext, SecretTemplate(), none));
  EXPECT_RV(CKR_OK, ReadCode(received)) << "what it made has the lifetime of its own template";
}

// A key can bind what is derived from it.
TEST_F(KeyExpiryTest, InATemplateAttribute) {
  CK_ULONG lifetime = kLong;
  CK_ATTRIBUTE inner[] = {{CKA_SECRETMEM_LIFETIME, &lifetime, sizeof lifetime}};
  Template base = X25519PrivateKey(ReferenceRandom(32));
  const auto create = [&](CK_OBJECT_HANDLE* key) {
    std::vector<CK_ATTRIBUTE> attributes(base.data(), base.data() + base.size());
    attributes.push_back({CKA_DERIVE_TEMPLATE, inner, sizeof inner});
    return P11().C_CreateObject(session_, attributes.data(), attributes.size(), key);
  };
  CK_OBJECT_HANDLE key = 0;
  ASSERT_RV(CKR_OK, create(&key));
  Derivation derivation{
      .base = key, .peer = ReferencePublicKey(ReferenceRandom(32)), .key = SecretTemplate()};
  CK_OBJECT_HANDLE secret = 0;
  ASSERT_RV(CKR_OK, Derive(session_, derivation, secret));
  EXPECT_EQ(ReadUlong(session_, secret, CKA_SECRETMEM_LIFETIME), kLong);
  ReadUlong(session_, secret, CKA_SECRETMEM_EXPIRES);
  derivation.key = SecretTemplate().With(CKA_SECRETMEM_LIFETIME, kLong + 1);
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, Derive(session_, derivation, secret));
  lifetime = 0;
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID, create(&key));
}

TEST_F(KeyExpiryTest, ThreadOnlyWhileAKeyHasALifetime) {
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  session_ = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  const size_t before = Threads();
  Create(session_, Key(kLong).Without(CKA_SECRETMEM_LIFETIME));
  EXPECT_EQ(Threads(), before);
  Create(session_, Key(kLong));
  EXPECT_EQ(Threads(), before + 1);
  Create(session_, Key(1));
  EXPECT_EQ(Threads(), before + 1);
  WaitUntilExpired();
  EXPECT_EQ(Threads(), before + 1);
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  EXPECT_EQ(Threads(), before);
}

TEST_F(KeyExpiryTest, NoThreadWhereThereMayBeNone) {
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS;
  ASSERT_RV(CKR_OK, P11().C_Initialize(&arguments));
  const auto slot = FindToken(kLabel);
  ASSERT_TRUE(slot);
  slot_ = *slot;
  session_ = Open(kReadWrite);
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  const size_t before = Threads();
  const CK_OBJECT_HANDLE key = Create(session_, Key(1));
  EXPECT_EQ(Threads(), before);
  WaitUntilExpired();
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, SignInit(key));
  EXPECT_EQ(Threads(), before);
}

// A time namespace shifts CLOCK_BOOTTIME: neither gives a key more time nor takes any. Needs the
// right to make one.
TEST_F(KeyExpiryTest, TimeNamespaces) {
  constexpr int kNewTime = 0x80;  // CLONE_NEWTIME
  constexpr int kMayNot = 100;
  Create(session_, Key(1).With(CKA_TOKEN, true));
  Create(session_, Key(kLong).With(CKA_TOKEN, true));
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  for (const long offset : {long{kLong} * 10, 10 - static_cast<long>(now.tv_sec)}) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      if (unshare(kNewTime) != 0) _exit(kMayNot);
      const std::string text = "boottime " + std::to_string(offset) + " 0\n";
      const int offsets = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
      if (write(offsets, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        _exit(kMayNot);
      }
      // Children are in it.
      const pid_t inside = fork();
      if (inside == 0) {
        alarm(60);
        if (Initialise() != CKR_OK) _exit(1);
        const auto slot = FindToken(kLabel);
        CK_SESSION_HANDLE session = 0;
        if (!slot || P11().C_OpenSession(*slot, kReadWrite, nullptr, nullptr, &session) != CKR_OK) {
          _exit(2);
        }
        if (Login(session, CKU_USER, UserPin()) != CKR_OK) _exit(3);
        const auto count = [&] {
          return FindAll(session, Template().With(CKA_LABEL, "mortal")).size();
        };
        count();
        WaitUntilExpired();
        _exit(count() == 1 ? 0 : 4);
      }
      int status = -1;
      if (waitpid(inside, &status, 0) != inside) _exit(5);
      _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == kMayNot) GTEST_SKIP() << "no right to a time namespace";
    EXPECT_EQ(WEXITSTATUS(status), 0) << offset;
  }
  EXPECT_EQ(Mortals().size(), 1U);
}

TEST_F(KeyExpiryTest, ForkWithTheThreadRunning) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer does not start threads in the child of a process with threads";
#endif
  Create(session_, Key(1));
  Create(session_, Key(kLong).With(CKA_TOKEN, true));
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      if (Threads() != 1) _exit(1);
      if (Initialise() != CKR_OK) _exit(2);
      const auto slot = FindToken(kLabel);
      CK_SESSION_HANDLE session = 0;
      if (!slot || P11().C_OpenSession(*slot, kReadWrite, nullptr, nullptr, &session) != CKR_OK) {
        _exit(3);
      }
      if (Login(session, CKU_USER, UserPin()) != CKR_OK) _exit(4);
      if (FindAll(session, Template().With(CKA_LABEL, "mortal")).size() != 1) _exit(5);
      if (Threads() != 2) _exit(6);
      if (P11().C_Finalize(nullptr) != CKR_OK) _exit(7);
      // A thread that was joined is in the system's list a little longer; the alarm ends the wait.
      while (Threads() != 1) usleep(1000);
      _exit(0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  WaitUntilExpired();
  EXPECT_EQ(Mortals().size(), 1U) << "the parent's thread goes on";
}

}  // namespace
}  // namespace secretmem::conformance

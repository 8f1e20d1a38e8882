// The thread that wipes expired keys while nobody calls.

#include "pkcs11/reaper.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "mechanisms/vendor.h"
#include "pkcs11/module.h"
#include "pkcs11/operation_step.h"
#include "tests/unit/store_testing.h"
#include "tests/unit/test_clocks.h"
#include "tests/unit/token_fixture.h"
#include "tests/unit/vault_testing.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

size_t Threads() {
  // The sanitizer has a thread of its own from the first one on. One that ended is there a little
  // longer.
  if (static bool is_first = kThreadSanitizer; std::exchange(is_first, false)) {
    std::thread([] {}).join();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

// Soon says whether |done| becomes true, without a claim about when.
template <class Done>
bool Soon(Done&& done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

TEST(ReaperTest, ThreadWhileThereIsADeadlineOnly) {
  const size_t before = Threads();
  Alarm alarm;
  std::atomic<int> works{0};
  Reaper reaper(alarm, true, [&] {
    ++works;
    alarm.BeginSweep();
    alarm.EndSweep(kNoDeadline);
  });
  reaper.Watch();
  EXPECT_EQ(Threads(), before);
  for (int round = 1; round <= 3; ++round) {
    alarm.Lower(BoottimeMs() + 3'600'000);
    reaper.Watch();
    EXPECT_EQ(Threads(), before + 1);
    alarm.Lower(BoottimeMs() + 3'500'000);
    reaper.Watch();
    EXPECT_EQ(works, round - 1);
    EXPECT_EQ(Threads(), before + 1);
    alarm.Lower(BoottimeMs());
    reaper.Watch();
    EXPECT_TRUE(Soon([&] { return works == round && Threads() == before; })) << round;
  }
}

TEST(ReaperTest, StopIsForGood) {
  const size_t before = Threads();
  Alarm alarm;
  Reaper reaper(alarm, true, [] {});
  alarm.Lower(BoottimeMs() + 3'600'000);
  reaper.Watch();
  ASSERT_EQ(Threads(), before + 1);
  reaper.Stop();
  EXPECT_TRUE(Soon([&] { return Threads() == before; }));
  reaper.Watch();
  EXPECT_EQ(Threads(), before);
}

TEST(ReaperTest, NoThreadWhereThereMayBeNone) {
  const size_t before = Threads();
  Alarm alarm;
  Reaper reaper(alarm, false, [] { ADD_FAILURE(); });
  alarm.Lower(0);
  reaper.Watch();
  EXPECT_EQ(Threads(), before);
}

class ReapingTest : public TokenFixture {
 protected:
  void SetUp() override {
    TokenFixture::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(Token::Create(config_, 0, PinOf("so pin"), label_));
  }

  // A session key of |lifetime| seconds, whose bytes are 0x5a.
  static CK_OBJECT_HANDLE AddKey(Session& session, CK_ULONG lifetime, const uint8_t** place) {
    auto vault = Vault::New(64).value();
    EXPECT_TRUE(vault.WriteSecret([&](std::span<uint8_t> bytes) {
      std::ranges::fill(bytes, uint8_t{0x5a});
      *place = bytes.data();
    }));
    auto object = std::make_shared<Object>();
    object->uid = session.token->NewUid().value();
    object->attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
    object->attributes.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    object->attributes.SetBool(CKA_TOKEN, false);
    object->attributes.SetBool(CKA_PRIVATE, false);
    object->attributes.SetBool(CKA_SIGN, true);
    object->attributes.SetUlong(CKA_SECRETMEM_LIFETIME, lifetime);
    object->secret = std::make_shared<KeySecret>(std::move(vault));
    object->session = session.handle;
    return session.token->Add({std::move(object)}).value().front();
  }

  static std::shared_ptr<Session> Open(Module& module) {
    const auto handle = module.OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION);
    EXPECT_TRUE(handle) << handle.error();
    return module.FindSession(*handle).value();
  }
};

// Nothing here calls the module once the key is there: a second mapping of its memory is looked at.
TEST_F(ReapingTest, VaultIsWipedWithoutACall) {
  TrimVault();
  const SecretSpy spy;
  Module module(config_);
  const auto session = Open(module);
  const uint8_t* place = nullptr;
  {
    const Tended call(module);
    AddKey(*session, 1, &place);
  }
  const auto bytes = spy.Look(place, 64);
  ASSERT_EQ(bytes.size(), 64u);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0x5a; }));
  EXPECT_TRUE(Soon([&] { return IsZero(spy.Look(place, 64)); }));
}

// CLOCK_BOOTTIME jumps while the thread sleeps towards a later moment, as in a suspend: it notices
// by itself, within ten seconds.
TEST_F(ReapingTest, SuspendIsNoticedWithoutACall) {
  TrimVault();
  const TestClocks clocks;
  const SecretSpy spy;
  Module module(config_);
  const auto session = Open(module);
  const uint8_t* place = nullptr;
  {
    const Tended call(module);
    AddKey(*session, 3600, &place);
  }
  ASSERT_EQ(spy.Look(place, 64).size(), 64u);
  // Long enough for it to fall asleep; were it not, this would show less and not fail.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(IsZero(spy.Look(place, 64)));
  TestClocks::boottime_ms += 3'600'000;
  EXPECT_TRUE(Soon([&] { return IsZero(spy.Look(place, 64)); }));
}

// All of them go without a call, and the thread after them.
TEST_F(ReapingTest, HundredThousandKeys) {
  constexpr size_t kKeys = 100'000;
  const TestClocks clocks;
  const size_t before = Threads();
  Module module(config_);
  const auto session = Open(module);
  std::vector<CK_OBJECT_HANDLE> handles;
  const uint8_t* place = nullptr;
  for (size_t i = 0; i < kKeys; ++i) {
    const Tended call(module);
    handles.push_back(AddKey(*session, 10 + i % 100, &place));
  }
  EXPECT_EQ(Threads(), before + 1);
  const auto alive = [&] {
    return std::ranges::count_if(handles,
                                 [&](CK_OBJECT_HANDLE key) { return session->token->Has(key); });
  };
  TestClocks::Pass(59'000);
  EXPECT_TRUE(Soon([&] { return alive() == kKeys / 2; })) << alive();
  EXPECT_EQ(Threads(), before + 1);
  TestClocks::Pass(60'000);
  EXPECT_TRUE(Soon([&] { return alive() == 0; })) << alive();
  EXPECT_TRUE(Soon([&] { return Threads() == before; }));
}

// An operation that is under way, but in no call, does not keep its key.
TEST_F(ReapingTest, OperationGoesWithItsKey) {
  TrimVault();
  const SecretSpy spy;
  Module module(config_);
  const auto session = Open(module);
  const uint8_t* place = nullptr;
  {
    const Tended call(module);
    const CK_OBJECT_HANDLE key = AddKey(*session, 1, &place);
    const CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    ASSERT_TRUE(BeginWithKey(*session, session->sign, &mechanism, key, CKA_SIGN, &Mechanism::sign));
  }
  ASSERT_EQ(spy.Look(place, 64).size(), 64u);
  EXPECT_TRUE(Soon([&] { return IsZero(spy.Look(place, 64)); }));
  const std::lock_guard lock(session->mutex);
  EXPECT_FALSE(session->sign.in_use());
}

// One that is in a call comes to its end, and is not kept then.
TEST_F(ReapingTest, OperationInACallIsNotKept) {
  TrimVault();
  const TestClocks clocks;
  const SecretSpy spy;
  Module module(config_, /*may_start_threads=*/false);
  const auto session = Open(module);
  const uint8_t* place = nullptr;
  const CK_OBJECT_HANDLE key = AddKey(*session, 10, &place);
  const CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  ASSERT_TRUE(BeginWithKey(*session, session->sign, &mechanism, key, CKA_SIGN, &Mechanism::sign));
  const auto step = [&](auto&& work) { return OnOperation(*session, session->sign, true, work); };
  EXPECT_EQ(step([&](auto&) {
              TestClocks::Pass(10'000);
              module.Tend();
              EXPECT_FALSE(IsZero(spy.Look(place, 64)));
              return Step::Keep();
            }),
            CkStatus());
  EXPECT_FALSE(session->token->Has(key));
  EXPECT_TRUE(IsZero(spy.Look(place, 64)));
  EXPECT_EQ(step([](auto&) { return Step::Keep(); }),
            CkStatus(Refuse(CKR_OPERATION_NOT_INITIALIZED)));
}

TEST_F(ReapingTest, WithoutAThreadTheNextCallWipes) {
  TrimVault();
  const TestClocks clocks;
  const SecretSpy spy;
  const size_t before = Threads();
  Module module(config_, /*may_start_threads=*/false);
  const auto session = Open(module);
  const uint8_t* place = nullptr;
  {
    const Tended call(module);
    AddKey(*session, 10, &place);
  }
  EXPECT_EQ(Threads(), before);
  TestClocks::Pass(9'999);
  { const Tended call(module); }
  EXPECT_FALSE(IsZero(spy.Look(place, 64)));
  TestClocks::Pass(1);
  EXPECT_FALSE(IsZero(spy.Look(place, 64)));
  { const Tended call(module); }
  ASSERT_EQ(spy.Look(place, 64).size(), 64u);
  EXPECT_TRUE(IsZero(spy.Look(place, 64)));
}

TEST_F(ReapingTest, NoThreadOutlivesTheModule) {
  const size_t before = Threads();
  Module module(config_);
  const auto session = Open(module);
  const uint8_t* place = nullptr;
  {
    const Tended call(module);
    AddKey(*session, 1000, &place);
    EXPECT_EQ(Threads(), before);
  }
  EXPECT_EQ(Threads(), before + 1);
  module.CloseEverything();
  EXPECT_TRUE(Soon([&] { return Threads() == before; }));
  { const Tended call(module); }
  EXPECT_EQ(Threads(), before);
}

}  // namespace
}  // namespace secretmem

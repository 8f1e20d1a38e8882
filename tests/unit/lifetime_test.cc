// Lifetimes of keys in a token: deadlines, the token's own clock, its file.

#include <gtest/gtest.h>

#include "mechanisms/vendor.h"
#include "pkcs11/module.h"
#include "tests/unit/select_all.h"
#include "tests/unit/store_child.h"
#include "tests/unit/store_testing.h"
#include "tests/unit/test_clocks.h"
#include "tests/unit/token_fixture.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

class LifetimeTest : public TokenFixture {
 protected:
  void SetUp() override {
    TokenFixture::SetUp();
    if (IsSkipped()) return;
    ASSERT_NO_FATAL_FAILURE(MakeToken(token_));
    ASSERT_TRUE(token_->LogIn(CKU_USER, PinOf("user pin")));
  }

  enum Where { kSession, kPrivate, kPublic };

  std::shared_ptr<Object> NewKey(Where where, CK_ULONG lifetime) {
    auto object = std::make_shared<Object>();
    object->uid = token_->NewUid().value();
    object->attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
    object->attributes.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    object->attributes.SetBool(CKA_TOKEN, where != kSession);
    object->attributes.SetBool(CKA_PRIVATE, where == kPrivate);
    if (lifetime != 0) object->attributes.SetUlong(CKA_SECRETMEM_LIFETIME, lifetime);
    object->secret = std::make_shared<KeySecret>(Vault::New(16).value());
    return object;
  }

  CK_OBJECT_HANDLE Add(Where where, CK_ULONG lifetime) {
    const auto handles = token_->Add({NewKey(where, lifetime)});
    EXPECT_TRUE(handles) << handles.error();
    return handles ? handles->front() : 0;
  }

  // Another process that uses the token.
  std::shared_ptr<Token> Other() {
    auto other = Token::Open(config_, token_->path());
    EXPECT_TRUE(other) << other.error();
    EXPECT_TRUE((*other)->SessionOpened(true));
    EXPECT_TRUE((*other)->LogIn(CKU_USER, PinOf("user pin")));
    return *other;
  }

  static std::vector<CK_OBJECT_HANDLE> Found(Token& token) {
    EXPECT_TRUE(token.Load());
    return SelectAll(token,
                     [](const Object& object) { return object.object_class() != CKO_PROFILE; });
  }

  static size_t Count(Token& token) { return Found(token).size(); }

  // The rows of the file that are objects.
  std::vector<ObjectRow> Rows() {
    auto store = Value(TokenStore::Open(token_->path()));
    auto rows = Value(store.LoadAll()).rows;
    std::erase_if(rows, [](const ObjectRow& row) {
      return row.kind == static_cast<uint8_t>(RowKind::kClock);
    });
    return rows;
  }

  void ChangeClock(void (*change)(TokenStore&, uint64_t, ObjectRow&)) {
    auto store = Value(TokenStore::Open(token_->path()));
    ObjectRow row = Value(store.LoadRow(ClockUid(RowKind::kPrivate)));
    change(store, Value(store.ChangeCounter()).incarnation, row);
  }

  TestClocks clocks_;
  std::shared_ptr<Token> token_;
};

TEST_F(LifetimeTest, EndsToTheMillisecond) {
  for (const Where where : {kSession, kPrivate, kPublic}) {
    const CK_OBJECT_HANDLE key = Add(where, 10);
    const CK_OBJECT_HANDLE other = Add(where, 0);
    TestClocks::Pass(9'999);
    EXPECT_NE(token_->Find(key), nullptr) << where;
    TestClocks::Pass(1);
    EXPECT_EQ(token_->Find(key), nullptr) << where;
    EXPECT_NE(token_->Find(other), nullptr) << where;
    EXPECT_EQ(std::ranges::count(Found(*token_), key), 0) << where;
    EXPECT_EQ(token_->TakeExpired(TestClocks::boottime_ms), std::vector<CK_OBJECT_HANDLE>{key});
    EXPECT_FALSE(token_->Has(key)) << where;
    EXPECT_TRUE(token_->Has(other)) << where;
    EXPECT_EQ(token_->EarliestDeadline(), kNoDeadline);
  }
}

TEST_F(LifetimeTest, WallClockDoesNotCountWithinABoot) {
  const CK_OBJECT_HANDLE key = Add(kPrivate, 100);
  TestClocks::wall_ms += 365 * 86'400'000LL;
  EXPECT_EQ(Count(*Other()), 1u) << "set forward";
  EXPECT_NE(token_->Find(key), nullptr);
  TestClocks::wall_ms -= 2 * 365 * 86'400'000LL;
  TestClocks::boottime_ms += 99'999;
  EXPECT_EQ(Count(*Other()), 1u);
  TestClocks::boottime_ms += 1;
  EXPECT_EQ(Count(*Other()), 0u) << "set back";
  EXPECT_EQ(token_->Find(key), nullptr);
}

TEST_F(LifetimeTest, AfterARebootTheWallClockCounts) {
  Add(kPrivate, 100);
  Add(kPublic, 100);
  Add(kPrivate, 1000);
  TestClocks::Reboot();
  TestClocks::wall_ms += 99'999;
  EXPECT_EQ(Count(*Other()), 3u);
  TestClocks::Reboot();
  TestClocks::wall_ms += 1;
  EXPECT_EQ(Count(*Other()), 1u);
}

TEST_F(LifetimeTest, WallClockSetBackBetweenBootsGivesNoTime) {
  Add(kPrivate, 100);
  TestClocks::Pass(90'000);
  Add(kPrivate, 1000);  // this moment is on record now
  TestClocks::Reboot();
  TestClocks::wall_ms -= 365 * 86'400'000LL;
  auto other = Other();
  EXPECT_EQ(Count(*other), 2u);
  TestClocks::Pass(9'999);
  EXPECT_EQ(Count(*other), 2u);
  TestClocks::Pass(1);
  EXPECT_EQ(Count(*other), 1u);
  EXPECT_EQ(Count(*Other()), 1u);
  // And again and again, as long as somebody looks.
  for (int day = 0; day < 15; ++day) {
    other = Other();
    EXPECT_EQ(Count(*other), 1u) << day;
    TestClocks::Pass(60'000);
    other->Tidy();
    TestClocks::Reboot();
    TestClocks::wall_ms -= 86'400'000;
  }
  other = Other();
  EXPECT_EQ(Count(*other), 1u);
  TestClocks::Pass(89'999);
  EXPECT_EQ(Count(*other), 1u);
  TestClocks::Pass(1);
  EXPECT_EQ(Count(*other), 0u);
}

TEST_F(LifetimeTest, UnknownBootIsAnotherBoot) {
  TestClocks::boot = BootId{};
  Add(kPrivate, 100);
  TestClocks::boottime_ms += 1'000'000;  // not to be relied on: it may be another's
  TestClocks::wall_ms += 99'999;
  EXPECT_EQ(Count(*Other()), 1u);
  TestClocks::wall_ms += 1;
  EXPECT_EQ(Count(*Other()), 0u);
}

TEST_F(LifetimeTest, BoottimeThatIsLessThanItWasIsAnotherBoot) {
  Add(kPrivate, 100);
  TestClocks::boottime_ms -= 1'000'000;
  TestClocks::wall_ms += 100'000;
  EXPECT_EQ(Count(*Other()), 0u);
}

TEST_F(LifetimeTest, ExpiredRowsLeaveTheFile) {
  Add(kPrivate, 10);
  Add(kPublic, 10);
  Add(kPrivate, 1000);
  ASSERT_EQ(Rows().size(), 3u);
  // Two processes that both knew the keys delete them at the same time.
  auto other = Other();
  ASSERT_EQ(Count(*other), 3u);
  TestClocks::Pass(10'000);
  for (Token* token : {token_.get(), other.get()}) {
    EXPECT_EQ(token->TakeExpired(TestClocks::boottime_ms).size(), 2u);
    token->Tidy();
    EXPECT_EQ(Rows().size(), 1u);
    EXPECT_EQ(Count(*token), 1u);
  }
}

TEST_F(LifetimeTest, RowsThatExpiredWhileNobodyLookedLeaveTheFileWhenTheyAreMet) {
  Add(kPrivate, 10);
  Add(kPrivate, 0);
  TestClocks::Pass(10'000);
  auto alarm = std::make_shared<Alarm>();
  auto other = Token::Open(config_, token_->path()).value();
  other->SetAlarm(alarm);
  ASSERT_TRUE(other->SessionOpened(true));
  ASSERT_TRUE(other->LogIn(CKU_USER, PinOf("user pin")));
  EXPECT_EQ(Count(*other), 1u);
  EXPECT_EQ(alarm->due(), TestClocks::boottime_ms) << "there is work";
  other->Tidy();
  EXPECT_EQ(Rows().size(), 1u);
}

// Rows that cannot be deleted, nor the clock renewed: the keys are as gone, in each process that
// opens the file, and leave it when that can be written again.
TEST_F(LifetimeTest, AFileThatCannotBeWrittenKeepsNoKeyAlive) {
  Add(kPrivate, 10);
  Add(kPublic, 10);
  Add(kPrivate, 0);
  const std::string path = token_->path();
  token_.reset();  // which leaves nothing but the file
  const std::filesystem::path parts[] = {directory_.path(), config_.tokens_directory, path};
  if (geteuid() == 0) {
    for (const auto& part : parts) ASSERT_EQ(chown(part.c_str(), kNobody, kNobody), 0);
  }
  ASSERT_EQ(chmod(path.c_str(), 0400), 0);
  const auto open = [&] {
    token_ = Token::Open(config_, path).value();
    EXPECT_TRUE(token_->SessionOpened(true));
    EXPECT_TRUE(token_->LogIn(CKU_USER, PinOf("user pin")));
    return Count(*token_);
  };
  const auto use_it = [&] {
    if (!InitialiseVault()) return 1;
    TestClocks::Pass(9'999);
    EXPECT_EQ(open(), 3u);
    EXPECT_EQ(token_->Add({NewKey(kPrivate, 10)}).error(), CKR_TOKEN_WRITE_PROTECTED);
    TestClocks::Pass(1);
    EXPECT_EQ(token_->TakeExpired(TestClocks::boottime_ms).size(), 2u);
    token_->Tidy();
    EXPECT_EQ(Count(*token_), 1u);
    for (const int64_t change : {0, -1'000'000, 1'000'000}) {
      TestClocks::wall_ms += change;
      EXPECT_EQ(open(), 1u) << change;
      token_->Tidy();
      EXPECT_EQ(Count(*token_), 1u) << change;
    }
    TestClocks::Reboot();
    EXPECT_EQ(open(), 1u);
    return HasFailure() ? 2 : 0;
  };
  EXPECT_EQ(AsOrdinaryUser(use_it), 0);
  TestClocks::Pass(10'000);
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(open(), 1u);
  EXPECT_EQ(Rows().size(), 3u);
  token_->Tidy();
  EXPECT_EQ(Rows().size(), 1u);
}

TEST_F(LifetimeTest, WithoutItsClockAKeyDoesNotLoad) {
  Add(kPrivate, 100);
  Add(kPublic, 100);
  Add(kPrivate, 0);
  ChangeClock([](TokenStore& store, uint64_t incarnation, ObjectRow& row) {
    Value(store.Delete(incarnation, std::span(&row.id, 1)));
  });
  EXPECT_EQ(Count(*Other()), 2u) << "the public key has another clock";
  EXPECT_EQ(Rows().size(), 3u);
}

TEST_F(LifetimeTest, ChangedClockIsNoClock) {
  Add(kPrivate, 100);
  Add(kPrivate, 0);
  ChangeClock([](TokenStore& store, uint64_t incarnation, ObjectRow& row) {
    row.attributes[30] ^= 1;
    Value(store.Update(incarnation, row));
  });
  EXPECT_EQ(Count(*Other()), 1u);
}

TEST_F(LifetimeTest, ClockOfPublicObjectsDoesNotServePrivateOnes) {
  Add(kPrivate, 100);
  Add(kPublic, 1000);
  ChangeClock([](TokenStore& store, uint64_t incarnation, ObjectRow& row) {
    row.attributes = Value(store.LoadRow(ClockUid(RowKind::kStoreSealed))).attributes;
    Value(store.Update(incarnation, row));
  });
  EXPECT_EQ(Count(*Other()), 1u);
}

TEST_F(LifetimeTest, AttributeChangedInTheFileIsRefused) {
  const CK_OBJECT_HANDLE key = Add(kPublic, 100);
  const auto before = token_->Find(key)->attributes;
  auto store = Value(TokenStore::Open(token_->path()));
  for (const CK_ATTRIBUTE_TYPE type : {CKA_SECRETMEM_LIFETIME, CKA_SECRETMEM_EXPIRES}) {
    for (const bool removed : {false, true}) {
      ObjectRow row = Rows().front();
      AttributeSet changed = before;
      changed.SetUlong(type, *before.GetUlong(type) + 1);
      if (removed) changed.Remove(type);
      row.attributes = changed.Serialize();
      Value(store.Update(Value(store.ChangeCounter()).incarnation, row));
      EXPECT_EQ(Count(*Other()), 0u) << type << removed;
    }
  }
  ObjectRow row = Rows().front();
  row.attributes = before.Serialize();
  Value(store.Update(Value(store.ChangeCounter()).incarnation, row));
  EXPECT_EQ(Count(*Other()), 1u);
}

TEST_F(LifetimeTest, ChangedAttributesKeepTheDeadline) {
  for (const Where where : {kSession, kPrivate}) {
    const CK_OBJECT_HANDLE key = Add(where, 10);
    const ObjectPtr before = token_->Find(key);
    auto changed = std::make_shared<Object>();
    changed->attributes = before->attributes;
    changed->attributes.SetBytes(CKA_LABEL, std::array<uint8_t, 3>{'n', 'e', 'w'});
    changed->secret = before->secret;
    EXPECT_EQ(token_->Replace(key, before, std::move(changed)), CkResult<bool>(true));
    ASSERT_NE(token_->Find(key), nullptr);
    TestClocks::Pass(10'000);
    EXPECT_EQ(token_->Find(key), nullptr);
    EXPECT_EQ(token_->TakeExpired(TestClocks::boottime_ms), std::vector<CK_OBJECT_HANDLE>{key});
    EXPECT_EQ(token_->EarliestDeadline(), kNoDeadline);
  }
}

TEST_F(LifetimeTest, TokenInitialisedAgainHasNoOldClock) {
  Add(kPrivate, 10);
  TestClocks::Pass(10'000);
  EXPECT_EQ(token_->TakeExpired(TestClocks::boottime_ms).size(), 1u);
  token_->SessionClosed(true);
  ASSERT_TRUE(token_->Reinitialise(PinOf("so pin"), label_));
  token_->Tidy();
  TestClocks::wall_ms -= 86'400'000;
  ASSERT_TRUE(token_->SessionOpened(true));
  const CK_OBJECT_HANDLE key = Add(kPublic, 10);
  EXPECT_EQ(token_->Find(key)->attributes.GetUlong(CKA_SECRETMEM_EXPIRES),
            static_cast<CK_ULONG>(TestClocks::wall_ms + 10'000));
}

TEST_F(LifetimeTest, HundredThousand) {
  constexpr size_t kKeys = 100'000;
  std::vector<CK_OBJECT_HANDLE> handles;
  for (size_t i = 0; i < kKeys; ++i) handles.push_back(Add(kSession, 1 + i % 1000));
  EXPECT_EQ(token_->EarliestDeadline(), TestClocks::boottime_ms + 1000);
  for (size_t gone = 0; gone < 1000; gone += 250) {
    EXPECT_EQ(Count(*token_), kKeys - gone * (kKeys / 1000));
    TestClocks::Pass(250'000);
    const auto expired = token_->TakeExpired(TestClocks::boottime_ms);
    EXPECT_EQ(expired.size(), kKeys / 4);
    for (size_t i = 0, at = 0; i < kKeys; ++i) {
      if (i % 1000 < gone || i % 1000 >= gone + 250) continue;
      ASSERT_EQ(expired[at++], handles[i]);
    }
  }
  EXPECT_EQ(Count(*token_), 0u);
  EXPECT_EQ(token_->EarliestDeadline(), kNoDeadline);
}

TEST(AlarmTest, KeepsWhatComesDuringASweep) {
  Alarm alarm;
  EXPECT_EQ(alarm.due(), kNoDeadline);
  alarm.Lower(50);
  alarm.Lower(70);
  EXPECT_EQ(alarm.due(), 50);
  alarm.BeginSweep();
  EXPECT_EQ(alarm.due(), 50) << "others see that there is work";
  alarm.Lower(60);
  alarm.EndSweep(70);
  EXPECT_EQ(alarm.due(), 60);
  alarm.BeginSweep();
  alarm.EndSweep(kNoDeadline);
  EXPECT_EQ(alarm.due(), kNoDeadline);
}

}  // namespace
}  // namespace secretmem

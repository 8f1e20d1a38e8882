// Token objects come into memory when somebody asks for them, and only those.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "mechanisms/vendor.h"
#include "pkcs11/attribute_access.h"
#include "pkcs11/token.h"
#include "tests/unit/select_all.h"
#include "tests/unit/store_testing.h"
#include "tests/unit/template_for_test.h"
#include "tests/unit/test_clocks.h"
#include "tests/unit/token_fixture.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Labels = std::multiset<std::string>;

// Objects of every kind of row. Their labels tell the tests what is where.
enum Kind { kData, kOpenKey, kPrivateKey, kPrivateData };

class TokenLoadTest : public TokenFixture {
 protected:
  TokenLoadTest() : TokenFixture(MemoryBase()) {}

  void SetUp() override {
    TokenFixture::SetUp();
    if (IsSkipped()) return;
    ASSERT_NO_FATAL_FAILURE(MakeToken(writer_));
    ASSERT_TRUE(writer_->LogIn(CKU_USER, PinOf("user pin")));
  }

  std::shared_ptr<Object> New(Kind kind, const std::string& id, const std::string& label) {
    auto object = std::make_shared<Object>();
    object->uid = writer_->NewUid().value();
    const bool is_key = kind == kOpenKey || kind == kPrivateKey;
    object->attributes.SetUlong(CKA_CLASS, is_key ? CKO_SECRET_KEY : CKO_DATA);
    object->attributes.SetBool(CKA_TOKEN, true);
    object->attributes.SetBool(CKA_PRIVATE, kind == kPrivateKey || kind == kPrivateData);
    object->attributes.SetBytes(CKA_LABEL, Bytes(label));
    if (is_key) {
      object->attributes.SetUlong(CKA_KEY_TYPE, kind == kOpenKey ? CKK_AES : CKK_GENERIC_SECRET);
      object->attributes.SetBytes(CKA_ID, Bytes(id));
      object->secret = std::make_shared<KeySecret>(Vault::New(16).value());
    }
    return object;
  }

  CK_OBJECT_HANDLE Add(Kind kind, const std::string& id, const std::string& label) {
    return writer_->Add({New(kind, id, label)}).value().front();
  }

  // Another process that uses the token.
  std::shared_ptr<Token> Other(bool login = true) {
    auto other = Token::Open(config_, writer_->path()).value();
    EXPECT_TRUE(other->SessionOpened(true));
    if (login) {
      EXPECT_TRUE(other->LogIn(CKU_USER, PinOf("user pin")));
    }
    return other;
  }

  static std::string LabelOf(const Object& object) {
    const auto label = object.attributes.Get(CKA_LABEL).value();
    return {label.begin(), label.end()};
  }

  // What of the file is in memory.
  static Labels Loaded(Token& token) {
    Labels labels;
    for (const CK_OBJECT_HANDLE handle :
         SelectAll(token, [](const Object& object) { return object.row != 0; })) {
      labels.insert(LabelOf(*token.Find(handle)));
    }
    return labels;
  }

  static std::vector<CK_OBJECT_HANDLE> Handles(Token& token, const TemplateForTest& wanted) {
    const TemplateReader reader = wanted.Read();
    EXPECT_TRUE(token.Load(reader));
    return SelectAll(
        token, [&](const Object& object) { return object.row != 0 && Matches(object, reader); });
  }

  static Labels Find(Token& token, const TemplateForTest& wanted) {
    Labels labels;
    for (const CK_OBJECT_HANDLE handle : Handles(token, wanted)) {
      labels.insert(LabelOf(*token.Find(handle)));
    }
    return labels;
  }

  static TemplateForTest Id(const std::string& id) {
    TemplateForTest wanted;
    wanted.Text(CKA_ID, id);
    return wanted;
  }
  static TemplateForTest Label(const std::string& label) {
    TemplateForTest wanted;
    wanted.Text(CKA_LABEL, label);
    return wanted;
  }
  static TemplateForTest Ulong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    TemplateForTest wanted;
    wanted.Ulong(type, value);
    return wanted;
  }

  // Relabel changes an object as C_SetAttributeValue does.
  static void Relabel(Token& token, CK_OBJECT_HANDLE handle, const std::string& label) {
    const ObjectPtr before = token.Find(handle);
    ASSERT_NE(before, nullptr);
    auto changed = std::make_shared<Object>();
    changed->attributes = before->attributes;
    changed->attributes.SetBytes(CKA_LABEL, Bytes(label));
    changed->secret = before->secret;
    EXPECT_EQ(token.Replace(handle, before, std::move(changed)), CkResult<bool>(true));
  }

  std::shared_ptr<Token> writer_;
};

TEST_F(TokenLoadTest, OnlyWhatIsAskedForByAnyIndexedAttribute) {
  Add(kOpenKey, "1", "open 1");
  Add(kPrivateKey, "1", "private 1");
  Add(kPrivateKey, "2", "private 2");
  Add(kData, "", "note");
  Add(kPrivateData, "", "secret note");

  auto token = Other();
  EXPECT_EQ(Loaded(*token), Labels());
  EXPECT_EQ(Find(*token, Id("1")), (Labels{"open 1", "private 1"}));
  EXPECT_EQ(Loaded(*token), (Labels{"open 1", "private 1"}));
  EXPECT_EQ(Find(*token, Id("none")), Labels());
  EXPECT_EQ(Loaded(*token), (Labels{"open 1", "private 1"}));
  EXPECT_EQ(Find(*token, Label("note")), Labels{"note"});
  EXPECT_EQ(Loaded(*token), (Labels{"note", "open 1", "private 1"}));
  EXPECT_EQ(Find(*token, Ulong(CKA_CLASS, CKO_DATA)), (Labels{"note", "secret note"}));
  EXPECT_EQ(Loaded(*token), (Labels{"note", "open 1", "private 1", "secret note"}));
  EXPECT_EQ(Find(*token, Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET)),
            (Labels{"private 1", "private 2"}));

  token = Other();
  EXPECT_EQ(Find(*token, Ulong(CKA_KEY_TYPE, CKK_AES)), Labels{"open 1"});
  EXPECT_EQ(Loaded(*token), Labels{"open 1"});

  // The rest of a template is compared with what was loaded.
  token = Other();
  TemplateForTest both = Id("1");
  both.Ulong(CKA_CLASS, CKO_SECRET_KEY).Bool(CKA_PRIVATE, true);
  EXPECT_EQ(Find(*token, both), Labels{"private 1"});
  EXPECT_EQ(Loaded(*token), (Labels{"open 1", "private 1"}));

  TemplateForTest not_indexed;
  not_indexed.Bool(CKA_PRIVATE, false);
  EXPECT_EQ(Find(*token, not_indexed), (Labels{"note", "open 1"}));
  EXPECT_EQ(Loaded(*token), (Labels{"note", "open 1", "private 1", "private 2", "secret note"}));
}

TEST_F(TokenLoadTest, ALoginAsksAgainAndALogoutForgets) {
  Add(kOpenKey, "1", "open 1");
  Add(kPrivateKey, "1", "private 1");
  Add(kPrivateKey, "2", "private 2");
  auto token = Other(false);
  const auto before = Handles(*token, Id("1"));
  EXPECT_EQ(Find(*token, Id("1")), Labels{"open 1"});
  ASSERT_TRUE(token->LogIn(CKU_USER, PinOf("user pin")));
  EXPECT_EQ(Find(*token, Id("1")), (Labels{"open 1", "private 1"}));
  EXPECT_EQ(Handles(*token, Id("1")).front(), before.front());
  ASSERT_TRUE(token->LogOut());
  EXPECT_EQ(Loaded(*token), Labels{"open 1"});
  EXPECT_EQ(Find(*token, Id("1")), Labels{"open 1"});
  EXPECT_EQ(Find(*token, {}), Labels{"open 1"});
  ASSERT_TRUE(token->LogIn(CKU_USER, PinOf("user pin")));
  EXPECT_EQ(Find(*token, {}), (Labels{"open 1", "private 1", "private 2"}));
  EXPECT_EQ(Handles(*token, Id("1")).front(), before.front());
}

TEST_F(TokenLoadTest, ChangesOfOthersReachWhatIsLoadedOrWasAskedFor) {
  const CK_OBJECT_HANDLE kept = Add(kPrivateKey, "1", "kept");
  const CK_OBJECT_HANDLE gone = Add(kPrivateKey, "1", "gone");
  const CK_OBJECT_HANDLE unseen = Add(kPrivateKey, "2", "unseen");
  const CK_OBJECT_HANDLE unseen_gone = Add(kPrivateKey, "3", "unseen and gone");
  auto token = Other();
  const auto handles = Handles(*token, Id("1"));
  ASSERT_EQ(handles.size(), 2U);

  Relabel(*writer_, kept, "kept, changed");
  Relabel(*writer_, unseen, "unseen, changed");
  for (const CK_OBJECT_HANDLE handle : {gone, unseen_gone}) {
    ASSERT_TRUE(writer_->Destroy(handle, writer_->Find(handle)));
  }
  Add(kOpenKey, "1", "came");
  Add(kOpenKey, "2", "came unseen");
  ASSERT_TRUE(token->Refresh());
  EXPECT_EQ(Loaded(*token), (Labels{"kept, changed", "came"}));
  EXPECT_EQ(Find(*token, Id("1")), (Labels{"kept, changed", "came"}));
  EXPECT_EQ(LabelOf(*token->Find(handles[0])), "kept, changed");
  EXPECT_EQ(token->Find(handles[1]), nullptr);
  EXPECT_EQ(Find(*token, Id("2")), (Labels{"unseen, changed", "came unseen"}));
  EXPECT_EQ(Find(*token, Id("3")), Labels());

  // One that comes to have what was asked for, and one that has it no more.
  EXPECT_EQ(Find(*token, Label("wanted")), Labels());
  Relabel(*writer_, unseen, "wanted");
  Relabel(*writer_, kept, "no more");
  EXPECT_EQ(Find(*token, Label("wanted")), Labels{"wanted"});
  EXPECT_EQ(Find(*token, Label("kept, changed")), Labels());
}

TEST_F(TokenLoadTest, ObjectsOfOnesOwnAreBroughtUpToDateToo) {
  // The first look at the file comes after another process has changed and destroyed them.
  const CK_OBJECT_HANDLE changed = Add(kPrivateKey, "1", "old");
  const CK_OBJECT_HANDLE gone = Add(kPrivateKey, "2", "gone");
  auto token = Other();
  Relabel(*token, Handles(*token, Id("1")).front(), "new");
  const CK_OBJECT_HANDLE there = Handles(*token, Id("2")).front();
  ASSERT_TRUE(token->Destroy(there, token->Find(there)));
  EXPECT_EQ(Find(*writer_, Id("none")), Labels());
  EXPECT_EQ(Loaded(*writer_), Labels{"new"});
  EXPECT_EQ(LabelOf(*writer_->Find(changed)), "new");
  EXPECT_EQ(writer_->Find(gone), nullptr);
}

TEST_F(TokenLoadTest, WhoCannotBeToldWhatChangedLoadsEverything) {
  // More deletions than are remembered.
  Add(kOpenKey, "1", "one");
  const CK_OBJECT_HANDLE last = Add(kOpenKey, "2", "two");
  auto token = Other();
  EXPECT_EQ(Find(*token, Id("2")), Labels{"two"});
  auto store = Value(TokenStore::Open(writer_->path()));
  const uint64_t incarnation = Value(store.ChangeCounter()).incarnation;
  const int64_t row = writer_->Find(last)->row;
  ObjectRow passing;
  for (int i = 0; i < 20'001; ++i) {
    passing.uid = MakeUid(static_cast<uint64_t>(i) + 1000);
    const auto ids = Value(store.Insert(incarnation, std::span(&passing, 1))).ids;
    if (i % 100 == 0 || i == 20'000) Value(store.Delete(incarnation, ids));
  }
  Value(store.Delete(incarnation, std::span(&row, 1)));
  ASSERT_TRUE(Value(store.LoadChangedSince({incarnation, 3})).complete);
  EXPECT_EQ(Find(*token, Id("2")), Labels());
  EXPECT_EQ(Loaded(*token), Labels{"one"});
}

TEST_F(TokenLoadTest, ExpiredKeysThatNobodyAskedForLeaveTheFile) {
  const TestClocks clocks;
  for (const Kind kind : {kOpenKey, kPrivateKey}) {
    auto expiring = New(kind, "1", "expiring");
    expiring->attributes.SetUlong(CKA_SECRETMEM_LIFETIME, 10);
    ASSERT_TRUE(writer_->Add({std::move(expiring)}));
  }
  auto lasting = New(kPrivateKey, "1", "lasting");
  lasting->attributes.SetUlong(CKA_SECRETMEM_LIFETIME, 1000);
  ASSERT_TRUE(writer_->Add({std::move(lasting)}));
  Add(kPrivateKey, "2", "other");
  const auto rows = [&] {
    auto store = Value(TokenStore::Open(writer_->path()));
    size_t count = 0;
    for (const ObjectRow& row : Value(store.LoadAll()).rows) {
      count += row.kind != static_cast<uint8_t>(RowKind::kClock);
    }
    return count;
  };
  TestClocks::Pass(10'000);
  ASSERT_EQ(rows(), 4U);
  auto token = Other();
  auto alarm = std::make_shared<Alarm>();
  token->SetAlarm(alarm);
  EXPECT_EQ(Find(*token, Id("2")), Labels{"other"});
  EXPECT_EQ(Loaded(*token), (Labels{"lasting", "other"})) << "its deadline must be known";
  EXPECT_EQ(alarm->due(), TestClocks::boottime_ms) << "there is work";
  token->Tidy();
  EXPECT_EQ(rows(), 2U);
  EXPECT_EQ(token->EarliestDeadline(), TestClocks::boottime_ms + 990'000);
}

TEST_F(TokenLoadTest, ManyTermsAreForgottenAndAskedForAgain) {
  Add(kPrivateKey, "1", "one");
  auto token = Other();
  EXPECT_EQ(Find(*token, Id("1")), Labels{"one"});
  for (int i = 0; i < 6'000; ++i) {
    ASSERT_TRUE(token->Load(Id("no " + std::to_string(i)).Read()));
  }
  Add(kPrivateKey, "1", "two");
  Add(kPrivateKey, "no 0", "three");
  EXPECT_EQ(Find(*token, Id("1")), (Labels{"one", "two"}));
  EXPECT_EQ(Find(*token, Id("no 0")), Labels{"three"});
}

// However many objects there are, a search reads those that it finds.
TEST_F(TokenLoadTest, HundredThousand) {
  for (int batch = 0; batch < 10; ++batch) {
    std::vector<std::shared_ptr<Object>> objects;
    for (int i = 0; i < 10'000; ++i) {
      const std::string name = std::to_string(batch * 10'000 + i);
      objects.push_back(New(kPrivateKey, name, "label " + name));
    }
    ASSERT_TRUE(writer_->Add(std::move(objects)));
  }
  auto token = Other();
  EXPECT_EQ(Loaded(*token), Labels());
  EXPECT_EQ(Find(*token, Id("77777")), Labels{"label 77777"});
  TemplateForTest both = Ulong(CKA_CLASS, CKO_SECRET_KEY);
  both.Text(CKA_LABEL, "label 5");
  EXPECT_EQ(Find(*token, both), Labels{"label 5"});
  EXPECT_EQ(Find(*token, Ulong(CKA_CLASS, CKO_CERTIFICATE)), Labels());
  EXPECT_EQ(Loaded(*token), (Labels{"label 5", "label 77777"}));
  EXPECT_EQ(Find(*token, Ulong(CKA_CLASS, CKO_SECRET_KEY)).size(), 100'000U);
}

// Threads that search, make and destroy beside another process that does so too: nobody sees an
// object that is gone, or misses one that is there.
TEST_F(TokenLoadTest, SearchesBesideChanges) {
  auto token = Other();
  constexpr int kRounds = 150;
  const auto work = [&](Token& its, const std::string& name) {
    for (int i = 0; i < kRounds; ++i) {
      const std::string id = name + std::to_string(i % 5);
      const CK_OBJECT_HANDLE handle = its.Add({New(kPrivateKey, id, name)}).value().front();
      EXPECT_THAT(Handles(*token, Id(id)), testing::SizeIs(1));
      EXPECT_THAT(Handles(*writer_, Id(id)), testing::SizeIs(1));
      EXPECT_TRUE(its.Destroy(handle, its.Find(handle)));
      EXPECT_THAT(Handles(*token, Id(id)), IsEmpty());
      EXPECT_THAT(Handles(*writer_, Id(id)), IsEmpty());
      if (i % 50 == 49) {
        EXPECT_TRUE(its.Load());
      }
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back([&] { work(*token, "a"); });
  threads.emplace_back([&] { work(*token, "b"); });
  threads.emplace_back([&] { work(*writer_, "c"); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Find(*token, {}), Labels());
  EXPECT_EQ(Find(*writer_, {}), Labels());
}

// What two threads do at once, one step after the other.
class LoadedTableTest : public testing::Test {
 protected:
  static ObjectPtr Stored(int64_t row, uint64_t version) {
    auto object = std::make_shared<Object>();
    object->row = row;
    object->version = version;
    return object;
  }
  static ObjectRow Row(int64_t id, uint64_t version, std::vector<IndexHash> index = {}) {
    ObjectRow row;
    row.id = id;
    row.version = version;
    row.index = std::move(index);
    return row;
  }
  std::vector<int64_t> Rows() const {
    std::vector<int64_t> rows;
    const auto any = [](const Object&) { return true; };
    for (const CK_OBJECT_HANDLE handle : table_.Select({}, table_.Present(), 100, any)) {
      rows.push_back(table_.Find(handle)->row);
    }
    return rows;
  }
  bool Apply(const ObjectTable::State& since, uint64_t sequence,
             std::vector<ObjectTable::Change> changed, std::vector<int64_t> deleted = {}) {
    return table_.Apply(since, sequence, false, changed, deleted);
  }
  bool Admit(const ObjectTable::State& since, uint64_t sequence, std::vector<ObjectPtr> objects,
             std::vector<IndexHash> hashes) {
    return table_.Admit(since, sequence, objects, hashes);
  }

  void SetUp() override { ASSERT_TRUE(Apply({}, 10, {})); }

  const IndexHash one_ = MakeUid(1), two_ = MakeUid(2);
  ObjectTable table_;
};

TEST_F(LoadedTableTest, AQuestionThatWasAnsweredMeanwhile) {
  const auto since = table_.state();
  EXPECT_FALSE(table_.Concerns(Row(1, 11, {one_})));
  ASSERT_TRUE(Admit(since, 10, {}, {one_}));
  EXPECT_TRUE(table_.Concerns(Row(1, 11, {two_, one_})));
  EXPECT_FALSE(table_.Concerns(Row(1, 11, {two_})));
  EXPECT_FALSE(Apply(since, 11, {{1, 11, nullptr}})) << "row 1 has been asked for";
  EXPECT_TRUE(Admit(since, 10, {}, {two_})) << "another question is not in the way";
  EXPECT_TRUE(Apply(table_.state(), 11, {{1, 11, Stored(1, 11)}}));
  EXPECT_THAT(Rows(), ElementsAre(1));
}

TEST_F(LoadedTableTest, AnAnswerThatIsOlderThanTheTable) {
  const auto since = table_.state();
  ASSERT_TRUE(Apply(since, 12, {{1, 12, nullptr}}));
  EXPECT_FALSE(Admit(since, 11, {Stored(1, 8)}, {one_}));
  EXPECT_FALSE(table_.Covers(one_));
  EXPECT_TRUE(Admit(since, 12, {Stored(1, 12)}, {one_}));
  EXPECT_TRUE(table_.Covers(one_));
  EXPECT_FALSE(table_.Covers(two_));
  EXPECT_FALSE(table_.CoversAll());
}

TEST_F(LoadedTableTest, AnObjectThatWasTakenOutMeanwhile) {
  const CK_OBJECT_HANDLE handle = table_.Add(Stored(1, 9));
  const auto since = table_.state();
  table_.Remove(handle);
  EXPECT_FALSE(Admit(since, 10, {Stored(1, 9)}, {one_}));
  EXPECT_FALSE(Apply(since, 11, {{1, 9, Stored(1, 9)}}));
  EXPECT_THAT(Rows(), IsEmpty());
}

TEST_F(LoadedTableTest, ALogoutMeanwhile) {
  const auto since = table_.state();
  ASSERT_TRUE(Admit(since, 10, {}, {}));
  EXPECT_TRUE(table_.CoversAll());
  EXPECT_TRUE(table_.Covers(two_));
  table_.Restart();
  EXPECT_FALSE(table_.CoversAll());
  EXPECT_FALSE(table_.Covers(two_));
  EXPECT_FALSE(Admit(since, 10, {Stored(1, 9)}, {one_}));
  EXPECT_THAT(Rows(), IsEmpty());
}

TEST_F(LoadedTableTest, AnObjectOfOnesOwnThatAnotherChanged) {
  // Made in 11, changed by another process in 12, which this one passed over, as row 1 was not here
  // yet.
  const auto since = table_.state();
  table_.Add(Stored(1, 11));
  EXPECT_FALSE(Apply(since, 12, {{1, 12, nullptr}}));
  EXPECT_TRUE(Apply(since, 12, {{1, 12, Stored(1, 12)}}));
  EXPECT_TRUE(table_.IsCurrent(Row(1, 12)));
  EXPECT_FALSE(table_.IsCurrent(Row(1, 13)));
  EXPECT_FALSE(table_.IsCurrent(Row(2, 1)));
  // The same where it comes later still: the next look goes back as far.
  ASSERT_TRUE(Apply(table_.state(), 14, {{2, 14, nullptr}}));
  table_.Add(Stored(2, 13));
  EXPECT_EQ(table_.state().sequence, 13U);
  // One that was seen before it came here needs none.
  ASSERT_TRUE(Apply(table_.state(), 16, {{2, 14, Stored(2, 14)}, {3, 15, Stored(3, 15)}}));
  table_.Add(Stored(3, 15));
  EXPECT_EQ(table_.state().sequence, 16U);
  EXPECT_THAT(Rows(), ElementsAre(1, 2, 3));
}

TEST_F(LoadedTableTest, AnObjectOfOnesOwnThatCameAfterEverythingWasRead) {
  table_.Add(Stored(1, 9));
  table_.Add(Stored(2, 10));
  table_.Add(Stored(4, 12));
  const std::vector<ObjectTable::Change> all = {{2, 10, nullptr}, {3, 11, Stored(3, 11)}};
  ASSERT_TRUE(table_.Apply(table_.state(), 11, true, all, {}));
  EXPECT_THAT(Rows(), ElementsAre(2, 4, 3)) << "by handle; row 1 is gone from the file";
  EXPECT_TRUE(table_.CoversAll());
}

TEST_F(LoadedTableTest, ALogoutThatLeavesNothingBeginsAnew) {
  table_.Restart();
  EXPECT_EQ(table_.state().sequence, 0U);
  table_.Add(Stored(1, 9));
  EXPECT_EQ(table_.state().sequence, 9U);
  table_.Restart();
  EXPECT_EQ(table_.state().sequence, 9U);
}

}  // namespace
}  // namespace secretmem

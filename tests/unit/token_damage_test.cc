// One damaged, forged or missing row costs one object and one line in the log, nothing else.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <set>

#include "pkcs11/attribute_access.h"
#include "pkcs11/log.h"
#include "pkcs11/object.h"
#include "pkcs11/token.h"
#include "tests/unit/log_capture.h"
#include "tests/unit/select_all.h"
#include "tests/unit/store_testing.h"
#include "tests/unit/template_for_test.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

class TokenDamageTest : public testing::Test {
 protected:
  static constexpr size_t kObjects = 5;

  void SetUp() override {
    if (const auto ready = InitialiseVault(); !ready) {
      GTEST_SKIP() << Describe(ready.error().code);
    }
    config_.tokens_directory = directory_ / "tokens";
    config_.pin.iterations = 1000;
    std::array<uint8_t, 32> label;
    label.fill(' ');
    auto made = Token::Create(config_, 0, PinOf("so pin"), label);
    ASSERT_TRUE(made) << made.error();
    path_ = (*made)->path();
    ASSERT_TRUE((*made)->SessionOpened(true));
    ASSERT_TRUE((*made)->LogIn(CKU_SO, PinOf("so pin")));
    ASSERT_TRUE((*made)->InitPin(PinOf("user pin")));
    ASSERT_TRUE((*made)->LogOut());
    ASSERT_TRUE((*made)->LogIn(CKU_USER, PinOf("user pin")));
    for (size_t i = 0; i < kObjects; ++i) ASSERT_TRUE((*made)->Add({NewKey(**made, i % 2 == 0)}));
    made->reset();
    SetLogLevel(LogLevel::kError);
  }
  void TearDown() override { SetLogLevel(LogLevel::kOff); }

  static std::shared_ptr<Object> NewKey(Token& token, bool is_private) {
    auto object = std::make_shared<Object>();
    object->uid = token.NewUid().value();
    object->attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
    object->attributes.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    object->attributes.SetBool(CKA_TOKEN, true);
    object->attributes.SetBool(CKA_PRIVATE, is_private);
    object->secret = std::make_shared<KeySecret>(Vault::New(16).value());
    return object;
  }

  void Sql(const char* statement, int changes = 1) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, statement, nullptr, nullptr, &error), SQLITE_OK) << error;
    EXPECT_EQ(sqlite3_changes(db), changes);
    sqlite3_close(db);
  }

  // Changes row |id| behind the token's back, checksums included.
  void Tamper(int64_t id, void (*change)(ObjectRow&)) {
    auto store = Value(TokenStore::Open(path_));
    const Snapshot all = Value(store.LoadAll());
    ObjectRow row = all.rows.at(static_cast<size_t>(id - 1));
    ASSERT_EQ(row.id, id);
    change(row);
    Value(store.Update(all.state.incarnation, row));
  }

  struct Found {
    std::set<int64_t> rows;
    std::string log;
    bool operator==(const Found&) const = default;
  };

  // What a search by a user who has logged in finds, and what the log says of it.
  Found Search(const TemplateReader& wanted = {}) {
    Found found;
    auto token = Token::Open(config_, path_);
    if (!token) {
      ADD_FAILURE() << token.error();
      return found;
    }
    EXPECT_TRUE((*token)->SessionOpened(true));
    EXPECT_TRUE((*token)->LogIn(CKU_USER, PinOf("user pin")));
    found.log = Captured([&] { EXPECT_TRUE((*token)->Load(wanted)); });
    for (const CK_OBJECT_HANDLE handle :
         SelectAll(**token, [](const Object& object) { return object.row != 0; })) {
      found.rows.insert((*token)->Find(handle)->row);
    }
    return found;
  }

  TemporaryDirectory directory_{MemoryBase()};
  Config config_;
  std::string path_;
};

std::string Line(const std::string& text) { return "secretmem-pkcs11: error: " + text + "\n"; }

TEST_F(TokenDamageTest, UndamagedEverythingIsThere) {
  EXPECT_EQ(Search(), (Found{{1, 2, 3, 4, 5}, ""}));
}

TEST_F(TokenDamageTest, ARowThatIsMissing) {
  Sql("DELETE FROM object WHERE id=3");
  EXPECT_EQ(Search(), (Found{{1, 2, 4, 5},
                             Line("1 objects of the token file are missing or cannot be read")}));
}

TEST_F(TokenDamageTest, ARowOfOtherBytes) {
  Sql("UPDATE object SET secret=zeroblob(56) WHERE id=3");
  EXPECT_EQ(Search(), (Found{{1, 2, 4, 5}, Line("object 3 of the token file is damaged")}));
}

TEST_F(TokenDamageTest, ForgedAttributes) {
  Tamper(3, [](ObjectRow& row) { row.attributes.back() ^= 1; });
  EXPECT_EQ(Search(), (Found{{1, 2, 4, 5},
                             Line("object 3 of the token file does not verify: it was changed from "
                                  "outside")}));
}

TEST_F(TokenDamageTest, AForgedSecretOfAKeyThatNeedsNoLogin) {
  Tamper(2, [](ObjectRow& row) { row.secret.back() ^= 1; });
  EXPECT_EQ(Search(), (Found{{1, 3, 4, 5},
                             Line("object 2 of the token file does not verify: it was changed from "
                                  "outside")}));
}

TEST_F(TokenDamageTest, AKindThatThereIsNot) {
  Tamper(2, [](ObjectRow& row) { row.kind = 77; });
  EXPECT_EQ(Search(), (Found{{1, 3, 4, 5},
                             Line("object 2 of the token file does not verify: it was changed from "
                                  "outside")}));
}

// The index can hide an object from a search that goes by it, and cannot make it another.
TEST_F(TokenDamageTest, AnIndexThatHidesAnObject) {
  TemplateForTest keys;
  keys.Ulong(CKA_CLASS, CKO_SECRET_KEY);
  // Its class and its type.
  Sql("DELETE FROM tag WHERE object=3", 2);
  EXPECT_EQ(Search(keys.Read()), (Found{{1, 2, 4, 5}, ""}));
  EXPECT_EQ(Search(), (Found{{1, 2, 3, 4, 5},
                             Line("the index of the token file is damaged: a search may not find "
                                  "what is there")}));
}

TEST_F(TokenDamageTest, AnIndexThatShowsOneObjectAsAnother) {
  TemplateForTest data;
  data.Ulong(CKA_CLASS, CKO_DATA);
  const IndexHash hash = OpenHash(*TermOf(data.Read()));
  std::string text;
  for (const uint8_t byte : hash) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  Sql(("INSERT INTO tag VALUES(x'" + text + "', 3)").c_str());
  auto token = Token::Open(config_, path_);
  ASSERT_TRUE(token);
  ASSERT_TRUE((*token)->SessionOpened(true));
  ASSERT_TRUE((*token)->LogIn(CKU_USER, PinOf("user pin")));
  ASSERT_TRUE((*token)->Load(data.Read()));
  const auto matching = [&](const Object& object) { return Matches(object, data.Read()); };
  EXPECT_EQ(SelectAll(**token, matching), std::vector<CK_OBJECT_HANDLE>());
  EXPECT_EQ(SelectAll(**token, [](const Object& object) { return object.row == 3; }).size(), 1U);
}

TEST_F(TokenDamageTest, AnIndexThatNamesAnObjectThatIsMissing) {
  TemplateForTest keys;
  keys.Ulong(CKA_CLASS, CKO_SECRET_KEY);
  Sql("DELETE FROM object WHERE id=3");
  EXPECT_EQ(Search(keys.Read()),
            (Found{{1, 2, 4, 5}, Line("object 3 of the token file is damaged")}));
}

// A private key's secret is opened when it is first used.
TEST_F(TokenDamageTest, AForgedSecretOfAPrivateKeyFailsAtItsFirstUse) {
  Tamper(3, [](ObjectRow& row) { row.secret.back() ^= 1; });
  auto token = Token::Open(config_, path_);
  ASSERT_TRUE(token);
  ASSERT_TRUE((*token)->SessionOpened(true));
  ASSERT_TRUE((*token)->LogIn(CKU_USER, PinOf("user pin")));
  ASSERT_TRUE((*token)->Load());
  const auto handles = SelectAll(**token, [](const Object& object) { return object.row == 3; });
  ASSERT_EQ(handles.size(), 1U);
  CK_RV code = CKR_OK;
  EXPECT_EQ(Captured([&] { code = (*token)->Find(handles[0])->secret->Open().error(); }),
            Line("the secret of a key in the token file does not verify: it was changed from "
                 "outside"));
  EXPECT_EQ(code, CKR_DEVICE_ERROR);
}

}  // namespace
}  // namespace secretmem

// Tokens, sessions and the module between the entry points and the store.

#include "pkcs11/token.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "mechanisms/vendor.h"
#include "pkcs11/module.h"
#include "tests/unit/select_all.h"
#include "tests/unit/store_testing.h"
#include "tests/unit/token_fixture.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

constexpr CK_FLAGS kReadWriteSession = CKF_SERIAL_SESSION | CKF_RW_SESSION;

class TokenTest : public TokenFixture {
 protected:
  void SetUp() override {
    TokenFixture::SetUp();
    if (IsSkipped()) return;
    config_.pin.delay_ms = 0;
    ASSERT_NO_FATAL_FAILURE(MakeToken(token_));
  }

  // A key of 16 bytes with CKA_EXTRACTABLE true.
  std::shared_ptr<Object> NewKey(bool token, bool is_private) {
    auto object = std::make_shared<Object>();
    object->uid = token_->NewUid().value();
    object->attributes.SetUlong(CKA_CLASS, CKO_SECRET_KEY);
    object->attributes.SetUlong(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    object->attributes.SetBool(CKA_TOKEN, token);
    object->attributes.SetBool(CKA_PRIVATE, is_private);
    object->attributes.SetBool(CKA_SENSITIVE, false);
    object->attributes.SetBool(CKA_EXTRACTABLE, true);
    object->secret = std::make_shared<KeySecret>(Vault::New(16).value());
    return object;
  }

  // All but the profiles.
  static std::vector<CK_OBJECT_HANDLE> All(Token& token) {
    EXPECT_TRUE(token.Load());
    return SelectAll(token,
                     [](const Object& object) { return object.object_class() != CKO_PROFILE; });
  }

  // Changes the one row of the file behind the token's back, checksums included.
  void Tamper(void (*change)(ObjectRow&)) {
    auto store = TokenStore::Open(token_->path());
    ASSERT_TRUE(store) << store.error().reason;
    auto snapshot = store->LoadAll();
    ASSERT_TRUE(snapshot) << snapshot.error().reason;
    ASSERT_EQ(snapshot->rows.size(), 1u);
    ObjectRow row = snapshot->rows.front();
    change(row);
    const auto updated = store->Update(snapshot->state.incarnation, row);
    ASSERT_TRUE(updated) << updated.error().reason;
  }

  std::shared_ptr<Token> token_;
};

TEST_F(TokenTest, LoginWithoutASessionLogsNobodyIn) {
  // What C_Login finds if another thread has closed the last session meanwhile.
  token_->SessionClosed(true);
  EXPECT_EQ(token_->LogIn(CKU_USER, PinOf("user pin")), CkStatus(Refuse(CKR_SESSION_CLOSED)));
  ASSERT_TRUE(token_->SessionOpened(true));
  EXPECT_EQ(token_->login(), Login::kNobody);
}

TEST_F(TokenTest, GuessesAtOnceAreNoMoreThanTheLock) {
  config_.pin.max_failures = 3;
  std::atomic<int> wrong{0};
  std::atomic<int> locked{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto answer = token_->LogIn(CKU_USER, PinOf("not the pin"));
      if (answer == CkStatus(Refuse(CKR_PIN_INCORRECT))) ++wrong;
      if (answer == CkStatus(Refuse(CKR_PIN_LOCKED))) ++locked;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 3);
  EXPECT_EQ(locked, 5);
}

TEST_F(TokenTest, PrivateKeyWhoseSecretWasCutOffDoesNotLoad) {
  ASSERT_TRUE(token_->LogIn(CKU_USER, PinOf("user pin")));
  ASSERT_TRUE(token_->Add({NewKey(true, true)}));
  Tamper([](ObjectRow& row) { row.secret.clear(); });
  auto other = Token::Open(config_, token_->path());
  ASSERT_TRUE(other) << other.error();
  ASSERT_TRUE((*other)->SessionOpened(true));
  ASSERT_TRUE((*other)->LogIn(CKU_USER, PinOf("user pin")));
  EXPECT_TRUE(All(**other).empty());
}

// What the file says of a bound KEM key cannot be changed by hand: no byte of it, and not by a row
// of another kind, whose attributes lie in the clear.
TEST_F(TokenTest, BoundKeyChangedInTheFileDoesNotLoad) {
  ASSERT_TRUE(token_->LogIn(CKU_USER, PinOf("user pin")));
  auto key = NewKey(true, true);
  key->attributes.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
  key->attributes.SetUlong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
  key->attributes.SetBool(CKA_DECAPSULATE, true);
  key->attributes.SetBytes(CKA_SECRETMEM_BOUND_TO, std::vector<uint8_t>(32, 9));
  ASSERT_TRUE(token_->Add({key}));
  static ObjectRow original;
  static size_t at;
  Tamper([](ObjectRow& row) { original = row; });
  const auto usable = [&] {
    auto other = Token::Open(config_, token_->path());
    EXPECT_TRUE(other);
    EXPECT_TRUE((*other)->SessionOpened(true));
    EXPECT_TRUE((*other)->LogIn(CKU_USER, PinOf("user pin")));
    const auto all = All(**other);
    return !all.empty() && (*other)->Find(all.front())->secret->Open().has_value();
  };
  EXPECT_TRUE(usable());
  for (at = 0; at < original.attributes.size(); at += 5) {
    Tamper([](ObjectRow& row) {
      row.attributes = original.attributes;
      row.attributes[at] ^= 1;
    });
    EXPECT_FALSE(usable()) << at;
  }
  for (const auto kind : {RowKind::kPublic, RowKind::kStoreSealed}) {
    static RowKind forged_kind;
    forged_kind = kind;
    Tamper([](ObjectRow& row) {
      Object forged;
      forged.uid = row.uid;
      forged.attributes.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
      forged.attributes.SetUlong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
      forged.attributes.SetBool(CKA_PRIVATE, false);
      forged.attributes.SetBool(CKA_DERIVE, true);
      row.kind = static_cast<uint8_t>(forged_kind);
      row.attributes = forged_kind == RowKind::kPublic ? EncodeRow(forged, nullptr)->attributes
                                                       : forged.attributes.Serialize();
    });
    EXPECT_FALSE(usable());
  }
  Tamper([](ObjectRow& row) {
    row.kind = original.kind;
    row.attributes = original.attributes;
  });
  EXPECT_TRUE(usable());
}

TEST_F(TokenTest, ForgedPublicRowOfAKeyDoesNotLoad) {
  auto data = std::make_shared<Object>();
  data->uid = token_->NewUid().value();
  data->attributes.SetUlong(CKA_CLASS, CKO_DATA);
  data->attributes.SetBool(CKA_TOKEN, true);
  data->attributes.SetBool(CKA_PRIVATE, false);
  ASSERT_TRUE(token_->Add({data}));
  ASSERT_EQ(All(*token_).size(), 1u);
  Tamper([](ObjectRow& row) {
    Object forged;
    forged.uid = row.uid;
    forged.attributes.SetUlong(CKA_CLASS, CKO_PRIVATE_KEY);
    forged.attributes.SetUlong(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
    forged.attributes.SetBool(CKA_PRIVATE, false);
    row.attributes = EncodeRow(forged, nullptr).value().attributes;
  });
  auto other = Token::Open(config_, token_->path());
  ASSERT_TRUE(other) << other.error();
  EXPECT_TRUE(All(**other).empty());
}

TEST_F(TokenTest, ObjectsOfASessionGoWithItAndOthersStay) {
  const OfferedMechanisms offered({});
  Session session(77, 0, token_, kReadWriteSession, offered);
  const auto make = [&](CK_SESSION_HANDLE owner) {
    auto object = NewKey(false, false);
    object->session = owner;
    return token_->Add({std::move(object)}).value().front();
  };
  for (int i = 0; i < 500; ++i) {
    const CK_OBJECT_HANDLE handle = make(77);
    if (i % 2 == 0) {
      ASSERT_TRUE(token_->Destroy(handle, token_->Find(handle)));
    }
  }
  const CK_OBJECT_HANDLE before = make(76), after = make(78);
  EXPECT_EQ(All(*token_).size(), 252u);
  session.Close();
  EXPECT_EQ(All(*token_), (std::vector<CK_OBJECT_HANDLE>{before, after}));
  ASSERT_TRUE(token_->SessionOpened(true));
}

TEST_F(TokenTest, SessionsOfATokenThatWasInitialisedAgainAreTold) {
  ASSERT_TRUE(token_->LogIn(CKU_USER, PinOf("user pin")));
  const auto key = token_->Add({NewKey(false, true)});
  ASSERT_TRUE(key) << key.error();
  EXPECT_TRUE(token_->StillThere());
  auto other = Token::Open(config_, token_->path());
  ASSERT_TRUE(other) << other.error();
  ASSERT_TRUE((*other)->Reinitialise(PinOf("so pin"), label_));
  // It looks no more often than a few times a second.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (token_->StillThere() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(token_->StillThere(), CkStatus(Refuse(CKR_DEVICE_REMOVED)));
  EXPECT_EQ(token_->login(), Login::kNobody);
  EXPECT_EQ(token_->Find(key->front()), nullptr);
}

TEST_F(TokenTest, NewSessionAfterAnotherProcessInitialisedTheToken) {
  Module module(config_);
  const auto before = module.OpenSession(0, kReadWriteSession);
  ASSERT_TRUE(before) << before.error();
  auto other = Token::Open(config_, token_->path());
  ASSERT_TRUE(other) << other.error();
  ASSERT_TRUE((*other)->Reinitialise(PinOf("so pin"), label_));
  const auto old = module.FindSession(*before);
  ASSERT_TRUE(old) << old.error();
  EXPECT_EQ((*old)->token->Refresh(), CkStatus(Refuse(CKR_DEVICE_REMOVED)));
  // For so long what the file said when the first session was opened holds.
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const auto after = module.OpenSession(0, kReadWriteSession);
  ASSERT_TRUE(after) << after.error();
  const auto fresh = module.FindSession(*after);
  ASSERT_TRUE(fresh) << fresh.error();
  EXPECT_TRUE((*fresh)->token->Refresh());
  EXPECT_EQ((*old)->token->Refresh(), CkStatus(Refuse(CKR_DEVICE_REMOVED)));
}

}  // namespace
}  // namespace secretmem

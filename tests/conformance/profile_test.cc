// CKO_PROFILE objects: PKCS#11 3.1 §4.12, and what the profiles they name ask for.
#include <set>
#include <vector>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

using Handles = std::vector<CK_OBJECT_HANDLE>;

class ProfileTest : public SessionTest {
 protected:
  void SetUp() override {
    SessionTest::SetUp();
    profiles_ = Profiles();
  }
  Handles Profiles() {
    return FindAll(session_, Template().With(CKA_CLASS, CK_ULONG{CKO_PROFILE}));
  }

  Handles profiles_;
};

// §5.1 of the profiles: a baseline provider says so, by an object that is there without a login.
TEST_F(ProfileTest, OneObjectEach) {
  std::multiset<CK_ULONG> ids;
  for (const CK_OBJECT_HANDLE profile : profiles_) {
    ids.insert(ReadUlong(session_, profile, CKA_PROFILE_ID));
    EXPECT_TRUE(ReadBool(session_, profile, CKA_TOKEN));
    EXPECT_FALSE(ReadBool(session_, profile, CKA_PRIVATE));
    EXPECT_EQ(FindAll(session_, Template().With(CKA_PROFILE_ID,
                                                ReadUlong(session_, profile, CKA_PROFILE_ID))),
              Handles{profile});
    EXPECT_EQ(FindAll(session_,
                      Template().With(CKA_UNIQUE_ID, ReadBytes(session_, profile, CKA_UNIQUE_ID))),
              Handles{profile});
  }
  EXPECT_EQ(ids, (std::multiset<CK_ULONG>{CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER,
                                          CKP_AUTHENTICATION_TOKEN}));
}

// CKA_PROFILE_ID is not the application's to set: the objects are the token's.
TEST_F(ProfileTest, ReadOnly) {
  ASSERT_FALSE(profiles_.empty());
  Template label = Template().With(CKA_LABEL, "mine");
  for (const CK_OBJECT_HANDLE profile : profiles_) {
    const Attribute before = ReadAttribute(session_, profile, CKA_LABEL);
    CK_OBJECT_HANDLE copy = CK_INVALID_HANDLE;
    EXPECT_RV(CKR_ACTION_PROHIBITED,
              P11().C_SetAttributeValue(session_, profile, label.data(), label.size()));
    EXPECT_RV(CKR_ACTION_PROHIBITED, P11().C_DestroyObject(session_, profile));
    EXPECT_RV(CKR_ACTION_PROHIBITED, P11().C_CopyObject(session_, profile, nullptr, 0, &copy));
    EXPECT_EQ(copy, CK_INVALID_HANDLE);
    EXPECT_EQ(ReadAttribute(session_, profile, CKA_LABEL), before);
  }
  Template own = Template()
                     .With(CKA_CLASS, CK_ULONG{CKO_PROFILE})
                     .With(CKA_PROFILE_ID, CK_ULONG{CKP_PUBLIC_CERTIFICATES_TOKEN});
  CK_OBJECT_HANDLE made = CK_INVALID_HANDLE;
  EXPECT_RV(CKR_ATTRIBUTE_VALUE_INVALID,
            P11().C_CreateObject(session_, own.data(), own.size(), &made));
  EXPECT_EQ(Profiles(), profiles_);
}

// Neither a logout nor C_InitToken nor another C_Initialize takes them away.
TEST_F(ProfileTest, Stay) {
  const auto ids = [&] {
    std::multiset<Bytes> all;
    for (const CK_OBJECT_HANDLE p : Profiles()) all.insert(ReadBytes(session_, p, CKA_UNIQUE_ID));
    return all;
  };
  const auto before = ids();
  EXPECT_EQ(before.size(), 3U);
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  EXPECT_EQ(ids(), before);
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_EQ(ids(), before);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(session_));
  ASSERT_RV(CKR_OK, InitToken(slot_, SoPin(), kLabel));
  session_ = Open(kReadWrite);
  EXPECT_EQ(ids(), before);
  ASSERT_NO_FATAL_FAILURE(Reinitialise());
  session_ = Open(kReadWrite);
  EXPECT_EQ(ids(), before);
}

}  // namespace
}  // namespace secretmem::conformance

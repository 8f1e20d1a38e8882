#include "pkcs11/drafts.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace secretmem {
namespace {

constexpr char kFirstId[] = "00000000-0000-8000-8000-000000000001";
constexpr char kSecondId[] = "00000000-0000-8000-8000-000000000002";

// Given is a template of a generated AES key; what it points to can be changed.
struct Given {
  CK_ULONG length = 32;
  CK_BBOOL encrypt = CK_TRUE;
  CK_BBOOL token = CK_TRUE;
  CK_BBOOL sensitive = CK_FALSE;
  std::array<char, 4> label = {'n', 'a', 'm', 'e'};
  CK_BBOOL wrapped_sign = CK_TRUE;
  CK_ATTRIBUTE wrapped = {CKA_SIGN, &wrapped_sign, sizeof(wrapped_sign)};
  std::vector<CK_ATTRIBUTE> attributes = {{CKA_VALUE_LEN, &length, sizeof(length)},
                                          {CKA_ENCRYPT, &encrypt, sizeof(encrypt)},
                                          {CKA_TOKEN, &token, sizeof(token)},
                                          {CKA_SENSITIVE, &sensitive, sizeof(sensitive)},
                                          {CKA_LABEL, label.data(), label.size()}};

  TemplateReader Read() const {
    return TemplateReader::Read(attributes.data(), attributes.size()).value();
  }
};

BuildRequest Generated(const char* id = kFirstId) {
  return {.origin = Origin::kGenerateSecret,
          .caller = {Login::kUser, /*read_write=*/true},
          .unique_id = id,
          .object_class = CKO_SECRET_KEY,
          .key_type = CKK_AES,
          .mechanism = CKM_AES_KEY_GEN};
}

void ExpectAsBuilt(Drafts& drafts, const Given& given, const BuildRequest& request) {
  const TemplateReader reader = given.Read();
  const auto built = BuildObject(reader, request);
  const auto drafted = drafts.Build(reader, request);
  ASSERT_EQ(built.has_value(), drafted.has_value());
  if (!built) {
    EXPECT_EQ(built.error(), drafted.error());
    return;
  }
  EXPECT_EQ(built->attributes, drafted->attributes);
  ASSERT_EQ(built->secrets.size(), drafted->secrets.size());
  for (size_t i = 0; i < built->secrets.size(); ++i) {
    EXPECT_EQ(built->secrets[i].type, drafted->secrets[i].type);
    EXPECT_EQ(built->secrets[i].value.data(), drafted->secrets[i].value.data());
  }
}

TEST(DraftsTest, TheSameAgainHasAnIdOfItsOwn) {
  Drafts drafts;
  const Given given;
  ExpectAsBuilt(drafts, given, Generated(kFirstId));
  ExpectAsBuilt(drafts, given, Generated(kSecondId));
  ExpectAsBuilt(drafts, given, Generated(kFirstId));
}

// Whatever the answer depends on, no draft of another question is taken for it.
TEST(DraftsTest, EveryDifferenceCounts) {
  std::vector<BuildRequest> requests(11, Generated());
  requests[1].caller.login = Login::kNobody;
  requests[2].caller.read_write = false;
  requests[3].origin = Origin::kUnwrap;
  requests[4].origin = Origin::kDerive;
  requests[4].base = BaseKey{true, false, true, true};
  for (size_t i = 5; i < 9; ++i) requests[i] = requests[4];
  requests[5].base->sensitive = false;
  requests[6].base->extractable = true;
  requests[7].base->always_sensitive = false;
  requests[8].base->binds = true;
  requests[9].mechanism = CKM_TLS_PRE_MASTER_KEY_GEN;
  requests[10].key_type = CKK_GENERIC_SECRET;
  Given others[4];
  others[1].label[0] = 'N';
  others[2].length = 16;
  others[3].attributes.pop_back();
  for (size_t first = 0; first < requests.size(); ++first) {
    for (size_t second = 0; second < requests.size(); ++second) {
      Drafts drafts;
      ExpectAsBuilt(drafts, others[0], requests[first]);
      ExpectAsBuilt(drafts, others[0], requests[second]);
    }
    Drafts drafts;
    for (int round = 0; round < 3; ++round) {
      for (const Given& other : others) ExpectAsBuilt(drafts, other, requests[first]);
    }
  }
}

TEST(DraftsTest, SecretsAreTheCallersEachTime) {
  Drafts drafts;
  // The same value at two addresses.
  const std::string values[] = {std::string(16, 'v'), std::string(16, 'v')};
  for (const std::string& value : values) {
    CK_KEY_TYPE aes = CKK_AES;
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    Given given;
    given.attributes = {{CKA_CLASS, &secret_key, sizeof(secret_key)},
                        {CKA_KEY_TYPE, &aes, sizeof(aes)},
                        {CKA_VALUE, const_cast<char*>(value.data()), value.size()}};
    ExpectAsBuilt(
        drafts, given,
        {.origin = Origin::kCreate, .caller = {Login::kUser, true}, .unique_id = kFirstId});
  }
}

TEST(DraftsTest, WhatATemplateAttributePointsToIsRead) {
  Drafts drafts;
  Given given;
  given.attributes.push_back({CKA_UNWRAP_TEMPLATE, &given.wrapped, sizeof(given.wrapped)});
  ExpectAsBuilt(drafts, given, Generated());
  given.wrapped_sign = CK_FALSE;
  ExpectAsBuilt(drafts, given, Generated());
}

TEST(DraftsTest, AnImposedTemplateIsKeptTo) {
  Drafts drafts;
  const Given given;
  AttributeSet imposed;
  imposed.SetBool(CKA_SIGN, false);
  BuildRequest request = Generated();
  ExpectAsBuilt(drafts, given, request);
  request.imposed = &imposed;
  ExpectAsBuilt(drafts, given, request);
  imposed.SetBool(CKA_SIGN, true);
  ExpectAsBuilt(drafts, given, request);
}

TEST(DraftsTest, RefusalsAreNotRemembered) {
  Drafts drafts;
  Given given;
  given.encrypt = 2;
  ExpectAsBuilt(drafts, given, Generated());
  given.encrypt = CK_TRUE;
  ExpectAsBuilt(drafts, given, Generated());
}

}  // namespace
}  // namespace secretmem

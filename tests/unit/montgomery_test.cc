#include "mechanisms/montgomery.h"

#include <gtest/gtest.h>
#include <openssl/curve25519.h>

#include <set>
#include <string>
#include <vector>

#include "mechanism_testing.h"

namespace secretmem {
namespace {

using Bytes = std::vector<uint8_t>;

const char kOid[] = "06032b656e";

class MontgomeryTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitialiseVault()); }
};

TEST_F(MontgomeryTest, EveryFormOfTheParametersIsStoredAsTheOid) {
  for (const char* form : {kOid, "130a63757276653235353139", "130b63757276653235353139",
                           "060a2b060104019755010501", "06092b06010401da470f01"}) {
    EXPECT_EQ(CheckMontgomeryParams(FromHex(form)), CkResult<Bytes>(FromHex(kOid))) << form;
  }
}

TEST_F(MontgomeryTest, OtherCurvesAreNotSupported) {
  for (const char* curve : {
           "06082a8648ce3d030107",          // P-256
           "06052b81040022",                // P-384
           "06032b6570",                    // Ed25519
           "06032b656f",                    // X448
           "06032b6571",                    // Ed448
           "130c656477617264733235353139",  // edwards25519
           "13086375727665343438",          // curve448
           "130a43555256453235353139",      // CURVE25519
           "130a63757276653235353138",      // curve25518
           "06092b06010401da470f02",
       }) {
    EXPECT_EQ(CheckMontgomeryParams(FromHex(curve)),
              CkResult<Bytes>(Refuse(CKR_CURVE_NOT_SUPPORTED)))
        << curve;
  }
}

TEST_F(MontgomeryTest, MalformedParametersAreInvalid) {
  for (const char* malformed : {
           "",                            // nothing
           "06",                          // no length
           "0600",                        // no content
           "1300",                        //
           "0500",                        // NULL: implicitlyCA
           "06032b65",                    // truncated
           "06042b656e",                  // too long a length
           "06032b656e00",                // trailing
           "0603818181",                  // an arc that does not end
           "130b6375727665323535313920",  // trailing space, counted; a name with it
           "0403616263",                  // OCTET STRING
           "0c0a63757276653235353139",    // UTF8String
           "2b656e",                      // no header
           "0681032b656e",                // long form where the short one fits
           "ffffffffffffffff",
       }) {
    const auto checked = CheckMontgomeryParams(FromHex(malformed));
    // A PrintableString with another name is a name, whichever it be.
    const CK_RV expected = std::string(malformed).starts_with("130b") ? CKR_CURVE_NOT_SUPPORTED
                                                                      : CKR_DOMAIN_PARAMS_INVALID;
    EXPECT_EQ(checked, CkResult<Bytes>(Refuse(expected))) << malformed;
  }
}

TEST_F(MontgomeryTest, PointsInThreeForms) {
  X25519PublicKey key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i + 1);
  const Bytes raw(key.begin(), key.end());
  const auto with = [&](const char* head) {
    Bytes bytes = FromHex(head);
    bytes.insert(bytes.end(), raw.begin(), raw.end());
    return bytes;
  };
  EXPECT_EQ(ParseX25519Point(raw), key);
  EXPECT_EQ(ParseX25519Point(with("0420")), key);
  EXPECT_EQ(ParseX25519Point(with("032100")), key);
  for (const char* head : {"04", "0421", "0320", "0520", "032101", "032000", "042000", "04", "40",
                           "03210000", "048120", "0c20"}) {
    EXPECT_EQ(ParseX25519Point(with(head)), std::nullopt) << head;
  }
  for (size_t size = 0; size < 32; ++size) {
    EXPECT_EQ(ParseX25519Point(Bytes(size)), std::nullopt) << size;
  }
  Bytes long_one = raw;
  long_one.push_back(0);
  EXPECT_EQ(ParseX25519Point(long_one), std::nullopt);
  EXPECT_EQ(ParseX25519Point(Bytes(64)), std::nullopt);
  // 32 bytes that begin like DER are raw all the same.
  Bytes like_der = raw;
  like_der[0] = 0x04;
  like_der[1] = 0x1e;
  const auto parsed = ParseX25519Point(like_der);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(Bytes(parsed->begin(), parsed->end()), like_der);
}

TEST_F(MontgomeryTest, GeneratesAPairThatBelongsTogether) {
  std::set<Bytes> keys;
  for (int i = 0; i < 20; ++i) {
    const auto pair =
        GenerateMontgomery({}, Attributes({{CKA_EC_PARAMS, FromHex("130a63757276653235353139")}}));
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->secret.size(), kX25519Bytes);
    X25519PublicKey public_key;
    ASSERT_TRUE(pair->secret.WithSecret<32>(
        [&](SecretView<32> key) { X25519_public_from_private(public_key.data(), key.data()); }));
    const Bytes point(public_key.begin(), public_key.end());
    EXPECT_EQ(pair->public_attributes,
              (AttributeValues{{CKA_EC_PARAMS, FromHex(kOid)}, {CKA_EC_POINT, point}}));
    EXPECT_EQ(pair->private_attributes, (AttributeValues{{CKA_EC_PARAMS, FromHex(kOid)}}));
    keys.insert(point);
  }
  EXPECT_EQ(keys.size(), 20u);
}

TEST_F(MontgomeryTest, GenerationRefuses) {
  const Attributes good({{CKA_EC_PARAMS, FromHex(kOid)}});
  EXPECT_EQ(RvFrom(GenerateMontgomery(Bytes(1), good)), CKR_MECHANISM_PARAM_INVALID);
  EXPECT_EQ(RvFrom(GenerateMontgomery({}, Attributes())), CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(GenerateMontgomery({}, Attributes({{CKA_EC_PARAMS, Bytes()}}))),
            CKR_DOMAIN_PARAMS_INVALID);
  EXPECT_EQ(RvFrom(GenerateMontgomery({}, Attributes({{CKA_EC_PARAMS, FromHex("06032b6570")}}))),
            CKR_CURVE_NOT_SUPPORTED);
}

TEST_F(MontgomeryTest, ImportsPublicKeys) {
  Bytes der = {0x04, 0x20};
  der.resize(34, 9);
  const auto imported = ImportMontgomeryPublic(
      Attributes({{CKA_EC_PARAMS, FromHex("060a2b060104019755010501")}, {CKA_EC_POINT, der}}));
  EXPECT_EQ(imported, CkResult<AttributeValues>(AttributeValues{{CKA_EC_PARAMS, FromHex(kOid)},
                                                                {CKA_EC_POINT, Bytes(32, 9)}}));

  EXPECT_EQ(RvFrom(ImportMontgomeryPublic(Attributes({{CKA_EC_POINT, der}}))),
            CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(ImportMontgomeryPublic(Attributes({{CKA_EC_PARAMS, FromHex(kOid)}}))),
            CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(ImportMontgomeryPublic(
                Attributes({{CKA_EC_PARAMS, FromHex("06032b6570")}, {CKA_EC_POINT, der}}))),
            CKR_CURVE_NOT_SUPPORTED);
  EXPECT_EQ(RvFrom(ImportMontgomeryPublic(
                Attributes({{CKA_EC_PARAMS, FromHex(kOid)}, {CKA_EC_POINT, Bytes(31)}}))),
            CKR_ATTRIBUTE_VALUE_INVALID);
}

TEST_F(MontgomeryTest, ImportsPrivateKeysAsTheyAre) {
  // Not clamped: all bits set.
  const Bytes value(32, 0xff);
  const auto imported = ImportMontgomeryPrivate(
      Attributes({{CKA_EC_PARAMS, FromHex("130b63757276653235353139")}, {CKA_VALUE, value}}));
  ASSERT_TRUE(imported);
  EXPECT_EQ(BytesOfVault(imported->secret), value);
  EXPECT_EQ(imported->attributes, (AttributeValues{{CKA_EC_PARAMS, FromHex(kOid)}}));

  EXPECT_EQ(RvFrom(ImportMontgomeryPrivate(Attributes({{CKA_VALUE, value}}))),
            CKR_TEMPLATE_INCOMPLETE);
  EXPECT_EQ(RvFrom(ImportMontgomeryPrivate(Attributes({{CKA_EC_PARAMS, FromHex(kOid)}}))),
            CKR_TEMPLATE_INCOMPLETE);
  for (const size_t size : {0, 31, 33, 34}) {
    EXPECT_EQ(RvFrom(ImportMontgomeryPrivate(
                  Attributes({{CKA_EC_PARAMS, FromHex(kOid)}, {CKA_VALUE, Bytes(size, 1)}}))),
              CKR_ATTRIBUTE_VALUE_INVALID)
        << size;
  }
  EXPECT_EQ(RvFrom(ImportMontgomeryPrivate(
                Attributes({{CKA_EC_PARAMS, FromHex("0500")}, {CKA_VALUE, value}}))),
            CKR_DOMAIN_PARAMS_INVALID);
}

}  // namespace
}  // namespace secretmem

// ECDSA and EdDSA: PKCS#11 3.1 §6.3.12 to §6.3.15, §5.13, §5.15.
#include <algorithm>
#include <vector>

#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

struct EcdsaHash {
  CK_MECHANISM_TYPE mechanism;
  const char* name;
};
constexpr EcdsaHash kHashed[] = {{CKM_ECDSA_SHA1, "SHA1"},
                                 {CKM_ECDSA_SHA224, "SHA224"},
                                 {CKM_ECDSA_SHA256, "SHA256"},
                                 {CKM_ECDSA_SHA384, "SHA384"},
                                 {CKM_ECDSA_SHA512, "SHA512"}};

class EcSignTest : public UserTest {
 protected:
  struct Keys {
    EcKeyPair reference;
    CK_OBJECT_HANDLE private_key;
    CK_OBJECT_HANDLE public_key;
  };
  Keys Import(const EcCurve& curve) const {
    const EcKeyPair pair = ReferenceEcKey(curve);
    return {pair, Create(session_, EcPrivateKey(curve, pair.scalar)),
            Create(session_, EcPublicKey(curve, OctetString(pair.point)))};
  }
  CK_RV SignInit(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key) const {
    return P11().C_SignInit(session_, &mechanism, key);
  }
  CK_RV VerifyInit(CK_MECHANISM mechanism, CK_OBJECT_HANDLE key) const {
    return P11().C_VerifyInit(session_, &mechanism, key);
  }
};

TEST_F(EcSignTest, HashedAgainstOpenssl) {
  const Bytes message = ReferenceRandom(1000);
  for (const EcCurve& curve : EcCurves()) {
    const Keys keys = Import(curve);
    for (const auto& [mechanism, name] : kHashed) {
      SCOPED_TRACE(std::string(curve.name) + " " + name);
      for (const std::vector<size_t>& parts :
           {std::vector<size_t>{}, {0, 1, 63, 64, 500, 1000}, {1000}}) {
        const Signed made = Sign(session_, {mechanism, keys.private_key, parts}, message);
        ASSERT_RV(CKR_OK, made.rv);
        ASSERT_EQ(made.signature.size(), 2 * curve.bytes);
        EXPECT_TRUE(
            ReferenceEcdsaVerify(curve, keys.reference.point, name, message, made.signature));
        const Signing verifying{mechanism, keys.public_key, parts};
        EXPECT_RV(CKR_OK, Verify(session_, verifying, message, made.signature));
        EXPECT_RV(CKR_OK, Verify(session_, verifying, message,
                                 ReferenceEcdsaSign(curve, keys.reference.scalar, name, message)));
        Bytes other = message;
        other.back() ^= 1;
        EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(session_, verifying, other, made.signature));
      }
      const Signed empty = Sign(session_, {mechanism, keys.private_key}, {});
      ASSERT_RV(CKR_OK, empty.rv);
      EXPECT_TRUE(ReferenceEcdsaVerify(curve, keys.reference.point, name, {}, empty.signature));
    }
  }
}

// FIPS 186-5, 6.4: the leftmost bits of a digest that is longer than the order.
TEST_F(EcSignTest, RawAgainstOpenssl) {
  for (const EcCurve& curve : EcCurves()) {
    const Keys keys = Import(curve);
    for (const size_t length : {size_t{1}, size_t{20}, curve.bytes - 1, curve.bytes,
                                curve.bytes + 1, size_t{64}, size_t{200}}) {
      SCOPED_TRACE(std::string(curve.name) + " " + std::to_string(length));
      Bytes digest = ReferenceRandom(length);
      digest.front() |= 0x80;
      const Signed made = Sign(session_, {CKM_ECDSA, keys.private_key}, digest);
      ASSERT_RV(CKR_OK, made.rv);
      EXPECT_TRUE(ReferenceEcdsaVerify(curve, keys.reference.point, "", digest, made.signature));
      const Signing verifying{CKM_ECDSA, keys.public_key};
      EXPECT_RV(CKR_OK, Verify(session_, verifying, digest, made.signature));
      EXPECT_RV(CKR_OK, Verify(session_, verifying, digest,
                               ReferenceEcdsaSign(curve, keys.reference.scalar, "", digest)));
      digest.front() ^= 1;
      EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(session_, verifying, digest, made.signature));
    }
  }
}

TEST_F(EcSignTest, NoncesDiffer) {
  const Keys keys = Import(EcCurveOf("prime256v1"));
  const Bytes digest(32, 0x55);
  const Bytes first = Sign(session_, {CKM_ECDSA, keys.private_key}, digest).signature;
  const Bytes second = Sign(session_, {CKM_ECDSA, keys.private_key}, digest).signature;
  EXPECT_FALSE(std::equal(first.begin(), first.begin() + 32, second.begin()));
}

// An empty digest would count as zero, for which signatures can be made up without the key.
TEST_F(EcSignTest, RawWithoutData) {
  const Keys keys = Import(EcCurveOf("prime256v1"));
  EXPECT_RV(CKR_DATA_LEN_RANGE, Sign(session_, {CKM_ECDSA, keys.private_key}, {}).rv);
  EXPECT_RV(CKR_DATA_LEN_RANGE, Verify(session_, {CKM_ECDSA, keys.public_key}, {}, Bytes(64, 1)));
}

// §6.3.12: CKM_ECDSA is for single-part operations only. The refusal ends the operation.
TEST_F(EcSignTest, RawInParts) {
  const Keys keys = Import(EcCurveOf("prime256v1"));
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED,
            Sign(session_, {CKM_ECDSA, keys.private_key, {32}}, Bytes(32, 1)).rv);
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED,
            Verify(session_, {CKM_ECDSA, keys.public_key, {32}}, Bytes(32, 1), Bytes(64, 1)));
  EXPECT_RV(CKR_OK, SignInit({CKM_ECDSA, nullptr, 0}, keys.private_key));
  CK_BYTE signature[64];
  CK_ULONG length = sizeof signature;
  EXPECT_RV(CKR_FUNCTION_NOT_SUPPORTED, P11().C_SignFinal(session_, signature, &length));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_SignFinal(session_, signature, &length));
}

TEST_F(EcSignTest, SignatureLengths) {
  const Bytes message = ReferenceRandom(32);
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    const Keys keys = Import(curve);
    for (const CK_MECHANISM_TYPE mechanism : {CKM_ECDSA, CKM_ECDSA_SHA256}) {
      const Bytes good = Sign(session_, {mechanism, keys.private_key}, message).signature;
      for (const size_t length : {size_t{0}, size_t{1}, good.size() - 2, good.size() - 1,
                                  good.size() + 1, good.size() + 2}) {
        Bytes signature = good;
        signature.resize(length);
        EXPECT_RV(CKR_SIGNATURE_LEN_RANGE,
                  Verify(session_, {mechanism, keys.public_key}, message, signature));
      }
      // Zero and the order, as r and as s.
      Bytes order = FromHex(curve.order);
      for (const Bytes& number : {Bytes(curve.bytes), order}) {
        Bytes r = good, s = good;
        std::ranges::copy(number, r.begin());
        std::ranges::copy(number, s.end() - static_cast<ptrdiff_t>(curve.bytes));
        EXPECT_RV(CKR_SIGNATURE_INVALID,
                  Verify(session_, {mechanism, keys.public_key}, message, r));
        EXPECT_RV(CKR_SIGNATURE_INVALID,
                  Verify(session_, {mechanism, keys.public_key}, message, s));
      }
    }
  }
}

// §5.2: asking for the length and a short buffer keep the operation.
TEST_F(EcSignTest, OutputLength) {
  Bytes message = ReferenceRandom(32);
  const auto check = [&](CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key, CK_ULONG size) {
    ASSERT_RV(CKR_OK, SignInit({mechanism, nullptr, 0}, key));
    CK_ULONG length = 0;
    EXPECT_RV(CKR_OK, P11().C_Sign(session_, message.data(), message.size(), nullptr, &length));
    EXPECT_EQ(length, size);
    Bytes out(size, 0xaa);
    length = size - 1;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL,
              P11().C_Sign(session_, message.data(), message.size(), out.data(), &length));
    EXPECT_EQ(length, size);
    EXPECT_EQ(out, Bytes(size, 0xaa));
    EXPECT_RV(CKR_OK, P11().C_Sign(session_, message.data(), message.size(), out.data(), &length));
    EXPECT_EQ(length, size);
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED,
              P11().C_Sign(session_, message.data(), message.size(), out.data(), &length));
  };
  for (const EcCurve& curve : EcCurves()) {
    SCOPED_TRACE(curve.name);
    check(CKM_ECDSA_SHA256, Import(curve).private_key, 2 * curve.bytes);
  }
  check(CKM_EDDSA, Create(session_, Ed25519PrivateKey(ReferenceRandom(32))), 64);
}

TEST_F(EcSignTest, WrongKeys) {
  const Keys ec = Import(EcCurveOf("prime256v1"));
  const Bytes seed = ReferenceRandom(32);
  const CK_OBJECT_HANDLE ed_private = Create(session_, Ed25519PrivateKey(seed));
  const CK_OBJECT_HANDLE ed_public =
      Create(session_, Ed25519PublicKey(OctetString(ReferenceEd25519Public(seed))));
  const CK_OBJECT_HANDLE secret =
      Create(session_, SecretObject(Bytes(32, 1)).With(CKA_SIGN, true).With(CKA_VERIFY, true));
  for (const CK_MECHANISM_TYPE type : {CKM_ECDSA, CKM_ECDSA_SHA256}) {
    const CK_MECHANISM mechanism{type, nullptr, 0};
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, SignInit(mechanism, ed_private));
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, SignInit(mechanism, secret));
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, VerifyInit(mechanism, ed_public));
    EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, VerifyInit(mechanism, secret));
    EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, SignInit(mechanism, ec.public_key));
    EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED, VerifyInit(mechanism, ec.private_key));
  }
  const CK_MECHANISM eddsa{CKM_EDDSA, nullptr, 0};
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, SignInit(eddsa, ec.private_key));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, SignInit(eddsa, secret));
  EXPECT_RV(CKR_KEY_TYPE_INCONSISTENT, VerifyInit(eddsa, ec.public_key));
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            SignInit({CKM_ECDSA, nullptr, 0},
                     Create(session_, EcPrivateKey(EcCurves()[1], {1}).With(CKA_SIGN, false))));
}

TEST_F(EcSignTest, EcdsaParameter) {
  const Keys keys = Import(EcCurveOf("prime256v1"));
  CK_BYTE byte = 0;
  for (const CK_MECHANISM_TYPE type : {CKM_ECDSA, CKM_ECDSA_SHA256}) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, SignInit({type, &byte, 1}, keys.private_key));
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, VerifyInit({type, &byte, 1}, keys.public_key));
  }
}

// RFC 8032, 7.1, tests 1 to 3.
TEST_F(EcSignTest, EddsaRfc8032) {
  const struct {
    const char* seed;
    const char* public_key;
    const char* message;
    const char* signature;
  } vectors[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
       "f9b46bd25bf5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
       "f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
       "4dc6594a7c15e9716ed28dc027beceea1ec40a"},
  };
  for (const auto& vector : vectors) {
    const Bytes message = FromHex(vector.message);
    const Bytes signature = FromHex(vector.signature);
    const CK_OBJECT_HANDLE private_key = Create(session_, Ed25519PrivateKey(FromHex(vector.seed)));
    const CK_OBJECT_HANDLE public_key =
        Create(session_, Ed25519PublicKey(OctetString(FromHex(vector.public_key))));
    EXPECT_EQ(Sign(session_, {CKM_EDDSA, private_key}, message).signature, signature);
    EXPECT_RV(CKR_OK, Verify(session_, {CKM_EDDSA, public_key}, message, signature));
  }
}

TEST_F(EcSignTest, EddsaMessages) {
  const Bytes seed = ReferenceRandom(32);
  const CK_OBJECT_HANDLE private_key = Create(session_, Ed25519PrivateKey(seed));
  const CK_OBJECT_HANDLE public_key =
      Create(session_, Ed25519PublicKey(OctetString(ReferenceEd25519Public(seed))));
  for (const size_t size : {1, 1024, 1 << 20}) {
    const Bytes message = ReferenceRandom(size);
    const Bytes signature = ReferenceEd25519Sign(seed, message);
    EXPECT_EQ(Sign(session_, {CKM_EDDSA, private_key}, message).signature, signature);
    EXPECT_RV(CKR_OK, Verify(session_, {CKM_EDDSA, public_key}, message, signature));
    Bytes other = message;
    other[size / 2] ^= 1;
    EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(session_, {CKM_EDDSA, public_key}, other, signature));
    for (const size_t length : {0, 1, 63, 65}) {
      Bytes cut = signature;
      cut.resize(length);
      EXPECT_RV(CKR_SIGNATURE_LEN_RANGE, Verify(session_, {CKM_EDDSA, public_key}, message, cut));
    }
  }
}

// pkcs11-tool sends what is longer than 1,024 bytes this way.
TEST_F(EcSignTest, EddsaInParts) {
  const Bytes seed = ReferenceRandom(32);
  const CK_OBJECT_HANDLE private_key = Create(session_, Ed25519PrivateKey(seed));
  const CK_OBJECT_HANDLE public_key =
      Create(session_, Ed25519PublicKey(OctetString(ReferenceEd25519Public(seed))));
  for (const size_t size : {0, 2, 1 << 20}) {
    const Bytes message = ReferenceRandom(size);
    const Bytes signature = ReferenceEd25519Sign(seed, message);
    for (const std::vector<size_t>& parts :
         {std::vector<size_t>{0}, {1, 1}, {0, 1, 1024, 65536, 900000, 1 << 20}}) {
      EXPECT_EQ(Sign(session_, {CKM_EDDSA, private_key, parts}, message).signature, signature);
      EXPECT_RV(CKR_OK, Verify(session_, {CKM_EDDSA, public_key, parts}, message, signature));
      Bytes other = signature;
      other[40] ^= 1;
      EXPECT_RV(CKR_SIGNATURE_INVALID,
                Verify(session_, {CKM_EDDSA, public_key, parts}, message, other));
    }
  }
}

// §6.3.15: without parameters, or with ones that say no more, it is Ed25519; not so Ed25519ph and
// Ed25519ctx.
TEST_F(EcSignTest, EddsaParameter) {
  const Bytes seed = ReferenceRandom(32);
  const CK_OBJECT_HANDLE private_key = Create(session_, Ed25519PrivateKey(seed));
  const CK_OBJECT_HANDLE public_key =
      Create(session_, Ed25519PublicKey(OctetString(ReferenceEd25519Public(seed))));
  Bytes message = ToBytes("message");
  Bytes context = ToBytes("context");
  CK_EDDSA_PARAMS params{};
  const auto with = [&](CK_ULONG size) { return CK_MECHANISM{CKM_EDDSA, &params, size}; };
  ASSERT_RV(CKR_OK, SignInit(with(sizeof params), private_key));
  Bytes signature(64);
  CK_ULONG length = signature.size();
  EXPECT_RV(CKR_OK,
            P11().C_Sign(session_, message.data(), message.size(), signature.data(), &length));
  EXPECT_EQ(signature, ReferenceEd25519Sign(seed, message));
  ASSERT_RV(CKR_OK, VerifyInit(with(sizeof params), public_key));
  EXPECT_RV(CKR_OK, P11().C_Verify(session_, message.data(), message.size(), signature.data(),
                                   signature.size()));
  const auto refused = [&](CK_ULONG size) {
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, SignInit(with(size), private_key));
    EXPECT_RV(CKR_MECHANISM_PARAM_INVALID, VerifyInit(with(size), public_key));
  };
  refused(1);
  refused(sizeof params - 1);
  refused(sizeof params + 1);
  params.phFlag = CK_TRUE;
  refused(sizeof params);
  params = {CK_FALSE, context.size(), context.data()};
  refused(sizeof params);
  params = {CK_FALSE, ~CK_ULONG{0}, nullptr};
  refused(sizeof params);
}

}  // namespace
}  // namespace secretmem::conformance

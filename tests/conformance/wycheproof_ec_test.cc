// The vectors of Project Wycheproof for the NIST curves and Ed25519 that can be said in PKCS#11:
// ECDSA signatures as r and s, ECDH peers as points. What only differs in its DER around them is
// not told apart here.
#include <set>
#include <string>

#include "tests/conformance/ec.h"
#include "tests/conformance/wycheproof.h"

namespace secretmem::conformance {
namespace {

const EcCurve& CurveNamed(const std::string& name) {
  return EcCurveOf(name == "secp256r1" ? "prime256v1" : name);
}

class WycheproofEcdsaTest : public WycheproofTest, public testing::WithParamInterface<const char*> {
 protected:
  static CK_MECHANISM_TYPE MechanismOf(const std::string& hash) {
    if (hash == "SHA-224") return CKM_ECDSA_SHA224;
    if (hash == "SHA-256") return CKM_ECDSA_SHA256;
    if (hash == "SHA-384") return CKM_ECDSA_SHA384;
    EXPECT_EQ(hash, "SHA-512");
    return CKM_ECDSA_SHA512;
  }

  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "EcdsaP1363Verify");
    // The same key in other forms; P-224 has no JWK.
    group.Text("keyDer");
    group.Text("keyPem");
    if (std::string(GetParam()).find("secp224r1") == std::string::npos) group.Take("jwk");
    Fields key_fields(group.Take("key"), "key");
    const EcCurve& curve = CurveNamed(key_fields.Text("curve"));
    EXPECT_EQ((key_fields.Take("keySize").get<size_t>() + 7) / 8, curve.bytes);
    EXPECT_EQ(key_fields.Text("type"), "EcPublicKey");
    const Bytes point = key_fields.Hex("uncompressed");
    key_fields.Hex("wx");
    key_fields.Hex("wy");
    const CK_OBJECT_HANDLE key = Create(session_, EcPublicKey(curve, OctetString(point)));
    const Signing signing{MechanismOf(group.Text("sha")), key};
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      RunOne(vector, signing, 2 * curve.bytes);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
  }

  void RunOne(Vector& vector, const Signing& signing, size_t length) {
    const Bytes message = vector.fields.Hex("msg");
    const Bytes signature = vector.fields.Hex("sig");
    ++vectors_;
    // Only shortened signatures are left to choice: §6.3.12 has one length.
    if (vector.result == "acceptable") {
      EXPECT_TRUE(vector.flags.contains("SigSize"));
    }
    EXPECT_RV(signature.size() != length ? CKR_SIGNATURE_LEN_RANGE
              : vector.result == "valid" ? CKR_OK
                                         : CKR_SIGNATURE_INVALID,
              Verify(session_, signing, message, signature));
  }
};

TEST_P(WycheproofEcdsaTest, Verify) {
  RunFile("ecdsa_" + std::string(GetParam()) + "_p1363_test.json", "ECDSA",
          "ecdsa_p1363_verify_schema.json");
}

INSTANTIATE_TEST_SUITE_P(All, WycheproofEcdsaTest,
                         testing::Values("secp224r1_sha224", "secp224r1_sha256", "secp224r1_sha512",
                                         "secp256r1_sha256", "secp256r1_sha512", "secp384r1_sha384",
                                         "secp384r1_sha512", "secp521r1_sha512"),
                         [](const auto& its) { return std::string(its.param); });

class WycheproofEcdhTest : public WycheproofTest, public testing::WithParamInterface<const char*> {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "EcdhEcpointTest");
    EXPECT_EQ(group.Text("encoding"), "ecpoint");
    const EcCurve& curve = CurveNamed(group.Text("curve"));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      RunOne(vector, curve);
    }
  }

  void RunOne(Vector& vector, const EcCurve& curve) {
    const Bytes peer = vector.fields.Hex("public");
    const Bytes scalar = vector.fields.Hex("private");
    const Bytes shared = vector.fields.Hex("shared");
    ++vectors_;
    // Compressed points are left to choice, and taken.
    if (vector.result == "acceptable") {
      EXPECT_TRUE(vector.flags.contains("CompressedPoint"));
    }
    const CK_OBJECT_HANDLE base = Create(session_, EcPrivateKey(curve, scalar));
    const Derivation derivation{.base = base, .peer = peer, .key = SecretTemplate()};
    if (vector.result == "invalid") {
      // An empty point is no public data at all.
      CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
      EXPECT_RV(peer.empty() ? CKR_MECHANISM_PARAM_INVALID : CKR_PUBLIC_KEY_INVALID,
                Derive(session_, derivation, key));
      EXPECT_EQ(key, CK_INVALID_HANDLE);
    } else {
      EXPECT_EQ(DeriveValue(session_, derivation), shared);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, base));
  }
};

TEST_P(WycheproofEcdhTest, Derive) {
  RunFile("ecdh_" + std::string(GetParam()) + "_ecpoint_test.json", "ECDH",
          "ecdh_ecpoint_test_schema.json");
}

INSTANTIATE_TEST_SUITE_P(All, WycheproofEcdhTest,
                         testing::Values("secp224r1", "secp256r1", "secp384r1", "secp521r1"),
                         [](const auto& its) { return std::string(its.param); });

class WycheproofEddsaTest : public WycheproofTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "EddsaVerify");
    group.Take("jwk");
    group.Text("keyDer");
    group.Text("keyPem");
    Fields key_fields(group.Take("key"), "key");
    EXPECT_EQ(key_fields.Text("curve"), "edwards25519");
    EXPECT_EQ(key_fields.Take("keySize").get<int>(), 255);
    EXPECT_EQ(key_fields.Text("type"), "EDDSAKeyPair");
    const CK_OBJECT_HANDLE public_key =
        Create(session_, Ed25519PublicKey(OctetString(key_fields.Hex("pk"))));
    const CK_OBJECT_HANDLE private_key = Create(session_, Ed25519PrivateKey(key_fields.Hex("sk")));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      RunOne(vector, public_key, private_key);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, public_key));
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, private_key));
  }

  void RunOne(Vector& vector, CK_OBJECT_HANDLE public_key, CK_OBJECT_HANDLE private_key) {
    const Bytes message = vector.fields.Hex("msg");
    const Bytes signature = vector.fields.Hex("sig");
    ++vectors_;
    EXPECT_NE(vector.result, "acceptable");
    const bool valid = vector.result == "valid";
    EXPECT_RV(signature.size() != 64 ? CKR_SIGNATURE_LEN_RANGE
              : valid                ? CKR_OK
                                     : CKR_SIGNATURE_INVALID,
              Verify(session_, {CKM_EDDSA, public_key}, message, signature));
    // Ed25519 is deterministic.
    if (valid) {
      EXPECT_EQ(Sign(session_, {CKM_EDDSA, private_key}, message).signature, signature);
    }
  }
};

TEST_F(WycheproofEddsaTest, Ed25519) {
  RunFile("eddsa_test.json", "EDDSA", "eddsa_verify_schema.json");
}

}  // namespace
}  // namespace secretmem::conformance

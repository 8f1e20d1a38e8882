// The vectors of Project Wycheproof whose keys or signatures come in other encodings than
// PKCS#11's: DER, PEM and JWK. What the encoding wraps is taken out and run; vectors about the
// encoding itself cannot be said in PKCS#11, and none of them may be a valid one.
#include <optional>
#include <set>
#include <string>

#include "tests/conformance/cipher.h"
#include "tests/conformance/ec.h"
#include "tests/conformance/wycheproof.h"

namespace secretmem::conformance {
namespace {

// Base64 decodes both alphabets, and passes over line ends; nothing if there is anything else.
std::optional<Bytes> Base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Bytes bytes;
  unsigned bits = 0, count = 0;
  for (char c : text) {
    if (c == '\n' || c == '=') continue;
    c = c == '-' ? '+' : c == '_' ? '/' : c;
    const size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) return std::nullopt;
    bits = (bits << 6 | static_cast<unsigned>(digit)) & 0xffffff;
    if ((count += 6) >= 8) bytes.push_back(static_cast<CK_BYTE>(bits >> (count -= 8)));
  }
  return bytes;
}

// Der reads strict DER.
class DerReader {
 public:
  explicit DerReader(const Bytes& der) : der_(der) {}

  // Element returns the contents of the next element if it has this tag.
  std::optional<Bytes> Element(CK_BYTE tag) {
    if (der_.size() - at_ < 2 || der_[at_] != tag) return std::nullopt;
    size_t length = der_[at_ + 1];
    size_t start = at_ + 2;
    if (length == 0x81) {
      if (start >= der_.size() || der_[start] < 0x80) return std::nullopt;
      length = der_[start++];
    } else if (length > 0x7f) {
      return std::nullopt;
    }
    if (der_.size() - start < length) return std::nullopt;
    at_ = start + length;
    return Bytes(der_.begin() + static_cast<ptrdiff_t>(start),
                 der_.begin() + static_cast<ptrdiff_t>(at_));
  }
  bool AtEnd() const { return at_ == der_.size(); }

 private:
  const Bytes& der_;
  size_t at_ = 0;
};

// Padded is a DER INTEGER's contents as `size` bytes, unless it is none, negative or larger.
std::optional<Bytes> Padded(const std::optional<Bytes>& number, size_t size) {
  if (!number || number->empty() || ((*number)[0] & 0x80) != 0) return std::nullopt;
  const size_t zeros = (*number)[0] == 0 && number->size() > 1 ? 1 : 0;
  if (zeros == 1 && ((*number)[1] & 0x80) == 0) return std::nullopt;
  if (number->size() - zeros > size) return std::nullopt;
  Bytes padded(size - (number->size() - zeros));
  padded.insert(padded.end(), number->begin() + static_cast<ptrdiff_t>(zeros), number->end());
  return padded;
}

// RAndS is ECDSA's signature as PKCS#11 has it.
std::optional<Bytes> RAndS(const Bytes& der, size_t size) {
  DerReader outer(der);
  const auto contents = outer.Element(0x30);
  if (!contents || !outer.AtEnd()) return std::nullopt;
  DerReader inner(*contents);
  auto r = Padded(inner.Element(0x02), size);
  const auto s = Padded(inner.Element(0x02), size);
  if (!r || !s || !inner.AtEnd()) return std::nullopt;
  r->insert(r->end(), s->begin(), s->end());
  return r;
}

// PublicKeyBits is what a SubjectPublicKeyInfo with this algorithm identifier carries.
std::optional<Bytes> PublicKeyBits(const Bytes& spki, const Bytes& algorithm) {
  DerReader outer(spki);
  const auto contents = outer.Element(0x30);
  if (!contents || !outer.AtEnd()) return std::nullopt;
  DerReader inner(*contents);
  if (inner.Element(0x30) != algorithm) return std::nullopt;
  const auto bits = inner.Element(0x03);
  if (!bits || bits->empty() || (*bits)[0] != 0 || !inner.AtEnd()) return std::nullopt;
  return Bytes(bits->begin() + 1, bits->end());
}

// FindCurve returns null for curves that the module does not have.
const EcCurve* FindCurve(std::string name) {
  if (name == "secp256r1" || name == "P-256") name = "prime256v1";
  if (name == "P-384") name = "secp384r1";
  if (name == "P-521") name = "secp521r1";
  for (const EcCurve& curve : EcCurves()) {
    if (name == curve.name) return &curve;
  }
  return nullptr;
}

class EncodingTest : public WycheproofTest {
 protected:
  // Run is RunFile, of which something must have been run.
  void Run(const std::string& name, const char* algorithm, const char* schema) {
    run_ = 0;
    RunFile(name, algorithm, schema);
    EXPECT_GT(run_, 0);
  }
  // Unsayable is a vector about an encoding.
  static void Unsayable(const Vector& vector) { EXPECT_NE(vector.result, "valid"); }

  int run_ = 0;
};

class WycheproofEcdsaDerTest : public EncodingTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    const bool der = group.Text("type") == "EcdsaVerify";
    for (const char* name : {"keyDer", "keyPem", "jwk"}) group.Optional(name);
    Fields key_fields(group.Take("key"), "key");
    const EcCurve* curve = FindCurve(key_fields.Text("curve"));
    for (const char* name : {"keySize", "type", "wx", "wy"}) key_fields.Take(name);
    const Bytes point = key_fields.Hex("uncompressed");
    const std::string hash = group.Text("sha");
    Signing signing{hash == "SHA-224"   ? CKM_ECDSA_SHA224
                    : hash == "SHA-256" ? CKM_ECDSA_SHA256
                    : hash == "SHA-384" ? CKM_ECDSA_SHA384
                                        : CKM_ECDSA_SHA512,
                    CK_INVALID_HANDLE};
    if (curve != nullptr) signing.key = Create(session_, EcPublicKey(*curve, OctetString(point)));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes message = vector.fields.Hex("msg"), given = vector.fields.Hex("sig");
      ++vectors_;
      if (curve == nullptr) continue;
      const auto signature = der ? RAndS(given, curve->bytes) : given;
      if (!signature) {
        Unsayable(vector);
        continue;
      }
      ++run_;
      // Weak hashes are taken, shortened signatures are not.
      const bool good = vector.result == "valid" ||
                        (vector.result == "acceptable" && vector.flags.contains("WeakHash"));
      EXPECT_RV(signature->size() != 2 * curve->bytes ? CKR_SIGNATURE_LEN_RANGE
                : good                                ? CKR_OK
                                                      : CKR_SIGNATURE_INVALID,
                Verify(session_, signing, message, *signature));
    }
    if (curve != nullptr) {
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, signing.key));
    }
  }
};

TEST_F(WycheproofEcdsaDerTest, Der) {
  for (const char* name :
       {"secp224r1_sha224", "secp224r1_sha256", "secp224r1_sha512", "secp256r1_sha256",
        "secp256r1_sha512", "secp384r1_sha384", "secp384r1_sha512", "secp521r1_sha512"}) {
    Run("ecdsa_" + std::string(name) + "_test.json", "ECDSA", "ecdsa_verify_schema.json");
  }
  Run("ecdsa_test.json", "ECDSA", "ecdsa_verify_schema.json");
}

TEST_F(WycheproofEcdsaDerTest, Webcrypto) {
  Run("ecdsa_webcrypto_test.json", "ECDSA", "ecdsa_p1363_verify_schema.json");
}

class WycheproofEcdhEncodingTest : public EncodingTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    const bool jwk = group.Text("type") == "EcdhWebcryptoTest";
    EXPECT_EQ(group.Text("encoding"), jwk ? "webcrypto" : "asn");
    const std::string name = group.Text("curve");
    const EcCurve* curve = FindCurve(name);
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const json& given = vector.fields.Take("public");
      const json& secret = vector.fields.Take("private");
      const Bytes shared = vector.fields.Hex("shared");
      ++vectors_;
      if (curve == nullptr) continue;
      const auto peer = jwk ? PointOfJwk(given, name, *curve) : PointOfDer(given, *curve);
      if (!peer || peer->empty()) {
        Unsayable(vector);
        continue;
      }
      ++run_;
      const Bytes scalar = jwk ? Base64(secret["d"].get<std::string>()).value_or(Bytes())
                               : FromHex(secret.get<std::string>());
      RunOne(vector,
             {.base = Create(session_, EcPrivateKey(*curve, scalar)),
              .peer = *peer,
              .key = SecretTemplate()},
             shared);
    }
  }

  void RunOne(const Vector& vector, const Derivation& derivation, const Bytes& shared) {
    // Left to choice: compressed points are taken, bits that are no point are not.
    const bool good = vector.result == "valid" ||
                      (vector.result == "acceptable" && vector.flags.contains("CompressedPoint"));
    if (!good) {
      CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
      EXPECT_RV(CKR_PUBLIC_KEY_INVALID, Derive(session_, derivation, key));
      EXPECT_EQ(key, CK_INVALID_HANDLE);
    } else {
      EXPECT_EQ(DeriveValue(session_, derivation), shared);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, derivation.base));
  }

  static std::optional<Bytes> PointOfDer(const json& hex, const EcCurve& curve) {
    Bytes algorithm = FromHex("06072a8648ce3d0201");
    const Bytes params = curve.Params();
    algorithm.insert(algorithm.end(), params.begin(), params.end());
    return PublicKeyBits(FromHex(hex.get<std::string>()), algorithm);
  }
  static std::optional<Bytes> PointOfJwk(const json& key, const std::string& name,
                                         const EcCurve& curve) {
    const auto member = [&](const char* which) { return key.value(which, std::string()); };
    const auto x = Base64(member("x")), y = Base64(member("y"));
    if (member("kty") != "EC" || member("crv") != name || !x || !y || x->size() != curve.bytes ||
        y->size() != curve.bytes) {
      return std::nullopt;
    }
    Bytes point{4};
    point.insert(point.end(), x->begin(), x->end());
    point.insert(point.end(), y->begin(), y->end());
    return point;
  }
};

TEST_F(WycheproofEcdhEncodingTest, Der) {
  for (const char* name : {"secp224r1_", "secp256r1_", "secp384r1_", "secp521r1_", ""}) {
    Run("ecdh_" + std::string(name) + "test.json", "ECDH", "ecdh_test_schema.json");
  }
}

TEST_F(WycheproofEcdhEncodingTest, Webcrypto) {
  Run("ecdh_webcrypto_test.json", "ECDH", "ecdh_webcrypto_test_schema.json");
}

class WycheproofX25519EncodingTest : public EncodingTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("curve"), "curve25519");
    EXPECT_TRUE(group.Text("type").starts_with("Xdh"));
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const auto peer = Raw(vector.fields.Take("public"), "x", true);
      const auto scalar = Raw(vector.fields.Take("private"), "d", false);
      const Bytes shared = vector.fields.Hex("shared");
      ++vectors_;
      if (!peer || !scalar) {
        Unsayable(vector);
        continue;
      }
      ++run_;
      const Derivation derivation{.base = Create(session_, X25519PrivateKey(*scalar)),
                                  .peer = *peer,
                                  .key = SecretTemplate()};
      // RFC 7748 §6.1: an all-zero secret is refused; whatever else is left to choice is taken.
      if (vector.result == "invalid" || vector.flags.contains("ZeroSharedSecret")) {
        CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
        EXPECT_RV(CKR_PUBLIC_KEY_INVALID, Derive(session_, derivation, key));
      } else {
        EXPECT_EQ(DeriveValue(session_, derivation), shared);
      }
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, derivation.base));
    }
  }

  // Raw takes a key out of JWK, PEM or DER.
  static std::optional<Bytes> Raw(const json& given, const char* member, bool is_public) {
    if (given.is_object()) {
      if (given.value("crv", std::string()) != "X25519" ||
          given.value("kty", std::string()) != "OKP" || !given.contains(member)) {
        return std::nullopt;
      }
      return Base64(given.value(member, std::string()));
    }
    std::string text = given.get<std::string>();
    std::optional<Bytes> der;
    if (text.starts_with("-----BEGIN")) {
      const size_t begin = text.find('\n') + 1;
      der = Base64(std::string_view(text).substr(begin, text.rfind("-----END") - begin));
    } else {
      der = FromHex(text);
    }
    if (!der) return std::nullopt;
    const Bytes algorithm = X25519Params();
    if (is_public) return PublicKeyBits(*der, algorithm);
    // RFC 8410 §7: PrivateKeyInfo around an OCTET STRING in an OCTET STRING.
    DerReader outer(*der);
    const auto contents = outer.Element(0x30);
    if (!contents) return std::nullopt;
    DerReader inner(*contents);
    if (inner.Element(0x02) != Bytes{0} || inner.Element(0x30) != algorithm) return std::nullopt;
    const auto wrapped = inner.Element(0x04);
    if (!wrapped) return std::nullopt;
    return DerReader(*wrapped).Element(0x04);
  }
};

TEST_F(WycheproofX25519EncodingTest, Asn) {
  Run("x25519_asn_test.json", "XDH", "xdh_asn_comp_schema.json");
}
TEST_F(WycheproofX25519EncodingTest, Jwk) {
  Run("x25519_jwk_test.json", "XDH", "xdh_jwk_comp_schema.json");
}
TEST_F(WycheproofX25519EncodingTest, Pem) {
  Run("x25519_pem_test.json", "XDH", "xdh_pem_comp_schema.json");
}

// GMAC is AES-GCM of nothing, with the message as additional data.
class WycheproofGmacTest : public EncodingTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("type"), "MacWithIvTest");
    for (const char* name : {"ivSize", "keySize"}) group.Take(name);
    const CK_ULONG tag_bits = group.Take("tagSize").get<CK_ULONG>();
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      const Bytes value = vector.fields.Hex("key"), iv = vector.fields.Hex("iv");
      const Bytes message = vector.fields.Hex("msg"), tag = vector.fields.Hex("tag");
      ++vectors_;
      ++run_;
      const CK_OBJECT_HANDLE key = ImportKey(session_, CKK_AES, value);
      if (value.size() != 16 && value.size() != 24 && value.size() != 32) {
        EXPECT_EQ(vector.result, "invalid");
        EXPECT_EQ(key, CK_INVALID_HANDLE);
        continue;
      }
      const OwnedMechanism mechanism = Gcm(iv, message, tag_bits);
      if (vector.result == "valid") {
        EXPECT_EQ(Encrypt(session_, key, mechanism, {}), (Result{CKR_OK, tag}));
        EXPECT_EQ(Decrypt(session_, key, mechanism, tag), (Result{CKR_OK, {}}));
      } else {
        const CK_RV refused = iv.empty() ? CKR_MECHANISM_PARAM_INVALID : CKR_ENCRYPTED_DATA_INVALID;
        EXPECT_EQ(Decrypt(session_, key, mechanism, tag), (Result{refused, {}}));
      }
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, key));
    }
  }
};

TEST_F(WycheproofGmacTest, Gmac) {
  Run("gmac_test.json", "AES-GMAC", "mac_with_iv_test_schema.json");
}

}  // namespace
}  // namespace secretmem::conformance

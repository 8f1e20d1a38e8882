// Examples of the NIST curves: RFC 6979's signatures, and NIST's vectors for the cofactor
// Diffie-Hellman primitive and the key derivation function of ANSI X9.63.
#include "tests/conformance/ec.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/macs.h"

namespace secretmem::conformance {
namespace {

using PublishedCurveTest = SessionTest;

// RFC 6979, A.2.4 to A.2.7: the message "sample". Who verifies does not see how the nonce was
// drawn.
struct Rfc6979 {
  const char* curve;
  const char* scalar;
  CK_MECHANISM_TYPE mechanism;
  const char* hash;
  const char* r;
  const char* s;
};
constexpr char kScalar224[] = "f220266e1105bfe3083e03ec7a3a654651f45e37167e88600bf257c1";
constexpr char kScalar256[] = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
constexpr Rfc6979 kRfc6979[] = {
    {"secp224r1", kScalar224, CKM_ECDSA_SHA1, "SHA1",
     "22226f9d40a96e19c4a301ce5b74b115303c0f3a4fd30fc257fb57ac",
     "66d1cdd83e3af75605dd6e2feff196d30aa7ed7a2edf7af475403d69"},
    {"secp224r1", kScalar224, CKM_ECDSA_SHA224, "SHA224",
     "1cdfe6662dde1e4a1ec4cdedf6a1f5a2fb7fbd9145c12113e6abfd3e",
     "a6694fd7718a21053f225d3f46197ca699d45006c06f871808f43ebc"},
    {"secp224r1", kScalar224, CKM_ECDSA_SHA256, "SHA256",
     "61aa3da010e8e8406c656bc477a7a7189895e7e840cdfe8ff42307ba",
     "bc814050dab5d23770879494f9e0a680dc1af7161991bde692b10101"},
    {"secp224r1", kScalar224, CKM_ECDSA_SHA384, "SHA384",
     "0b115e5e36f0f9ec81f1325a5952878d745e19d7bb3eabfaba77e953",
     "830f34ccdfe826ccfdc81eb4129772e20e122348a2bbd889a1b1af1d"},
    {"secp224r1", kScalar224, CKM_ECDSA_SHA512, "SHA512",
     "074bd1d979d5f32bf958ddc61e4fb4872adcafeb2256497cdac30397",
     "a4ceca196c3d5a1ff31027b33185dc8ee43f288b21ab342e5d8eb084"},
    {"prime256v1", kScalar256, CKM_ECDSA_SHA1, "SHA1",
     "61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32",
     "6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb"},
    {"prime256v1", kScalar256, CKM_ECDSA_SHA256, "SHA256",
     "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
     "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"},
    {"secp384r1",
     "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8"
     "96d5724e4c70a825f872c9ea60d2edf5",
     CKM_ECDSA_SHA384, "SHA384",
     "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c"
     "81a648152e44acf96e36dd1e80fabe46",
     "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f"
     "a329c145786e679e7b82c71a38628ac8"},
    {"secp521r1",
     "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75"
     "caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
     CKM_ECDSA_SHA512, "SHA512",
     "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f"
     "174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa",
     "00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af"
     "282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a"}};

TEST_F(PublishedCurveTest, Ecdsa) {
  if (!Offers(CKM_ECDSA)) GTEST_SKIP() << "no such mechanism";
  for (const Rfc6979& vector : kRfc6979) {
    SCOPED_TRACE(std::string(vector.curve) + " " + vector.hash);
    const EcCurve& curve = EcCurveOf(vector.curve);
    const Bytes point = ReferenceEcPoint(curve, FromHex(vector.scalar));
    const CK_OBJECT_HANDLE key = Create(session_, EcPublicKey(curve, OctetString(point)));
    const Bytes signature = FromHex(std::string(vector.r) + vector.s);
    const Bytes message = ToBytes("sample");
    Bytes other = signature;
    other.back() ^= 1;
    const Bytes digest = ReferenceDigest(vector.hash, message);
    EXPECT_RV(CKR_OK, Verify(session_, {CKM_ECDSA, key}, digest, signature));
    EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(session_, {CKM_ECDSA, key}, digest, other));
    if (!Offers(vector.mechanism)) continue;
    EXPECT_RV(CKR_OK, Verify(session_, {vector.mechanism, key}, message, signature));
    EXPECT_RV(CKR_SIGNATURE_INVALID, Verify(session_, {vector.mechanism, key}, message, other));
  }
}

class PublishedAgreementTest : public UserTest {
 protected:
  Bytes Secret(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE base, CK_ECDH1_DERIVE_PARAMS params,
               Template wanted) {
    CK_MECHANISM mechanism{type, &params, sizeof params};
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    EXPECT_RV(CKR_OK,
              P11().C_DeriveKey(session_, &mechanism, base, wanted.data(), wanted.size(), &key));
    return key == CK_INVALID_HANDLE ? Bytes() : ReadBytes(session_, key, CKA_VALUE);
  }
};

// SP 800-56A's primitive. The cofactor of these curves is 1, so both mechanisms compute it.
TEST_F(PublishedAgreementTest, CofactorDiffieHellman) {
  const struct {
    const char* curve;
    const char* scalar;
    const char* peer_x;
    const char* peer_y;
    const char* shared;
  } kVectors[] = {{"secp224r1", "8346a60fc6f293ca5a0d2af68ba71d1dd389e5e40837942df3e43cbd",
                   "af33cd0629bc7e996320a3f40368f74de8704fa37b8fab69abaae280",
                   "882092ccbba7930f419a8a4f9bb16978bbc3838729992559a6f2e2d7",
                   "7d96f9a3bd3c05cf5cc37feb8b9d5209d5c2597464dec3e9983743e8"},
                  {"prime256v1", "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
                   "700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287",
                   "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
                   "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b"},
                  {"secp384r1",
                   "3cc3122a68f0d95027ad38c067916ba0eb8c38894d22e1b15618b6818a661774"
                   "ad463b205da88cf699ab4d43c9cf98a1",
                   "a7c76b970c3b5fe8b05d2838ae04ab47697b9eaf52e764592efda27fe7513272"
                   "734466b400091adbf2d68c58e0c50066",
                   "ac68f19f2e1cb879aed43a9969b91a0839c4c38a49749b661efedf243451915e"
                   "d0905a32b060992b468c64766fc8437a",
                   "5f9d29dc5e31a163060356213669c8ce132e22f57c9a04f40ba7fcead493b457"
                   "e5621e766c40a2e3d4d6a04b25e533f1"},
                  {"secp521r1",
                   "017eecc07ab4b329068fba65e56a1f8890aa935e57134ae0ffcce802735151f4"
                   "eac6564f6ee9974c5e6887a1fefee5743ae2241bfeb95d5ce31ddcb6f9edb4d6fc47",
                   "00685a48e86c79f0f0875f7bc18d25eb5fc8c0b07e5da4f4370f3a9490340854"
                   "334b1e1b87fa395464c60626124a4e70d0f785601d37c09870ebf176666877a2046d",
                   "01ba52c56fc8776d9e8f5db4f0cc27636d0b741bbe05400697942e80b739884a"
                   "83bde99e0f6716939e632bc8986fa18dccd443a348b6c3e522497955a4f3c302f676",
                   "005fc70477c3e63bc3954bd0df3ea0d1f41ee21746ed95fc5e1fdf90930d5e13"
                   "6672d72cc770742d1711c3c3a4c334a0ad9759436a4d3c5bf6e74b9578fac148c831"}};
  for (const auto& vector : kVectors) {
    SCOPED_TRACE(vector.curve);
    const EcCurve& curve = EcCurveOf(vector.curve);
    const CK_OBJECT_HANDLE base = Create(session_, EcPrivateKey(curve, FromHex(vector.scalar)));
    Bytes peer = FromHex(std::string("04") + vector.peer_x + vector.peer_y);
    for (const CK_MECHANISM_TYPE type : {CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE}) {
      if (!Offers(type)) continue;
      EXPECT_EQ(
          Secret(type, base, {CKD_NULL, 0, nullptr, peer.size(), peer.data()}, SecretTemplate()),
          FromHex(vector.shared));
    }
  }
}

// One of NIST's vectors for ANSI X9.63-2001 whose secret happens to be a coordinate of P-521: 1
// times the point with that coordinate. For the others see X963ReferenceTest.
TEST_F(PublishedAgreementTest, X963) {
  if (!Offers(CKM_ECDH1_COFACTOR_DERIVE)) GTEST_SKIP() << "CKD_NULL is the only KDF";
  const EcCurve& curve = EcCurveOf("secp521r1");
  Bytes one(66);
  one.back() = 1;
  const CK_OBJECT_HANDLE base = Create(session_, EcPrivateKey(curve, one));
  Bytes peer = FromHex(
      "0201a33032a2bf6f8e9d6972dd339536c9e248ae9881844ff1bd04af48085be4ca1834f2a94ce1019dd9620d1e3a"
      "68203a5b291f40b5f8e3238a2a036312b89061cc60");
  Bytes info = FromHex("d3297ad6b9757d1f5a9d5b0e72176d74");
  const Bytes key = FromHex(
      "63565d1d3443620fba4218c97887ff40d6d68bf56b429c22018be5d91c318187ebe8a9399c5cc6c4a849288ab784"
      "d4340714ae3fdb426c4a83db9ce2ba8aea80d448e50ad543749b47bcaae519f7f00badd8d48296e81069104dcd29"
      "3c605b08159ef2ef14c7833739d0414274136ae4db05ba4fa31b29c59de46d9be539525f");
  EXPECT_EQ(Secret(CKM_ECDH1_DERIVE, base,
                   {CKD_SHA512_KDF, info.size(), info.data(), peer.size(), peer.data()},
                   SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{key.size()})),
            key);
}

// The same for the other hash functions, by the computation that the module's is compared with:
// their secrets are no coordinates of points that a token takes.
TEST(X963ReferenceTest, Nist) {
  const struct {
    const char* hash;
    const char* secret;
    const char* info;
    const char* key;
  } kVectors[] = {{"SHA1", "fd17198b89ab39c4ab5d7cca363b82f9fd7e23c3984dc8a2",
                   "856a53f3e36a26bbc5792879f307cce2",
                   "6e5fad865cb4a51c95209b16df0cc490bc2c9064405c5bccd4ee4832a531fbe7"
                   "f10cb79e2eab6ab1149fbd5a23cfdabc41242269c9df22f628c4424333855b64"
                   "e95e2d4fb8469c669f17176c07d103376b10b384ec5763d8b8c610409f19aca8"
                   "eb31f9d85cc61a8d6d4a03d03e5a506b78d6847e93d295ee548c65afedd2efec"},
                  {"SHA224", "da67a73072d521a8272c69023573012ddf9b46bff65b3900",
                   "727997aed53e78f74b1d66743a4ea4d2",
                   "dfc3126c5eebf9a58d89730e8d8ff7cc772592f28c10b349b437d9d068698a22"
                   "e532eae975dfaf9c5c6a9f2935eafb05353013c253444e61f07bc9ddd15948e6"
                   "14bdc7e445ba3b1893f42f87f18fb352d49956009a642c362d45410b43a9ab37"
                   "6e9261210739174759511d1f9e52f6ec73dfed446dbafaf7fd1a57113abc2e8d"},
                  {"SHA256", "22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d",
                   "75eef81aa3041e33b80971203d2c0c52",
                   "c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e"
                   "52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485"
                   "500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269"
                   "142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21"},
                  {"SHA384", "c051fd22539c9de791d6c43a854b8f80a6bf70190050854a",
                   "1317504aa34759bb4c931e3b78201945",
                   "cf6a84434734ac6949e1d7976743277be789906908ad3ca3a8923da7f476abbe"
                   "b574306d7243031a85566914bfd247d2519c479953d9d55b6b831e56260806c3"
                   "9af21b74e3ecf470e3bd8332791c8a23c13352514fdef00c2d1a408ba31b2d3f"
                   "9fdcb373895484649a645d1845eec91b5bfdc5ad28c7824984482002dd4a8677"},
                  {"SHA384", "d8554db1b392cd55c3fe957bed76af09c13ac2a9392f88f6", "",
                   "671a46aada145162f8ddf1ca586a1cda"},
                  {"SHA512", "87fc0d8c4477485bb574f5fcea264b30885dc8d90ad82782", "",
                   "947665fbb9152153ef460238506a0245"}};
  for (const auto& vector : kVectors) {
    const Bytes key = FromHex(vector.key);
    EXPECT_EQ(ReferenceX963(vector.hash, FromHex(vector.secret), FromHex(vector.info), key.size()),
              key);
  }
}

}  // namespace
}  // namespace secretmem::conformance

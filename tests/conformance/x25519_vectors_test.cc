// RFC 7748 §5.2 and §6.1 through C_CreateObject and C_DeriveKey.
#include <utility>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class Rfc7748Test : public UserTest {
 protected:
  // X25519 computes X25519(scalar, point) with an imported key, which is destroyed again.
  Bytes X25519(const Bytes& scalar, const Bytes& point) const {
    const CK_OBJECT_HANDLE base = Create(session_, X25519PrivateKey(scalar));
    Bytes value = DeriveValue(session_, {.base = base, .peer = point, .key = SecretTemplate()});
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, base));
    return value;
  }
  // The base point, 9.
  static Bytes BasePoint() {
    Bytes point(32, 0);
    point[0] = 9;
    return point;
  }
};

TEST_F(Rfc7748Test, Section52First) {
  EXPECT_EQ(X25519(FromHex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                   FromHex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")),
            FromHex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
}

// The second vector's point has its most significant bit set, which must be ignored.
TEST_F(Rfc7748Test, Section52Second) {
  EXPECT_EQ(X25519(FromHex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
                   FromHex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493")),
            FromHex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"));
}

// k and u begin as 9; each step replaces them by X25519(k, u) and k.
TEST_F(Rfc7748Test, Section52Iterated) {
  Bytes k = BasePoint();
  Bytes u = BasePoint();
  for (int i = 1; i <= 1000 && !HasFailure(); ++i) {
    Bytes next = X25519(k, u);
    u = std::exchange(k, next);
    if (i == 1) {
      EXPECT_EQ(k, FromHex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
    }
  }
  EXPECT_EQ(k, FromHex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

TEST_F(Rfc7748Test, Section61) {
  const Bytes alice = FromHex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const Bytes alice_public =
      FromHex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const Bytes bob = FromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  const Bytes bob_public =
      FromHex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const Bytes shared = FromHex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  EXPECT_EQ(X25519(alice, BasePoint()), alice_public);
  EXPECT_EQ(X25519(bob, BasePoint()), bob_public);
  EXPECT_EQ(X25519(alice, bob_public), shared);
  EXPECT_EQ(X25519(bob, alice_public), shared);
}

}  // namespace
}  // namespace secretmem::conformance

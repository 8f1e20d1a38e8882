// All X25519 vectors of Project Wycheproof through C_CreateObject and C_DeriveKey.
#include "tests/conformance/wycheproof.h"

#include <set>
#include <string>

#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class WycheproofX25519Test : public WycheproofTest {
 protected:
  void RunGroup(Fields& group, const std::set<std::string>& notes) override {
    EXPECT_EQ(group.Text("curve"), "curve25519");
    EXPECT_EQ(group.Text("type"), "XdhComp");
    for (const json& test : group.Take("tests")) {
      Vector vector(test, notes);
      SCOPED_TRACE(vector.trace);
      RunOne(vector);
    }
  }

  // RunOne consumes one vector, and runs it if its shared secret is all-zero as low_order_ says.
  void RunOne(Vector& vector) {
    const Bytes peer = vector.fields.Hex("public");
    const Bytes scalar = vector.fields.Hex("private");
    const Bytes shared = vector.fields.Hex("shared");

    // The file's own words: valid results have no reservations, acceptable ones have some.
    EXPECT_EQ(vector.result, vector.flags.empty() ? "valid" : "acceptable");
    const bool zero = vector.flags.contains("ZeroSharedSecret");
    EXPECT_EQ(zero, shared == Bytes(shared.size(), 0));
    EXPECT_EQ(zero, vector.flags.contains("LowOrderPublic"));
    for (const std::string& flag : vector.flags) {
      EXPECT_TRUE(flag == "ZeroSharedSecret" || flag == "LowOrderPublic" || flag == "Twist" ||
                  flag == "NonCanonicalPublic" || flag == "SmallPublicKey")
          << "unknown flag " << flag;
    }

    ++vectors_;
    if (zero != low_order_) return;
    ++run_;
    const CK_OBJECT_HANDLE base = Create(session_, X25519PrivateKey(scalar));
    const Derivation derivation{.base = base, .peer = peer, .key = SecretTemplate()};
    if (zero) {
      CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
      EXPECT_RV(CKR_PUBLIC_KEY_INVALID, Derive(session_, derivation, key));
      EXPECT_EQ(key, CK_INVALID_HANDLE);
    } else {
      EXPECT_EQ(DeriveValue(session_, derivation), shared);
    }
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, base));
  }

  void Run(bool low_order) {
    low_order_ = low_order;
    RunFile("x25519_test.json", "XDH", "xdh_comp_schema.json");
    EXPECT_GT(run_, 0);
  }

  bool low_order_ = false;
  int run_ = 0;
};

TEST_F(WycheproofX25519Test, X25519) { Run(false); }

// An all-zero shared secret must be refused (RFC 7748 §6.1).
TEST_F(WycheproofX25519Test, X25519LowOrder) { Run(true); }

}  // namespace
}  // namespace secretmem::conformance

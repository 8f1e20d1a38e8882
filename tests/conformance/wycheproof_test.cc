// All X25519 vectors of Project Wycheproof through C_CreateObject and C_DeriveKey. Every field of
// the file must be known and consumed: what this runner does not understand, it must not pass over.
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

using nlohmann::json;

// Fields hands out the members of a JSON object; those never asked for fail the test at the end.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    EXPECT_TRUE(object.is_object()) << where_;
  }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;
  ~Fields() {
    for (const auto& [name, value] : object_.items()) {
      EXPECT_TRUE(used_.contains(name)) << where_ << ": unconsumed field " << name;
    }
  }

  // Take returns a member, which must exist.
  const json& Take(const std::string& name) {
    used_.insert(name);
    const auto found = object_.find(name);
    if (found == object_.end()) {
      ADD_FAILURE() << where_ << ": no field " << name;
      static const json kNothing;
      return kNothing;
    }
    return *found;
  }
  std::string Text(const std::string& name) {
    const json& value = Take(name);
    EXPECT_TRUE(value.is_string()) << where_ << ": " << name;
    return value.is_string() ? value.get<std::string>() : std::string();
  }
  Bytes Hex(const std::string& name) { return FromHex(Text(name)); }

 private:
  const json& object_;
  const std::string where_;
  std::set<std::string> used_;
};

class WycheproofTest : public UserTest {
 protected:
  void SetUp() override {
    if (GlobalOptions().wycheproof.empty()) GTEST_SKIP() << "no --wycheproof DIRECTORY given";
    UserTest::SetUp();
  }

  static json Read(const std::string& name) {
    std::ifstream file(GlobalOptions().wycheproof + "/" + name);
    json document = json::parse(file, nullptr, false);
    EXPECT_FALSE(document.is_discarded()) << "cannot read " << name;
    return document;
  }

  // RunOne consumes one vector, and runs it if its shared secret is all-zero as `low_order` says.
  void RunOne(const json& vector, const std::set<std::string>& notes, bool low_order) {
    const std::string id = "tcId " + vector.value("tcId", json(0)).dump();
    SCOPED_TRACE(id);
    Fields fields(vector, id);
    EXPECT_TRUE(fields.Take("tcId").is_number_unsigned());
    const std::string comment = fields.Text("comment");
    SCOPED_TRACE(comment);
    const Bytes peer = fields.Hex("public");
    const Bytes scalar = fields.Hex("private");
    const Bytes shared = fields.Hex("shared");
    const std::string result = fields.Text("result");
    std::set<std::string> flags;
    for (const json& flag : fields.Take("flags")) flags.insert(flag.get<std::string>());
    for (const std::string& flag : flags) EXPECT_TRUE(notes.contains(flag)) << flag;

    // The file's own words: valid results have no reservations, acceptable ones have some.
    EXPECT_TRUE(result == (flags.empty() ? "valid" : "acceptable")) << result;
    const bool zero = flags.contains("ZeroSharedSecret");
    EXPECT_EQ(zero, shared == Bytes(shared.size(), 0));
    EXPECT_EQ(zero, flags.contains("LowOrderPublic"));
    for (const std::string& flag : flags) {
      EXPECT_TRUE(flag == "ZeroSharedSecret" || flag == "LowOrderPublic" || flag == "Twist" ||
                  flag == "NonCanonicalPublic" || flag == "SmallPublicKey")
          << "unknown flag " << flag;
    }

    ++vectors_;
    if (zero != low_order) return;
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

  void RunFile(bool low_order);

  int vectors_ = 0;
  int run_ = 0;
};

void WycheproofTest::RunFile(bool low_order) {
  const json document = Read("x25519_test.json");
  ASSERT_TRUE(document.is_object());
  Fields file(document, "x25519_test.json");
  EXPECT_EQ(file.Text("algorithm"), "XDH");
  EXPECT_FALSE(file.Text("generatorVersion").empty());
  EXPECT_EQ(file.Text("schema"), "xdh_comp_schema.json");
  for (const json& line : file.Take("header")) EXPECT_TRUE(line.is_string());
  std::set<std::string> notes;
  for (const auto& [name, text] : file.Take("notes").items()) {
    EXPECT_TRUE(text.is_string());
    notes.insert(name);
  }
  for (const json& group_json : file.Take("testGroups")) {
    Fields group(group_json, "group");
    EXPECT_EQ(group.Text("curve"), "curve25519");
    EXPECT_EQ(group.Text("type"), "XdhComp");
    for (const json& vector : group.Take("tests")) RunOne(vector, notes, low_order);
  }
  EXPECT_EQ(vectors_, file.Take("numberOfTests").get<int>());
  EXPECT_GT(run_, 0);
}

TEST_F(WycheproofTest, X25519) { RunFile(false); }

// An all-zero shared secret must be refused (RFC 7748 §6.1).
TEST_F(WycheproofTest, X25519LowOrder) { RunFile(true); }

}  // namespace
}  // namespace secretmem::conformance

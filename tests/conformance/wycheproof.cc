#include "tests/conformance/wycheproof.h"

#include <fstream>

namespace secretmem::conformance {

Fields::Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
  EXPECT_TRUE(object.is_object()) << where_;
}

Fields::~Fields() {
  for (const auto& [name, value] : object_.items()) {
    EXPECT_TRUE(used_.contains(name)) << where_ << ": unconsumed field " << name;
  }
}

const json& Fields::Take(const std::string& name) {
  used_.insert(name);
  const auto found = object_.find(name);
  if (found == object_.end()) {
    ADD_FAILURE() << where_ << ": no field " << name;
    static const json kNothing;
    return kNothing;
  }
  return *found;
}

std::string Fields::Text(const std::string& name) {
  const json& value = Take(name);
  EXPECT_TRUE(value.is_string()) << where_ << ": " << name;
  return value.is_string() ? value.get<std::string>() : std::string();
}

Vector::Vector(const json& vector, const std::set<std::string>& notes)
    : fields(vector, "tcId " + vector.value("tcId", json(0)).dump()) {
  const json& number = fields.Take("tcId");
  EXPECT_TRUE(number.is_number_unsigned());
  trace = "tcId " + number.dump() + ", " + fields.Text("comment");
  result = fields.Text("result");
  EXPECT_TRUE(result == "valid" || result == "invalid" || result == "acceptable") << result;
  for (const json& flag : fields.Take("flags")) flags.insert(flag.get<std::string>());
  for (const std::string& flag : flags) EXPECT_TRUE(notes.contains(flag)) << flag;
}

void WycheproofTest::SetUp() {
  if (GlobalOptions().wycheproof.empty()) GTEST_SKIP() << "no --wycheproof DIRECTORY given";
  UserTest::SetUp();
}

void WycheproofTest::RunFile(const std::string& name, const std::string& algorithm,
                             const std::string& schema) {
  SCOPED_TRACE(name);
  EXPECT_TRUE(IsRun(name)) << "not in the list of wycheproof_files_test.cc";
  std::ifstream stream(GlobalOptions().wycheproof + "/" + name);
  const json document = json::parse(stream, nullptr, false);
  ASSERT_TRUE(document.is_object()) << "cannot read " << name;
  Fields file(document, name);
  EXPECT_EQ(file.Text("algorithm"), algorithm);
  EXPECT_FALSE(file.Text("generatorVersion").empty());
  EXPECT_EQ(file.Text("schema"), schema);
  for (const json& line : file.Take("header")) EXPECT_TRUE(line.is_string());
  std::set<std::string> notes;
  for (const auto& [note, text] : file.Take("notes").items()) {
    EXPECT_TRUE(text.is_string());
    notes.insert(note);
  }
  vectors_ = 0;
  for (const json& group_json : file.Take("testGroups")) {
    Fields group(group_json, "group");
    RunGroup(group, notes);
  }
  EXPECT_EQ(vectors_, file.Take("numberOfTests").get<int>());
  EXPECT_GT(vectors_, 0);
}

}  // namespace secretmem::conformance

// Files of Project Wycheproof. Every field of a file must be known and consumed: what a runner does
// not understand, it must not pass over.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {

using nlohmann::json;

// Fields hands out the members of a JSON object; those never asked for fail the test at the end.
class Fields {
 public:
  Fields(const json& object, std::string where);
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;
  ~Fields();

  // Take returns a member, which must exist.
  const json& Take(const std::string& name);
  std::string Text(const std::string& name);
  // Optional consumes a member whose contents do not matter, if it is there.
  void Optional(const std::string& name) { used_.insert(name); }
  Bytes Hex(const std::string& name) { return FromHex(Text(name)); }

 private:
  const json& object_;
  const std::string where_;
  std::set<std::string> used_;
};

// IsRun says whether some test runs this file of Wycheproof's; wycheproof_files_test.cc has the
// list.
bool IsRun(const std::string& name);

// Vector is what all vectors have; its own fields are consumed by whoever runs it.
struct Vector {
  Vector(const json& vector, const std::set<std::string>& notes);

  Fields fields;
  std::string result;           // "valid", "invalid" or "acceptable"
  std::set<std::string> flags;  // each explained in the file's notes
  std::string trace;            // its number and comment
};

// WycheproofTest skips without --wycheproof. RunFile reads a file, checks its head and its number
// of tests, and calls RunGroup for every group, which takes "tests" and counts them in vectors_.
class WycheproofTest : public UserTest {
 protected:
  void SetUp() override;
  void RunFile(const std::string& name, const std::string& algorithm, const std::string& schema);
  virtual void RunGroup(Fields& group, const std::set<std::string>& notes) = 0;

  int vectors_ = 0;
};

}  // namespace secretmem::conformance

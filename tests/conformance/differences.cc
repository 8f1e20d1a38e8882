#include "tests/conformance/differences.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace secretmem::conformance {
namespace {

void ForEachTest(const std::function<void(const std::string&, const testing::TestInfo&)>& visit) {
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int j = 0; j < suite.total_test_count(); ++j) {
      const testing::TestInfo& test = *suite.GetTestInfo(j);
      visit(std::string(suite.name()) + "." + test.name(), test);
    }
  }
}

// PassesInChild runs one test in a child process.
bool PassesInChild(const std::string& name) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // a test that hangs ends by a signal too
    GTEST_FLAG_SET(filter, name);
    _exit(RUN_ALL_TESTS());
  }
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child) throw std::runtime_error("fork failed");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Differences ReadDifferences(const std::string& path) {
  std::set<std::string> known;
  ForEachTest([&](const std::string& name, const testing::TestInfo&) { known.insert(name); });
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Differences differences;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    if (!(words >> name) || name.starts_with('#')) continue;
    Difference difference{Ending::kFails, {}};
    std::getline(words >> std::ws, difference.reason);
    const std::pair<std::string_view, Ending> prefixes[] = {{"crashes:", Ending::kCrashes},
                                                            {"races:", Ending::kRaces}};
    for (const auto& [prefix, ending] : prefixes) {
      if (!difference.reason.starts_with(prefix)) continue;
      difference.ending = ending;
      difference.reason.erase(0, prefix.size());
    }
    if (difference.reason.find_first_not_of(' ') == std::string::npos) {
      throw std::runtime_error(path + ": no reason given for " + name);
    }
    if (!known.contains(name)) throw std::runtime_error(path + ": there is no test " + name);
    if (!differences.emplace(name, difference).second) {
      throw std::runtime_error(path + ": listed twice: " + name);
    }
  }
  return differences;
}

int RunWithDifferences(const Differences& differences) {
  const std::string filter = GTEST_FLAG_GET(filter);
  std::string together = filter + (filter.find('-') == std::string::npos ? "-" : "");
  for (const auto& [name, difference] : differences) {
    if (difference.ending != Ending::kFails) together += ":" + name;
  }
  GTEST_FLAG_SET(filter, together);
  [[maybe_unused]] const int status = RUN_ALL_TESTS();  // judged below, test by test

  int errors = 0;
  int passed = 0;
  int skipped = 0;
  int different = 0;
  std::vector<std::string> apart;
  ForEachTest([&](const std::string& name, const testing::TestInfo& test) {
    const auto found = differences.find(name);
    const bool alone = found != differences.end() && found->second.ending != Ending::kFails;
    if (alone) apart.push_back(name);
    if (alone || !test.should_run()) return;
    const testing::TestResult& result = *test.result();
    if (found != differences.end()) {
      if (result.Failed()) {
        ++different;
        return;
      }
      std::printf("UNEXPECTED: %s passed or was skipped, though the list of differences says so\n",
                  name.c_str());
      ++errors;
    } else if (result.Failed()) {
      std::printf("FAILED: %s\n", name.c_str());
      ++errors;
    } else {
      ++(result.Skipped() ? skipped : passed);
    }
  });
  for (const std::string& name : apart) {
    // Only those that the user's own filter selects.
    GTEST_FLAG_SET(filter, filter);
    if (filter != "*" && filter != name) continue;
    if (!PassesInChild(name) || differences.at(name).ending == Ending::kRaces) {
      ++different;
    } else {
      std::printf("UNEXPECTED: %s passed, though the list of differences says so\n", name.c_str());
      ++errors;
    }
  }
  std::printf("conformance: %d passed, %d skipped, %d different as listed, %d wrong\n", passed,
              skipped, different, errors);
  return errors == 0 ? 0 : 1;
}

}  // namespace secretmem::conformance

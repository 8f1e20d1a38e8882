// conformance: black-box tests of any PKCS#11 module.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "tests/conformance/differences.h"
#include "tests/conformance/module.h"

namespace {

using secretmem::conformance::Options;

constexpr char kUsage[] =
    "usage: conformance --module PATH [options] [--gtest_...]\n"
    "  --module PATH                the module to test\n"
    "  --so-pin PIN                 the security officer's PIN to set\n"
    "  --pin PIN                    the user's PIN to set\n"
    "  --slot ID                    the slot whose token is initialised, and its objects lost;\n"
    "                               by default the first one that holds no initialised token\n"
    "  --expected-differences FILE  tests that must fail, one per line with the reason\n"
    "  --wycheproof DIRECTORY       where the Wycheproof vectors (JSON) are\n"
    "  --x25519-as-edwards          the module files X25519 under CKK_EC_EDWARDS, with DER points\n"
    "  --keep-environment           do not point the module at an empty token directory\n";

// Parse fills `options`; false if an argument is unknown or lacks its value.
bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--x25519-as-edwards") {
      options.x25519_as_edwards = true;
      continue;
    }
    if (name == "--keep-environment") {
      options.own_environment = false;
      continue;
    }
    if (i + 1 == argc) return false;
    const char* value = argv[++i];
    if (name == "--module") {
      options.module = value;
    } else if (name == "--so-pin") {
      options.so_pin = value;
    } else if (name == "--pin") {
      options.user_pin = value;
    } else if (name == "--slot") {
      options.slot = std::strtoul(value, nullptr, 0);
    } else if (name == "--expected-differences") {
      options.expected_differences = value;
    } else if (name == "--wycheproof") {
      options.wycheproof = value;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) try {
  testing::InitGoogleTest(&argc, argv);
  Options& options = secretmem::conformance::GlobalOptions();
  if (!Parse(argc, argv, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  if (GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  if (options.module.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  secretmem::conformance::Differences differences;
  if (!options.expected_differences.empty()) {
    differences = secretmem::conformance::ReadDifferences(options.expected_differences);
  }
  std::unique_ptr<secretmem::conformance::Environment> environment;
  if (options.own_environment) {
    environment = std::make_unique<secretmem::conformance::Environment>();
  }
  if (const std::string error = secretmem::conformance::LoadModule(options); !error.empty()) {
    std::fprintf(stderr, "conformance: %s\n", error.c_str());
    return 2;
  }
  return secretmem::conformance::RunWithDifferences(differences);
} catch (const std::exception& error) {
  std::fprintf(stderr, "conformance: %s\n", error.what());
  return 2;
}

#include "pkcs11/config.h"

#include <gtest/gtest.h>
#include <pwd.h>

#include <map>

#include "pkcs11/pin.h"
#include "tests/unit/store_child.h"
#include "tests/unit/store_testing.h"

namespace secretmem {
namespace {

Config Parse(const std::string& text) {
  const auto config = ParseConfig(text, "f");
  EXPECT_TRUE(config) << config.error().reason;
  return config.value_or(Config{});
}

std::string Reason(const std::string& text) {
  const auto config = ParseConfig(text, "f");
  return config ? "no error" : config.error().reason;
}

TEST(ParseConfigTest, NothingMeansDefaults) {
  Config expected;
  expected.source = "f";
  EXPECT_EQ(Parse(""), expected);
  EXPECT_EQ(Parse("[tokens]\n[log]\n[pin]\n[memory]\n[mechanisms]\n"), expected);
  EXPECT_EQ(expected.pin, (PinConfig{600'000, 4, 255, 10, 100}));
  EXPECT_EQ(expected.memory, (MemoryConfig{MemoryProtection::kRequire, MemoryIsolation::kSlot,
                                           MemoryAtRest::kAuto, true, false}));
  EXPECT_EQ(expected.mechanisms, (MechanismConfig{true, {}}));
  EXPECT_EQ(expected.keys, KeysConfig{false});
  EXPECT_EQ(expected.log_level, LogLevel::kOff);
}

TEST(ParseConfigTest, EveryKeyIsRead) {
  Config expected;
  expected.source = "f";
  expected.tokens_directory = "/var/tokens";
  expected.log_level = LogLevel::kInfo;
  expected.pin = {1000, 6, 64, 3, 0};
  expected.memory = {MemoryProtection::kAllowMlock, MemoryIsolation::kPage, MemoryAtRest::kMprotect,
                     false, true};
  expected.mechanisms = {false, {CKM_RSA_PKCS, CKM_AES_ECB, CKM_AES_GCM, 0xd34d0001}};
  expected.keys = {true};
  EXPECT_EQ(Parse(R"(
tokens.directory = "/var/tokens"
log = { level = "info" }
[pin]
iterations = 1_000
min_length = 6
max_length = 64
max_failures = 3
delay_ms = 0
[memory]
protection = "allow-mlock"
isolation = "page"
at_rest = "mprotect"
dumpable = false
mseal = true
[mechanisms]
weak = false
disable = ["CKM_AES_GCM", 0x1081, "CKM_RSA_PKCS", "CKM_AES_GCM",
  0xd34d0001]
[keys]
enforce_dates = true
)"),
            expected);
  EXPECT_EQ(Parse("memory.at_rest = \"pkey\"").memory.at_rest, MemoryAtRest::kPkey);
  const std::pair<const char*, LogLevel> levels[] = {{"off", LogLevel::kOff},
                                                     {"error", LogLevel::kError},
                                                     {"warn", LogLevel::kWarn},
                                                     {"debug", LogLevel::kDebug}};
  for (const auto& [word, level] : levels) {
    EXPECT_EQ(Parse("log.level = \"" + std::string(word) + "\"").log_level, level);
  }
}

TEST(ParseConfigTest, RangesHaveTheirEnds) {
  struct Range {
    const char* key;
    int64_t least;
    int64_t most;
    uint32_t PinConfig::*member;
  };
  const Range ranges[] = {{"iterations", 1000, 100'000'000, &PinConfig::iterations},
                          {"min_length", 1, 255, &PinConfig::min_length},
                          {"max_length", 4, 255, &PinConfig::max_length},
                          {"max_failures", 0, 1000, &PinConfig::max_failures},
                          {"delay_ms", 0, 60'000, &PinConfig::delay_ms}};
  for (const Range& range : ranges) {
    const std::string key = "pin." + std::string(range.key) + " = ";
    EXPECT_EQ(Parse(key + std::to_string(range.least)).pin.*range.member, range.least);
    EXPECT_EQ(Parse(key + std::to_string(range.most)).pin.*range.member, range.most);
    for (const std::string& bad :
         {std::to_string(range.most + 1), std::string("-1"), std::string("9223372036854775807"),
          std::string("4294968296"), std::string("\"5\""), std::string("5.0"), std::string("true"),
          std::string("[5]")}) {
      const int64_t least = std::string(range.key) == "max_length" ? 1 : range.least;
      EXPECT_EQ(Reason("\n" + key + bad), "f:2: pin." + std::string(range.key) +
                                              ": must be an integer from " + std::to_string(least) +
                                              " to " + std::to_string(range.most));
    }
  }
  EXPECT_EQ(Reason("pin.iterations = 999"),
            "f:1: pin.iterations: must be an integer from 1000 to 100000000");
  EXPECT_EQ(Reason("pin.max_length = 3"),
            "f:1: pin.max_length: min_length (4) is above max_length (3)");
  EXPECT_EQ(Reason("[pin]\nmin_length = 9\nmax_length = 8"),
            "f:3: pin.max_length: min_length (9) is above max_length (8)");
}

TEST(ParseConfigTest, WrongTypesAndWordsAreNamedWithTheirLine) {
  const std::map<std::string, std::string> reasons = {
      {"tokens = 1", "f:1: tokens: must be a table"},
      {"[[pin]]", "f:1: pin: must be a table"},
      {"\ntokens.directory = 1", "f:2: tokens.directory: must be a string"},
      {"tokens.directory = \"\"",
       "f:1: tokens.directory: must be an absolute path, or start with ~/"},
      {"tokens.directory = \"x/y\"",
       "f:1: tokens.directory: must be an absolute path, or start with ~/"},
      {"tokens.directory = \"/x\\u0000y\"", "f:1: tokens.directory: must not contain a zero byte"},
      {"log.level = \"loud\"",
       R"(f:1: log.level: must be "off", "error", "warn", "info", "debug")"},
      {"log.level = 1", R"(f:1: log.level: must be "off", "error", "warn", "info", "debug")"},
      {"memory.protection = \"Require\"",
       R"(f:1: memory.protection: must be "require", "allow-mlock")"},
      {"memory.protection = true", R"(f:1: memory.protection: must be "require", "allow-mlock")"},
      {"memory.isolation = \"\"", R"(f:1: memory.isolation: must be "slot", "page")"},
      {"memory.at_rest = 0", R"(f:1: memory.at_rest: must be "auto", "none", "pkey", "mprotect")"},
      {"memory.dumpable = 0", "f:1: memory.dumpable: must be true or false"},
      {"[memory]\n\nmseal = \"yes\"", "f:3: memory.mseal: must be true or false"},
      {"keys.enforce_dates = \"\"", "f:1: keys.enforce_dates: must be true or false"},
      {"colour = 1", "f:1: unknown key \"colour\""},
      {"[colour]", "f:1: unknown key \"colour\""},
      {"[pin]\niteration = 1000", "f:2: unknown key \"pin.iteration\""},
      {"[tokens]\nDirectory = \"/x\"", "f:2: unknown key \"tokens.Directory\""},
      {"[log]\nlevel = \"off\"\nfile = \"x\"", "f:3: unknown key \"log.file\""},
      {"mechanisms.weak = 0", "f:1: mechanisms.weak: must be true or false"},
      {"mechanisms.disable = \"CKM_AES_ECB\"",
       "f:1: mechanisms.disable: must be an array of mechanisms"},
      {"[mechanisms]\ndisable = [\n\"CKM_AES_ECB\",\n\"CKM_AES_EBC\"]",
       "f:4: mechanisms.disable: unknown mechanism \"CKM_AES_EBC\""},
      {"mechanisms.disable = [\"\"]", "f:1: mechanisms.disable: unknown mechanism \"\""},
      {"mechanisms.disable = [-1]",
       "f:1: mechanisms.disable: must be mechanisms by name, as \"CKM_AES_ECB\", or by number"},
      {"mechanisms.disable = [1.5]",
       "f:1: mechanisms.disable: must be mechanisms by name, as \"CKM_AES_ECB\", or by number"},
      {"[mechanisms]\nstrong = true", "f:2: unknown key \"mechanisms.strong\""},
      {"[memory]\nmlock = true", "f:2: unknown key \"memory.mlock\""},
  };
  for (const auto& [text, reason] : reasons) EXPECT_EQ(Reason(text), reason) << text;
}

TEST(ParseConfigTest, WhatIsNoTomlIsAnErrorWithItsLine) {
  for (const char* text : {"\n[pin", "\npin = ", "\nx = 1\nx = 2", "\n= 1", "\n[,"}) {
    const std::string reason = Reason(text);
    EXPECT_TRUE(reason.starts_with("f:2: ") || reason.starts_with("f:3: ")) << reason;
  }
  EXPECT_NE(Reason("\xff"), "no error");
  EXPECT_NE(Reason("x = " + std::string(30'000, '[')), "no error");
  EXPECT_NE(Reason(std::string("a\0b = 1", 7)), "no error");
}

TEST(ParseConfigTest, BeyondAsciiInStringsAndCommentsOnly) {
  const std::string reason = "only strings of one line and comments go beyond ASCII";
  for (const char* text :
       {"\n\u00e9", "\n[pin] \u00e9", "\n\"#\" \u00e9", "\nx = \"\\\"\" \u00e9",
        // What toml++ takes for bare text goes on behind a quote in a word, or a second value's.
        "\nx = 2\"\u00e9\"", "\nx = [2\"\u00e9\"]", "\nx = y = \"\u00e9\"", "\nx = [\"#\" \u00e9]",
        "\nx = \"a\" \"\u00e9\"", "\nx = 2\"#\u00e9"}) {
    EXPECT_EQ(Reason(text), "f:2: " + reason) << text;
  }
  EXPECT_EQ(Parse("# \u00e9\ntokens.directory = \"/t\u00e9 # \u00e8\" # \u00e9").tokens_directory,
            "/t\u00e9 # \u00e8");
}

TEST(ParseConfigTest, TheShippedFileIsTheDefaultsInWordsToo) {
  const std::string shipped = ReadFile(SECRETMEM_SOURCE_DIR "/conf/config.toml");
  ASSERT_NE(shipped, "");
  Config expected;
  expected.source = "f";
  EXPECT_EQ(Parse(shipped), expected);
  std::string active;
  size_t keys = 0;
  for (size_t at = 0; at < shipped.size();) {
    const size_t end = shipped.find('\n', at);
    std::string line = shipped.substr(at, end - at);
    at = end + 1;
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') {
      line = line.substr(1);
      ++keys;
    }
    active += line + "\n";
  }
  EXPECT_EQ(keys, 15u);
  expected.tokens_directory = "~/.local/share/secretmem-pkcs11/tokens";
  EXPECT_EQ(Parse(active), expected);
}

TEST(PinDelayTest, IsLeftWhateverTheClocksSay) {
  PinConfig pin;
  pin.delay_ms = 100;
  PinRecord record;
  const auto left = [&](int64_t last, int64_t now) {
    record.last_failure_unix_ms = last;
    return PinWaitMs(pin, record, now);
  };
  record.failures = 0;
  EXPECT_EQ(left(1000, 1000), 0);
  record.failures = 2;
  EXPECT_EQ(left(1000, 1000), 200);
  EXPECT_EQ(left(1000, 1199), 1);
  EXPECT_EQ(left(1000, 1200), 0);
  EXPECT_EQ(left(1000, 1'000'000'000'000), 0);
  EXPECT_EQ(left(1'000'000'000'000, 0), 200);
  EXPECT_EQ(left(INT64_MAX, 1000), 200);
  EXPECT_EQ(left(INT64_MAX, INT64_MIN), 200);
  EXPECT_EQ(left(INT64_MIN, 1000), 200);
  EXPECT_EQ(left(INT64_MIN, INT64_MIN), 200);
}

TEST(PinDelayTest, DoublesUpToItsMost) {
  PinConfig pin;
  EXPECT_EQ(PinDelayMs(pin, 0), 0u);
  EXPECT_EQ(PinDelayMs(pin, 1), 100u);
  EXPECT_EQ(PinDelayMs(pin, 2), 200u);
  EXPECT_EQ(PinDelayMs(pin, 9), 25'600u);
  EXPECT_EQ(PinDelayMs(pin, 10), 30'000u);
  EXPECT_EQ(PinDelayMs(pin, UINT32_MAX), 30'000u);
  pin.delay_ms = 60'000;
  EXPECT_EQ(PinDelayMs(pin, 1), 60'000u);
  EXPECT_EQ(PinDelayMs(pin, UINT32_MAX), 60'000u);
  pin.delay_ms = 1;
  EXPECT_EQ(PinDelayMs(pin, UINT32_MAX), 30'000u);
  pin.delay_ms = 0;
  EXPECT_EQ(PinDelayMs(pin, 5), 0u);
}

class LoadConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"SECRETMEM_PKCS11_CONF", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SECRETMEM_PKCS11_LOG"}) {
      unsetenv(name);
    }
    setenv("HOME", (directory_ / "home").c_str(), 1);
    system_ = directory_ / "etc/secretmem-pkcs11/config.toml";
  }

  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    WriteFile(path, text);
  }

  Config Load() const {
    const auto config = LoadConfig(system_);
    EXPECT_TRUE(config) << config.error().reason;
    return config.value_or(Config{});
  }

  std::string LoadReason() const {
    const auto config = LoadConfig(system_);
    return config ? "no error" : config.error().reason;
  }

  TemporaryDirectory directory_;
  std::string system_;
};

TEST_F(LoadConfigTest, NoFileMeansDefaults) {
  Config expected;
  expected.tokens_directory = directory_ / "home/.local/share/secretmem-pkcs11/tokens";
  EXPECT_EQ(Load(), expected);
  setenv("XDG_DATA_HOME", "/data", 1);
  expected.tokens_directory = "/data/secretmem-pkcs11/tokens";
  EXPECT_EQ(Load(), expected);
}

TEST_F(LoadConfigTest, TheFirstFileFoundIsTheOnlyOne) {
  const std::string in_home = directory_ / "home/.config/secretmem-pkcs11/config.toml";
  const std::string in_xdg = directory_ / "xdg/secretmem-pkcs11/config.toml";
  const std::string named = directory_ / "named.toml";
  Write(system_, "pin.min_length = 5");
  EXPECT_EQ(Load().pin.min_length, 5u);
  EXPECT_EQ(Load().source, system_);
  Write(in_home, "pin.max_failures = 6");
  EXPECT_EQ(Load().source, in_home);
  EXPECT_EQ(Load().pin, (PinConfig{.max_failures = 6}));
  setenv("XDG_CONFIG_HOME", (directory_ / "xdg").c_str(), 1);
  EXPECT_EQ(Load().source, system_);
  Write(in_xdg, "");
  EXPECT_EQ(Load().source, in_xdg);
  Write(named, "tokens.directory = \"~/t\"");
  setenv("SECRETMEM_PKCS11_CONF", named.c_str(), 1);
  EXPECT_EQ(Load().source, named);
  EXPECT_EQ(Load().tokens_directory, directory_ / "home/t");
}

TEST_F(LoadConfigTest, RelativeAndEmptyVariablesCountForNothing) {
  setenv("XDG_CONFIG_HOME", "relative", 1);
  setenv("XDG_DATA_HOME", "", 1);
  setenv("SECRETMEM_PKCS11_CONF", "", 1);
  EXPECT_EQ(Load().tokens_directory, directory_ / "home/.local/share/secretmem-pkcs11/tokens");
}

TEST_F(LoadConfigTest, WithoutHomeThePasswordEntryCounts) {
  const passwd* entry = getpwuid(geteuid());
  if (entry == nullptr) GTEST_SKIP() << "this user has no password entry";
  const std::string expected = std::string(entry->pw_dir) + "/.local/share/secretmem-pkcs11/tokens";
  const std::string named = directory_ / "named.toml";
  Write(named, "");
  setenv("SECRETMEM_PKCS11_CONF", named.c_str(), 1);
  for (const char* home : {"", "relative"}) {
    setenv("HOME", home, 1);
    EXPECT_EQ(Load().tokens_directory, expected);
  }
  unsetenv("HOME");
  EXPECT_EQ(Load().tokens_directory, expected);
}

TEST_F(LoadConfigTest, ANamedFileMustBeThere) {
  const std::string named = directory_ / "missing.toml";
  setenv("SECRETMEM_PKCS11_CONF", named.c_str(), 1);
  EXPECT_EQ(LoadReason(), named + ": no such file (named by SECRETMEM_PKCS11_CONF)");
}

TEST_F(LoadConfigTest, ABrokenFileIsAnErrorAndNotSkipped) {
  const std::string in_home = directory_ / "home/.config/secretmem-pkcs11/config.toml";
  Write(system_, "");
  Write(in_home, "\npin.colour = 1");
  EXPECT_EQ(LoadReason(), in_home + ":2: unknown key \"pin.colour\"");
}

TEST_F(LoadConfigTest, OnlySmallRegularFilesAreRead) {
  const std::string named = directory_ / "named.toml";
  setenv("SECRETMEM_PKCS11_CONF", named.c_str(), 1);
  Write(named, std::string(kMaxConfigBytes, '\n'));
  Load();
  Write(named, std::string(kMaxConfigBytes + 1, '\n'));
  EXPECT_EQ(LoadReason(), named + ": larger than 65536 bytes");
  std::filesystem::remove(named);
  std::filesystem::create_directory(named);
  EXPECT_EQ(LoadReason(), named + ": not a regular file");
  std::filesystem::remove(named);
  ASSERT_EQ(mkfifo(named.c_str(), 0600), 0);
  EXPECT_EQ(LoadReason(), named + ": not a regular file");
  std::filesystem::remove(named);
  ASSERT_EQ(symlink(named.c_str(), named.c_str()), 0);
  EXPECT_EQ(LoadReason(), named + ": Too many levels of symbolic links");
  setenv("SECRETMEM_PKCS11_CONF", "/dev/zero", 1);
  EXPECT_EQ(LoadReason(), "/dev/zero: not a regular file");
}

TEST_F(LoadConfigTest, AFileThatCannotBeReadIsAnErrorAHiddenDirectoryIsNot) {
  const std::string in_home = directory_ / "home/.config/secretmem-pkcs11/config.toml";
  Write(in_home, "");
  Write(system_, "");
  chmod(directory_.path().c_str(), 0755);
  ASSERT_EQ(chmod(in_home.c_str(), 0), 0);
  EXPECT_EQ(AsOrdinaryUser([&] { return LoadReason() == in_home + ": Permission denied" ? 0 : 1; }),
            0);
  ASSERT_EQ(chmod((directory_ / "home/.config").c_str(), 0), 0);
  EXPECT_EQ(AsOrdinaryUser([&] { return Load().source == system_ ? 0 : 1; }), 0);
  setenv("SECRETMEM_PKCS11_CONF", in_home.c_str(), 1);
  EXPECT_EQ(AsOrdinaryUser([&] { return LoadReason() == "no error" ? 1 : 0; }), 0);
  chmod((directory_ / "home/.config").c_str(), 0700);
}

}  // namespace
}  // namespace secretmem

// ParseConfig: the one place that knows TOML.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mechanisms/mechanism_names.h"
#include "pkcs11/config.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// Its parser asserts what it goes on to check: "[," would end a debug build's process, and is an
// error without.
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

namespace secretmem {

namespace {

struct Word {
  std::string_view name;
  int value;
};

// Reader takes values out of a table one by one, keeps the first error, and knows what nobody took.
class Reader {
 public:
  Reader(const toml::table& table, std::string prefix, const std::string& source)
      : table_(table), prefix_(std::move(prefix)), source_(source) {}

  const toml::table* Table(std::string_view key) {
    const toml::node* node = Take(key);
    if (node == nullptr) return nullptr;
    if (!node->is_table()) Fail(*node, key, "must be a table");
    return node->as_table();
  }

  void String(std::string_view key, std::string& value) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (!node->is_string()) return Fail(*node, key, "must be a string");
    value = node->as_string()->get();
  }

  void Integer(std::string_view key, uint32_t least, uint32_t most, uint32_t& value) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    const std::string range =
        "must be an integer from " + std::to_string(least) + " to " + std::to_string(most);
    if (!node->is_integer()) return Fail(*node, key, range);
    const int64_t given = node->as_integer()->get();
    if (given < int64_t{least} || given > int64_t{most}) return Fail(*node, key, range);
    value = static_cast<uint32_t>(given);
  }

  void Boolean(std::string_view key, bool& value) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (!node->is_boolean()) return Fail(*node, key, "must be true or false");
    value = node->as_boolean()->get();
  }

  // Mechanisms reads an array of names and numbers.
  void Mechanisms(std::string_view key, std::vector<CK_MECHANISM_TYPE>& types) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (!node->is_array()) return Fail(*node, key, "must be an array of mechanisms");
    for (const toml::node& entry : *node->as_array()) {
      std::optional<CK_MECHANISM_TYPE> type;
      if (const auto* name = entry.as_string()) {
        type = MechanismNamed(name->get());
        if (!type) return Fail(entry, key, "unknown mechanism \"" + name->get() + "\"");
      } else if (const auto* number = entry.as_integer(); number && number->get() >= 0) {
        type = static_cast<CK_MECHANISM_TYPE>(number->get());
      } else {
        return Fail(entry, key, "must be mechanisms by name, as \"CKM_AES_ECB\", or by number");
      }
      types.push_back(*type);
    }
    std::ranges::sort(types);
    const auto repeated = std::ranges::unique(types);
    types.erase(repeated.begin(), repeated.end());
  }

  template <typename Enum, size_t kCount>
  void Choice(std::string_view key, const std::array<Word, kCount>& words, Enum& value) {
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    std::string choices;
    for (const Word& word : words) {
      if (node->is_string() && node->as_string()->get() == word.name) {
        value = static_cast<Enum>(word.value);
        return;
      }
      choices += (choices.empty() ? "must be \"" : ", \"") + std::string(word.name) + "\"";
    }
    Fail(*node, key, choices);
  }

  void Fail(const toml::node& node, std::string_view key, const std::string& what) {
    FailAt(node.source().begin.line, prefix_ + std::string(key) + ": " + what);
  }

  const toml::node* Find(std::string_view key) const { return table_.get(key); }

  // Error returns what is wrong: the first bad value, else the first key nobody took.
  std::optional<ConfigError> Error() {
    for (const auto& [key, node] : table_) {
      if (std::find(taken_.begin(), taken_.end(), key.str()) == taken_.end()) {
        FailAt(key.source().begin.line, "unknown key \"" + prefix_ + std::string(key.str()) + "\"");
      }
    }
    return error_;
  }

 private:
  const toml::node* Take(std::string_view key) {
    taken_.push_back(key);
    return table_.get(key);
  }

  void FailAt(uint32_t line, const std::string& what) {
    if (!error_) error_ = ConfigError{source_ + ":" + std::to_string(line) + ": " + what};
  }

  const toml::table& table_;
  const std::string prefix_;
  const std::string& source_;
  std::vector<std::string_view> taken_;
  std::optional<ConfigError> error_;
};

constexpr std::array<Word, 5> kLevels{{{"off", static_cast<int>(LogLevel::kOff)},
                                       {"error", static_cast<int>(LogLevel::kError)},
                                       {"warn", static_cast<int>(LogLevel::kWarn)},
                                       {"info", static_cast<int>(LogLevel::kInfo)},
                                       {"debug", static_cast<int>(LogLevel::kDebug)}}};
constexpr std::array<Word, 2> kProtections{
    {{"require", static_cast<int>(MemoryProtection::kRequire)},
     {"allow-mlock", static_cast<int>(MemoryProtection::kAllowMlock)}}};
constexpr std::array<Word, 2> kIsolations{{{"slot", static_cast<int>(MemoryIsolation::kSlot)},
                                           {"page", static_cast<int>(MemoryIsolation::kPage)}}};
constexpr std::array<Word, 4> kAtRest{{{"auto", static_cast<int>(MemoryAtRest::kAuto)},
                                       {"none", static_cast<int>(MemoryAtRest::kNone)},
                                       {"pkey", static_cast<int>(MemoryAtRest::kPkey)},
                                       {"mprotect", static_cast<int>(MemoryAtRest::kMprotect)}}};

void ReadTokens(Reader& reader, Config& config) {
  std::string& directory = config.tokens_directory;
  reader.String("directory", directory);
  const toml::node* node = reader.Find("directory");
  if (node == nullptr) return;
  if (!directory.starts_with('/') && !directory.starts_with("~/")) {
    reader.Fail(*node, "directory", "must be an absolute path, or start with ~/");
  } else if (directory.find('\0') != std::string::npos) {
    reader.Fail(*node, "directory", "must not contain a zero byte");
  }
}

void ReadLog(Reader& reader, Config& config) { reader.Choice("level", kLevels, config.log_level); }

void ReadPin(Reader& reader, Config& config) {
  PinConfig& pin = config.pin;
  reader.Integer("iterations", 1'000, kMaxPinIterations, pin.iterations);
  reader.Integer("min_length", 1, 255, pin.min_length);
  reader.Integer("max_length", 1, 255, pin.max_length);
  reader.Integer("max_failures", 0, 1'000, pin.max_failures);
  reader.Integer("delay_ms", 0, 60'000, pin.delay_ms);
  if (pin.min_length <= pin.max_length) return;
  const toml::node* node = reader.Find("max_length");
  const bool named = node != nullptr;
  if (!named) node = reader.Find("min_length");
  reader.Fail(*node, named ? "max_length" : "min_length",
              "min_length (" + std::to_string(pin.min_length) + ") is above max_length (" +
                  std::to_string(pin.max_length) + ")");
}

void ReadMemory(Reader& reader, Config& config) {
  MemoryConfig& memory = config.memory;
  reader.Choice("protection", kProtections, memory.protection);
  reader.Choice("isolation", kIsolations, memory.isolation);
  reader.Choice("at_rest", kAtRest, memory.at_rest);
  reader.Boolean("dumpable", memory.dumpable);
  reader.Boolean("mseal", memory.mseal);
}

void ReadMechanisms(Reader& reader, Config& config) {
  reader.Boolean("weak", config.mechanisms.weak);
  reader.Mechanisms("disable", config.mechanisms.disabled);
}

void ReadKeys(Reader& reader, Config& config) {
  reader.Boolean("enforce_dates", config.keys.enforce_dates);
}

struct Section {
  const char* name;
  void (*read)(Reader&, Config&);
};
constexpr Section kSections[] = {
    {"tokens", ReadTokens},         {"log", ReadLog},  {"pin", ReadPin}, {"memory", ReadMemory},
    {"mechanisms", ReadMechanisms}, {"keys", ReadKeys}};

// LineOfBareText returns the line of the first character beyond ASCII that is neither in a comment
// nor in a string of one line that is a setting's whole value, or 0. Elsewhere, even behind a quote
// in the middle of a word, toml++ up to 3.3 has undefined behaviour instead of an error.
int LineOfBareText(std::string_view text) {
  const bool has_long_strings = text.find("\"\"\"") != text.npos || text.find("'''") != text.npos;
  struct Line {
    char quote = 0;  // of the string that is open
    bool comment = false;
    bool had_equals = false;
    bool value_next = false;    // nothing but blanks since the first '='
    bool other_quotes = false;  // what else is quoted on this line is toml++'s to understand
  } line;
  int number = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      ++number;
      line = {};
    } else if ((c & 0x80) != 0) {
      const bool quoted = line.quote != 0 || line.comment;
      if (has_long_strings || line.other_quotes || !quoted) return number;
    } else if (line.comment) {
      continue;
    } else if (line.quote != 0) {
      if (c == '\\' && line.quote == '"' && i + 1 < text.size() && text[i + 1] != '\n') ++i;
      if (c == line.quote) line.quote = 0;
    } else if (c == '"' || c == '\'') {
      if (line.value_next) {
        line.quote = c;
      } else {
        line.other_quotes = true;
      }
      line.value_next = false;
    } else if (c == '#') {
      line.comment = true;
    } else if (c == '=' && !line.had_equals) {
      line.had_equals = line.value_next = true;
    } else if (c != ' ' && c != '\t') {
      line.value_next = false;
    }
  }
  return 0;
}

}  // namespace

std::expected<Config, ConfigError> ParseConfig(std::string_view text, const std::string& source) {
  if (const int line = LineOfBareText(text); line != 0) {
    return std::unexpected(ConfigError{source + ":" + std::to_string(line) +
                                       ": only strings of one line and comments go beyond ASCII"});
  }
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return std::unexpected(ConfigError{source + ":" +
                                       std::to_string(parsed.error().source().begin.line) + ": " +
                                       std::string(parsed.error().description())});
  }
  Config config;
  config.source = source;
  Reader top(parsed.table(), "", source);
  for (const Section& section : kSections) {
    const toml::table* table = top.Table(section.name);
    if (table == nullptr) continue;
    Reader reader(*table, std::string(section.name) + ".", source);
    section.read(reader, config);
    if (std::optional<ConfigError> error = reader.Error()) return std::unexpected(*error);
  }
  if (std::optional<ConfigError> error = top.Error()) return std::unexpected(*error);
  return config;
}

}  // namespace secretmem

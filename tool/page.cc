#include "tool/page.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace secretmem::tool {

namespace {

constexpr size_t kNameColumn = 4;
constexpr size_t kValueColumn = 24;
constexpr size_t kWidth = 96;

bool WantsColour() {
  const char* no_colour = std::getenv("NO_COLOR");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  const char* terminal = std::getenv("TERM");
  if (terminal != nullptr && std::string_view(terminal) == "dumb") return false;
  return isatty(STDOUT_FILENO) != 0;
}

// Columns counts characters of UTF-8, not bytes.
size_t Columns(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

}  // namespace

Page::Page() : colour_(WantsColour()) {}

void Page::Heading(const std::string& text) {
  std::printf(colour_ ? "%s\033[1m%s\033[0m\n" : "%s%s\n", first_ ? "" : "\n", text.c_str());
  first_ = false;
}

void Page::Wrapped(const std::string& text, size_t indent, size_t column) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t space = rest.find(' ');
    const std::string_view word = rest.substr(0, space);
    rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
    if (column > indent && column + 1 + Columns(word) > kWidth) {
      std::printf("\n%*s", static_cast<int>(indent), "");
      column = indent;
    } else if (column > indent) {
      std::putchar(' ');
      ++column;
    }
    std::printf("%.*s", static_cast<int>(word.size()), word.data());
    column += Columns(word);
  }
  std::putchar('\n');
}

void Page::Line(Mark mark, const std::string& name, const std::string& value) {
  constexpr const char* kSigns[] = {" ", "+", "-", "!"};
  constexpr const char* kColours[] = {"", "\033[32m", "\033[33m", "\033[1;31m"};
  const auto index = static_cast<size_t>(mark);
  const char* sign = kSigns[index];
  if (colour_ && mark != Mark::kNone) {
    std::printf("  %s%s\033[0m ", kColours[index], sign);
  } else {
    std::printf("  %s ", sign);
  }
  size_t column = kNameColumn + Columns(name);
  std::printf("%s", name.c_str());
  for (; column < kValueColumn; ++column) std::putchar(' ');
  if (column > kValueColumn) {
    std::printf("\n%*s", static_cast<int>(kValueColumn), "");
  }
  Wrapped(value, kValueColumn, kValueColumn);
  first_ = false;
}

void Page::Remedy(const std::string& text) {
  std::printf("%*s", static_cast<int>(kValueColumn), "");
  std::printf(colour_ ? "\033[36m->\033[0m " : "-> ");
  Wrapped(text, kValueColumn + 3, kValueColumn + 3);
}

void Page::Text(const std::string& text) {
  Wrapped(text, 0, 0);
  first_ = false;
}

std::string Printable(const std::string& text) {
  std::string result = text;
  for (char& c : result) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = '?';
  }
  return result;
}

std::string Plural(uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace secretmem::tool

// What commands print for people: headings, marked lines, remedies.
#pragma once

#include <cstdint>
#include <string>

namespace secretmem::tool {

enum class Mark : uint8_t { kNone, kGood, kNote, kBad };

// Page writes to standard output, in colour on a terminal (not with NO_COLOR set or TERM=dumb).
class Page {
 public:
  Page();

  void Heading(const std::string& text);

  // Line is "name  value", marked.
  void Line(Mark mark, const std::string& name, const std::string& value);

  // Remedy is an indented sentence below a line: what to do next.
  void Remedy(const std::string& text);

  void Text(const std::string& text);

 private:
  void Wrapped(const std::string& text, size_t indent, size_t column);

  bool colour_;
  bool first_ = true;
};

// Printable returns text with what is no printable ASCII or UTF-8 byte replaced by '?': labels come
// from files that anybody may have written.
std::string Printable(const std::string& text);

// Plural returns "1 key", "2 keys".
std::string Plural(uint64_t count, const std::string& noun);

}  // namespace secretmem::tool

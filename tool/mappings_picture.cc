#include "tool/mappings_picture.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "tool/svg.h"

namespace secretmem {
namespace {

constexpr int kColumnWidth = 440;
constexpr int kGap = 40;
constexpr int kTop = 134;

std::string SizeText(uint64_t size) {
  char text[32];
  if (size >= 1 << 20) {
    std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(size) / (1 << 20));
  } else {
    std::snprintf(text, sizeof(text), "%lu KiB", size >> 10);
  }
  return text;
}

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

int HeightOf(const MappingBox& box) { return 22 + (box.found.empty() ? 0 : 16); }

void Draw(std::ofstream& out, const MappingColumn& column, int x) {
  out << "<text class='title' x='" << x << "' y='96'>" << Escape(column.title()) << "</text>\n";
  out << "<text class='" << (column.leaking() > 0 ? "bad" : "good") << "' x='" << x << "' y='118'>"
      << (column.leaking() > 0
              ? std::to_string(column.leaking()) + " mappings held key bytes that anyone could read"
              : std::string("no key byte readable"))
      << "</text>\n";
  int y = kTop;
  for (const MappingBox& box : column.boxes()) {
    const int height = HeightOf(box);
    const char* kind = !box.found.empty() ? "leak" : box.secret ? "secret" : "plain";
    out << "<rect class='" << kind << "' x='" << x << "' y='" << y << "' width='" << kColumnWidth
        << "' height='" << height << "' rx='4'/>\n";
    // A bar in proportion to the logarithm of the mapping's size.
    const double share = std::min(1.0, std::log2(static_cast<double>(box.size) / 2048.0) / 14.0);
    out << "<rect class='" << kind << "-bar' x='" << x << "' y='" << y + height - 3 << "' width='"
        << static_cast<int>(share * kColumnWidth) << "' height='3' rx='1.5'/>\n";
    out << "<text x='" << x + 10 << "' y='" << y + 15 << "'>" << Escape(box.name)
        << (box.secret && box.unreadable ? " (nobody outside can read this)" : "") << "</text>\n";
    out << "<text class='size' x='" << x + kColumnWidth - 10 << "' y='" << y + 15 << "'>"
        << SizeText(box.size) << "</text>\n";
    if (!box.found.empty()) {
      std::string found;
      for (const auto& what : box.found) found += (found.empty() ? "" : ", ") + what;
      if (found.size() > 62) found = found.substr(0, 59) + "...";
      out << "<text class='forms' x='" << x + 10 << "' y='" << y + 31 << "'>" << Escape(found)
          << "</text>\n";
    }
    y += height + 4;
  }
}

}  // namespace

void MappingColumn::Add(const MappingBox& box) {
  MappingBox* last = boxes_.empty() ? nullptr : &boxes_.back();
  if (last != nullptr && last->name == box.name && last->found.empty() && box.found.empty() &&
      last->secret == box.secret) {
    last->size += box.size;
  } else {
    boxes_.push_back(box);
  }
}

size_t MappingColumn::leaking() const {
  return static_cast<size_t>(
      std::ranges::count_if(boxes_, [](const MappingBox& box) { return !box.found.empty(); }));
}

bool DrawMappings(const std::string& path, const std::string& note,
                  const std::vector<MappingColumn>& columns) {
  int tallest = 0;
  for (const MappingColumn& column : columns) {
    int height = 0;
    for (const MappingBox& box : column.boxes()) height += HeightOf(box) + 4;
    tallest = std::max(tallest, height);
  }
  const int width = std::max(2, static_cast<int>(columns.size())) * (kColumnWidth + kGap) + kGap;
  const int height = kTop + tallest + 56;
  std::ofstream out(path);
  BeginSvg(out, width, height, "Mappings of processes, and which of them hold key bytes",
           ".title{font-size:16px;font-weight:600}"
           ".note,.size,.forms{font-size:12px;fill:#57606a}.size{text-anchor:end}"
           ".forms{fill:#82071e}.bad{fill:#cf222e;font-weight:600}"
           ".good{fill:#1a7f37;font-weight:600}"
           ".plain{fill:#f6f8fa;stroke:#d0d7de}.plain-bar{fill:#afb8c1}"
           ".leak{fill:#ffebe9;stroke:#cf222e}.leak-bar{fill:#cf222e}"
           ".secret{fill:#dafbe1;stroke:#1a7f37}.secret-bar{fill:#1a7f37}",
           "Where key bytes can be read", kGap);
  out << "<text class='note' x='" << kGap << "' y='62'>" << Escape(note) << "</text>\n";
  int x = kGap;
  for (const MappingColumn& column : columns) {
    Draw(out, column, x);
    x += kColumnWidth + kGap;
  }
  const int legend = height - 24;
  const std::pair<const char*, const char*> keys[] = {{"leak", "key bytes found"},
                                                      {"plain", "searched, nothing found"},
                                                      {"secret", "memfd_secret: reading fails"}};
  x = kGap;
  for (const auto& [kind, text] : keys) {
    out << "<rect class='" << kind << "' x='" << x << "' y='" << legend - 11
        << "' width='14' height='14' rx='3'/><text class='note' x='" << x + 20 << "' y='" << legend
        << "'>" << text << "</text>\n";
    x += 210;
  }
  out << "<text class='note' x='" << x << "' y='" << legend
      << "'>bars: size, logarithmic</text>\n</svg>\n";
  out.close();
  return static_cast<bool>(out);
}

}  // namespace secretmem

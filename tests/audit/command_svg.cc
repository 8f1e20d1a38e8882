// A picture of the mappings of processes that use the same keys with different modules.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>

#include "tests/audit/commands.h"
#include "tests/audit/live.h"
#include "tests/audit/run.h"

namespace secretmem::audit {
namespace {

struct Box {
  std::string name;
  uint64_t start = 0;
  uint64_t size = 0;
  bool secret = false;
  bool unreadable = false;
  uint64_t windows = 0;
  std::vector<std::string> forms;
};

struct Column {
  std::string title;
  std::vector<Box> boxes;
  size_t leaking = 0;
  uint64_t windows = 0;
};

std::string BaseName(const std::string& path) {
  return path.starts_with("/") ? path.substr(path.rfind('/') + 1) : path;
}

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
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

// Columns show the process while it holds its keys, after it has used them.
Column MakeColumn(const Token& token) {
  Live live(token);
  const auto decoys = live.remote().PlantDecoys();
  for (int i = 0; i < 20; ++i) live.DeriveAndDestroy();
  Recorder recorder(live.remote().pid());
  // One derivation is stepped: what is there for an instant counts as well.
  if (!recorder.Look("before", Recorder::Scope::kEverything)) throw CannotLook("cannot look");
  StepOptions options;
  options.full_steps = 700'000;
  StepThrough(live.remote(), live.Derive(), recorder, options, 0);
  if (!recorder.Look("after", Recorder::Scope::kEverything)) throw CannotLook("cannot look");
  const std::string missing = CheckDecoys(recorder, decoys);
  if (!missing.empty()) throw CannotLook("did not see the planted " + missing);
  const auto findings = recorder.Search(MakeWindows(live.secrets()));

  Column column;
  column.title = BaseName(token.module());
  for (const Mapping& mapping : recorder.mappings()) {
    if (mapping.start == kArenaAddress || mapping.name.starts_with("[v")) continue;
    if (mapping.permissions.starts_with("---") && !mapping.secret()) continue;  // guard pages
    Box box;
    box.name = mapping.secret() ? "memfd_secret" : BaseName(mapping.name);
    box.start = mapping.start;
    box.size = mapping.size();
    box.secret = mapping.secret();
    box.unreadable = recorder.unreadable().contains(mapping.start);
    for (const Finding& finding : findings) {
      if (!mapping.contains(finding.address)) continue;
      box.windows += finding.windows;
      const std::string form = finding.form.substr(0, finding.form.find(" ("));
      if (std::find(box.forms.begin(), box.forms.end(), form) == box.forms.end()) {
        box.forms.push_back(form);
      }
    }
    column.windows += box.windows;
    // The parts of one file are one box, unless one of them holds something.
    Box* last = column.boxes.empty() ? nullptr : &column.boxes.back();
    if (last != nullptr && last->name == box.name && last->windows == 0 && box.windows == 0 &&
        last->secret == box.secret) {
      last->size += box.size;
    } else {
      column.boxes.push_back(box);
    }
  }
  for (const Box& box : column.boxes) column.leaking += box.windows > 0 ? 1 : 0;
  return column;
}

void Draw(std::ofstream& out, const Column& column, int x, int width) {
  out << "<text class='title' x='" << x << "' y='96'>" << Escape(column.title) << "</text>\n";
  out << "<text class='" << (column.leaking > 0 ? "bad" : "good") << "' x='" << x << "' y='118'>"
      << (column.leaking > 0
              ? std::to_string(column.leaking) + " mappings held key bytes that anyone could read"
              : std::string("no key byte readable"))
      << "</text>\n";
  int y = 134;
  for (const Box& box : column.boxes) {
    const int height = 22 + (box.forms.empty() ? 0 : 16);
    const char* kind = box.windows > 0 ? "leak" : box.secret ? "secret" : "plain";
    out << "<rect class='" << kind << "' x='" << x << "' y='" << y << "' width='" << width
        << "' height='" << height << "' rx='4'/>\n";
    // A bar in proportion to the logarithm of the mapping's size.
    const double share = std::min(1.0, std::log2(static_cast<double>(box.size) / 2048.0) / 14.0);
    out << "<rect class='" << kind << "-bar' x='" << x << "' y='" << y + height - 3 << "' width='"
        << static_cast<int>(share * width) << "' height='3' rx='1.5'/>\n";
    out << "<text x='" << x + 10 << "' y='" << y + 15 << "'>" << Escape(box.name)
        << (box.secret && box.unreadable ? " (nobody outside can read this)" : "") << "</text>\n";
    out << "<text class='size' x='" << x + width - 10 << "' y='" << y + 15 << "'>"
        << SizeText(box.size) << "</text>\n";
    if (!box.forms.empty()) {
      std::string forms;
      for (const auto& form : box.forms) forms += (forms.empty() ? "" : ", ") + form;
      if (forms.size() > 62) forms = forms.substr(0, 59) + "...";
      out << "<text class='forms' x='" << x + 10 << "' y='" << y + 31 << "'>" << Escape(forms)
          << "</text>\n";
    }
    y += height + 4;
  }
}

}  // namespace

int DrawMappings(const Options& options) {
  std::vector<Column> columns;
  for (const std::string& module : options.modules) {
    const Token token(options.target, module, options.settings);
    Client::LearnDialect(token);
    columns.push_back(MakeColumn(token));
    std::printf("%s: %zu mappings with key bytes, %lu windows\n", columns.back().title.c_str(),
                columns.back().leaking, columns.back().windows);
  }
  constexpr int kWidth = 440;
  constexpr int kGap = 40;
  int tallest = 0;
  for (const Column& column : columns) {
    int height = 0;
    for (const Box& box : column.boxes) height += 26 + (box.forms.empty() ? 0 : 16);
    tallest = std::max(tallest, height);
  }
  const int width = static_cast<int>(columns.size()) * (kWidth + kGap) + kGap;
  const int height = 134 + tallest + 56;
  std::ofstream out(options.output);
  out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << width << "' height='" << height
      << "' viewBox='0 0 " << width << ' ' << height << "' role='img'>\n"
      << "<title>Mappings of processes that hold the same kinds of keys</title>\n<style>\n"
         "text{font:13px system-ui,sans-serif;fill:#24292f}"
         ".head{font-size:20px;font-weight:600}.title{font-size:16px;font-weight:600}"
         ".note,.size,.forms{font-size:12px;fill:#57606a}.size{text-anchor:end}"
         ".forms{fill:#82071e}.bad{fill:#cf222e;font-weight:600}"
         ".good{fill:#1a7f37;font-weight:600}"
         ".plain{fill:#f6f8fa;stroke:#d0d7de}.plain-bar{fill:#afb8c1}"
         ".leak{fill:#ffebe9;stroke:#cf222e}.leak-bar{fill:#cf222e}"
         ".secret{fill:#dafbe1;stroke:#1a7f37}.secret-bar{fill:#1a7f37}\n</style>\n"
      << "<rect width='100%' height='100%' fill='#ffffff'/>\n"
      << "<text class='head' x='" << kGap << "' y='40'>Where key bytes can be read</text>\n"
      << "<text class='note' x='" << kGap
      << "' y='62'>Every mapping of a process that has imported keys, logged in, derived and "
         "signed, searched for each 8-byte window of its secrets</text>\n";
  int x = kGap;
  for (const Column& column : columns) {
    Draw(out, column, x, kWidth);
    x += kWidth + kGap;
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
  if (!out) throw CannotLook("cannot write " + options.output);
  return 0;
}

}  // namespace secretmem::audit

// A picture of how rates grow with threads.

#include <algorithm>
#include <array>
#include <fstream>

#include "tests/bench/report.h"
#include "tool/svg.h"

namespace secretmem::bench {
namespace {

constexpr int kWidth = 400;
constexpr int kHeight = 220;
constexpr int kMargin = 56;
constexpr int kColumns = 2;

// The colours of BoringSSL, the first module, and the others.
constexpr std::array<const char*, 5> kColours = {"#57606a", "#1a7f37", "#cf222e", "#0969da",
                                                 "#9a6700"};

struct Plot {
  std::string title;
  std::vector<Json> rows;
};

std::vector<Plot> PlotsOf(const Json& results) {
  std::vector<Plot> plots;
  for (const Json& row : results.at("threads")) {
    const std::string title =
        row.at("name").get<std::string>() + ", keys " + row.at("keys").get<std::string>();
    const auto known = std::ranges::find(plots, title, &Plot::title);
    if (known == plots.end()) {
      plots.push_back({title, {row}});
    } else {
      known->rows.push_back(row);
    }
  }
  return plots;
}

size_t ColourOf(const Json& results, const std::string& subject) {
  if (subject == "BoringSSL") return 0;
  const auto& modules = results.at("modules");
  const auto at = std::find(modules.begin(), modules.end(), subject) - modules.begin();
  return std::min<size_t>(1 + static_cast<size_t>(at), kColours.size() - 1);
}

void Draw(std::ofstream& out, const Json& results, const Plot& plot, int left, int top) {
  const Json& counts = results.at("thread_counts");
  double most = 0;
  for (const Json& row : plot.rows) {
    for (const Json& rate : row.at("rates")) {
      if (rate.is_number()) most = std::max(most, rate.get<double>());
    }
  }
  if (most == 0) return;
  const auto x = [&](size_t i) {
    return left +
           static_cast<int>(i) * kWidth / std::max<int>(1, static_cast<int>(counts.size()) - 1);
  };
  const auto y = [&](double rate) {
    return top + kHeight - static_cast<int>(rate / most * kHeight);
  };
  out << "<text class='title' x='" << left << "' y='" << top - 14 << "'>" << plot.title
      << "</text>\n<path class='axis' d='M" << left << ' ' << top << 'V' << top + kHeight << 'H'
      << left + kWidth << "'/>\n<text class='end' x='" << left - 6 << "' y='" << top + 10 << "'>"
      << static_cast<int>(most / 1000) << " k/s</text>\n";
  for (size_t i = 0; i < counts.size(); ++i) {
    out << "<text class='mid' x='" << x(i) << "' y='" << top + kHeight + 18 << "'>" << counts[i]
        << "</text>\n";
  }
  for (const Json& row : plot.rows) {
    const char* colour = kColours[ColourOf(results, row.at("of"))];
    std::string path;
    for (size_t i = 0; i < counts.size(); ++i) {
      const Json& rate = row.at("rates")[i];
      if (!rate.is_number()) continue;
      const int at = y(rate.get<double>());
      path += (path.empty() ? 'M' : 'L') + std::to_string(x(i)) + ' ' + std::to_string(at);
      out << "<circle fill='" << colour << "' r='3' cx='" << x(i) << "' cy='" << at << "'/>\n";
    }
    out << "<path class='line' stroke='" << colour << "' d='" << path << "'/>\n";
  }
}

}  // namespace

void DrawCurves(const Json& results, const std::string& path) {
  const auto plots = PlotsOf(results);
  const int rows = static_cast<int>((plots.size() + kColumns - 1) / kColumns);
  const int cell_width = kWidth + 2 * kMargin;
  const int cell_height = kHeight + 2 * kMargin;
  const int width = kColumns * cell_width;
  const int height = rows * cell_height + 96;
  std::ofstream out(path);
  constexpr char kTitle[] = "Operations in a second, by threads";
  BeginSvg(out, width, height, kTitle,
           ".title{font-weight:600}"
           ".mid{text-anchor:middle;fill:#57606a}.end{text-anchor:end;fill:#57606a}"
           ".axis{fill:none;stroke:#d0d7de}.line{fill:none;stroke-width:2}",
           kTitle, kMargin);
  std::vector<std::string> subjects = {"BoringSSL"};
  for (const Json& module : results.at("modules")) subjects.push_back(module);
  int x = kMargin;
  for (const std::string& subject : subjects) {
    out << "<rect fill='" << kColours[ColourOf(results, subject)] << "' x='" << x
        << "' y='52' width='14' height='14' rx='3'/><text x='" << x + 20 << "' y='64'>" << subject
        << "</text>\n";
    x += 200;
  }
  for (size_t i = 0; i < plots.size(); ++i) {
    const int column = static_cast<int>(i) % kColumns;
    const int row = static_cast<int>(i) / kColumns;
    Draw(out, results, plots[i], column * cell_width + kMargin + kMargin / 2,
         96 + row * cell_height + kMargin / 2);
  }
  out << "</svg>\n";
  out.close();
  if (!out) throw std::runtime_error("cannot write " + path);
}

}  // namespace secretmem::bench

#include "tool/svg.h"

namespace secretmem {

void BeginSvg(std::ostream& out, int width, int height, std::string_view title,
              std::string_view style, std::string_view heading, int left) {
  out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << width << "' height='" << height
      << "' viewBox='0 0 " << width << ' ' << height << "' role='img'>\n<title>" << title
      << "</title>\n<style>\n"
         "text{font:13px system-ui,sans-serif;fill:#24292f}"
         ".head{font-size:20px;font-weight:600}"
      << style << "\n</style>\n<rect width='100%' height='100%' fill='#ffffff'/>\n"
      << "<text class='head' x='" << left << "' y='40'>" << heading << "</text>\n";
}

}  // namespace secretmem

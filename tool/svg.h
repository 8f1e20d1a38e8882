// What pictures begin with.
#pragma once

#include <ostream>
#include <string_view>

namespace secretmem {

// BeginSvg writes the head of an SVG picture, up to a white background and |heading| at |left|.
// |title| is for who does not see it; |style| adds CSS rules to those of text and headings.
void BeginSvg(std::ostream& out, int width, int height, std::string_view title,
              std::string_view style, std::string_view heading, int left);

}  // namespace secretmem

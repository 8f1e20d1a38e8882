// The picture of which mappings of processes hold key bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace secretmem {

// MappingBox is a mapping, or several of one file, as it is drawn.
struct MappingBox {
  std::string name;
  uint64_t size = 0;               // bytes
  bool secret = false;             // memfd_secret memory
  bool unreadable = false;         // and reading it did fail
  std::vector<std::string> found;  // what of keys was found in it
};

// MappingColumn is a process.
class MappingColumn {
 public:
  explicit MappingColumn(std::string title) : title_(std::move(title)) {}

  // Add puts the box below the others, or into the last one where both are of one file and nothing
  // was found in them.
  void Add(const MappingBox& box);

  const std::string& title() const { return title_; }
  const std::vector<MappingBox>& boxes() const { return boxes_; }
  // leaking counts boxes in which something was found.
  size_t leaking() const;

 private:
  std::string title_;
  std::vector<MappingBox> boxes_;
};

// DrawMappings writes the picture of the columns, side by side, as SVG to |path|. |note| says what
// was searched for. False where the file cannot be written.
bool DrawMappings(const std::string& path, const std::string& note,
                  const std::vector<MappingColumn>& columns);

}  // namespace secretmem

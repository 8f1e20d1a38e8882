// Reading what a fuzzer gives: never past its end, where everything is zero.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem::fuzz {

using Bytes = std::vector<uint8_t>;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(data, size) {}

  bool empty() const { return left_.empty(); }

  uint8_t Byte() {
    if (left_.empty()) return 0;
    const uint8_t byte = left_.front();
    left_ = left_.subspan(1);
    return byte;
  }

  // Below returns a number less than |bound|, at most 65,536.
  size_t Below(size_t bound) { return (bound <= 256 ? Byte() : Word()) % bound; }

  // Number is small most of the time, and now and then at one of the ends.
  CK_ULONG Number() {
    const uint8_t form = Byte();
    if (form < 192) return form;
    if (form < 224) return Word();
    if (form < 240) return ~CK_ULONG{0} - Byte();
    CK_ULONG number = 0;
    for (int i = 0; i < 8; ++i) number = number << 8 | Byte();
    return number;
  }

  // Some takes a length and that many bytes, in memory of exactly that size: who reads further is
  // seen to.
  Bytes Some(size_t most = 300) {
    const size_t wanted = Below(most + 1);
    const size_t size = std::min(wanted, left_.size());
    Bytes bytes(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(size));
    left_ = left_.subspan(size);
    return bytes;
  }

  Bytes Rest() {
    Bytes bytes(left_.begin(), left_.end());
    left_ = {};
    return bytes;
  }

  template <class Container>
  const auto& Of(const Container& container) {
    return *(std::begin(container) + static_cast<std::ptrdiff_t>(Below(std::size(container))));
  }

 private:
  size_t Word() {
    const size_t high = Byte();
    return high << 8 | Byte();
  }

  std::span<const uint8_t> left_;
};

// Keep holds what templates and parameters point to for as long as one call takes.
class Keep {
 public:
  // Bytes that do not move.
  std::span<uint8_t> Bytes(fuzz::Bytes bytes) {
    bytes.shrink_to_fit();
    return bytes_.emplace_back(std::move(bytes));
  }
  std::span<CK_ATTRIBUTE> Attributes(std::vector<CK_ATTRIBUTE> attributes) {
    return attributes_.emplace_back(std::move(attributes));
  }

 private:
  std::deque<fuzz::Bytes> bytes_;
  std::deque<std::vector<CK_ATTRIBUTE>> attributes_;
};

// AnyTemplate decodes a template: known and unknown types, values of the right form and others,
// templates within.
std::span<CK_ATTRIBUTE> AnyTemplate(Input& input, Keep& keep, int depth = 0);

// Blank fills all values with zeros, for templates that are read into: where the object has a
// template, the module takes what lies there for attributes with pointers.
void Blank(std::span<CK_ATTRIBUTE> attributes);

// AnyMechanism decodes a mechanism of the list, or another, with a parameter of its shape, or other
// bytes. |handles| are what it may name.
CK_MECHANISM AnyMechanism(Input& input, Keep& keep, std::span<const CK_MECHANISM_TYPE> types,
                          std::span<const CK_OBJECT_HANDLE> handles);

}  // namespace secretmem::fuzz

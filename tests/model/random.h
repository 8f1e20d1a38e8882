// One stream of random choices from a seed: the same on every machine.
#pragma once

#include <cstdint>
#include <iterator>
#include <random>

#include "tests/blackbox/template.h"

namespace secretmem::model {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // Below returns a number less than |bound|, which is not 0.
  size_t Below(size_t bound) { return static_cast<size_t>(engine_() % bound); }
  bool OneIn(size_t n) { return Below(n) == 0; }
  bool Coin() { return OneIn(2); }

  blackbox::Bytes Bytes(size_t size) {
    blackbox::Bytes bytes(size);
    for (CK_BYTE& byte : bytes) byte = static_cast<CK_BYTE>(engine_());
    return bytes;
  }

  template <class Container>
  const auto& Of(const Container& container) {
    auto it = std::begin(container);
    std::advance(it, Below(std::size(container)));
    return *it;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace secretmem::model

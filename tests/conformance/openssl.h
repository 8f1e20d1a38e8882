// OpenSSL's libcrypto in the tests: what owns its structures, and what says that it failed.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

namespace secretmem::conformance {

// Owned is a pointer to a T that `free` gives back.
template <auto free>
struct Free {
  template <typename T>
  void operator()(T* value) const {
    free(value);
  }
};
template <typename T, auto free>
using Owned = std::unique_ptr<T, Free<free>>;

// Check throws std::runtime_error naming `what` unless `ok`: a reference that cannot be had fails a
// test, whatever the module does.
inline void Check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("the reference computation failed: ") + what);
}

}  // namespace secretmem::conformance

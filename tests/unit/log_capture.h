// What the module's log says while something runs.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "tests/unit/store_testing.h"

namespace secretmem {

// Captured runs f with standard error going to a file, and returns what was written.
template <typename F>
std::string Captured(F&& f) {
  TemporaryDirectory directory;
  const int saved = dup(STDERR_FILENO);
  const int file = open((directory / "log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
  dup2(file, STDERR_FILENO);
  f();
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(file);
  return ReadFile(directory / "log");
}

}  // namespace secretmem

// Children of a test: forked, reporting by exit code.
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace secretmem {

inline constexpr int kNobody = 65534;

// StartChild forks a child that ends with f()'s value: 0 to 125.
template <typename F>
pid_t StartChild(F&& f) {
  const pid_t child = fork();
  if (child != 0) return child;
  int code = 125;
  try {
    code = f();
  } catch (...) {
  }
  _exit(code);
}

// EndOf returns a child's exit code, or minus the signal that ended it.
inline int EndOf(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1000;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

template <typename F>
int InChild(F&& f) {
  return EndOf(StartChild(std::forward<F>(f)));
}

// AsOrdinaryUser is InChild for a user whom permissions bind.
template <typename F>
int AsOrdinaryUser(F&& f) {
  return InChild([&] {
    if (geteuid() == 0 &&
        (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
         setresuid(kNobody, kNobody, kNobody) != 0)) {
      return 124;
    }
    return f();
  });
}

}  // namespace secretmem

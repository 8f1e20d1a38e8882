#include "tool/child.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tool/exit_codes.h"

namespace secretmem::tool {

namespace {

using nlohmann::json;

volatile sig_atomic_t g_child = 0;

// SignalsGoTo sends what would end this process to a child instead.
class SignalsGoTo {
 public:
  explicit SignalsGoTo(pid_t child) {
    g_child = child;
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      old_[i] = signal(kSignals[i], [](int number) { kill(g_child, number); });
    }
  }
  ~SignalsGoTo() {
    for (size_t i = 0; i < std::size(kSignals); ++i) signal(kSignals[i], old_[i]);
  }
  SignalsGoTo(const SignalsGoTo&) = delete;
  SignalsGoTo& operator=(const SignalsGoTo&) = delete;

 private:
  static constexpr int kSignals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
  sighandler_t old_[4];
};

// ReadBoth reads two pipes to their ends.
void ReadBoth(int first, std::string& first_text, int second, std::string& second_text) {
  pollfd files[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
  std::string* texts[2] = {&first_text, &second_text};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    if (poll(files, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    for (size_t i = 0; i < 2; ++i) {
      if (files[i].fd < 0 || files[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = read(files[i].fd, buffer, sizeof(buffer));
      if (got > 0) {
        texts[i]->append(buffer, static_cast<size_t>(got));
      } else if (got == 0 || errno != EINTR) {
        files[i].fd = -1;
      }
    }
  }
}

[[noreturn]] void Answer(const std::function<json()>& work, int to) {
  const std::string text = work().dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t put = write(to, text.data() + written, text.size() - written);
    if (put <= 0) break;
    written += static_cast<size_t>(put);
  }
  _exit(0);
}

}  // namespace

ChildAnswer InChild(const std::function<json()>& work, bool keep_errors) {
  int answer[2];
  int errors[2];
  if (pipe(answer) != 0 || pipe(errors) != 0) {
    throw ToolError(kFailed, std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) throw ToolError(kFailed, std::string("cannot fork: ") + std::strerror(errno));
  if (child == 0) {
    if (keep_errors) dup2(errors[1], STDERR_FILENO);
    for (const int fd : {answer[0], errors[0], errors[1]}) close(fd);
    Answer(work, answer[1]);
  }
  const SignalsGoTo signals(child);
  close(answer[1]);
  close(errors[1]);
  ChildAnswer result;
  std::string text;
  ReadBoth(answer[0], text, errors[0], result.said);
  close(answer[0]);
  close(errors[0]);
  while (waitpid(child, &result.status, 0) < 0 && errno == EINTR) {
  }
  result.answer = json::parse(text, nullptr, false);
  if (result.answer.is_discarded()) result.answer = nullptr;
  return result;
}

}  // namespace secretmem::tool

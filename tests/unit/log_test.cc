#include "pkcs11/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/log_capture.h"
#include "tests/unit/store_child.h"
#include "tests/unit/store_testing.h"

namespace secretmem {
namespace {

void LogAll() {
  LogError("one %d", 1);
  LogWarn("two %s", "2");
  LogInfo("three %zu", size_t{3});
  LogDebug("four");
}

class LogTest : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("SECRETMEM_PKCS11_LOG"); }
  void TearDown() override {
    unsetenv("SECRETMEM_PKCS11_LOG");
    SetLogLevel(LogLevel::kOff);
  }
};

TEST_F(LogTest, SaysNothingUnlessAsked) {
  EXPECT_EQ(Captured(LogAll), "");
  InitLog(LogLevel::kOff);
  EXPECT_EQ(Captured(LogAll), "");
}

TEST_F(LogTest, EachLevelHasThoseAboveIt) {
  const std::string lines[] = {
      "", "secretmem-pkcs11: error: one 1\n", "secretmem-pkcs11: warning: two 2\n",
      "secretmem-pkcs11: info: three 3\n", "secretmem-pkcs11: debug: four\n"};
  std::string expected;
  const char* words[] = {"off", "error", "warn", "info", "debug"};
  for (size_t i = 0; i < 5; ++i) {
    expected += lines[i];
    ASSERT_EQ(ParseLogLevel(words[i]), static_cast<LogLevel>(i));
    InitLog(static_cast<LogLevel>(i));
    EXPECT_EQ(GetLogLevel(), static_cast<LogLevel>(i));
    EXPECT_EQ(Captured(LogAll), expected);
  }
  EXPECT_EQ(ParseLogLevel("Error"), std::nullopt);
  EXPECT_EQ(ParseLogLevel(""), std::nullopt);
}

TEST_F(LogTest, TheEnvironmentGoesFirst) {
  setenv("SECRETMEM_PKCS11_LOG", "warn", 1);
  InitLog(LogLevel::kDebug);
  EXPECT_EQ(GetLogLevel(), LogLevel::kWarn);
  setenv("SECRETMEM_PKCS11_LOG", "off", 1);
  InitLog(LogLevel::kDebug);
  EXPECT_EQ(GetLogLevel(), LogLevel::kOff);
  setenv("SECRETMEM_PKCS11_LOG", "", 1);
  InitLog(LogLevel::kInfo);
  EXPECT_EQ(GetLogLevel(), LogLevel::kInfo);
  setenv("SECRETMEM_PKCS11_LOG", "loud", 1);
  EXPECT_EQ(
      Captured([] { InitLog(LogLevel::kOff); }),
      "secretmem-pkcs11: error: SECRETMEM_PKCS11_LOG is \"loud\"; it can be off, error, warn, "
      "info or debug\n");
  EXPECT_EQ(GetLogLevel(), LogLevel::kError);
}

TEST_F(LogTest, LinesAreCutAndCleaned) {
  SetLogLevel(LogLevel::kError);
  EXPECT_EQ(Captured([] { LogError("a\nb\x1b[0m\tc%c\x7f", 0); }),
            "secretmem-pkcs11: error: a?b?[0m?c??\n");
  const std::string head = "secretmem-pkcs11: error: ";
  const std::string text(5000, 'x');
  const size_t room = kMaxLogLine - head.size() - 1;
  EXPECT_EQ(Captured([&] { LogError("%s", text.c_str()); }), head + text.substr(0, room) + "\n");
  EXPECT_EQ(Captured([&] { LogError("%s", text.substr(0, room).c_str()); }),
            head + text.substr(0, room) + "\n");
  EXPECT_EQ(Captured([] { LogError("%s", "ä"); }), head + "ä\n");
}

TEST_F(LogTest, KeepsErrno) {
  SetLogLevel(LogLevel::kError);
  const std::string line = Captured([] {
    errno = ENOENT;
    LogError("%m");
    EXPECT_EQ(errno, ENOENT);
  });
  EXPECT_EQ(line, "secretmem-pkcs11: error: No such file or directory\n");
}

TEST_F(LogTest, ThreadsWriteWholeLines) {
  SetLogLevel(LogLevel::kError);
  const std::string body(300, 'y');
  const std::string written = Captured([&] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) LogError("%s", body.c_str());
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += "secretmem-pkcs11: error: " + body + "\n";
  EXPECT_EQ(written, expected);
}

TEST_F(LogTest, AReaderThatWentAwayKillsNobody) {
  SetLogLevel(LogLevel::kError);
  EXPECT_EQ(InChild([] {
              signal(SIGPIPE, SIG_DFL);
              int ends[2];
              if (pipe(ends) != 0) return 1;
              dup2(ends[1], STDERR_FILENO);
              close(ends[0]);
              LogError("nobody reads this");
              sigset_t pending;
              sigpending(&pending);
              return sigismember(&pending, SIGPIPE) == 0 ? 0 : 2;
            }),
            0);
}

TEST_F(LogTest, AFileSizeLimitKillsNobody) {
  SetLogLevel(LogLevel::kError);
  TemporaryDirectory directory;
  EXPECT_EQ(InChild([&] {
              signal(SIGXFSZ, SIG_DFL);
              const int file = open((directory / "log").c_str(), O_CREAT | O_WRONLY, 0600);
              dup2(file, STDERR_FILENO);
              const rlimit limit{10, 10};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              LogError("too long");
              LogError("too long");
              return 0;
            }),
            0);
  EXPECT_EQ(ReadFile(directory / "log"), "secretmem-");
}

TEST_F(LogTest, AClosedStandardErrorIsNoTrouble) {
  SetLogLevel(LogLevel::kError);
  EXPECT_EQ(InChild([] {
              close(STDERR_FILENO);
              LogError("nowhere");
              return 0;
            }),
            0);
}

TEST_F(LogTest, APendingSignalOfTheHostStaysPending) {
  SetLogLevel(LogLevel::kError);
  EXPECT_EQ(InChild([] {
              sigset_t pipe_signal;
              sigemptyset(&pipe_signal);
              sigaddset(&pipe_signal, SIGPIPE);
              pthread_sigmask(SIG_BLOCK, &pipe_signal, nullptr);
              raise(SIGPIPE);
              close(STDERR_FILENO);
              LogError("x");
              sigset_t pending;
              sigset_t blocked;
              sigpending(&pending);
              pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
              if (sigismember(&blocked, SIGXFSZ) != 0) return 2;
              return sigismember(&pending, SIGPIPE) == 1 && sigismember(&blocked, SIGPIPE) == 1 ? 0
                                                                                                : 1;
            }),
            0);
}

}  // namespace
}  // namespace secretmem

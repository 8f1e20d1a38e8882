// fault_clocks: the clocks jump, while the module works and in the middle of its calls. This
// program defines the C library's clock functions, and the module, which is loaded later, calls
// these.
#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstring>
#include <iostream>
#include <stdexcept>

#include "mechanisms/vendor.h"
#include "tests/conformance/rv.h"
#include "tests/faults/scenario.h"

using namespace secretmem;
using namespace secretmem::faults;
using blackbox::Must;
using blackbox::P11;
using blackbox::Template;
using blackbox::Utf8;

namespace {

constexpr int64_t kYear = 365 * 24 * 3600;
constexpr int64_t kNever = -1;

// What is added to each clock, in seconds; from the g_at-th reading of the wall clock on g_later
// is.
std::atomic<int64_t> g_wall{0};
std::atomic<int64_t> g_later{0};
std::atomic<int64_t> g_at{kNever};
std::atomic<int64_t> g_readings{0};
std::atomic<int64_t> g_boot{0};

int64_t Offset(clockid_t clock) {
  if (clock == CLOCK_BOOTTIME) return g_boot;
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return 0;
  const int64_t reading = ++g_readings;
  const int64_t at = g_at;
  return at != kNever && reading > at ? g_later : g_wall;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const long failed = syscall(SYS_clock_gettime, clock, now);
  if (failed == 0) now->tv_sec += Offset(clock);
  return static_cast<int>(failed);
}

EXPORT int gettimeofday(timeval* __restrict now, void* __restrict) noexcept {
  timespec precise;
  const int failed = clock_gettime(CLOCK_REALTIME, &precise);
  *now = {precise.tv_sec, precise.tv_nsec / 1000};
  return failed;
}

EXPORT time_t time(time_t* out) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

namespace {

unsigned g_tried = 0;
unsigned g_defects = 0;

void Check(bool good, const std::string& text) {
  ++g_tried;
  if (good) return;
  ++g_defects;
  std::cout << "  " << text << std::endl;
}

void CheckRv(CK_RV want, CK_RV got, const std::string& call) {
  Check(got == want,
        call + ": expected " + conformance::RvName(want) + ", got " + conformance::RvName(got));
}

void SetWall(int64_t seconds) { g_wall = seconds; }

// To the epoch and beyond what 32 bits hold, and back again.
std::vector<int64_t> Jumps() {
  timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return {-now.tv_sec, -kYear, -1, 1, 3600, kYear, 60 * kYear, 200 * kYear};
}

// Every step with the clock elsewhere than at the step before, and with a clock that jumps between
// two of its readings: none of them minds.
void Steps() {
  const blackbox::Scratch scratch;
  Scenario scenario;
  scenario.Begin(scratch);
  int64_t most = 0;
  for (const Step& step : scenario.Steps()) {
    for (const int64_t jump : Jumps()) {
      SetWall(jump);
      CheckRv(CKR_OK, step.run(), step.name + " after a jump by " + std::to_string(jump));
      scenario.Restore();
      SetWall(0);
      g_readings = 0;
      CheckRv(CKR_OK, step.run(), step.name);
      scenario.Restore();
      const int64_t readings = g_readings;
      most = std::max(most, readings);
      g_later = jump;
      for (int64_t at = 0; at < std::min<int64_t>(readings, 4); ++at) {
        g_readings = 0;
        g_at = at;
        CheckRv(CKR_OK, step.run(),
                step.name + " with a jump by " + std::to_string(jump) + " at reading " +
                    std::to_string(at));
        g_at = kNever;
        scenario.Restore();
      }
    }
  }
  scenario.End();
  Check(most > 0, "the module never asked this program for the time");
}

class Token {
 public:
  static constexpr const char* kSettings =
      "[pin]\niterations = 1000\ndelay_ms = 50\nmax_failures = 4\n";

  Token() {
    Must(blackbox::Initialise(), "C_Initialize");
    blackbox::MakeToken("clocks", "so pin", "user pin");
    Open();
  }
  void Open() {
    slot_ = blackbox::FindToken("clocks");
    Must(P11().C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                             &session_),
         "C_OpenSession");
  }
  void Restart() {
    Must(P11().C_Finalize(nullptr), "C_Finalize");
    Must(blackbox::Initialise(), "C_Initialize");
    Open();
    CheckRv(CKR_OK, LogIn("user pin"), "C_Login");
  }
  CK_RV LogIn(std::string_view pin) const {
    return P11().C_Login(session_, CKU_USER, Utf8(pin), pin.size());
  }
  CK_FLAGS Flags() const {
    CK_TOKEN_INFO info{};
    Must(P11().C_GetTokenInfo(slot_, &info), "C_GetTokenInfo");
    return info.flags;
  }
  CK_SESSION_HANDLE session() const { return session_; }

  // Key makes a key with a lifetime of |seconds|.
  CK_OBJECT_HANDLE Key(const char* label, CK_ULONG seconds, bool token) const {
    Template key = Template()
                       .With(CKA_CLASS, CKO_SECRET_KEY)
                       .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                       .With(CKA_TOKEN, token)
                       .With(CKA_SIGN, true)
                       .With(CKA_LABEL, label)
                       .With(CKA_SECRETMEM_LIFETIME, seconds)
                       .With(CKA_VALUE, blackbox::Bytes(32, 7));
    CK_OBJECT_HANDLE made = 0;
    Must(P11().C_CreateObject(session_, key.data(), key.size(), &made), "C_CreateObject");
    return made;
  }
  // Sign is the code of a signature with the only object that has |label|.
  CK_RV Sign(const char* label) const {
    const auto found = blackbox::Find(session_, Template().With(CKA_LABEL, label));
    if (found.rv != CKR_OK) return found.rv;
    if (found.handles.size() != 1) return CKR_OBJECT_HANDLE_INVALID;
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    const CK_RV rv = P11().C_SignInit(session_, &mechanism, found.handles[0]);
    CK_BYTE data[1] = {1};
    CK_BYTE out[32];
    CK_ULONG length = sizeof(out);
    return rv == CKR_OK ? P11().C_Sign(session_, data, sizeof(data), out, &length) : rv;
  }

 private:
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
};

// Wrong PINs: a clock set back does not lengthen the delay to what it was set back by (that would
// never end), one set forward gives no try back.
void Pins() {
  const blackbox::Scratch scratch(Token::kSettings);
  const Token token;
  const auto count = [&](const char* when) {
    const CK_FLAGS flags = token.Flags();
    Check((flags & CKF_USER_PIN_COUNT_LOW) != 0, std::string("the failures are forgotten ") + when);
  };
  CheckRv(CKR_PIN_INCORRECT, token.LogIn("wrong"), "C_Login");
  SetWall(-20 * kYear);
  count("with a clock set back");
  CheckRv(CKR_OK, token.LogIn("user pin"), "C_Login with a clock set back");
  CheckRv(CKR_OK, P11().C_Logout(token.session()), "C_Logout");
  CheckRv(CKR_PIN_INCORRECT, token.LogIn("wrong"), "C_Login");
  SetWall(20 * kYear);
  count("with a clock set forward");
  CheckRv(CKR_PIN_INCORRECT, token.LogIn("wrong"), "C_Login with a clock set forward");
  SetWall(60 * kYear);
  CheckRv(CKR_PIN_INCORRECT, token.LogIn("wrong"), "C_Login with a clock set further");
  Check((token.Flags() & CKF_USER_PIN_FINAL_TRY) != 0, "no final try is announced");
  CheckRv(CKR_PIN_INCORRECT, token.LogIn("wrong"), "the last C_Login");
  for (const int64_t jump : Jumps()) {
    SetWall(jump);
    Check((token.Flags() & CKF_USER_PIN_LOCKED) != 0, "a jump unlocks a PIN");
    CheckRv(CKR_PIN_LOCKED, token.LogIn("user pin"), "C_Login with a locked PIN");
  }
  SetWall(0);
  Must(P11().C_Finalize(nullptr), "C_Finalize");
}

// Lifetimes: the wall clock counts for nothing, the time since the boot for all of it.
void Lifetimes() {
  const blackbox::Scratch scratch(Token::kSettings);
  Token token;
  CheckRv(CKR_OK, token.LogIn("user pin"), "C_Login");
  const auto make = [&] {
    token.Key("an hour, session", 3600, false);
    token.Key("a day, session", 24 * 3600, false);
  };
  make();
  token.Key("an hour", 3600, true);
  token.Key("a day", 24 * 3600, true);
  for (const int64_t jump : Jumps()) {
    SetWall(jump);
    const std::string after = ", after a jump by " + std::to_string(jump);
    for (const char* label : {"an hour", "a day", "an hour, session", "a day, session"}) {
      CheckRv(CKR_OK, token.Sign(label), label + after);
    }
    token.Restart();
    make();
    for (const char* label : {"an hour", "a day"}) {
      CheckRv(CKR_OK, token.Sign(label), label + after + " and a new start");
    }
  }
  // A short one ends, wherever the wall clock is: this would wait for ever otherwise.
  SetWall(-20 * kYear);
  token.Key("a second", 1, true);
  while (token.Sign("a second") == CKR_OK) usleep(20'000);
  SetWall(0);
  CheckRv(CKR_OBJECT_HANDLE_INVALID, token.Sign("a second"), "a key that has expired");
  // Two hours of suspend.
  g_boot = 7200;
  for (const char* label : {"an hour", "an hour, session"}) {
    CheckRv(CKR_OBJECT_HANDLE_INVALID, token.Sign(label), std::string(label) + ", suspended");
  }
  for (const char* label : {"a day", "a day, session"}) {
    CheckRv(CKR_OK, token.Sign(label), std::string(label) + ", suspended");
  }
  // A boot clock that is behind what the file knows is another boot's: no time is given back.
  g_boot = 0;
  token.Restart();
  CheckRv(CKR_OBJECT_HANDLE_INVALID, token.Sign("an hour"), "an hour, after a restart");
  Must(P11().C_Finalize(nullptr), "C_Finalize");
}

struct Part {
  const char* name;
  void (*run)();
};
constexpr Part kParts[] = {{"steps", Steps}, {"PINs", Pins}, {"lifetimes", Lifetimes}};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Has the clocks jump under a module");
  std::string path;
  std::string only;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--only", only, "the part with this name");
  CLI11_PARSE(app, argc, argv);
  blackbox::LoadModule(path);
  unsigned failed = 0;
  unsigned run = 0;
  for (const Part& part : kParts) {
    if (!only.empty() && only != part.name) continue;
    const pid_t child = fork();
    if (child == 0) {
      alarm(240);  // what waits for ever has failed
      try {
        part.run();
      } catch (const std::exception& error) {
        Check(false, std::string(part.name) + ": " + error.what());
      }
      std::cout << part.name << ": " << g_tried << " tried, " << g_defects << " defects"
                << std::endl;
      _exit(g_defects == 0 && g_tried > 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ++run;
    if (status == 0) continue;
    ++failed;
    std::cout << part.name << ": failed"
              << (WIFSIGNALED(status) ? std::string(", ") + strsignal(WTERMSIG(status)) : "")
              << std::endl;
  }
  std::cout << "clocks: " << run << " parts, " << failed << " failed\n";
  return failed == 0 && run > 0 ? 0 : 1;
}

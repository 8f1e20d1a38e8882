// fault_storm: threads that do everything at once on one token, while one of them finalises and
// initialises again, and other processes do the same.
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "tests/blackbox/module.h"
#include "tests/blackbox/template.h"
#include "tests/conformance/rv.h"

using namespace secretmem;
using blackbox::P11;
using blackbox::Template;
using blackbox::Utf8;

namespace {

constexpr std::string_view kSoPin = "so pin";
constexpr std::string_view kUserPin = "user pin";
constexpr CK_FLAGS kReadWrite = CKF_SERIAL_SESSION | CKF_RW_SESSION;

// What somebody else's logout, closing, finalising or destroying may lead to.
const std::set<CK_RV> kExpected = {CKR_OK,
                                   CKR_CRYPTOKI_NOT_INITIALIZED,
                                   CKR_CRYPTOKI_ALREADY_INITIALIZED,
                                   CKR_SESSION_HANDLE_INVALID,
                                   CKR_SESSION_CLOSED,
                                   CKR_OBJECT_HANDLE_INVALID,
                                   CKR_KEY_HANDLE_INVALID,
                                   CKR_USER_NOT_LOGGED_IN,
                                   CKR_USER_ALREADY_LOGGED_IN,
                                   CKR_OPERATION_NOT_INITIALIZED,
                                   CKR_OPERATION_ACTIVE};

std::atomic<uint64_t> g_calls{0};
std::atomic<bool> g_end{false};
std::mutex g_mutex;
std::map<std::string, uint64_t> g_wrong;

CK_RV Check(const char* call, CK_RV rv) {
  ++g_calls;
  if (!kExpected.contains(rv)) {
    const std::lock_guard lock(g_mutex);
    ++g_wrong[std::string(call) + ": " + conformance::RvName(rv)];
  }
  return rv;
}

// One thread's life: sessions of its own, on a token that it shares.
class Client {
 public:
  Client(CK_SLOT_ID slot, uint64_t seed) : slot_(slot), random_(seed) {}

  void Run() {
    while (!g_end) {
      CK_SESSION_HANDLE session = 0;
      if (Check("C_OpenSession",
                P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session)) != CKR_OK) {
        std::this_thread::yield();
        continue;
      }
      session_ = session;
      for (int i = 0; i < 12 && !g_end; ++i) Act();
      Check("C_CloseSession", P11().C_CloseSession(session_));
    }
  }

 private:
  void Act();
  void Derive();
  void Make(bool token);
  void Find();

  const CK_SLOT_ID slot_;
  std::mt19937_64 random_;
  CK_SESSION_HANDLE session_ = 0;
};

void Client::Make(bool token) {
  Template key = Template()
                     .With(CKA_CLASS, CKO_SECRET_KEY)
                     .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                     .With(CKA_TOKEN, token)
                     .With(CKA_PRIVATE, random_() % 2 == 0)
                     .With(CKA_VALUE, blackbox::Bytes(32, 1));
  CK_OBJECT_HANDLE made = 0;
  if (Check("C_CreateObject", P11().C_CreateObject(session_, key.data(), key.size(), &made)) ==
      CKR_OK) {
    Check("C_DestroyObject", P11().C_DestroyObject(session_, made));
  }
}

void Client::Derive() {
  Template of_public = Template().With(CKA_EC_PARAMS, blackbox::X25519Params());
  Template of_private = Template().With(CKA_PRIVATE, random_() % 2 == 0);
  CK_MECHANISM generate{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE pair[2] = {};
  if (Check("C_GenerateKeyPair",
            P11().C_GenerateKeyPair(session_, &generate, of_public.data(), of_public.size(),
                                    of_private.data(), of_private.size(), &pair[0], &pair[1])) !=
      CKR_OK) {
    return;
  }
  CK_BYTE peer[32] = {9};
  CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, sizeof(peer), peer};
  CK_MECHANISM derive{CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
  CK_OBJECT_HANDLE made = 0;
  Check("C_DeriveKey", P11().C_DeriveKey(session_, &derive, pair[1], nullptr, 0, &made));
}

void Client::Find() {
  const auto found = blackbox::Find(session_, Template());
  Check("C_FindObjects", found.rv);
  if (found.rv != CKR_OK) P11().C_FindObjectsFinal(session_);
  if (!found.handles.empty()) {
    Check("C_GetAttributeValue",
          blackbox::Read(session_, found.handles[random_() % found.handles.size()], CKA_LABEL).rv);
  }
}

void Client::Act() {
  CK_BYTE bytes[32];
  CK_ULONG length = sizeof(bytes);
  CK_MECHANISM digest{CKM_SHA256, nullptr, 0};
  switch (random_() % 16) {
    case 0:
      Check("C_Login", P11().C_Login(session_, CKU_USER, Utf8(kUserPin), kUserPin.size()));
      break;
    case 1:
      if (random_() % 4 == 0) Check("C_Logout", P11().C_Logout(session_));
      break;
    case 2:
      Make(true);
      break;
    case 3:
    case 4:
    case 5:
      Make(false);
      break;
    case 6:
    case 7:
      Find();
      break;
    case 8:
      Check("C_GenerateRandom", P11().C_GenerateRandom(session_, bytes, sizeof(bytes)));
      break;
    case 9:
      if (Check("C_DigestInit", P11().C_DigestInit(session_, &digest)) == CKR_OK) {
        Check("C_Digest", P11().C_Digest(session_, bytes, 32, bytes, &length));
      }
      break;
    default:
      Derive();
  }
}

int Storm(unsigned threads, double seconds, bool finalise, uint64_t seed) {
  blackbox::Must(blackbox::Initialise(), "C_Initialize");
  const CK_SLOT_ID slot = blackbox::FindToken("storm");
  std::vector<std::thread> running;
  for (unsigned i = 0; i < threads; ++i) {
    running.emplace_back([=] { Client(slot, seed * 1000 + i).Run(); });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
    if (!finalise) continue;
    Check("C_Finalize", P11().C_Finalize(nullptr));
    Check("C_Initialize", blackbox::Initialise());
  }
  g_end = true;
  for (std::thread& thread : running) thread.join();
  blackbox::Must(P11().C_Finalize(nullptr), "C_Finalize");
  for (const auto& [what, times] : g_wrong) {
    std::cout << "  " << what << ", " << times << " times\n";
  }
  std::cout << "storm: " << threads << " threads, " << g_calls << " calls, " << g_wrong.size()
            << " answers that should not be\n"
            << std::flush;
  return g_wrong.empty() && g_calls > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("Threads and processes that use one token at once");
  std::string path;
  unsigned threads = 64;
  unsigned processes = 1;
  double seconds = 5;
  bool keep = false;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--threads", threads, "in each process");
  app.add_option("--processes", processes, "on the one token");
  app.add_option("--seconds", seconds, "for how long");
  app.add_flag("--keep", keep, "do not finalise meanwhile");
  CLI11_PARSE(app, argc, argv);
  const blackbox::Scratch scratch;
  blackbox::LoadModule(path);
  std::vector<pid_t> children;
  // The token first, by a process of its own: nobody inherits anything.
  for (unsigned i = 0; i <= processes; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      int code = 1;
      try {
        if (i == 0) {
          blackbox::Must(blackbox::Initialise(), "C_Initialize");
          blackbox::MakeToken("storm", kSoPin, kUserPin);
          code = 0;
        } else {
          code = Storm(threads, seconds, !keep, i);
        }
      } catch (const std::exception& error) {
        std::cout << error.what() << std::endl;
      }
      _exit(code);
    }
    int status = 0;
    if (i > 0) {
      children.push_back(child);
    } else if (waitpid(child, &status, 0) != child || status != 0) {
      throw std::runtime_error("no token could be made");
    }
  }
  int failed = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    failed += status != 0 ? 1 : 0;
  }
  return failed == 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}

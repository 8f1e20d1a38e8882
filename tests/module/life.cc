// The life of a module in its host: calls while the host exits, and loading again and again. For
// any module by path: module_life MODULE exit|reload

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/blackbox/module.h"

namespace secretmem {
namespace {

using blackbox::P11;

constexpr CK_FLAGS kReadWrite = CKF_SERIAL_SESSION | CKF_RW_SESSION;
constexpr int kExitCode = 7;

CK_SLOT_ID g_slot = 0;
CK_SESSION_HANDLE g_session = 0;
CK_OBJECT_HANDLE g_key = 0;
int g_verdicts = -1;  // Where a child says how its late calls went, a letter each.

// Generate makes an AES key, on the token or not.
CK_RV Generate(CK_SESSION_HANDLE session, CK_BBOOL on_token, CK_OBJECT_HANDLE* key) {
  CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, nullptr, 0};
  CK_ULONG size = 32;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE attributes[] = {{CKA_VALUE_LEN, &size, sizeof(size)},
                               {CKA_TOKEN, &on_token, sizeof(on_token)},
                               {CKA_ENCRYPT, &yes, sizeof(yes)}};
  return P11().C_GenerateKey(session, &mechanism, attributes, 3, key);
}

CK_RV Encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism = {CKM_AES_ECB, nullptr, 0};
  const CK_RV rv = P11().C_EncryptInit(session, &mechanism, key);
  if (rv != CKR_OK) return rv;
  CK_BYTE block[16] = {};
  CK_BYTE out[16];
  CK_ULONG size = sizeof(out);
  return P11().C_Encrypt(session, block, sizeof(block), out, &size);
}

// Start opens a session of the user's with a key in it.
CK_RV Start() {
  CK_RV rv = blackbox::Initialise();
  if (rv == CKR_OK) rv = P11().C_OpenSession(g_slot, kReadWrite, nullptr, nullptr, &g_session);
  if (rv == CKR_OK) rv = P11().C_Login(g_session, CKU_USER, blackbox::Utf8("user pin"), 8);
  if (rv == CKR_OK) rv = Generate(g_session, CK_FALSE, &g_key);
  if (rv == CKR_OK) rv = Encrypt(g_session, g_key);
  return rv;
}

// WorkAndStartAgain uses what is there, ends it, and starts afresh.
bool WorkAndStartAgain() {
  CK_BYTE random[16];
  CK_SESSION_INFO info;
  CK_OBJECT_HANDLE stored;
  return Encrypt(g_session, g_key) == CKR_OK &&
         P11().C_GenerateRandom(g_session, random, sizeof(random)) == CKR_OK &&
         Generate(g_session, CK_TRUE, &stored) == CKR_OK &&
         P11().C_DestroyObject(g_session, stored) == CKR_OK &&
         P11().C_Finalize(nullptr) == CKR_OK &&
         P11().C_GetSessionInfo(g_session, &info) == CKR_CRYPTOKI_NOT_INITIALIZED &&
         Start() == CKR_OK;
}

void SayLate(char letter) {
  const char verdict = WorkAndStartAgain() ? letter : '!';
  if (write(g_verdicts, &verdict, 1) != 1) _exit(3);
}

// Registered before the module is loaded, so it runs after all that the module itself registered.
void AtExit() {
  if (g_verdicts >= 0) SayLate('a');
}

// Runs after every atexit handler.
__attribute__((destructor)) void AtTheVeryEnd() {
  if (g_verdicts >= 0) SayLate('z');
}

int TestExit(const char* module) {
  int ends[2];
  if (pipe(ends) != 0) return 2;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    alarm(60);
    if (atexit(AtExit) != 0) _exit(4);
    blackbox::LoadModule(module);
    if (blackbox::Initialise() != CKR_OK) _exit(5);
    g_slot = blackbox::MakeToken("life", "so pin", "user pin");
    if (P11().C_Finalize(nullptr) != CKR_OK || Start() != CKR_OK) _exit(5);
    g_verdicts = ends[1];
    exit(kExitCode);
  }
  close(ends[1]);
  char verdicts[8] = {};
  size_t size = 0;
  for (ssize_t got = 1; got > 0 && size < sizeof(verdicts) - 1; size += static_cast<size_t>(got)) {
    got = read(ends[0], verdicts + size, sizeof(verdicts) - 1 - size);
    if (got < 0) break;
  }
  int status = 0;
  waitpid(child, &status, 0);
  const bool good =
      std::string_view(verdicts) == "az" && WIFEXITED(status) && WEXITSTATUS(status) == kExitCode;
  std::printf("late calls: \"%s\", exit %d, signal %d\n", verdicts, WEXITSTATUS(status),
              WTERMSIG(status));
  return good ? 0 : 1;
}

struct Usage {
  size_t descriptors = 0;
  size_t mappings = 0;
  std::string locked;
  bool operator==(const Usage&) const = default;
};

Usage Measure() {
  Usage usage;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++usage.descriptors;
  }
  std::string line;
  for (std::ifstream maps("/proc/self/maps"); std::getline(maps, line);) ++usage.mappings;
  for (std::ifstream status("/proc/self/status"); std::getline(status, line);) {
    if (line.starts_with("VmLck:")) usage.locked = line;
  }
  return usage;
}

void Print(int round, const Usage& usage) {
  std::printf("round %d: %zu descriptors, %zu mappings, %s\n", round, usage.descriptors,
              usage.mappings, usage.locked.c_str());
}

// Each round opens, uses and closes the module whole, one session left to C_Finalize.
int TestReload(const char* module) {
  constexpr int kRounds = 50;
  Usage first;
  for (int round = 1; round <= kRounds; ++round) {
    void* library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return 2;
    const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
    CK_FUNCTION_LIST* functions = nullptr;
    if (get == nullptr || get(&functions) != CKR_OK) return 2;
    blackbox::SetFunctions(functions);
    if (round == 1) {
      if (blackbox::Initialise() != CKR_OK) return 2;
      g_slot = blackbox::MakeToken("life", "so pin", "user pin");
      if (P11().C_Finalize(nullptr) != CKR_OK) return 2;
    }
    CK_OBJECT_HANDLE stored;
    if (Start() != CKR_OK || Generate(g_session, CK_TRUE, &stored) != CKR_OK ||
        P11().C_DestroyObject(g_session, stored) != CKR_OK || P11().C_Finalize(nullptr) != CKR_OK ||
        dlclose(library) != 0) {
      std::printf("round %d does not work\n", round);
      return 1;
    }
    if (round == 1) Print(round, first = Measure());
  }
  const Usage last = Measure();
  Print(kRounds, last);
  return last == first ? 0 : 1;
}

}  // namespace
}  // namespace secretmem

int main(int argc, char** argv) {
  using namespace secretmem;
  if (argc != 3) return 2;
  try {
    const blackbox::Scratch scratch;
    if (std::string_view(argv[2]) == "exit") return TestExit(argv[1]);
    if (std::string_view(argv[2]) == "reload") return TestReload(argv[1]);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
  }
  return 2;
}

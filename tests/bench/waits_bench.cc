// How long a signal waits, at the longest, while a thread is inside one call: signals are blocked
// in every borrow, and a fork of another thread waits for as long. Measured in the thread's own
// processor time, in which another process's work does not count; the kernel looks at such timers
// with each of its ticks, so a wait is known to some 4 ms.

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace {

CK_SESSION_HANDLE g_session;
CK_UTF8CHAR g_pin[] = {'1', '2', '3', '4'};
CK_BBOOL g_true = CK_TRUE;

int64_t g_last = 0;
int64_t g_longest = 0;

int64_t ThreadTime() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void Arrived(int) {
  const int64_t now = ThreadTime();
  g_longest = std::max(g_longest, now - g_last);
  g_last = now;
}

void Check(CK_RV code, const char* what) {
  if (code == CKR_OK) return;
  fprintf(stderr, "%s: 0x%lx\n", what, code);
  exit(1);
}

void Row(const char* name, const std::function<CK_RV()>& call) {
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGPROF;
  event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
  timer_t timer;
  if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) != 0) exit(1);
  const itimerspec every_ms = {{0, 1'000'000}, {0, 1'000'000}};
  g_longest = 0;
  const int64_t begin = g_last = ThreadTime();
  timer_settime(timer, 0, &every_ms, nullptr);
  Check(call(), name);
  Arrived(0);
  timer_delete(timer);
  printf("| %s | %.0f | %.0f |\n", name, static_cast<double>(ThreadTime() - begin) / 1e6,
         static_cast<double>(g_longest) / 1e6);
  fflush(stdout);
}

CK_OBJECT_HANDLE GenerateRsa(CK_ULONG bits) {
  CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  CK_ATTRIBUTE of_public[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)}};
  CK_ATTRIBUTE of_private[] = {{CKA_SIGN, &g_true, 1}};
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  Check(C_GenerateKeyPair(g_session, &mechanism, of_public, 1, of_private, 1, &public_key,
                          &private_key),
        "C_GenerateKeyPair");
  return private_key;
}

CK_RV Sign(CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key, std::vector<CK_BYTE>& data) {
  CK_MECHANISM mechanism = {type, nullptr, 0};
  CK_BYTE out[1024];
  CK_ULONG size = sizeof(out);
  const CK_RV begun = C_SignInit(g_session, &mechanism, key);
  return begun == CKR_OK ? C_Sign(g_session, data.data(), data.size(), out, &size) : begun;
}

CK_OBJECT_HANDLE GenerateSecret(CK_MECHANISM_TYPE type) {
  CK_MECHANISM mechanism = {type, nullptr, 0};
  CK_ULONG size = 32;
  CK_ATTRIBUTE wanted[] = {{CKA_VALUE_LEN, &size, sizeof(size)},
                           {CKA_ENCRYPT, &g_true, 1},
                           {CKA_DECRYPT, &g_true, 1},
                           {CKA_SIGN, &g_true, 1}};
  CK_OBJECT_HANDLE key = 0;
  Check(C_GenerateKey(g_session, &mechanism, wanted, 4, &key), "C_GenerateKey");
  return key;
}

CK_OBJECT_HANDLE GenerateEd25519() {
  CK_BYTE curve[] = {0x06, 0x03, 0x2b, 0x65, 0x70};  // RFC 8410, id-Ed25519
  CK_MECHANISM mechanism = {CKM_EC_EDWARDS_KEY_PAIR_GEN, nullptr, 0};
  CK_ATTRIBUTE of_public[] = {{CKA_EC_PARAMS, curve, sizeof(curve)}};
  CK_ATTRIBUTE of_private[] = {{CKA_SIGN, &g_true, 1}};
  CK_OBJECT_HANDLE public_key = 0, private_key = 0;
  Check(C_GenerateKeyPair(g_session, &mechanism, of_public, 1, of_private, 1, &public_key,
                          &private_key),
        "C_GenerateKeyPair");
  return private_key;
}

CK_RV Digest(CK_MECHANISM_TYPE type, std::vector<CK_BYTE>& data) {
  CK_MECHANISM mechanism = {type, nullptr, 0};
  CK_BYTE out[64];
  CK_ULONG size = sizeof(out);
  const CK_RV begun = C_DigestInit(g_session, &mechanism);
  return begun == CKR_OK ? C_Digest(g_session, data.data(), data.size(), out, &size) : begun;
}

CK_RV Crypt(CK_MECHANISM_TYPE type, bool encrypt, CK_OBJECT_HANDLE key, std::vector<CK_BYTE>& in,
            std::vector<CK_BYTE>& out) {
  CK_BYTE iv[16] = {};
  CK_GCM_PARAMS gcm = {iv, 12, 96, nullptr, 0, 128};
  CK_MECHANISM mechanism = {type, iv, sizeof(iv)};
  if (type == CKM_AES_GCM) mechanism = {type, &gcm, sizeof(gcm)};
  const CK_RV begun = encrypt ? C_EncryptInit(g_session, &mechanism, key)
                              : C_DecryptInit(g_session, &mechanism, key);
  if (begun != CKR_OK) return begun;
  CK_ULONG size = out.size();
  const CK_RV done = encrypt ? C_Encrypt(g_session, in.data(), in.size(), out.data(), &size)
                             : C_Decrypt(g_session, in.data(), in.size(), out.data(), &size);
  if (done == CKR_OK) out.resize(size);
  return done;
}

CK_RV StretchPassword() {
  CK_BYTE salt[16] = {};
  CK_UTF8CHAR password[] = {'p', 'a', 's', 's'};
  CK_PKCS5_PBKD2_PARAMS2 params = {CKZ_SALT_SPECIFIED,
                                   salt,
                                   sizeof(salt),
                                   2'000'000,
                                   CKP_PKCS5_PBKD2_HMAC_SHA512,
                                   nullptr,
                                   0,
                                   password,
                                   sizeof(password)};
  CK_MECHANISM mechanism = {CKM_PKCS5_PBKD2, &params, sizeof(params)};
  CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  CK_ULONG size = 64;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &object_class, sizeof(object_class)},
                           {CKA_KEY_TYPE, &type, sizeof(type)},
                           {CKA_VALUE_LEN, &size, sizeof(size)}};
  CK_OBJECT_HANDLE key = 0;
  return C_GenerateKey(g_session, &mechanism, wanted, 3, &key);
}

void Prepare(const std::filesystem::path& directory) {
  const std::string config = directory / "config.toml";
  std::ofstream(config) << "[tokens]\ndirectory = \"" << directory.string() << "\"\n";
  setenv("SECRETMEM_PKCS11_CONF", config.c_str(), 1);
  Check(C_Initialize(nullptr), "C_Initialize");
  CK_UTF8CHAR label[32];
  std::fill(std::begin(label), std::end(label), ' ');
  Check(C_InitToken(0, g_pin, sizeof(g_pin), label), "C_InitToken");
  Check(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &g_session),
        "C_OpenSession");
}

}  // namespace

int main(int argc, char** argv) {
  char directory[] = "/tmp/secretmem-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) return 1;
  Prepare(directory);
  struct sigaction action = {};
  action.sa_handler = Arrived;
  action.sa_flags = SA_RESTART;
  sigaction(SIGPROF, &action, nullptr);

  puts("| call | ms | longest wait, ms |\n| --- | --- | --- |");
  Row("C_Login, 600,000 iterations",
      [] { return C_Login(g_session, CKU_SO, g_pin, sizeof(g_pin)); });
  Row("C_InitPIN", [] { return C_InitPIN(g_session, g_pin, sizeof(g_pin)); });
  Check(C_Logout(g_session), "C_Logout");
  Check(C_Login(g_session, CKU_USER, g_pin, sizeof(g_pin)), "C_Login");
  Row("CKM_PKCS5_PBKD2, 2,000,000 iterations", StretchPassword);
  // An RSA key of 8,192 bits takes seconds, or minutes: by option.
  const bool long_ones = argc > 1 && std::string(argv[1]) == "--long";
  for (const CK_ULONG bits : {CK_ULONG{2048}, CK_ULONG{4096}, CK_ULONG{8192}}) {
    if (bits > 4096 && !long_ones) break;
    CK_OBJECT_HANDLE key = 0;
    const std::string name = "RSA of " + std::to_string(bits) + " bits";
    Row((name + " made").c_str(), [&] {
      key = GenerateRsa(bits);
      return CKR_OK;
    });
    std::vector<CK_BYTE> data(32);
    Row((name + " signs").c_str(), [&] { return Sign(CKM_SHA256_RSA_PKCS, key, data); });
  }
  std::vector<CK_BYTE> data(size_t{256} << 20, 0x5a), sealed(data.size() + 64), opened(data.size());
  Row("256 MiB, SHA-1", [&] { return Digest(CKM_SHA_1, data); });
  Row("256 MiB, SHA-512", [&] { return Digest(CKM_SHA512, data); });
  const CK_OBJECT_HANDLE mac = GenerateSecret(CKM_GENERIC_SECRET_KEY_GEN);
  Row("256 MiB, HMAC-SHA-256", [&] { return Sign(CKM_SHA256_HMAC, mac, data); });
  const CK_OBJECT_HANDLE aes = GenerateSecret(CKM_AES_KEY_GEN);
  Row("256 MiB, AES-CBC", [&] { return Crypt(CKM_AES_CBC, true, aes, data, sealed); });
  sealed.resize(data.size() + 64);
  Row("256 MiB, AES-GCM", [&] { return Crypt(CKM_AES_GCM, true, aes, data, sealed); });
  Row("256 MiB, AES-GCM, back", [&] { return Crypt(CKM_AES_GCM, false, aes, sealed, opened); });
  const CK_OBJECT_HANDLE ed25519 = GenerateEd25519();
  Row("256 MiB, Ed25519", [&] { return Sign(CKM_EDDSA, ed25519, data); });
  Row("256 MiB, C_GenerateRandom",
      [&] { return C_GenerateRandom(g_session, data.data(), data.size()); });
  C_Finalize(nullptr);
  std::filesystem::remove_all(directory);
}

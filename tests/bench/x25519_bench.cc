// X25519 through PKCS#11 beside BoringSSL's own calls, in one process and in turn, so that the
// ratio holds when the machine's speed drifts.

#include <benchmark/benchmark.h>
#include <openssl/curve25519.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"

namespace {

using Clock = std::chrono::steady_clock;

CK_SESSION_HANDLE g_session;
CK_OBJECT_HANDLE g_private;
uint8_t g_peer[32];

void Check(CK_RV code, const char* what) {
  if (code == CKR_OK) return;
  fprintf(stderr, "%s: 0x%lx\n", what, code);
  exit(1);
}

CK_OBJECT_HANDLE GenerateKeyPair(CK_OBJECT_HANDLE* public_key) {
  static uint8_t params[] = {0x06, 0x03, 0x2b, 0x65, 0x6e};
  CK_ATTRIBUTE of_public[] = {{CKA_EC_PARAMS, params, sizeof(params)}};
  CK_MECHANISM mechanism = {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE private_key = 0;
  Check(
      C_GenerateKeyPair(g_session, &mechanism, of_public, 1, nullptr, 0, public_key, &private_key),
      "C_GenerateKeyPair");
  return private_key;
}

void Derive() {
  static CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
  CK_ATTRIBUTE wanted[] = {
      {CKA_TOKEN, &no, 1}, {CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}};
  CK_ECDH1_DERIVE_PARAMS params = {CKD_NULL, 0, nullptr, sizeof(g_peer), g_peer};
  CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &params, sizeof(params)};
  CK_OBJECT_HANDLE key = 0;
  Check(C_DeriveKey(g_session, &mechanism, g_private, wanted, 3, &key), "C_DeriveKey");
  Check(C_DestroyObject(g_session, key), "C_DestroyObject");
}

void RawDerive() {
  static const uint8_t key[32] = {9, 9, 9};
  uint8_t out[32];
  X25519(out, key, g_peer);
  benchmark::DoNotOptimize(out);
}

void Generate() {
  CK_OBJECT_HANDLE public_key = 0;
  const CK_OBJECT_HANDLE private_key = GenerateKeyPair(&public_key);
  Check(C_DestroyObject(g_session, public_key), "C_DestroyObject");
  Check(C_DestroyObject(g_session, private_key), "C_DestroyObject");
}

void RawGenerate() {
  uint8_t public_key[32], private_key[32];
  X25519_keypair(public_key, private_key);
  benchmark::DoNotOptimize(public_key);
}

double Seconds(void (*f)(), int times) {
  const auto start = Clock::now();
  for (int i = 0; i < times; ++i) f();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Beside measures |ours| and |raw| in short turns and reports the median of the ratios.
void Beside(benchmark::State& state, void (*ours)(), void (*raw)()) {
  constexpr int kTurn = 100;
  std::vector<double> ratios;
  for (auto _ : state) {
    const double a = Seconds(ours, kTurn);
    const double b = Seconds(raw, kTurn);
    ratios.push_back(a / b);
    state.SetIterationTime(a);
  }
  std::ranges::sort(ratios);
  state.counters["ratio_to_raw"] = ratios[ratios.size() / 2];
  state.SetItemsProcessed(state.iterations() * kTurn);
}

void BM_DeriveKey(benchmark::State& state) { Beside(state, Derive, RawDerive); }
BENCHMARK(BM_DeriveKey)->UseManualTime()->MinTime(2);

void BM_GenerateKeyPair(benchmark::State& state) { Beside(state, Generate, RawGenerate); }
BENCHMARK(BM_GenerateKeyPair)->UseManualTime()->MinTime(2);

void BM_EmptyBorrow(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(secretmem::OnSecretStack([] {}));
}
BENCHMARK(BM_EmptyBorrow);

void BM_VaultNewAndDestroy(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(secretmem::Vault::New(32));
}
BENCHMARK(BM_VaultNewAndDestroy);

void BM_FindSession(benchmark::State& state) {
  CK_SESSION_INFO info;
  for (auto _ : state) Check(C_GetSessionInfo(g_session, &info), "C_GetSessionInfo");
}
BENCHMARK(BM_FindSession);

// A token of its own in a temporary directory.
void Prepare(const std::filesystem::path& directory) {
  const std::string config = directory / "config.toml";
  std::ofstream(config) << "[tokens]\ndirectory = \"" << directory.string()
                        << "\"\n[pin]\niterations = 1000\n";
  setenv("SECRETMEM_PKCS11_CONF", config.c_str(), 1);
  Check(C_Initialize(nullptr), "C_Initialize");
  CK_UTF8CHAR pin[] = {'1', '2', '3', '4'};
  CK_UTF8CHAR label[32];
  std::fill(std::begin(label), std::end(label), ' ');
  Check(C_InitToken(0, pin, sizeof(pin), label), "C_InitToken");
  Check(C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &g_session),
        "C_OpenSession");
  CK_OBJECT_HANDLE public_key = 0;
  g_private = GenerateKeyPair(&public_key);
  CK_ATTRIBUTE point = {CKA_EC_POINT, g_peer, sizeof(g_peer)};
  Check(C_GetAttributeValue(g_session, public_key, &point, 1), "C_GetAttributeValue");
}

}  // namespace

int main(int argc, char** argv) {
  char directory[] = "/tmp/secretmem-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) return 1;
  Prepare(directory);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  C_Finalize(nullptr);
  std::filesystem::remove_all(directory);
}

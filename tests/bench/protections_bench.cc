// What each protection costs: one X25519 with each, beside BoringSSL's own call in the same turns.
// Every row is a child of its own, as the options of a process are chosen once.

#include <openssl/curve25519.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <vector>

#include "vault/fork_gate.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"

namespace {

using namespace secretmem;

uint8_t g_peer[32] = {9};
uint8_t g_out[32];

void Raw() {
  static const uint8_t key[32] = {9, 9, 9};
  X25519(g_out, key, g_peer);
}

double Seconds(const std::function<void()>& work) {
  constexpr int kTurn = 200;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kTurn; ++i) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Prints the median ratio of |work| to the bare call, in a child with |options|.
void Row(const char* name, const MemoryOptions& options, void (*work)(const Vault&)) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    ConfigureVault(options);
    if (!InitialiseVault()) _exit(1);
    auto key = Vault::New(32);
    if (!key || !key->WriteSecret([](std::span<uint8_t> bytes) { bytes[0] = 9; })) _exit(1);
    std::vector<double> ratios;
    for (int turn = 0; turn < 51; ++turn) {
      const double ours = Seconds([&] { work(*key); });
      ratios.push_back(ours / Seconds(Raw));
    }
    std::nth_element(ratios.begin(), ratios.begin() + 25, ratios.end());
    printf("| %s | %.2f |\n", name, ratios[25]);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) {
    fprintf(stderr, "%s: no secret memory to be had\n", name);
  }
}

void InGate(const Vault&) {
  const ForkGuard guard;
  Raw();
}
void OnStack(const Vault&) {
  (void)OnShallowStack([] { Raw(); });
}
void OnDeepStack(const Vault&) {
  (void)OnSecretStack([] { Raw(); });
}
void WithKey(const Vault& key) {
  (void)key.WithSecret<32>([](SecretView<32> secret) { X25519(g_out, secret.data(), g_peer); });
}
void NewKey(const Vault& key) {
  auto derived = Vault::New(32);
  if (!derived) return;
  (void)derived->WriteSecret<32>([&](WritableSecretView<32> out) {
    (void)key.WithSecret<32>(
        [&](SecretView<32> secret) { X25519(out.data(), secret.data(), g_peer); });
  });
}

}  // namespace

int main() {
  const MemoryOptions plain;
  const MemoryOptions mprotected = {.at_rest = AtRest::kMprotect};
  const MemoryOptions pages = {.page_per_vault = true};
  const MemoryOptions both = {.at_rest = AtRest::kMprotect, .page_per_vault = true};
  puts("| one X25519 | ratio to BoringSSL's call alone |\n| --- | --- |");
  Row("signals blocked, fork gate held", plain, InGate);
  Row("on a secret stack of 16 KiB, wiped, registers cleared", plain, OnStack);
  Row("on one of 64 KiB", plain, OnDeepStack);
  Row("with a key in a vault", plain, WithKey);
  Row("into a new vault, wiped afterwards", plain, NewKey);
  Row("the same, isolation = \"page\"", pages, NewKey);
  Row("the same, at_rest = \"mprotect\"", mprotected, NewKey);
  Row("the same, both", both, NewKey);
}

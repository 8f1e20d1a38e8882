// What each protection costs: one X25519 with each, beside BoringSSL's own call in the same turns;
// and the price of each protection alone, with it and without in the same turns. Whatever else the
// machine does meets both sides of a turn alike. Options of a process are chosen once, so every row
// is a child of its own.

#include <openssl/curve25519.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "vault/fork_gate.h"
#include "vault/secret_heap.h"
#include "vault/secret_memory.h"
#include "vault/secret_stack.h"
#include "vault/stack_switch.h"
#include "vault/used_stack.h"
#include "vault/vault.h"

namespace {

using namespace secretmem;

constexpr int kTurns = 51;

uint8_t g_peer[32] = {9};
uint8_t g_out[32];

void Raw() {
  static const uint8_t key[32] = {9, 9, 9};
  X25519(g_out, key, g_peer);
}

// Nanoseconds of one |work| on average over a turn, of this thread's own processor time: other
// processes take theirs from both sides alike, but not at the same moments.
double ThreadTime() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}
template <class F>
double Nanoseconds(int times, F&& work) {
  const double start = ThreadTime();
  for (int i = 0; i < times; ++i) work();
  return (ThreadTime() - start) / times;
}

double Median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// InChild runs |print| in a child with |options|.
template <class F>
void InChild(const char* name, const MemoryOptions& options, F&& print) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    ConfigureVault(options);
    if (!InitialiseVault()) _exit(1);
    auto key = Vault::New(32);
    if (!key || !key->WriteSecret([](std::span<uint8_t> bytes) { bytes[0] = 9; })) _exit(1);
    print(*key);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) {
    fprintf(stderr, "%s: no secret memory to be had\n", name);
  }
}

// Row prints the median ratio of |work| to the bare call.
void Row(const char* name, const MemoryOptions& options, void (*work)(const Vault&)) {
  InChild(name, options, [&](const Vault& key) {
    constexpr int kTimes = 200;
    std::vector<double> ratios;
    for (int turn = 0; turn < kTurns; ++turn) {
      const double ours = Nanoseconds(kTimes, [&] { work(key); });
      ratios.push_back(ours / Nanoseconds(kTimes, Raw));
    }
    printf("| %s | %.2f |\n", name, Median(ratios));
  });
}

// Price prints how much longer |with| takes than |without|, and what part of an X25519 that is.
void Price(const char* name, const MemoryOptions& options, void (*with)(), void (*without)()) {
  InChild(name, options, [&](const Vault&) {
    constexpr int kTimes = 2000;
    std::vector<double> more, bare;
    for (int turn = 0; turn < kTurns; ++turn) {
      const double ours = Nanoseconds(kTimes, with);
      more.push_back(ours - Nanoseconds(kTimes, without));
      bare.push_back(Nanoseconds(kTimes / 20, Raw));
    }
    const double price = Median(more);
    printf("| %s | %.0f | %.1f %% |\n", name, price, 100 * price / Median(bare));
  });
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

[[gnu::noinline]] void Nothing() { __asm__ volatile(""); }
void NothingToDo(void*) { Nothing(); }

void Gate() { const ForkGuard guard; }

void Heaps() {
  KeyHeap().Open();
  WorkHeap().Open();
  WorkHeap().Close();
  KeyHeap().Close();
}

// An X25519 leaves 2 KiB of the 16 behind.
constexpr size_t kStack = size_t{1} << 14;
constexpr size_t kUsed = size_t{2} << 10;
alignas(64) std::byte g_stack[kStack];

void Use() {
  memset(g_stack + kStack - kUsed, 0x5a, kUsed);
  __asm__ volatile("" : : "r"(g_stack) : "memory");
}
void UseAndWipe() {
  Use();
  const size_t first = internal::UsedFrom(g_stack, kStack);
  Wipe(g_stack + first, kStack - first);
}

#if defined(__x86_64__)
// To another stack and back, nothing more.
void Switch() {
  __asm__ volatile(
      "movq %%rsp, %%rbx\n\t"
      "movq %0, %%rsp\n\t"
      "callq *%1\n\t"
      "movq %%rbx, %%rsp\n\t"
      :
      : "r"(g_stack + kStack), "r"(&NothingToDo), "D"(nullptr)
      : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}
void SwitchAndClear() {
  static const int vectors = __builtin_cpu_supports("avx512vl") ? 2
                             : __builtin_cpu_supports("avx")    ? 1
                                                                : 0;
  void* ordinary = nullptr;
  (void)secretmem_call_on_stack(g_stack + kStack, NothingToDo, nullptr, vectors, &ordinary);
}
#endif

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
  puts("\n| one protection alone | nanoseconds | of an X25519 |\n| --- | --- | --- |");
  Price("signals blocked, fork gate held", plain, Gate, Nothing);
#if defined(__x86_64__)
  Price("another stack", plain, Switch, Nothing);
  Price("registers cleared", plain, SwitchAndClear, Switch);
#endif
  Price("16 KiB of stack looked through, 2 KiB wiped", plain, UseAndWipe, Use);
  Price("keys opened and closed, at_rest = \"mprotect\"", mprotected, Heaps, Nothing);
}

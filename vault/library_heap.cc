// The three heaps, BoringSSL's allocation hooks on them, and the library heap's way through fork.

#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <new>
#include <utility>

#include "vault/child_copy.h"
#include "vault/fork_gate.h"
#include "vault/secret_heap.h"
#include "vault/secret_memory.h"

namespace secretmem {
namespace {

// Never destroyed: BoringSSL frees at thread exit, which may come after static destructors.
alignas(SecretHeap) std::byte g_key_heap[sizeof(SecretHeap)];
alignas(SecretHeap) std::byte g_work_heap[sizeof(SecretHeap)];
alignas(SecretHeap) std::byte g_library_heap[sizeof(SecretHeap)];

struct MakeHeaps {
  MakeHeaps() {
    new (g_key_heap) SecretHeap;
    new (g_work_heap) SecretHeap;
    new (g_library_heap) SecretHeap;
  }
};
const MakeHeaps g_make_heaps;

enum class Target : uint8_t { kWorkHeap, kProcess, kThread };
thread_local Target t_target = Target::kWorkHeap;
thread_local uint32_t t_owner = 0;
thread_local bool t_refused = false;
std::atomic<uint32_t> g_next_owner{1};

std::byte* g_copy = nullptr;  // between prepare and parent or child
size_t g_copy_bytes = 0;
bool g_prepared = false;
bool g_made_room = false;
RoomForChild g_room = {};
bool g_lost = false;

uint32_t ThisThread() {
  if (t_owner == 0) t_owner = g_next_owner++;
  return t_owner;
}

void Prepare() {
  g_prepared = true;
  size_t bytes = 0;
  LibraryHeap().ForEachChunk([&](std::byte*, size_t size) { bytes += size; });
  g_copy = nullptr;
  g_copy_bytes = bytes;
  // A child that did not get its copy has none to give.
  if (bytes == 0 || g_lost) return;
  auto copy = MapSecretForChild(bytes);
  if (!copy && g_room.make != nullptr) {
    g_room.make();
    g_made_room = true;
    copy = MapSecretForChild(bytes);
  }
  if (!copy) return;
  g_copy = *copy;
  std::byte* to = g_copy;
  LibraryHeap().ForEachChunk([&](std::byte* from, size_t size) {
    memcpy(to, from, size);
    to += size;
    // The child keeps the addresses occupied until its copy takes them over in one step; in a gap
    // some other library's child handler could find room for a mapping of its own.
    madvise(from, size, MADV_DOFORK);
  });
}

void DropCopy() {
  if (g_copy == nullptr) return;
  LibraryHeap().ForEachChunk(
      [](std::byte* chunk, size_t size) { madvise(chunk, size, MADV_DONTFORK); });
  munmap(g_copy, g_copy_bytes);
  g_copy = nullptr;
}

void Parent() {
  g_prepared = false;
  DropCopy();
  if (std::exchange(g_made_room, false)) g_room.take_back();
}

void Child() {
  KeyHeap().Abandon();
  WorkHeap().Abandon();
  g_made_room = false;
  // Without preparation this is the child of a child that fork handlers know nothing of.
  if (!std::exchange(g_prepared, false)) g_lost = true;
  if (g_lost || g_copy_bytes == 0) return;
  if (g_copy == nullptr) {
    g_lost = true;
    return;
  }
  std::byte* from = g_copy;
  LibraryHeap().ForEachChunk([&](std::byte* to, size_t size) {
    if (!MoveSecret(from, size, to)) g_lost = true;
    from += size;
  });
  g_copy = nullptr;
  if (!g_lost) LibraryHeap().FreeOthers(ThisThread());
}

}  // namespace

SecretHeap& KeyHeap() { return *std::launder(reinterpret_cast<SecretHeap*>(g_key_heap)); }

SecretHeap& WorkHeap() { return *std::launder(reinterpret_cast<SecretHeap*>(g_work_heap)); }

SecretHeap& LibraryHeap() { return *std::launder(reinterpret_cast<SecretHeap*>(g_library_heap)); }

LibraryHeapScope::LibraryHeapScope(Lifetime lifetime) {
  t_target = lifetime == Lifetime::kProcess ? Target::kProcess : Target::kThread;
}
LibraryHeapScope::~LibraryHeapScope() { t_target = Target::kWorkHeap; }

void SetRoomForChild(const RoomForChild& room) { g_room = room; }

void InstallHeapForkHooks() { AddForkHooks({Prepare, Parent, Child}); }

bool LibraryHeapLost() { return g_lost; }

bool TakeRefusal() { return std::exchange(t_refused, false); }

}  // namespace secretmem

// The signatures are BoringSSL's; it calls them for every allocation it makes.
extern "C" {

void* OPENSSL_memory_alloc(size_t size) {
  using secretmem::Target;
  const secretmem::ForkGuard guard;
  const Target target = secretmem::t_target;
  auto pointer = target == Target::kWorkHeap
                     ? secretmem::WorkHeap().Allocate(size)
                     : secretmem::LibraryHeap().Allocate(
                           size, target == Target::kThread ? secretmem::ThisThread() : 0);
  if (pointer) return *pointer;
  secretmem::t_refused = true;
  return nullptr;
}

void OPENSSL_memory_free(void* pointer) {
  const secretmem::ForkGuard guard;
  if (secretmem::WorkHeap().Owns(pointer)) {
    secretmem::WorkHeap().Free(pointer);
  } else if (secretmem::LibraryHeap().Owns(pointer) && !secretmem::LibraryHeapLost()) {
    secretmem::LibraryHeap().Free(pointer);
  }
}

size_t OPENSSL_memory_get_size(void* pointer) {
  const secretmem::ForkGuard guard;
  return secretmem::WorkHeap().Owns(pointer) ? secretmem::WorkHeap().SizeOf(pointer)
                                             : secretmem::LibraryHeap().SizeOf(pointer);
}

}  // extern "C"

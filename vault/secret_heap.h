#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "vault/error.h"
#include "vault/short_mutex.h"

namespace secretmem {

// SecretHeap hands out secret memory in size classes. Its books lie in ordinary memory and tell
// sizes and places only. Free slots are zero: Free wipes, so Allocate returns zeros. Pages of slots
// and larger slots lie between canaries, which Free checks. Every call is made under a ForkGuard.
//
// Address space is reserved once. Chunks of 64 KiB are mapped into it on demand, inaccessible
// addresses on both sides of each, and given back when they are empty.
class SecretHeap {
 public:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kChunkPages = 16;
  static constexpr size_t kChunkBytes = kPage * kChunkPages;
  static constexpr size_t kGranule = 16;

  // Allocate returns |size| zero bytes, aligned to 16, or the reason why there are none. An
  // allocation of 0 bytes gets the smallest slot. |owner| is any number the caller likes.
  VaultResult<void*> Allocate(size_t size, uint32_t owner = 0);

  // AllocateAlone returns |size| zero bytes on pages of their own between inaccessible addresses.
  VaultResult<void*> AllocateAlone(size_t size);

  // Free wipes the slot and takes it back. |pointer| comes from Allocate of this heap.
  void Free(void* pointer);

  // SizeOf returns the bytes that the slot of |pointer| can hold, at least the size asked for.
  size_t SizeOf(const void* pointer);

  // Owns says whether |pointer| lies in this heap's addresses.
  bool Owns(const void* pointer) const;

  // Bytes mapped at present, guards not counted.
  size_t mapped_bytes() const;

  // GuardAtRest puts this heap under the at-rest protection of the memory options: its memory is
  // accessible only between Open and Close, which nest and may come from many threads.
  void GuardAtRest() { guarded_ = true; }
  void Open();
  void Close();

  // Trim looks at all canaries and gives back the empty chunk that is otherwise kept for the next
  // allocation.
  void Trim();

  // FreeOthers frees every slot whose owner is neither 0 nor |owner|.
  void FreeOthers(uint32_t owner);

  // ForEachChunk calls |visit(address, bytes)| for every mapped chunk.
  template <class Visit>
  void ForEachChunk(Visit&& visit) {
    for (size_t unit = 0; unit < unit_limit_; ++unit) {
      if (units_[unit].chunk != nullptr && units_[unit].head) {
        visit(AddressOf(unit), units_[unit].chunk->bytes);
      }
    }
  }

  // Abandon drops books and addresses without touching the memory, in a child that does not have
  // it: what lay there may be anybody's by now. The next Allocate begins elsewhere.
  void Abandon();

 private:
  struct Chunk;

  // A page of small slots, or the first page of a run that is one slot.
  struct Page {
    enum class Use : uint8_t { kFree, kSlots, kRun, kRunRest };
    Use use = Use::kFree;
    uint8_t size_class = 0;
    uint16_t run_pages = 0;
    uint16_t used = 0;
    std::bitset<kPage / kGranule> taken;
    Chunk* chunk = nullptr;
    Page* next = nullptr;  // pages of a class with a free slot
    Page* previous = nullptr;
  };

  struct Chunk {
    std::byte* base = nullptr;
    size_t bytes = 0;  // kChunkBytes, or more for one large slot
    size_t free_pages = kChunkPages;
    bool sealed = false;  // cannot be unmapped any more
    uint32_t large_owner = 0;
    std::array<Page, kChunkPages> pages;
    std::unique_ptr<uint32_t[]> owners;  // by granule; made when the first owner is not 0
  };

  struct Unit {
    Chunk* chunk = nullptr;
    bool head = false;
  };

  static constexpr size_t kClasses = 20;
  static const std::array<uint16_t, kClasses> kClassSizes;

  VaultResult<void> Reserve();
  VaultResult<Chunk*> NewChunk(size_t bytes);
  void DropChunk(Chunk* chunk);
  VaultResult<Page*> NewRun(size_t pages);
  VaultResult<void*> AllocateSlot(size_t size_class, uint32_t owner);
  VaultResult<void*> AllocateRun(size_t pages, uint32_t owner);
  VaultResult<void*> AllocateLarge(size_t size, uint32_t owner);
  void FreeLocked(void* pointer);
  // Opened opens the heap while it lives. It comes before the lock, which Open and Close take.
  struct Opened {
    explicit Opened(SecretHeap& its) : heap(its) { heap.Open(); }
    ~Opened() { heap.Close(); }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    SecretHeap& heap;
  };

  void SetAccessLocked(bool open);
  void CheckLocked() const;
  void ReleaseRun(Page* first);
  void Link(Page* page);
  void Unlink(Page* page);
  void SetOwner(Chunk* chunk, const void* pointer, uint32_t owner);
  uint32_t OwnerOf(const Chunk* chunk, const void* pointer) const;
  Page* PageOf(Chunk* chunk, const void* pointer) const;
  std::byte* PageAddress(const Page* page) const;
  Chunk* ChunkOf(const void* pointer) const;
  std::byte* AddressOf(size_t unit) const;

  mutable ShortMutex mutex_;
  std::byte* base_ = nullptr;
  size_t unit_count_ = 0;  // reserved
  size_t unit_limit_ = 0;  // one past the highest ever used
  size_t full_below_ = 0;  // all units before this one have chunks
  std::unique_ptr<Unit[]> units_;
  std::array<Page*, kClasses> partial_{};
  Chunk* with_free_pages_ = nullptr;  // a hint
  size_t empty_chunks_ = 0;
  size_t mapped_ = 0;
  bool guarded_ = false;
  size_t open_ = 0;
};

// KeyHeap holds the vaults. A child of fork does not get it.
SecretHeap& KeyHeap();

// WorkHeap holds what BoringSSL allocates while it works with keys, and operation contexts. A child
// of fork does not get it.
SecretHeap& WorkHeap();

// LibraryHeap holds what BoringSSL keeps for long: per-thread random generators and error queues,
// curve tables. A child of fork gets a copy of it at the same addresses, without the parts that
// belong to threads it does not have.
SecretHeap& LibraryHeap();

// Lifetime says whose an allocation of the library heap is.
enum class Lifetime : uint8_t { kProcess, kThread };

// LibraryHeapScope sends this thread's BoringSSL allocations to the library heap; without one they
// go to the work heap. It does not nest.
class LibraryHeapScope {
 public:
  explicit LibraryHeapScope(Lifetime lifetime);
  ~LibraryHeapScope();
  LibraryHeapScope(const LibraryHeapScope&) = delete;
  LibraryHeapScope& operator=(const LibraryHeapScope&) = delete;
};

// InstallHeapForkHooks registers the copying of the library heap; called once, by the initialiser
// of the vault.
void InstallHeapForkHooks();

// LibraryHeapLost is true in a child that could not get its copy: BoringSSL is unusable there.
bool LibraryHeapLost();

// TakeRefusal returns whether BoringSSL was refused memory on this thread since the last call: its
// functions then fail without saying why.
bool TakeRefusal();

}  // namespace secretmem

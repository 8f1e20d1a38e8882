#include "vault/secret_heap.h"

#include <algorithm>
#include <new>

#include "vault/canary.h"
#include "vault/secret_memory.h"

namespace secretmem {
namespace {

// A unit of address space: a chunk and as much inaccessible space behind it.
constexpr size_t kUnitBytes = 2 * SecretHeap::kChunkBytes;

// What a page of slots has room for between its canaries.
constexpr size_t kSlotSpace = SecretHeap::kPage - 2 * kCanaryBytes;

constexpr size_t PagesFor(size_t size) {
  return (size + 2 * kCanaryBytes + SecretHeap::kPage - 1) / SecretHeap::kPage;
}

void SetCanaries(std::byte* low, size_t bytes) {
  SetCanary(low);
  SetCanary(low + bytes - kCanaryBytes);
}

// ClearCanaries leaves zeros where free memory has them.
void ClearCanaries(std::byte* low, size_t bytes) {
  for (std::byte* at : {low, low + bytes - kCanaryBytes}) {
    CheckCanary(at);
    Wipe(at, kCanaryBytes);
  }
}

void CheckCanaries(const std::byte* low, size_t bytes) {
  CheckCanary(low);
  CheckCanary(low + bytes - kCanaryBytes);
}

bool IsClosedByMprotect() { return CurrentMemoryOptions().at_rest == AtRest::kMprotect; }

// Tried in turn, for processes whose address space is limited.
constexpr size_t kReserveBytes[] = {size_t{1} << 33, size_t{1} << 30, size_t{1} << 26};

}  // namespace

const std::array<uint16_t, SecretHeap::kClasses> SecretHeap::kClassSizes = {
    16,  32,  48,  64,  80,  96,  128, 160,  192,  224,
    256, 320, 384, 448, 512, 640, 800, 1008, 1344, 2032};

std::byte* SecretHeap::AddressOf(size_t unit) const { return base_ + unit * kUnitBytes; }

bool SecretHeap::Owns(const void* pointer) const {
  const auto* at = static_cast<const std::byte*>(pointer);
  return base_ != nullptr && at >= base_ && at < base_ + unit_count_ * kUnitBytes;
}

SecretHeap::Chunk* SecretHeap::ChunkOf(const void* pointer) const {
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(pointer) - base_);
  return units_[offset / kUnitBytes].chunk;
}

SecretHeap::Page* SecretHeap::PageOf(Chunk* chunk, const void* pointer) const {
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(pointer) - chunk->base);
  return &chunk->pages[offset / kPage];
}

std::byte* SecretHeap::PageAddress(const Page* page) const {
  return page->chunk->base + static_cast<size_t>(page - page->chunk->pages.data()) * kPage;
}

VaultResult<void> SecretHeap::Reserve() {
  if (base_ != nullptr) return {};
  VaultError error{VaultErrc::kOutOfMemory};
  for (const size_t bytes : kReserveBytes) {
    auto reserved = ReserveAddresses(bytes);
    if (!reserved) {
      error = reserved.error();
      continue;
    }
    const size_t count = bytes / kUnitBytes - 1;
    units_.reset(new (std::nothrow) Unit[count]);
    if (units_ == nullptr) return std::unexpected(VaultError{VaultErrc::kOutOfMemory});
    // The first chunk, too, has inaccessible addresses before it.
    base_ = *reserved + kChunkBytes;
    unit_count_ = count;
    return {};
  }
  return std::unexpected(error);
}

VaultResult<SecretHeap::Chunk*> SecretHeap::NewChunk(size_t bytes) {
  if (auto reserved = Reserve(); !reserved) return std::unexpected(reserved.error());
  const size_t needed = (bytes + kChunkBytes + kUnitBytes - 1) / kUnitBytes;
  while (full_below_ < unit_count_ && units_[full_below_].chunk != nullptr) ++full_below_;
  size_t run = 0;
  size_t unit = full_below_;
  for (; unit < unit_count_ && run < needed; ++unit) {
    run = units_[unit].chunk == nullptr ? run + 1 : 0;
  }
  if (run < needed) return std::unexpected(VaultError{VaultErrc::kOutOfMemory});
  unit -= needed;

  std::unique_ptr<Chunk> chunk(new (std::nothrow) Chunk);
  if (chunk == nullptr) return std::unexpected(VaultError{VaultErrc::kOutOfMemory});
  chunk->base = AddressOf(unit);
  chunk->bytes = bytes;
  for (Page& page : chunk->pages) page.chunk = chunk.get();
  if (auto mapped = MapSecret(chunk->base, bytes); !mapped) {
    return std::unexpected(mapped.error());
  }
  if (guarded_) {
    const auto sealed = GuardSecret(chunk->base, bytes, bytes == kChunkBytes);
    if (!sealed) {
      UnmapSecret(chunk->base, bytes);
      return std::unexpected(sealed.error());
    }
    chunk->sealed = *sealed;
    if (open_ > 0 && IsClosedByMprotect()) SetAccess(chunk->base, bytes, true);
  }
  for (size_t i = 0; i < needed; ++i) units_[unit + i] = {chunk.get(), i == 0};
  unit_limit_ = std::max(unit_limit_, unit + needed);
  mapped_ += bytes;
  return chunk.release();
}

void SecretHeap::DropChunk(Chunk* chunk) {
  const size_t unit = static_cast<size_t>(chunk->base - base_) / kUnitBytes;
  const size_t needed = (chunk->bytes + kChunkBytes + kUnitBytes - 1) / kUnitBytes;
  for (size_t i = 0; i < needed; ++i) units_[unit + i] = {};
  full_below_ = std::min(full_below_, unit);
  if (with_free_pages_ == chunk) with_free_pages_ = nullptr;
  mapped_ -= chunk->bytes;
  UnmapSecret(chunk->base, chunk->bytes);
  delete chunk;
}

VaultResult<SecretHeap::Page*> SecretHeap::NewRun(size_t pages) {
  const auto find = [pages](Chunk& chunk) -> Page* {
    if (chunk.bytes != kChunkBytes || chunk.free_pages < pages) return nullptr;
    size_t run = 0;
    for (size_t i = 0; i < kChunkPages; ++i) {
      run = chunk.pages[i].use == Page::Use::kFree ? run + 1 : 0;
      if (run == pages) return &chunk.pages[i + 1 - pages];
    }
    return nullptr;
  };
  Page* first = with_free_pages_ != nullptr ? find(*with_free_pages_) : nullptr;
  for (size_t unit = 0; first == nullptr && unit < unit_limit_; ++unit) {
    if (units_[unit].head) first = find(*units_[unit].chunk);
  }
  if (first == nullptr) {
    auto chunk = NewChunk(kChunkBytes);
    if (!chunk) return std::unexpected(chunk.error());
    ++empty_chunks_;
    first = (*chunk)->pages.data();
  }
  Chunk& chunk = *first->chunk;
  if (chunk.free_pages == kChunkPages) --empty_chunks_;
  chunk.free_pages -= pages;
  with_free_pages_ = chunk.free_pages > 0 ? &chunk : nullptr;
  for (size_t i = 0; i < pages; ++i) first[i].use = Page::Use::kRunRest;
  first->run_pages = static_cast<uint16_t>(pages);
  return first;
}

void SecretHeap::ReleaseRun(Page* first) {
  Chunk* chunk = first->chunk;
  const size_t pages = first->run_pages;
  for (size_t i = 0; i < pages; ++i) {
    first[i].use = Page::Use::kFree;
    first[i].used = 0;
  }
  chunk->free_pages += pages;
  with_free_pages_ = chunk;
  if (chunk->free_pages < kChunkPages) return;
  // One empty chunk stays, so that a key made and destroyed in turn does not map each time.
  if (empty_chunks_ == 0 || chunk->sealed) {
    ++empty_chunks_;
  } else {
    DropChunk(chunk);
  }
}

void SecretHeap::Link(Page* page) {
  Page*& head = partial_[page->size_class];
  page->previous = nullptr;
  page->next = head;
  if (head != nullptr) head->previous = page;
  head = page;
}

void SecretHeap::Unlink(Page* page) {
  (page->previous != nullptr ? page->previous->next : partial_[page->size_class]) = page->next;
  if (page->next != nullptr) page->next->previous = page->previous;
}

void SecretHeap::SetOwner(Chunk* chunk, const void* pointer, uint32_t owner) {
  if (chunk->bytes != kChunkBytes) {
    chunk->large_owner = owner;
    return;
  }
  if (chunk->owners == nullptr) {
    if (owner == 0) return;
    chunk->owners.reset(new (std::nothrow) uint32_t[kChunkBytes / kGranule]());
    if (chunk->owners == nullptr) return;
  }
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(pointer) - chunk->base);
  chunk->owners[offset / kGranule] = owner;
}

uint32_t SecretHeap::OwnerOf(const Chunk* chunk, const void* pointer) const {
  if (chunk->bytes != kChunkBytes) return chunk->large_owner;
  if (chunk->owners == nullptr) return 0;
  const auto offset = static_cast<size_t>(static_cast<const std::byte*>(pointer) - chunk->base);
  return chunk->owners[offset / kGranule];
}

VaultResult<void*> SecretHeap::AllocateSlot(size_t size_class, uint32_t owner) {
  const size_t slot_bytes = kClassSizes[size_class];
  const size_t slots = kSlotSpace / slot_bytes;
  Page* page = partial_[size_class];
  if (page == nullptr) {
    auto run = NewRun(1);
    if (!run) return std::unexpected(run.error());
    page = *run;
    page->use = Page::Use::kSlots;
    page->size_class = static_cast<uint8_t>(size_class);
    page->taken.reset();
    SetCanaries(PageAddress(page), kPage);
    Link(page);
  }
  size_t slot = 0;
  while (page->taken[slot]) ++slot;
  page->taken.set(slot);
  if (++page->used == slots) Unlink(page);
  std::byte* pointer = PageAddress(page) + kCanaryBytes + slot * slot_bytes;
  SetOwner(page->chunk, pointer, owner);
  return pointer;
}

VaultResult<void*> SecretHeap::AllocateRun(size_t pages, uint32_t owner) {
  auto run = NewRun(pages);
  if (!run) return std::unexpected(run.error());
  (*run)->use = Page::Use::kRun;
  SetCanaries(PageAddress(*run), pages * kPage);
  std::byte* pointer = PageAddress(*run) + kCanaryBytes;
  SetOwner((*run)->chunk, pointer, owner);
  return pointer;
}

VaultResult<void*> SecretHeap::AllocateLarge(size_t size, uint32_t owner) {
  auto chunk = NewChunk(PagesFor(size) * kPage);
  if (!chunk) return std::unexpected(chunk.error());
  (*chunk)->large_owner = owner;
  SetCanaries((*chunk)->base, (*chunk)->bytes);
  return (*chunk)->base + kCanaryBytes;
}

VaultResult<void*> SecretHeap::Allocate(size_t size, uint32_t owner) {
  // Beyond this the rounding below could overflow; no reservation is near it.
  if (size > kReserveBytes[0]) return std::unexpected(VaultError{VaultErrc::kOutOfMemory});
  const Opened opened(*this);
  const std::lock_guard lock(mutex_);
  if (size <= kClassSizes.back()) {
    const auto fit = std::lower_bound(kClassSizes.begin(), kClassSizes.end(), size);
    return AllocateSlot(static_cast<size_t>(fit - kClassSizes.begin()), owner);
  }
  if (PagesFor(size) <= kChunkPages) return AllocateRun(PagesFor(size), owner);
  return AllocateLarge(size, owner);
}

VaultResult<void*> SecretHeap::AllocateAlone(size_t size) {
  if (size > kReserveBytes[0]) return std::unexpected(VaultError{VaultErrc::kOutOfMemory});
  const Opened opened(*this);
  const std::lock_guard lock(mutex_);
  // A region of a chunk's size is a chunk to the books; a run of all its pages is alone in it.
  if (PagesFor(size) == kChunkPages) return AllocateRun(kChunkPages, 0);
  return AllocateLarge(size, 0);
}

void SecretHeap::SetAccessLocked(bool open) {
  for (size_t unit = 0; unit < unit_limit_; ++unit) {
    if (units_[unit].head) SetAccess(units_[unit].chunk->base, units_[unit].chunk->bytes, open);
  }
}

void SecretHeap::Open() {
  if (!guarded_) return;
  SetThreadAccess(true);
  if (!IsClosedByMprotect()) return;
  const std::lock_guard lock(mutex_);
  if (open_++ == 0) SetAccessLocked(true);
}

void SecretHeap::Close() {
  if (!guarded_) return;
  SetThreadAccess(false);
  if (!IsClosedByMprotect()) return;
  const std::lock_guard lock(mutex_);
  if (--open_ == 0) SetAccessLocked(false);
}

void SecretHeap::FreeLocked(void* pointer) {
  Chunk* chunk = ChunkOf(pointer);
  if (chunk->bytes != kChunkBytes) {
    ClearCanaries(chunk->base, chunk->bytes);
    Wipe(chunk->base + kCanaryBytes, chunk->bytes - 2 * kCanaryBytes);
    DropChunk(chunk);
    return;
  }
  Page* page = PageOf(chunk, pointer);
  SetOwner(chunk, pointer, 0);
  if (page->use == Page::Use::kRun) {
    ClearCanaries(PageAddress(page), page->run_pages * kPage);
    Wipe(pointer, page->run_pages * kPage - 2 * kCanaryBytes);
    ReleaseRun(page);
    return;
  }
  const size_t slot_bytes = kClassSizes[page->size_class];
  Wipe(pointer, slot_bytes);
  const auto offset =
      static_cast<size_t>(static_cast<std::byte*>(pointer) - PageAddress(page)) - kCanaryBytes;
  page->taken.reset(offset / slot_bytes);
  if (page->used-- == kSlotSpace / slot_bytes) Link(page);
  if (page->used > 0) {
    CheckCanaries(PageAddress(page), kPage);
  } else {
    ClearCanaries(PageAddress(page), kPage);
    Unlink(page);
    ReleaseRun(page);
  }
}

void SecretHeap::Free(void* pointer) {
  const Opened opened(*this);
  const std::lock_guard lock(mutex_);
  FreeLocked(pointer);
}

size_t SecretHeap::SizeOf(const void* pointer) {
  const std::lock_guard lock(mutex_);
  Chunk* chunk = ChunkOf(pointer);
  if (chunk->bytes != kChunkBytes) return chunk->bytes - 2 * kCanaryBytes;
  const Page* page = PageOf(chunk, pointer);
  return page->use == Page::Use::kRun ? page->run_pages * kPage - 2 * kCanaryBytes
                                      : kClassSizes[page->size_class];
}

size_t SecretHeap::mapped_bytes() const {
  const std::lock_guard lock(mutex_);
  return mapped_;
}

void SecretHeap::CheckLocked() const {
  for (size_t unit = 0; unit < unit_limit_; ++unit) {
    if (!units_[unit].head) continue;
    const Chunk& chunk = *units_[unit].chunk;
    if (chunk.bytes != kChunkBytes) {
      CheckCanaries(chunk.base, chunk.bytes);
      continue;
    }
    for (const Page& page : chunk.pages) {
      if (page.use == Page::Use::kSlots) CheckCanaries(PageAddress(&page), kPage);
      if (page.use == Page::Use::kRun) CheckCanaries(PageAddress(&page), page.run_pages * kPage);
    }
  }
}

void SecretHeap::Trim() {
  const Opened opened(*this);
  const std::lock_guard lock(mutex_);
  CheckLocked();
  for (size_t unit = 0; empty_chunks_ > 0 && unit < unit_limit_; ++unit) {
    if (!units_[unit].head) continue;
    Chunk* chunk = units_[unit].chunk;
    if (chunk->bytes == kChunkBytes && chunk->free_pages == kChunkPages && !chunk->sealed) {
      DropChunk(chunk);
      --empty_chunks_;
    }
  }
}

void SecretHeap::FreeOthers(uint32_t owner) {
  const std::lock_guard lock(mutex_);
  for (size_t unit = 0; unit < unit_limit_; ++unit) {
    for (size_t granule = 0; granule < kChunkBytes / kGranule; ++granule) {
      // Freeing a chunk's last slot may drop the chunk.
      if (!units_[unit].head) break;
      Chunk* chunk = units_[unit].chunk;
      std::byte* pointer = chunk->base + granule * kGranule;
      const uint32_t its = OwnerOf(chunk, pointer);
      if (its != 0 && its != owner) FreeLocked(pointer);
    }
  }
}

void SecretHeap::Abandon() {
  for (size_t unit = 0; unit < unit_limit_; ++unit) {
    if (units_[unit].head) delete units_[unit].chunk;
  }
  units_.reset();
  partial_ = {};
  with_free_pages_ = nullptr;
  base_ = nullptr;
  unit_count_ = unit_limit_ = full_below_ = empty_chunks_ = mapped_ = open_ = 0;
}

}  // namespace secretmem

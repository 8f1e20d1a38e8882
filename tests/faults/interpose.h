// The C library's functions, refused at the n-th call: this program defines them, and the module,
// which is loaded later, calls these.
#pragma once

#include <cstdint>

namespace secretmem::faults {

enum class Refused {
  kNothing,
  kMemory,        // malloc and its like: null, ENOMEM
  kSecretMemory,  // memfd_secret, mmap, ftruncate, madvise: as the kernel does at its limits
  kFiles,         // what reads and writes files: EIO, or ENOSPC where something would grow
};

// Arm makes the n-th call (from 1) of |what| that this thread makes from now on fail, and, with
// |from_then_on|, all after it. 0 only counts.
void Arm(Refused what, uint64_t n, bool from_then_on);

// Disarm ends that and returns how many calls there were.
uint64_t Disarm();

// LiveBlocks is how many blocks malloc has given out and not got back.
int64_t LiveBlocks();

}  // namespace secretmem::faults

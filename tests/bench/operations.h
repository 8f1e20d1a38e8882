// The operations that are measured, of modules and of BoringSSL alone.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "tests/bench/subject.h"

namespace secretmem::bench {

// Work does one operation; one thread calls it again and again. It throws where it fails.
using Work = std::function<void()>;

// Worker makes the Work of one thread; all that it makes share their keys.
using Worker = std::function<Work()>;

// Operation is one row of the table.
struct Operation {
  std::string_view id;    // for --only and JSON
  std::string_view name;  // for people
  // Throws Lacking where the module has it not.
  Worker (*of_module)(const Module& module);
  // BoringSSL's own calls, or null.
  Worker (*raw)();
  // What is asked of us: the ratio to raw, the microseconds more than raw, the speed beside
  // SoftHSM2, and the microseconds in all; 0 where nothing is.
  double most_raw = 0;
  double most_raw_us = 0;
  double least_softhsm2 = 0;
  double most_us = 0;
  // Whether the curves of threads are drawn of it.
  bool scales = false;
};

std::span<const Operation> Operations();

// The raw ones, in raw_operations.cc.
namespace raw {
Worker X25519Derive();
Worker X25519Generate();
Worker Ed25519Sign();
Worker P256Derive();
Worker P256Generate();
Worker P256Sign();
Worker RsaSign();
Worker Aes256Gcm1MiB();
Worker Aes256Gcm16KiB();
Worker Random32();
Worker Sha256Of64();
}  // namespace raw

}  // namespace secretmem::bench

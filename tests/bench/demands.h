// What is asked of this module's operations, and BoringSSL's own calls beside them.
#pragma once

#include "client/bench/operations.h"

namespace secretmem::bench {

struct Demand {
  std::string_view id;  // the operation's
  // BoringSSL's own calls, or null.
  Worker (*raw)() = nullptr;
  // What is asked of us: the ratio to raw, the microseconds more than raw, the speed beside
  // SoftHSM2, and the microseconds in all; 0 where nothing is.
  double most_raw = 0;
  double most_raw_us = 0;
  double least_softhsm2 = 0;
  double most_us = 0;
  // Whether the curves of threads are drawn of it.
  bool scales = false;
};

// DemandOf returns an operation's; of one of which nothing is asked, an empty one.
Demand DemandOf(const Operation& operation);

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

#include "tests/bench/demands.h"

#include <algorithm>

namespace secretmem::bench {
namespace {

constexpr Demand kDemands[] = {
    {.id = "x25519-derive",
     .raw = raw::X25519Derive,
     .most_raw = 1.05,
     .least_softhsm2 = 6,
     .scales = true},
    {.id = "x25519-generate",
     .raw = raw::X25519Generate,
     .most_raw = 1.15,
     .least_softhsm2 = 10,
     .scales = true},
    {.id = "ed25519-sign",
     .raw = raw::Ed25519Sign,
     .most_raw = 1.10,
     .least_softhsm2 = 8,
     .scales = true},
    {.id = "p256-derive", .raw = raw::P256Derive, .least_softhsm2 = 2},
    {.id = "p256-generate", .raw = raw::P256Generate, .least_softhsm2 = 2},
    {.id = "p256-sign",
     .raw = raw::P256Sign,
     .most_raw = 1.10,
     .least_softhsm2 = 1.7,
     .scales = true},
    {.id = "rsa2048-sign", .raw = raw::RsaSign, .most_raw = 1.05, .least_softhsm2 = 1},
    {.id = "aes256-gcm-1m", .raw = raw::Aes256Gcm1MiB, .most_raw = 1.05},
    {.id = "aes256-gcm-16k", .raw = raw::Aes256Gcm16KiB, .most_raw_us = 1.5},
    {.id = "random-32", .raw = raw::Random32, .least_softhsm2 = 1},
    {.id = "sha256-64", .raw = raw::Sha256Of64, .least_softhsm2 = 1.2},
    {.id = "session", .least_softhsm2 = 1.5, .most_us = 1},
};

}  // namespace

Demand DemandOf(const Operation& operation) {
  const auto found = std::ranges::find(kDemands, operation.id, &Demand::id);
  return found == std::end(kDemands) ? Demand{.id = operation.id} : *found;
}

}  // namespace secretmem::bench

#include "vault/short_mutex.h"

#include <atomic>

namespace secretmem {
namespace {

std::atomic<size_t> g_threads{0};
thread_local size_t t_stripe = kStripes;

}  // namespace

size_t ThreadStripe() {
  if (t_stripe == kStripes) t_stripe = g_threads++ % kStripes;
  return t_stripe;
}

}  // namespace secretmem

#include "pkcs11/clock.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <span>

#include "vault/sealing.h"

namespace secretmem {
namespace {

int64_t Read(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

int64_t SystemBoottime() { return Read(CLOCK_BOOTTIME); }
int64_t SystemWall() { return Read(CLOCK_REALTIME); }

BootId SystemBoot() {
  uint8_t text[128] = {};
  const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  ssize_t got;
  do {
    got = read(fd, text, sizeof(text) / 2);
  } while (got < 0 && errno == EINTR);
  close(fd);
  if (got <= 0) return {};
  const auto size = static_cast<size_t>(got);
  // Kernels without time namespaces have no such link, and no offsets either.
  const ssize_t link =
      readlink("/proc/self/ns/time", reinterpret_cast<char*>(text) + size, sizeof(text) - size);
  const size_t used = size + (link > 0 ? static_cast<size_t>(link) : 0);
  const KeyedHash hash = Checksum(std::span(text, used));
  BootId id;
  std::copy_n(hash.begin(), id.size(), id.begin());
  return id;
}

constexpr Clocks kSystem{SystemBoottime, SystemWall, SystemBoot};
std::atomic<const Clocks*> g_clocks{&kSystem};

}  // namespace

const Clocks& CurrentClocks() { return *g_clocks.load(std::memory_order_acquire); }

void SetClocksForTesting(const Clocks* clocks) { g_clocks = clocks != nullptr ? clocks : &kSystem; }

}  // namespace secretmem

#include "pkcs11/key_dates.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace secretmem {
namespace {

std::atomic<bool> g_enforced{false};

// Today as a CK_DATE: eight digits, so that earlier days compare less.
std::array<uint8_t, sizeof(CK_DATE)> Today() {
  const time_t now = CurrentClocks().wall_ms() / 1000;
  tm day{};
  gmtime_r(&now, &day);
  const auto number = static_cast<unsigned>((day.tm_year + 1900) % 10'000) * 10'000 +
                      static_cast<unsigned>(day.tm_mon + 1) * 100 +
                      static_cast<unsigned>(day.tm_mday);
  std::array<uint8_t, sizeof(CK_DATE)> digits;
  unsigned rest = number;
  for (size_t i = digits.size(); i-- > 0; rest /= 10)
    digits[i] = static_cast<uint8_t>('0' + rest % 10);
  return digits;
}

}  // namespace

void EnforceKeyDates(bool enforce) { g_enforced = enforce; }

bool IsOutsideItsDates(const Object& object) {
  if (!g_enforced) return false;
  const auto start = object.attributes.Get(CKA_START_DATE);
  const auto end = object.attributes.Get(CKA_END_DATE);
  const bool starts = start && !start->empty();
  const bool ends = end && !end->empty();
  if (!starts && !ends) return false;
  const auto today = Today();
  return (starts && std::ranges::lexicographical_compare(today, *start)) ||
         (ends && std::ranges::lexicographical_compare(*end, today));
}

}  // namespace secretmem

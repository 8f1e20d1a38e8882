// The configuration file.
#include "pkcs11/config.h"

#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretmem;
  const auto config = ParseConfig({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!config) {
    // One line for the log.
    if (config.error().reason.empty()) abort();
    return 0;
  }
  const PinConfig& pin = config->pin;
  if (pin.iterations < 1000 || pin.iterations > kMaxPinIterations || pin.min_length < 1 ||
      pin.max_length > 255 || pin.min_length > pin.max_length || pin.max_failures > 1000 ||
      pin.delay_ms > 60'000) {
    abort();
  }
  return 0;
}

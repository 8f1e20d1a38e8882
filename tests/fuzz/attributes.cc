// The attributes of an object as they lie in the token's file: Parse takes what Serialize makes,
// and nothing else.
#include <algorithm>
#include <cstdlib>

#include "pkcs11/attribute_set.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using secretmem::AttributeSet;
  const auto parsed = AttributeSet::Parse({data, size});
  if (!parsed) return 0;
  const auto bytes = parsed->Serialize();
  if (!std::ranges::equal(bytes, std::span(data, size))) abort();
  size_t count = 0;
  parsed->ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
    const auto got = parsed->Get(type);
    if (!got || !std::ranges::equal(*got, value)) abort();
    (void)parsed->GetTemplate(type);
    ++count;
  });
  if (count != parsed->size()) abort();
  return 0;
}

// What parses key material: CKA_EC_PARAMS, CKA_EC_POINT, RSA's numbers, and PKCS#8 as unwrapping
// meets it.
#include <cstdlib>
#include <map>

#include "mechanisms/key_family.h"
#include "mechanisms/pkcs8.h"
#include "tests/fuzz/input.h"
#include "vault/secret_stack.h"

namespace secretmem::fuzz {
namespace {

class Attributes : public AttributeSource {
 public:
  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const override {
    const auto found = values.find(type);
    if (found == values.end()) return std::nullopt;
    return std::span<const uint8_t>(found->second);
  }
  std::map<CK_ATTRIBUTE_TYPE, Bytes> values;
};

constexpr CK_KEY_TYPE kTypes[] = {CKK_EC,  CKK_EC_EDWARDS, CKK_EC_MONTGOMERY,
                                  CKK_RSA, CKK_AES,        CKK_GENERIC_SECRET};

void Import(const KeyFamily& family, CK_KEY_TYPE type, Input& input) {
  Attributes given;
  if (type == CKK_RSA) {
    for (const CK_ATTRIBUTE_TYPE number :
         {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2,
          CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT}) {
      if (input.Below(4) != 0) given.values[number] = input.Some(260);
    }
  } else {
    given.values[CKA_EC_PARAMS] = input.Some(40);
    given.values[CKA_EC_POINT] = input.Some(150);
    given.values[CKA_VALUE] = input.Some(80);
  }
  if (family.import_public != nullptr) (void)family.import_public(given);
  if (family.import_private != nullptr) (void)family.import_private(given);
  if (family.import_secret != nullptr) (void)family.import_secret(given);
}

// A key that is taken in must come out as it is.
void Unwrap(const KeyFamily& family, CK_KEY_TYPE type, const Bytes& der) {
  if (family.from_pkcs8 == nullptr) return;
  auto vault = Vault::CopyOf(der);
  if (!vault) return;
  std::optional<CkResult<NewKey>> key;
  const auto done = vault->WithSecret(
      [&](std::span<const uint8_t> bytes) { key.emplace(family.from_pkcs8(bytes)); });
  if (!done || !key || !*key) return;
  Attributes attributes;
  for (const AttributeValue& value : (*key)->attributes)
    attributes.values[value.type] = value.value;
  const auto again = family.to_pkcs8({CKO_PRIVATE_KEY, type, attributes, &(*key)->secret});
  if (!again) abort();
}

}  // namespace
}  // namespace secretmem::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretmem;
  using namespace secretmem::fuzz;
  static const bool ready = InitialiseVault().has_value();
  if (!ready) abort();
  Input input(data, size);
  const CK_KEY_TYPE type = input.Of(kTypes);
  const KeyFamily* family = FindKeyFamily(type);
  if (family == nullptr) abort();
  if (input.Below(2) == 0) {
    Import(*family, type, input);
  } else {
    Unwrap(*family, type, input.Rest());
  }
  return 0;
}

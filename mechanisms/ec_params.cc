#include "mechanisms/ec_params.h"

#include <openssl/bytestring.h>

#include <algorithm>

namespace secretmem {

bool IsOneOf(std::span<const uint8_t> params,
             std::initializer_list<std::span<const uint8_t>> forms) {
  return std::ranges::any_of(forms,
                             [&](const auto& form) { return std::ranges::equal(params, form); });
}

std::unexpected<CK_RV> RefuseParams(std::span<const uint8_t> params) {
  CBS input, value;
  CBS_init(&input, params.data(), params.size());
  const bool name = CBS_peek_asn1_tag(&input, CBS_ASN1_PRINTABLESTRING) != 0;
  if (!CBS_get_asn1(&input, &value, name ? CBS_ASN1_PRINTABLESTRING : CBS_ASN1_OBJECT) ||
      CBS_len(&input) != 0 || CBS_len(&value) == 0) {
    return Refuse(CKR_DOMAIN_PARAMS_INVALID);
  }
  // Each arc of an OID ends with a byte without the continuation bit.
  if (!name && (CBS_data(&value)[CBS_len(&value) - 1] & 0x80) != 0) {
    return Refuse(CKR_DOMAIN_PARAMS_INVALID);
  }
  return Refuse(CKR_CURVE_NOT_SUPPORTED);
}

std::vector<uint8_t> Bytes(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<uint8_t> OctetString(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> der = {0x04};
  if (bytes.size() > 127) der.push_back(0x81);
  der.push_back(static_cast<uint8_t>(bytes.size()));
  der.insert(der.end(), bytes.begin(), bytes.end());
  return der;
}

std::span<const uint8_t> InsideDer(std::span<const uint8_t> der) {
  CBS input, value;
  CBS_init(&input, der.data(), der.size());
  unsigned tag;
  if (!CBS_get_any_asn1(&input, &value, &tag) || CBS_len(&input) != 0) return der;
  uint8_t unused_bits = 0;
  if (tag != CBS_ASN1_OCTETSTRING &&
      (tag != CBS_ASN1_BITSTRING || !CBS_get_u8(&value, &unused_bits) || unused_bits != 0)) {
    return der;
  }
  return {CBS_data(&value), CBS_len(&value)};
}

}  // namespace secretmem

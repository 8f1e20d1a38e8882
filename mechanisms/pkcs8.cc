#include "mechanisms/pkcs8.h"

#include <algorithm>

namespace secretmem {

std::optional<PrivateKeyInfo> ReadPkcs8(std::span<const uint8_t> der) {
  constexpr unsigned kAttributes = CBS_ASN1_CONTEXT_SPECIFIC | CBS_ASN1_CONSTRUCTED | 0;
  constexpr unsigned kPublicKey = CBS_ASN1_CONTEXT_SPECIFIC | 1;
  CBS input, info, algorithm;
  PrivateKeyInfo read;
  uint64_t version;
  CBS_init(&input, der.data(), der.size());
  if (!CBS_get_asn1(&input, &info, CBS_ASN1_SEQUENCE) || CBS_len(&input) != 0 ||
      !CBS_get_asn1_uint64(&info, &version) || version > 1 ||
      !CBS_get_asn1(&info, &algorithm, CBS_ASN1_SEQUENCE) ||
      !CBS_get_asn1(&algorithm, &read.algorithm, CBS_ASN1_OBJECT) ||
      !CBS_get_asn1(&info, &read.private_key, CBS_ASN1_OCTETSTRING) ||
      !CBS_get_optional_asn1(&info, nullptr, nullptr, kAttributes) ||
      !CBS_get_optional_asn1(&info, nullptr, nullptr, kPublicKey) || CBS_len(&info) != 0) {
    return std::nullopt;
  }
  read.parameters = algorithm;
  return read;
}

std::optional<size_t> DerLength(std::span<const uint8_t> bytes) {
  constexpr size_t kMostZeros = 15;
  CBS input, element;
  CBS_init(&input, bytes.data(), bytes.size());
  if (!CBS_get_any_asn1_element(&input, &element, nullptr, nullptr)) return std::nullopt;
  const auto rest = bytes.subspan(CBS_len(&element));
  if (rest.size() > kMostZeros || std::ranges::any_of(rest, [](uint8_t b) { return b != 0; })) {
    return std::nullopt;
  }
  return CBS_len(&element);
}

}  // namespace secretmem

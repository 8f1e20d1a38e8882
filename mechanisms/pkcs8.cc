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

CkResult<Vault> WriteRfc8410Key(std::span<const uint8_t> oid, const Vault& secret) {
  auto written = ToCk(secret.WithSecret([&](std::span<const uint8_t> bytes) {
    return WritePkcs8(oid, {}, [&](CBB* out) {
      CBB inner;
      return CBB_add_asn1(out, &inner, CBS_ASN1_OCTETSTRING) &&
             CBB_add_bytes(&inner, bytes.data(), bytes.size()) && CBB_flush(out);
    });
  }));
  if (!written) return Refuse(written.error());
  return std::move(*written);
}

CkResult<Vault> ReadRfc8410Key(std::span<const uint8_t> oid, std::span<const uint8_t> der) {
  auto info = ReadPkcs8(der);
  CBS secret;
  if (!info || CBS_len(&info->parameters) != 0 ||
      !CBS_mem_equal(&info->algorithm, oid.data(), oid.size()) ||
      !CBS_get_asn1(&info->private_key, &secret, CBS_ASN1_OCTETSTRING) ||
      CBS_len(&info->private_key) != 0 || CBS_len(&secret) != kRfc8410Bytes) {
    return Refuse(CKR_WRAPPED_KEY_INVALID);
  }
  return ToCk(Vault::CopyOf({CBS_data(&secret), CBS_len(&secret)}));
}

CkResult<std::vector<uint8_t>> PublicKeyInfo(std::span<const uint8_t> algorithm,
                                             std::span<const uint8_t> parameters,
                                             std::span<const uint8_t> key) {
  std::vector<uint8_t> info;
  const auto done = Flatten(OnSecretStack([&]() -> CK_RV {
    bssl::ScopedCBB cbb;
    CBB sequence, identifier, oid, bits;
    if (!CBB_init(cbb.get(), 128) || !CBB_add_asn1(cbb.get(), &sequence, CBS_ASN1_SEQUENCE) ||
        !CBB_add_asn1(&sequence, &identifier, CBS_ASN1_SEQUENCE) ||
        !CBB_add_asn1(&identifier, &oid, CBS_ASN1_OBJECT) ||
        !CBB_add_bytes(&oid, algorithm.data(), algorithm.size()) ||
        !CBB_add_bytes(&identifier, parameters.data(), parameters.size()) ||
        !CBB_add_asn1(&sequence, &bits, CBS_ASN1_BITSTRING) || !CBB_add_u8(&bits, 0) ||
        !CBB_add_bytes(&bits, key.data(), key.size()) || !CBB_flush(cbb.get())) {
      return FailureOr(CKR_FUNCTION_FAILED);
    }
    info.assign(CBB_data(cbb.get()), CBB_data(cbb.get()) + CBB_len(cbb.get()));
    return CKR_OK;
  }));
  if (!done) return Refuse(done.error());
  return info;
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

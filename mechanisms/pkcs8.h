#pragma once

#include <openssl/bytestring.h>
#include <openssl/mem.h>

#include "mechanisms/boringssl_error.h"
#include "mechanisms/mechanism.h"

namespace secretmem {

// PrivateKeyInfo is the inside of a PKCS#8 PrivateKeyInfo (RFC 5208, RFC 5958). It points into the
// bytes it was read from.
struct PrivateKeyInfo {
  CBS algorithm;    // the OID's contents
  CBS parameters;   // the rest of AlgorithmIdentifier, may be empty
  CBS private_key;  // the OCTET STRING's contents
};

// ReadPkcs8 takes a whole PrivateKeyInfo of version 1 or 2 apart. For use in a borrow. Nothing if
// it is not one.
std::optional<PrivateKeyInfo> ReadPkcs8(std::span<const uint8_t> der);

// WritePkcs8 makes a PrivateKeyInfo of version 1 in a new vault, for use in a borrow: |parameters|
// is DER or empty, |write(CBB*)| adds the contents of the OCTET STRING and says whether it could.
template <class Write>
CkResult<Vault> WritePkcs8(std::span<const uint8_t> algorithm, std::span<const uint8_t> parameters,
                           Write&& write) {
  bssl::ScopedCBB cbb;
  CBB info, identifier, oid, private_key;
  uint8_t* der;
  size_t size;
  if (!CBB_init(cbb.get(), 256) || !CBB_add_asn1(cbb.get(), &info, CBS_ASN1_SEQUENCE) ||
      !CBB_add_asn1_uint64(&info, 0) || !CBB_add_asn1(&info, &identifier, CBS_ASN1_SEQUENCE) ||
      !CBB_add_asn1(&identifier, &oid, CBS_ASN1_OBJECT) ||
      !CBB_add_bytes(&oid, algorithm.data(), algorithm.size()) ||
      !CBB_add_bytes(&identifier, parameters.data(), parameters.size()) ||
      !CBB_add_asn1(&info, &private_key, CBS_ASN1_OCTETSTRING) || !write(&private_key) ||
      !CBB_finish(cbb.get(), &der, &size)) {
    return Refuse(FailureOr(CKR_FUNCTION_FAILED));
  }
  const bssl::UniquePtr<uint8_t> owner(der);
  return ToCk(Vault::CopyOf({der, size}));
}

// The 32-byte keys of RFC 8410, section 7: |oid| is the contents of the OID that names the curve.
inline constexpr size_t kRfc8410Bytes = 32;
CkResult<Vault> WriteRfc8410Key(std::span<const uint8_t> oid, const Vault& secret);
// CKR_WRAPPED_KEY_INVALID for any other key. In a borrow.
CkResult<Vault> ReadRfc8410Key(std::span<const uint8_t> oid, std::span<const uint8_t> der);

// PublicKeyInfo is the DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of a public key: |algorithm| is
// the contents of an OID, |parameters| DER or empty, |key| the contents of the BIT STRING.
CkResult<std::vector<uint8_t>> PublicKeyInfo(std::span<const uint8_t> algorithm,
                                             std::span<const uint8_t> parameters,
                                             std::span<const uint8_t> key);

// DerLength returns the length of the DER element that |bytes| begins with, if only zeros follow
// it, fewer than a cipher block of them, as wrapping with zero padding leaves them. Else nothing.
std::optional<size_t> DerLength(std::span<const uint8_t> bytes);

}  // namespace secretmem

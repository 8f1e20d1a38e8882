#pragma once

#include <openssl/bytestring.h>

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

// DerLength returns the length of the DER element that |bytes| begins with, if only zeros follow
// it, fewer than a cipher block of them, as wrapping with zero padding leaves them. Else nothing.
std::optional<size_t> DerLength(std::span<const uint8_t> bytes);

}  // namespace secretmem

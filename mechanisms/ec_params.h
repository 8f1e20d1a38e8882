#pragma once

#include <initializer_list>
#include <span>

#include "mechanisms/mechanism.h"

namespace secretmem {

// IsOneOf says whether |params| is one of |forms|.
bool IsOneOf(std::span<const uint8_t> params,
             std::initializer_list<std::span<const uint8_t>> forms);

// RefuseParams is the answer to a CKA_EC_PARAMS that means none of the curves at hand (PKCS#11 3.2,
// 6.3.3): CKR_CURVE_NOT_SUPPORTED for an OID or a curve name, CKR_DOMAIN_PARAMS_INVALID for what
// is neither: explicit and inherited parameters, and what is malformed.
std::unexpected<CK_RV> RefuseParams(std::span<const uint8_t> params);

// Bytes copies public bytes into an attribute's value.
std::vector<uint8_t> Bytes(std::span<const uint8_t> bytes);

// OctetString is the DER OCTET STRING of |bytes|, of which there are at most 255.
std::vector<uint8_t> OctetString(std::span<const uint8_t> bytes);

// InsideDer returns the contents of |der| if that is a DER OCTET STRING, or a BIT STRING of whole
// bytes, and nothing else; otherwise |der| itself.
std::span<const uint8_t> InsideDer(std::span<const uint8_t> der);

}  // namespace secretmem

// Reads of attributes, and searches.
#pragma once

#include <vector>

#include "client/template.h"

namespace secretmem::blackbox {

using client::Bytes;
using client::Encode;
using client::Template;
using client::ToBytes;

// Attribute is what reading one gave: CKR_OK and its value, or another code.
struct Attribute {
  CK_RV rv = CKR_OK;
  Bytes value;
  bool operator==(const Attribute&) const = default;
};

// Read asks for the length and then for the value.
Attribute Read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);

// Find returns what C_FindObjects hands out for |wanted|, or the code of the call that failed.
struct Found {
  CK_RV rv = CKR_OK;
  std::vector<CK_OBJECT_HANDLE> handles;
};
Found Find(CK_SESSION_HANDLE session, Template wanted);

// X25519Params is the DER OID id-X25519.
Bytes X25519Params();

}  // namespace secretmem::blackbox

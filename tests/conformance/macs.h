// Digests and MACs as the specification names them, and OpenSSL's computation beside them.
#pragma once

#include <span>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

// Hash is one hash function: its mechanisms, and OpenSSL's name.
struct Hash {
  const char* name;
  size_t size;  // in bytes
  CK_MECHANISM_TYPE digest;
  CK_MECHANISM_TYPE hmac;
  CK_MECHANISM_TYPE hmac_general;
};

// AllHashes: SHA-1 and SHA-2, the first five known to every module.
std::span<const Hash> AllHashes();

Bytes ReferenceDigest(const char* hash, const Bytes& data);
Bytes ReferenceHmac(const char* hash, const Bytes& key, const Bytes& data);

// MacKey is the template of a session key that may sign and verify, not private.
Template MacKey(const Bytes& value);

}  // namespace secretmem::conformance

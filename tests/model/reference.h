// What the operations of the model compute, by OpenSSL.
#pragma once

#include <optional>

#include "tests/blackbox/template.h"

namespace secretmem::model {

using blackbox::Bytes;

Bytes Sha256(const Bytes& data);
Bytes HmacSha256(const Bytes& key, const Bytes& data);
Bytes EncryptCbcPad(const Bytes& key, const Bytes& iv, const Bytes& data);
// Nothing where the length or the padding is wrong.
std::optional<Bytes> DecryptCbcPad(const Bytes& key, const Bytes& iv, const Bytes& data);
Bytes X25519PublicKey(const Bytes& private_key);
Bytes X25519(const Bytes& private_key, const Bytes& peer);

}  // namespace secretmem::model

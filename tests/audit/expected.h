// What the audit computes on its own side, with OpenSSL, to know which secrets a call works on.
#pragma once

#include <string>
#include <vector>

#include "tests/audit/forms.h"

namespace secretmem::audit {

struct KeyPair {
  Bytes private_value;  // as CKA_VALUE: X25519 and Ed25519 raw, P-256 big-endian
  Bytes public_value;   // raw; P-256 uncompressed
};

KeyPair NewX25519();
KeyPair NewEd25519();
KeyPair NewP256();

// RsaKey holds big-endian numbers as PKCS#11 wants them.
struct RsaKey {
  Bytes modulus, public_exponent, private_exponent, prime1, prime2, exponent1, exponent2,
      coefficient;
};
RsaKey NewRsa(int bits);

Bytes X25519(const Bytes& private_value, const Bytes& peer);
Bytes EcdhP256(const Bytes& private_value, const Bytes& peer);
Bytes Sha(const std::string& name, const Bytes& data);
Bytes Shake256(const Bytes& data, size_t size);
Bytes Hmac(const std::string& hash, const Bytes& key, const Bytes& data);
Bytes Concat(const std::vector<Bytes>& parts);

// The Secrets* functions name everything that is computed from a key on the way and must stay
// hidden as the key must.
std::vector<Secret> SecretsOfX25519(const std::string& name, const Bytes& scalar);
std::vector<Secret> SecretsOfField25519(const std::string& name, const Bytes& element);
std::vector<Secret> SecretsOfEd25519(const std::string& name, const Bytes& seed,
                                     const Bytes& message);
// The key and, given a raw signature of `digest`, the nonce and its inverse, each also in
// Montgomery's form. CannotLook when the signature is not one of `digest` by this key.
std::vector<Secret> SecretsOfP256(const std::string& name, const Bytes& private_value,
                                  const Bytes& digest, const Bytes& signature);
std::vector<Secret> SecretsOfAes(const std::string& name, const Bytes& key);
// The key, both padded blocks, and the inner and outer chaining values (SHA-1 and SHA-2).
std::vector<Secret> SecretsOfHmac(const std::string& hash, const std::string& name,
                                  const Bytes& key);
std::vector<Secret> SecretsOfRsa(const RsaKey& key);

}  // namespace secretmem::audit

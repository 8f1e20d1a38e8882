#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "mechanisms/rsa_key.h"

namespace secretmem {

// DecryptPkcs1 decrypts RSAES-PKCS1-v1_5 (RFC 8017, 7.2.2) with implicit rejection, as in
// draft-irtf-cfrg-rsa-guidance and OpenSSL from 3.2 on, with which it agrees byte for byte: a wrong
// padding is no error. It yields a message of a plausible length, both derived from the private
// exponent and the ciphertext and so the same every time. Whoever sends crafted ciphertexts learns
// nothing about what is in others.
//
// |ciphertext| is as long as the modulus. Returns how many bytes it wrote to |out|, which holds the
// modulus's length less 11; nothing for a number above the modulus. Time and memory accesses up to
// the length that is returned do not depend on whether the padding was right. In a borrow.
std::optional<size_t> DecryptPkcs1(RsaKey& key, std::span<const uint8_t> ciphertext,
                                   std::span<uint8_t> out);

// UnwrapPkcs1 is the same for a key, which is not empty. |lengths|, each from 1 to the length of
// |out|, are those that it may have, if that is known: a message of another length counts as a
// wrong padding, and what a wrong padding yields has one of them.
std::optional<size_t> UnwrapPkcs1(RsaKey& key, std::span<const uint8_t> ciphertext,
                                  std::span<const size_t> lengths, std::span<uint8_t> out);

}  // namespace secretmem

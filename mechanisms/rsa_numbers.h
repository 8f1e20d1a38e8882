#pragma once

#include <openssl/bn.h>
#include <openssl/rsa.h>

#include <array>

namespace secretmem {

// RsaNumbers are the numbers of an RSA key on their way into or out of BoringSSL; null where there
// is none. Only in borrows: their memory is secret.
struct RsaNumbers {
  using Number = bssl::UniquePtr<BIGNUM>;
  Number n, e, d, p, q, dmp1, dmq1, iqmp;

  // InOrder lists them in the order of an RSAPrivateKey (RFC 8017, A.1.2).
  std::array<Number*, 8> InOrder() { return {&n, &e, &d, &p, &q, &dmp1, &dmq1, &iqmp}; }

  // Take makes a key of them, private if there is a |d|; null without memory. They are gone then.
  bssl::UniquePtr<RSA> Take();
};

// CompleteRsa computes what is missing of a private key that has |n| and |d|. False if they are not
// numbers of a key, or |e| is missing beside the primes and not 65537. Whether what was given fits
// together is for RSA_check_key to say.
bool CompleteRsa(RsaNumbers& numbers);

}  // namespace secretmem

#pragma once

#include <optional>

#include "mechanisms/result.h"
#include "mechanisms/symmetric.h"

namespace secretmem {

// NonceRequest is ivGenerator and ulIvFixedBits of CK_GCM_MESSAGE_PARAMS: how the bits after the
// first |fixed_bits|, which are the caller's, are chosen.
struct NonceRequest {
  CK_GENERATOR_FUNCTION generator;
  CK_ULONG fixed_bits;
};

// NonceSource makes the nonces of one message-based encryption.
class NonceSource {
 public:
  // Next fills in |nonce|, unless the generator is CKG_NO_GENERATE, which leaves it as it is.
  //   CKG_GENERATE_RANDOM       random bits, of which there must be 64 at least
  //   CKG_GENERATE_COUNTER      a counter that begins anywhere, so that operations with the same
  //                             key do not all begin with the same nonce
  //   CKG_GENERATE              random bits if 64 are free, else the counter
  //   CKG_GENERATE_COUNTER_XOR  a counter from 0, combined with the nonce of the first message
  // CKR_MECHANISM_PARAM_INVALID; CKR_KEY_EXHAUSTED when the counter has been all round.
  CkStatus Next(const NonceRequest& request, std::span<uint8_t> nonce);

 private:
  uint64_t count_ = 0;  // of counter values given out
  uint64_t start_ = 0;
  std::vector<uint8_t> base_;  // CKG_GENERATE_COUNTER_XOR's
};

}  // namespace secretmem

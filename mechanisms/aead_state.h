#pragma once

#include <openssl/aes.h>
#include <openssl/chacha.h>
#include <openssl/cipher.h>
#include <openssl/poly1305.h>

#include <cstdint>
#include <span>
#include <variant>

#include "mechanisms/symmetric.h"

namespace secretmem {

// The three AEADs as streams. All of their members run in borrows; an object of theirs lives in a
// SecretBox. SetKey once, then any number of messages: Start, Crypt as often as needed, and at the
// end MakeTag or CheckTag. What Crypt gives while decrypting is not authentic until CheckTag says
// so. All return whether it worked.

// AeadShape is what a message needs beside nonce and associated data. CCM has both in its first
// block.
struct AeadShape {
  uint64_t data_size;
  size_t tag_size;
};

class GcmState {
 public:
  bool SetKey(std::span<const uint8_t> key);
  bool Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape shape,
             Direction direction);
  bool Crypt(std::span<const uint8_t> in, uint8_t* out);
  bool MakeTag(std::span<uint8_t> tag);
  bool CheckTag(std::span<const uint8_t> tag);

 private:
  bssl::ScopedEVP_CIPHER_CTX context_;
};

// CCM, NIST SP 800-38C, of any nonce length from 7 to 13 bytes and any tag length. BoringSSL's own
// has AES-128 with nonces of 13 bytes alone.
class CcmState {
 public:
  bool SetKey(std::span<const uint8_t> key);
  bool Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape shape,
             Direction direction);
  bool Crypt(std::span<const uint8_t> in, uint8_t* out);
  bool MakeTag(std::span<uint8_t> tag);
  bool CheckTag(std::span<const uint8_t> tag);

 private:
  void Authenticate(std::span<const uint8_t> data);
  void PadBlock();

  AES_KEY key_;
  uint8_t mac_[16];
  uint8_t counter_[16];
  uint8_t stream_[16];
  uint8_t mask_[16];  // the key stream's first block, which hides the tag
  unsigned stream_used_;
  unsigned mac_used_;
  bool encrypts_;
};

// ChaCha20-Poly1305, RFC 8439. BoringSSL's AEAD works on whole messages; this is its parts.
class ChaChaState {
 public:
  bool SetKey(std::span<const uint8_t> key);
  bool Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape shape,
             Direction direction);
  bool Crypt(std::span<const uint8_t> in, uint8_t* out);
  bool MakeTag(std::span<uint8_t> tag);
  bool CheckTag(std::span<const uint8_t> tag);

 private:
  void Stream(std::span<const uint8_t> in, uint8_t* out);
  void PadTo16(uint64_t size);

  uint8_t key_[32];
  uint8_t nonce_[12];
  uint8_t stream_[64];
  unsigned stream_left_;
  uint32_t counter_;
  uint64_t aad_size_;
  uint64_t data_size_;
  bool encrypts_;
  poly1305_state poly_;
};

using AeadState = std::variant<GcmState, CcmState, ChaChaState>;

}  // namespace secretmem

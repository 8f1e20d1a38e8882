#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// MessageOperation is a message-based encryption or decryption (PKCS#11 3.2, 5.9 and 5.11): one
// key, many messages. Each message brings its own parameter structure, whose nonce and tag are
// written by an encryption and read by a decryption. An error ends the message, not the operation.
class MessageOperation {
 public:
  virtual ~MessageOperation() = default;

  // Whole works on one message in one part. |out| has whole_size bytes. CKR_AEAD_DECRYPT_FAILED,
  // and nothing written, for a message that is not authentic; CKR_MECHANISM_PARAM_INVALID,
  // CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE; CKR_KEY_EXHAUSTED when the nonces that the
  // module generates have run out.
  virtual CkResult<size_t> Whole(Parameter parameter, std::span<const uint8_t> aad,
                                 std::span<const uint8_t> in, std::span<uint8_t> out) = 0;

  // Begin and Next work on one in several. |out| of Next has next_size bytes. A decryption gives
  // everything at the end.
  virtual CkStatus Begin(Parameter parameter, std::span<const uint8_t> aad) = 0;
  virtual size_t next_size(size_t input, bool last) const = 0;
  virtual CkResult<size_t> Next(Parameter parameter, std::span<const uint8_t> in,
                                std::span<uint8_t> out, bool last) = 0;
};

// CKM_AES_GCM with CK_GCM_MESSAGE_PARAMS (6.13.5) and CKM_CHACHA20_POLY1305 with
// CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS (6.62.5). The parameter here is what the Init function
// got, which may be none.
CkResult<std::unique_ptr<MessageOperation>> EncryptMessages(CK_MECHANISM_TYPE type,
                                                            Parameter parameter, const Key& key);
CkResult<std::unique_ptr<MessageOperation>> DecryptMessages(CK_MECHANISM_TYPE type,
                                                            Parameter parameter, const Key& key);

}  // namespace secretmem

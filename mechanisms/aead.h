#pragma once

#include "mechanisms/aead_state.h"
#include "vault/secret_box.h"

namespace secretmem {

// Aead is an AEAD with its key: any number of messages, one at a time. It holds the data limits of
// its algorithm; nonces are the caller's business.
class Aead {
 public:
  // CheckKey says whether |key| is one for CKM_AES_GCM, CKM_AES_CCM or CKM_CHACHA20_POLY1305:
  // CKR_KEY_TYPE_INCONSISTENT.
  static CkStatus CheckKey(CK_MECHANISM_TYPE type, const Key& key);

  // MaxData returns how many bytes one message can have.
  static uint64_t MaxData(CK_MECHANISM_TYPE type);

  // Make takes the key. CheckKey's errors, or a vault's failure.
  static CkResult<Aead> Make(CK_MECHANISM_TYPE type, const Key& key);

  uint64_t max_data() const { return max_data_; }

  CkStatus Start(std::span<const uint8_t> nonce, std::span<const uint8_t> aad, AeadShape shape,
                 Direction direction);

  // Crypt works on |in| and writes as much to |out|; the two may overlap. For decryption only where
  // the tag is known to be right.
  CkStatus Crypt(std::span<const uint8_t> in, std::span<uint8_t> out);
  CkStatus MakeTag(std::span<uint8_t> tag);

  // Open is a whole decryption: |out|, of |in|'s length, is written only if |tag| is right, else
  // CKR_ENCRYPTED_DATA_INVALID.
  CkStatus Open(std::span<const uint8_t> nonce, std::span<const uint8_t> aad,
                std::span<const uint8_t> in, std::span<const uint8_t> tag, std::span<uint8_t> out);

  // OpenVault does the same into a new vault of |in|'s length, at least 1.
  CkResult<Vault> OpenVault(std::span<const uint8_t> nonce, std::span<const uint8_t> aad,
                            std::span<const uint8_t> in, std::span<const uint8_t> tag);

 private:
  using Box = SecretBox<AeadState>;

  Aead(Box state, uint64_t max_data) : state_(std::move(state)), max_data_(max_data) {}

  // CheckAll decrypts to nowhere and checks the tag.
  CkStatus CheckAll(std::span<const uint8_t> in, std::span<const uint8_t> tag);

  Box state_;
  uint64_t max_data_;
};

// AeadParameter is what CK_GCM_PARAMS, CK_CCM_PARAMS or CK_SALSA20_CHACHA20_POLY1305_PARAMS say;
// the spans lie in the client's memory.
struct AeadParameter {
  std::span<const uint8_t> nonce;
  std::span<const uint8_t> aad;
  size_t tag_size;
  std::optional<uint64_t> data_size;  // CCM's
};

// ReadAeadParameter: CKR_MECHANISM_PARAM_INVALID. CK_GCM_PARAMS may come without ulIvBits, as
// drafts of PKCS#11 2.40 had it, and what ulIvBits says is not looked at. ulNonceLen of ChaCha20 is
// in bytes or, as the specification's text has it, in bits.
CkResult<AeadParameter> ReadAeadParameter(CK_MECHANISM_TYPE type, Parameter parameter);

// ReadGcmWrap reads what wrapping takes: CK_GCM_PARAMS or CK_GCM_WRAP_PARAMS (6.13.4), whose
// ivGenerator has the nonce made, in the client's memory, if |make_nonce|.
CkResult<AeadParameter> ReadGcmWrap(Parameter parameter, bool make_nonce);

// CKM_AES_GCM, CKM_AES_CCM (PKCS#11 3.2, 6.15) and CKM_CHACHA20_POLY1305 (6.62), in one part or
// several. A decryption in several parts keeps the ciphertext until the end.
CkResult<std::unique_ptr<CipherOperation>> EncryptAead(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);
CkResult<std::unique_ptr<CipherOperation>> DecryptAead(CK_MECHANISM_TYPE type, Parameter parameter,
                                                       const Key& key);

}  // namespace secretmem

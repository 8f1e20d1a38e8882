#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "mechanisms/key_cache.h"
#include "mechanisms/operation.h"
#include "mechanisms/result.h"
#include "vault/vault.h"

namespace secretmem {

// AttributeSource is how mechanisms see attributes, whether they lie in a client's template or in
// an object.
class AttributeSource {
 public:
  virtual ~AttributeSource() = default;

  // Get returns the value's bytes, valid as long as the source is, or nothing.
  virtual std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const = 0;
};

// Key is a key as a mechanism sees it. |secret| and |cache| are null for public keys.
struct Key {
  CK_OBJECT_CLASS object_class;
  CK_KEY_TYPE key_type;
  const AttributeSource& attributes;
  const Vault* secret;
  KeyCache* cache = nullptr;
  // The keys that the mechanism's parameter names, where the row's names_keys does that and it is
  // no derivation, which has them in |Derivation|. This span lasts as long as the call, their
  // secrets as long as the operation that it begins.
  std::span<const Key> named = {};
};

// AttributeValue is an attribute that the mechanism determines, never a secret one.
struct AttributeValue {
  CK_ATTRIBUTE_TYPE type;
  std::vector<uint8_t> value;

  friend bool operator==(const AttributeValue&, const AttributeValue&) = default;
};
using AttributeValues = std::vector<AttributeValue>;

// NewKey and NewKeyPair are keys that no object owns yet. Their attributes replace those of the
// same type in the client's template.
struct NewKey {
  Vault secret;
  AttributeValues attributes;
};

struct NewKeyPair {
  Vault secret;
  AttributeValues public_attributes;
  AttributeValues private_attributes;
};

// Encapsulated is a new key and what lets the other side have the same.
struct Encapsulated {
  NewKey key;
  std::vector<uint8_t> ciphertext;
};

// Parameter is CK_MECHANISM's pParameter and ulParameterLen, in the client's memory.
using Parameter = std::span<const uint8_t>;

// ReadParameter copies the structure T out of the client's memory, which need not be aligned.
// CKR_MECHANISM_PARAM_INVALID if the length is another.
template <class T>
CkResult<T> ReadParameter(Parameter parameter) {
  T value;
  if (parameter.size() != sizeof(T)) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  memcpy(&value, parameter.data(), sizeof(T));
  return value;
}

// ParameterBytes is a pointer and length inside a parameter structure. CKR_MECHANISM_PARAM_INVALID
// for a null pointer with a length, or one beyond 1 MiB, which no mechanism has a use for.
CkResult<std::span<const uint8_t>> ParameterBytes(const void* pointer, CK_ULONG length);

// SecretRequest is the secret key that a template asks for. |length| in bytes, if given.
struct SecretRequest {
  CK_KEY_TYPE key_type;
  std::optional<CK_ULONG> length;
};

// KeysNamed is what a parameter says that mechanisms pass on without understanding it.
struct KeysNamed {
  std::vector<CK_OBJECT_HANDLE> handles;
  bool as_base = false;                // each must be fit to be the base key itself
  std::vector<CK_DERIVED_KEY> others;  // more keys to make, in the client's memory
};

// Derivation is a C_DeriveKey that takes more than one key, or makes something else than one key.
struct Derivation {
  CK_MECHANISM_TYPE type;  // the row's
  Parameter parameter;
  const Key& base;
  std::span<const Key> named;             // by KeysNamed's handles
  std::span<const SecretRequest> wanted;  // the key itself, then KeysNamed's others
};

// KeyOfSet is one of the keys of a C_DeriveKey that returns several handles in its parameter.
struct KeyOfSet {
  bool is_mac;    // a CKK_GENERIC_SECRET for MACs; otherwise of the type that the template says
  size_t length;  // in bytes; 0: there is no such key, and its handle is CK_INVALID_HANDLE
  void* handle;   // where the handle goes, in the client's memory, which need not be aligned
};

class MessageOperation;
struct Resealing;

// Mechanism is one row: what C_GetMechanismInfo tells, and the functions behind it, null where the
// mechanism has no such use. The functions hold no lock, and touch secrets in borrows only.
struct Mechanism {
  CK_MECHANISM_TYPE type;
  CK_MECHANISM_INFO info;

  // The key type that the mechanism generates.
  CK_KEY_TYPE generated_type = CK_UNAVAILABLE_INFORMATION;  // as the template says
  CkResult<NewKey> (*generate_key)(Parameter, const SecretRequest&) = nullptr;

  // |wanted|: the public key's template, where the domain parameters are.
  CkResult<NewKeyPair> (*generate_key_pair)(Parameter, const AttributeSource& wanted) = nullptr;

  // A derivation has one of three functions. The client's memory may change between names_keys,
  // which need not be there, and the derivation: what |named| and |wanted| hold is to be counted.
  CkResult<NewKey> (*derive)(Parameter, const Key& base, const SecretRequest&) = nullptr;
  CkResult<KeysNamed> (*names_keys)(Parameter) = nullptr;
  CkResult<std::vector<NewKey>> (*derive_keys)(const Derivation&) = nullptr;
  // Where it is there, the keys are those that it tells and that have a length, in this order, as
  // sensitive and extractable as the base key, and C_DeriveKey's phKey is not used.
  CkResult<std::vector<KeyOfSet>> (*key_set)(Parameter) = nullptr;
  CkResult<std::vector<uint8_t>> (*derive_data)(const Derivation&) = nullptr;  // a CKO_DATA's value
  // Whether the derived key is sensitive and not extractable wherever a key that it is made from
  // is, whatever the template says.
  bool inherits_protection = false;

  // Each makes an operation; |type| is the row's, so that rows of a family share functions.
  using Type = CK_MECHANISM_TYPE;
  CkResult<std::unique_ptr<DigestOperation>> (*digest)(Type, Parameter) = nullptr;
  CkResult<std::unique_ptr<SignOperation>> (*sign)(Type, Parameter, const Key&) = nullptr;
  CkResult<std::unique_ptr<VerifyOperation>> (*verify)(Type, Parameter, const Key&) = nullptr;
  // Signatures that contain what they sign.
  CkResult<std::unique_ptr<SignOperation>> (*sign_recover)(Type, Parameter, const Key&) = nullptr;
  CkResult<std::unique_ptr<RecoverOperation>> (*verify_recover)(Type, Parameter,
                                                                const Key&) = nullptr;
  CkResult<std::unique_ptr<CipherOperation>> (*encrypt)(Type, Parameter, const Key&) = nullptr;
  CkResult<std::unique_ptr<CipherOperation>> (*decrypt)(Type, Parameter, const Key&) = nullptr;

  // Message-based encryption and decryption.
  CkResult<std::unique_ptr<MessageOperation>> (*encrypt_messages)(Type, Parameter,
                                                                  const Key&) = nullptr;
  CkResult<std::unique_ptr<MessageOperation>> (*decrypt_messages)(Type, Parameter,
                                                                  const Key&) = nullptr;

  // wrap encrypts |material|: a secret key's value, or a private key as PKCS#8. Of what it works on
  // only the result leaves secret memory.
  CkResult<std::vector<uint8_t>> (*wrap)(Type, Parameter, const Key& wrapping,
                                         const Vault& material) = nullptr;
  // unwrap returns the same in a vault. |lengths| are those in bytes that the plain key may have,
  // where the template or the key type says so. CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE.
  CkResult<Vault> (*unwrap)(Type, Parameter, const Key& unwrapping,
                            std::span<const uint8_t> wrapped,
                            std::span<const size_t> lengths) = nullptr;
  // Whether it takes secret keys only.
  bool wraps_secret_keys_only = false;
  // The same with associated data, for C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated.
  using Data = std::span<const uint8_t>;
  CkResult<std::vector<uint8_t>> (*wrap_authenticated)(Type, Parameter, const Key& wrapping,
                                                       const Vault& material, Data) = nullptr;
  CkResult<Vault> (*unwrap_authenticated)(Type, Parameter, const Key& unwrapping, Data wrapped,
                                          Data associated) = nullptr;

  // ciphertext_size tells how long encapsulate's ciphertext will be, without making a key.
  // decapsulate: CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE.
  CkResult<size_t> (*ciphertext_size)(Type, Parameter, const Key& public_key) = nullptr;
  CkResult<Encapsulated> (*encapsulate)(Type, Parameter, const Key& public_key,
                                        const SecretRequest&) = nullptr;
  CkResult<NewKey> (*decapsulate)(Type, Parameter, const Key& private_key, const SecretRequest&,
                                  Data ciphertext) = nullptr;

  // For a mechanism of C_WrapKey that decapsulates the key it wraps, reseal.h.
  CkResult<Resealing> (*read_resealing)(Parameter) = nullptr;
};

// AllMechanisms is the table, ascending by type.
std::span<const Mechanism> AllMechanisms();

// FindMechanism returns the row of |type|, or null.
const Mechanism* FindMechanism(CK_MECHANISM_TYPE type);

}  // namespace secretmem

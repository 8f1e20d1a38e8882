// From templates to the attributes of objects: what a template may say, what it must say, and what
// the module says where it is silent (PKCS#11 3.2, sections 4.1, 5.7 and 5.18).

#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "pkcs11/attribute_set.h"
#include "pkcs11/template_reader.h"

namespace secretmem {

// Login is who is logged in to the token.
enum class Login : uint8_t { kNobody, kUser, kSecurityOfficer };

// Caller is what the session may do.
struct Caller {
  Login login = Login::kNobody;
  bool read_write = false;  // a read/write session
};

// Origin is how an object comes to be.
enum class Origin : uint8_t {
  kCreate,           // C_CreateObject
  kGenerateSecret,   // C_GenerateKey
  kGeneratePublic,   // C_GenerateKeyPair, public template
  kGeneratePrivate,  // C_GenerateKeyPair, private template
  kUnwrap,           // C_UnwrapKey, C_UnwrapKeyAuthenticated
  kDerive,           // C_DeriveKey
  kEncapsulate,      // C_EncapsulateKey
  kDecapsulate,      // C_DecapsulateKey
};

// BaseKey is what a derived key inherits from the key it is derived from.
struct BaseKey {
  bool sensitive;
  bool extractable;
  bool always_sensitive;
  bool never_extractable;
  // Whether the new key is sensitive and not extractable where the base key is, whatever its
  // template says (section 6.43).
  bool binds = false;

  // Add makes this stand for two keys: what either forbids is forbidden, and what is claimed must
  // be true of both.
  void Add(const BaseKey& other);

  // Of returns the traits of a key; what it lacks counts as the stricter one for SENSITIVE and
  // EXTRACTABLE and as false for the other two, so that nothing is claimed without proof.
  static BaseKey Of(const AttributeSet& attributes);
};

// BuildRequest is all that BuildObject knows besides the template.
struct BuildRequest {
  Origin origin;
  Caller caller = {};
  // CKA_UNIQUE_ID of the new object, made by the caller: a random UUID.
  std::string_view unique_id = {};
  // The class and key type that the function or the mechanism leaves no choice about. A template
  // that says otherwise is CKR_TEMPLATE_INCONSISTENT.
  std::optional<CK_OBJECT_CLASS> object_class = {};
  std::optional<CK_KEY_TYPE> key_type = {};
  // The key type where neither key_type nor the template says it.
  std::optional<CK_KEY_TYPE> default_key_type = {};
  // What makes a generated or derived key, where that decides about defaults; of generated ones it
  // is CKA_KEY_GEN_MECHANISM.
  CK_MECHANISM_TYPE mechanism = CK_UNAVAILABLE_INFORMATION;
  // Of the base key, for kDerive.
  std::optional<BaseKey> base = {};
  // CKA_DERIVE_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_ENCAPSULATE_TEMPLATE or CKA_DECAPSULATE_TEMPLATE
  // of the key used, or nullptr: added to the template; a conflict is CKR_TEMPLATE_INCONSISTENT.
  const AttributeSet* imposed = nullptr;
  // CKA_SECRETMEM_BOUND_TO of the key that is used, for kDecapsulate: the new key has it too.
  std::optional<std::span<const uint8_t>> bound_to = {};
};

// SecretValue is a secret attribute given to C_CreateObject, in the caller's memory.
struct SecretValue {
  CK_ATTRIBUTE_TYPE type;
  std::span<const uint8_t> value;
};

// BuiltObject is a new object without its secret.
struct BuiltObject {
  AttributeSet attributes;
  std::vector<SecretValue> secrets;  // sorted by type; empty unless made by C_CreateObject
};

// BuildObject returns the attributes of a new object, every default filled in, or:
//   CKR_ATTRIBUTE_TYPE_INVALID   an attribute that the module does not know or this class has not
//   CKR_ATTRIBUTE_READ_ONLY      one that a template may not give here
//   CKR_ATTRIBUTE_VALUE_INVALID  a value of the wrong form or size; an unknown class or key type
//   CKR_TEMPLATE_INCOMPLETE      a required attribute is missing
//   CKR_TEMPLATE_INCONSISTENT    against the request's class, key type or imposed template, or
//                                CKA_ALWAYS_AUTHENTICATE without CKA_PRIVATE
//   CKR_USER_NOT_LOGGED_IN       a private object without a user login
//   CKR_SESSION_READ_ONLY        a token object in a read-only session
// Throws std::bad_alloc. What the values of keys mean is the key family's to check.
//
// Still to be set by the mechanism: CKA_VALUE_LEN of a secret key that was not created by its value
// (a given one is in the attributes), the EC parameters and point, modulus and
// exponent that the template did not give. CKA_CHECK_VALUE and CKA_PUBLIC_KEY_INFO are stored as
// given; whoever has the key checks them.
//
// Defaults that the specification leaves to the token:
// - CKA_PRIVATE: true for private and secret keys, but false for session objects made while no user
//   is logged in (so a program without a login can derive). A token key must say that it is to be
//   public. Data objects are private if a user is logged in. Public keys and certificates are not.
// - CKA_SENSITIVE: true for private keys. A derived key is as its base key. Others: false.
// - CKA_EXTRACTABLE: false, so that a key which says nothing stays inside although the
//   specification has it not sensitive. A derived key is as its base key; unwrapped, encapsulated
//   and decapsulated keys are extractable (section 5.18). A TLS premaster secret is sensitive and
//   extractable: it is made to be wrapped.
// - usage flags: by key type, see attribute_rules.cc; CKA_DERIVE is true for TLS premaster and
//   master secrets.
std::expected<BuiltObject, CK_RV> BuildObject(const TemplateReader& given,
                                              const BuildRequest& request);

// BuildCopy returns the attributes of a copy of |source| with |given| changed (C_CopyObject), or
// the errors of BuildObject, and CKR_ACTION_PROHIBITED if the source's CKA_COPYABLE is false. What
// is secret is not touched: the copy has the same. A copy is never less protected than its source:
// a private object's copy is private (else CKR_TEMPLATE_INCONSISTENT), and the one-way attributes
// keep their direction (else CKR_ATTRIBUTE_READ_ONLY).
std::expected<AttributeSet, CK_RV> BuildCopy(const AttributeSet& source,
                                             const TemplateReader& given, const Caller& caller,
                                             std::string_view unique_id);

// CheckSet returns the attributes of |object| after C_SetAttributeValue with |given|, all or
// nothing, or the errors of BuildObject, and CKR_ACTION_PROHIBITED if its CKA_MODIFIABLE is false.
std::expected<AttributeSet, CK_RV> CheckSet(const AttributeSet& object, const TemplateReader& given,
                                            const Caller& caller);

// CheckAccess returns CKR_OK if the caller may make or change an object with these CKA_TOKEN and
// CKA_PRIVATE, else CKR_USER_NOT_LOGGED_IN or CKR_SESSION_READ_ONLY (section 5.7).
CK_RV CheckAccess(const Caller& caller, bool token, bool is_private);

}  // namespace secretmem

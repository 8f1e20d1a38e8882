#pragma once

#include "pkcs11/module.h"
#include "pkcs11/object_builder.h"

namespace secretmem {

// Blueprint is an object under way: its attributes are settled but for what the mechanism or the
// key family adds.
struct Blueprint {
  std::shared_ptr<Object> object;
  std::vector<SecretValue> secrets;  // in the client's memory
};

// Plan applies BuildObject to a template of the client's. The request's caller and unique_id are
// filled in from the session.
CkResult<Blueprint> Plan(Session& session, const CK_ATTRIBUTE* attributes, CK_ULONG count,
                         BuildRequest request);

// Apply puts the attributes that a mechanism determined into |object|.
void Apply(Object& object, const AttributeValues& values);

// RequestOf returns what a mechanism has to know of a planned secret key.
SecretRequest RequestOf(const Object& object);

// Complete gives a planned key what a mechanism or key family made: its attributes and its secret.
// CKR_ATTRIBUTE_VALUE_INVALID if the template gave a secret key another CKA_CHECK_VALUE than it
// has. The right one is not stored but computed when it is asked for; an empty one is stored, and
// means that there is to be none.
CkStatus Complete(Object& object, NewKey key);

// PublicKeyInfoOf computes CKA_PUBLIC_KEY_INFO of a public or private key.
// CKR_ATTRIBUTE_TYPE_INVALID for a key type without one; a vault's failures.
CkResult<std::vector<uint8_t>> PublicKeyInfoOf(const Object& object);

// TakeIn lets the key family check and canonicalise the key material of a planned key, and moves
// its secret into a vault. CKR_ATTRIBUTE_VALUE_INVALID, too, if the template's
// CKA_PUBLIC_KEY_INFO is another key's. Certificates get CKA_CHECK_VALUE; other objects are
// complete already.
CkStatus TakeIn(Blueprint& plan);

// Enrol gives planned objects to the session's token and returns their handles; session objects die
// with the session.
CkResult<std::vector<CK_OBJECT_HANDLE>> Enrol(Session& session,
                                              std::vector<std::shared_ptr<Object>> objects);

}  // namespace secretmem

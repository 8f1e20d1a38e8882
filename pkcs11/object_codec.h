#pragma once

#include <memory>

#include "pkcs11/object.h"
#include "pkcs11/row_kind.h"
#include "pkcs11/template_reader.h"
#include "pkcs11/token_store.h"

namespace secretmem {

// SealingKeys are the keys derived from a token key, or from the key that lies in the store itself
// for keys with CKA_PRIVATE false.
struct SealingKeys {
  Vault base;  // the token key
  std::shared_ptr<const Vault> attributes;
  std::shared_ptr<const Vault> secrets;
  std::shared_ptr<const Vault> index;

  static CkResult<std::shared_ptr<const SealingKeys>> From(Vault base);
};

// RowKindOf returns how |object| is stored.
RowKind RowKindOf(const Object& object);

// IndexTerm is what rows are found by, before it is hashed: an attribute and its value.
using IndexTerm = std::vector<uint8_t>;

// TermOf returns the term that the fewest of the objects with |wanted|'s attributes can be expected
// to share; nullopt if |wanted| has no attribute that tells.
std::optional<IndexTerm> TermOf(const TemplateReader& wanted);

// ExpiringTerm is that of all objects with a lifetime.
IndexTerm ExpiringTerm();

// OpenHash returns the hash of |term| in rows that need no login, SealedHash that in private ones,
// of which |keys| are the token's.
IndexHash OpenHash(const IndexTerm& term);
CkResult<IndexHash> SealedHash(const IndexTerm& term, const SealingKeys& keys);

// EncodeRow returns the row to store for |object|, with its row and version; |keys| are the token's
// for kPrivate, the store's for kStoreSealed, and not needed for kPublic.
CkResult<ObjectRow> EncodeRow(const Object& object, const SealingKeys* keys);

// DecodeRow is the way back. CKR_DEVICE_ERROR for a row that does not verify.
CkResult<std::shared_ptr<Object>> DecodeRow(ObjectRow row, const SealingKeys* keys);

}  // namespace secretmem

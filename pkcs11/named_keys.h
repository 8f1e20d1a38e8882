#pragma once

#include "mechanisms/mechanism.h"
#include "pkcs11/module.h"

namespace secretmem {

// Chosen is the row of a CK_MECHANISM and its parameter.
struct Chosen {
  const Mechanism& row;
  Parameter parameter;
};

// Choose finds the row among those that are offered. CKR_ARGUMENTS_BAD, CKR_MECHANISM_INVALID,
// CKR_MECHANISM_PARAM_INVALID.
CkResult<Chosen> Choose(const Session& session, const CK_MECHANISM* given);

// NamedKeys are the keys that a mechanism's parameter names (Mechanism::names_keys), but for
// derivations, which take them in otherwise.
class NamedKeys {
 public:
  // Find looks them up and asks the key policy; most mechanisms name none. What PermittedKey
  // answers, and what the mechanism says of its parameter.
  static CkResult<NamedKeys> Find(Session& session, const Chosen& chosen) {
    NamedKeys found;
    if (chosen.row.names_keys == nullptr) return found;
    const auto names = chosen.row.names_keys(chosen.parameter);
    if (!names) return Refuse(names.error());
    for (const CK_OBJECT_HANDLE handle : names->handles) {
      ObjectPtr object = session.token->Find(handle);
      auto key = names->as_base
                     ? PermittedKey::Permit(std::move(object), CKA_DERIVE, chosen.row.type)
                     : PermittedKey::PermitBeside(std::move(object), chosen.row.type);
      if (!key) return Refuse(key.error());
      found.keys_.push_back(key->key());
      found.permitted_.push_back(std::move(*key));
    }
    return found;
  }

  // Beside is |key| as a mechanism sees it, with these; for as long as this lives.
  Key Beside(const PermittedKey& key) const {
    Key seen = key.key();
    seen.named = keys_;
    return seen;
  }

  // Take is for an operation that goes on with them, after which nothing is beside any key.
  std::vector<PermittedKey> Take() { return std::move(permitted_); }

 private:
  std::vector<PermittedKey> permitted_;
  std::vector<Key> keys_;
};

}  // namespace secretmem

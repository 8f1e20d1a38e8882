// C_DeriveKey, PKCS#11 3.2, 5.18.5.

#include <cstring>

#include "mechanisms/mechanism.h"
#include "pkcs11/entry.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/object_factory.h"
#include "pkcs11/operation_step.h"
#include "pkcs11/set_key_template.h"

using namespace secretmem;

namespace {

// Deriving is one C_DeriveKey under way: the keys that it takes, in the order in which mechanisms
// see them, and what the new ones inherit.
class Deriving {
 public:
  Deriving(Session& session, const Chosen& chosen) : session_(session), chosen_(chosen) {}

  CkStatus TakeKeys(CK_OBJECT_HANDLE base);
  CkStatus Derive(CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* handle);

 private:
  CkResult<Blueprint> PlanKey(const CK_ATTRIBUTE* attributes, CK_ULONG count);
  CkStatus DeriveData(const CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* handle);
  CkStatus DeriveSet(const CK_ATTRIBUTE* attributes, CK_ULONG count);
  CkResult<std::vector<CK_OBJECT_HANDLE>> Make(const std::vector<Blueprint>& plans);
  CkResult<std::vector<NewKey>> Run(const std::vector<SecretRequest>& wanted);
  Derivation Arguments(std::span<const SecretRequest> wanted) {
    return {chosen_.row.type, chosen_.parameter, *base_, named_, wanted};
  }

  Session& session_;
  const Chosen& chosen_;
  std::vector<PermittedKey> permitted_;
  std::optional<Key> base_;
  std::vector<Key> named_;
  std::optional<BaseKey> traits_;
  std::optional<AttributeSet> imposed_;
  std::vector<CK_DERIVED_KEY> others_;
};

CkStatus Deriving::TakeKeys(CK_OBJECT_HANDLE base) {
  const CK_MECHANISM_TYPE type = chosen_.row.type;
  auto permitted = PermittedKey::Permit(session_.token->Find(base), CKA_DERIVE, type);
  if (!permitted) return Refuse(permitted.error());
  base_.emplace(permitted->key());
  const AttributeSet& attributes = permitted->object().attributes;
  traits_ = BaseKey::Of(attributes);
  traits_->binds = chosen_.row.inherits_protection;
  imposed_ = attributes.GetTemplate(CKA_DERIVE_TEMPLATE);
  permitted_.push_back(std::move(*permitted));
  if (chosen_.row.names_keys == nullptr) return {};

  auto names = chosen_.row.names_keys(chosen_.parameter);
  if (!names) return Refuse(names.error());
  others_ = std::move(names->others);
  for (const CK_OBJECT_HANDLE handle : names->handles) {
    ObjectPtr object = session_.token->Find(handle);
    auto key = names->as_base ? PermittedKey::Permit(std::move(object), CKA_DERIVE, type)
                              : PermittedKey::PermitBeside(std::move(object), type);
    if (!key) return Refuse(key.error());
    const BaseKey its = BaseKey::Of(key->object().attributes);
    if (chosen_.row.inherits_protection) traits_->Add(its);
    if (names->as_base) {
      // Section 6.42: any of the keys will do.
      traits_->always_sensitive |= its.always_sensitive;
      traits_->never_extractable |= its.never_extractable;
    }
    named_.push_back(key->key());
    permitted_.push_back(std::move(*key));
  }
  return {};
}

CkResult<Blueprint> Deriving::PlanKey(const CK_ATTRIBUTE* attributes, CK_ULONG count) {
  return Plan(session_, attributes, count,
              {.origin = Origin::kDerive,
               .object_class = CKO_SECRET_KEY,
               .default_key_type = CKK_GENERIC_SECRET,
               .mechanism = chosen_.row.type,
               .base = traits_,
               .imposed = imposed_ ? &*imposed_ : nullptr});
}

CkResult<std::vector<NewKey>> Deriving::Run(const std::vector<SecretRequest>& wanted) {
  if (chosen_.row.derive_keys != nullptr) return chosen_.row.derive_keys(Arguments(wanted));
  auto key = chosen_.row.derive(chosen_.parameter, *base_, wanted.front());
  if (!key) return Refuse(key.error());
  std::vector<NewKey> keys;
  keys.push_back(std::move(*key));
  return keys;
}

// Make derives the planned keys and gives them handles.
CkResult<std::vector<CK_OBJECT_HANDLE>> Deriving::Make(const std::vector<Blueprint>& plans) {
  std::vector<SecretRequest> wanted;
  std::vector<std::shared_ptr<Object>> objects;
  for (const Blueprint& plan : plans) {
    wanted.push_back(RequestOf(*plan.object));
    objects.push_back(plan.object);
  }
  auto keys = Run(wanted);
  if (!keys) return Refuse(keys.error());
  if (keys->size() != plans.size()) return Refuse(CKR_GENERAL_ERROR);
  for (size_t i = 0; i < plans.size(); ++i) {
    auto completed = Complete(*objects[i], std::move((*keys)[i]));
    if (!completed) return Refuse(completed.error());
  }
  return Enrol(session_, std::move(objects));
}

CkStatus Deriving::Derive(CK_ATTRIBUTE* attributes, CK_ULONG count, CK_OBJECT_HANDLE* handle) {
  if (chosen_.row.derive_data != nullptr) return DeriveData(attributes, count, handle);
  if (chosen_.row.key_set != nullptr) return DeriveSet(attributes, count);
  std::vector<Blueprint> plans;
  auto first = PlanKey(attributes, count);
  if (!first) return Refuse(first.error());
  plans.push_back(std::move(*first));
  for (const CK_DERIVED_KEY& other : others_) {
    auto plan = PlanKey(other.pTemplate, other.ulAttributeCount);
    if (!plan) {
      // So the client learns which template it was.
      constexpr CK_OBJECT_HANDLE kNone = CK_INVALID_HANDLE;
      memcpy(other.phKey, &kNone, sizeof(kNone));
      return Refuse(plan.error());
    }
    plans.push_back(std::move(*plan));
  }
  const auto handles = Make(plans);
  if (!handles) return Refuse(handles.error());
  *handle = handles->front();
  for (size_t i = 0; i < others_.size(); ++i) {
    memcpy(others_[i].phKey, &(*handles)[i + 1], sizeof(CK_OBJECT_HANDLE));
  }
  return {};
}

CkStatus Deriving::DeriveSet(const CK_ATTRIBUTE* attributes, CK_ULONG count) {
  const auto set = chosen_.row.key_set(chosen_.parameter);
  if (!set) return Refuse(set.error());
  std::vector<Blueprint> plans;
  for (const KeyOfSet& key : *set) {
    if (key.length == 0) continue;
    const auto wanted = SetKeyTemplate::Of(key, *traits_, attributes, count);
    if (!wanted) return Refuse(wanted.error());
    auto plan = PlanKey(wanted->data(), wanted->size());
    if (!plan) return Refuse(plan.error());
    plans.push_back(std::move(*plan));
  }
  const auto handles = Make(plans);
  if (!handles) return Refuse(handles.error());
  auto next = handles->begin();
  for (const KeyOfSet& key : *set) {
    const CK_OBJECT_HANDLE handle = key.length == 0 ? CK_INVALID_HANDLE : *next++;
    memcpy(key.handle, &handle, sizeof(handle));
  }
  return {};
}

CkStatus Deriving::DeriveData(const CK_ATTRIBUTE* attributes, CK_ULONG count,
                              CK_OBJECT_HANDLE* handle) {
  const auto plan = Plan(session_, attributes, count,
                         {.origin = Origin::kDerive,
                          .object_class = CKO_DATA,
                          .base = traits_,
                          .imposed = imposed_ ? &*imposed_ : nullptr});
  if (!plan) return Refuse(plan.error());
  AttributeSet& made = plan->object->attributes;
  const SecretRequest wanted = RequestOf(*plan->object);
  // The length has been said; data objects have none.
  made.Remove(CKA_VALUE_LEN);
  const auto value = chosen_.row.derive_data(Arguments({&wanted, 1}));
  if (!value) return Refuse(value.error());
  made.SetBytes(CKA_VALUE, *value);
  const auto handles = Enrol(session_, {plan->object});
  if (!handles) return Refuse(handles.error());
  *handle = handles->front();
  return {};
}

}  // namespace

CK_RV C_DeriveKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                  CK_OBJECT_HANDLE hBaseKey, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const auto chosen = Choose(session, pMechanism);
    const bool has_set = chosen && chosen->row.key_set != nullptr;
    if (phKey == nullptr && !has_set) return Refuse(CKR_ARGUMENTS_BAD);
    if (!chosen) return Refuse(chosen.error());
    const Mechanism& row = chosen->row;
    if (row.derive == nullptr && row.derive_keys == nullptr && row.derive_data == nullptr) {
      return Refuse(CKR_MECHANISM_INVALID);
    }
    Deriving deriving(session, *chosen);
    if (auto taken = deriving.TakeKeys(hBaseKey); !taken) return taken;
    return deriving.Derive(pTemplate, ulAttributeCount, phKey);
  });
}

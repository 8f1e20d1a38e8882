// Key generation, PKCS#11 3.2, 5.18. Derivation is in derivation.cc.

#include "mechanisms/mechanism.h"
#include "pkcs11/entry.h"
#include "pkcs11/key_policy.h"
#include "pkcs11/object_factory.h"
#include "pkcs11/operation_step.h"

using namespace secretmem;

namespace {

// Nothing where the template may choose.
std::optional<CK_KEY_TYPE> GeneratedType(const Mechanism& row) {
  if (row.generated_type == CK_UNAVAILABLE_INFORMATION) return std::nullopt;
  return row.generated_type;
}

// EnrolKey completes a planned key with what a mechanism made.
CkStatus EnrolKey(Session& session, const Blueprint& plan, NewKey key, CK_OBJECT_HANDLE* handle) {
  if (auto completed = Complete(*plan.object, std::move(key)); !completed) return completed;
  const auto handles = Enrol(session, {plan.object});
  if (!handles) return Refuse(handles.error());
  *handle = handles->front();
  return {};
}

}  // namespace

CK_RV C_GenerateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                    CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (phKey == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto chosen = Choose(session, pMechanism);
    if (!chosen) return Refuse(chosen.error());
    if (chosen->row.generate_key == nullptr) return Refuse(CKR_MECHANISM_INVALID);
    const auto plan = Plan(session, pTemplate, ulCount,
                           {.origin = Origin::kGenerateSecret,
                            .object_class = CKO_SECRET_KEY,
                            .key_type = GeneratedType(chosen->row),
                            .default_key_type = CKK_GENERIC_SECRET,
                            .mechanism = chosen->row.type});
    if (!plan) return Refuse(plan.error());
    auto key = chosen->row.generate_key(chosen->parameter, RequestOf(*plan->object));
    if (!key) return Refuse(key.error());
    return EnrolKey(session, *plan, std::move(*key), phKey);
  });
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                        CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                        CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                        CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (phPublicKey == nullptr || phPrivateKey == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto chosen = Choose(session, pMechanism);
    if (!chosen) return Refuse(chosen.error());
    const Mechanism& row = chosen->row;
    if (row.generate_key_pair == nullptr) return Refuse(CKR_MECHANISM_INVALID);
    const auto plan_for = [&](Origin origin, CK_OBJECT_CLASS object_class, CK_ATTRIBUTE* attributes,
                              CK_ULONG count) {
      return Plan(session, attributes, count,
                  {.origin = origin,
                   .object_class = object_class,
                   .key_type = row.generated_type,
                   .mechanism = row.type});
    };
    const auto public_plan = plan_for(Origin::kGeneratePublic, CKO_PUBLIC_KEY, pPublicKeyTemplate,
                                      ulPublicKeyAttributeCount);
    if (!public_plan) return Refuse(public_plan.error());
    const auto private_plan = plan_for(Origin::kGeneratePrivate, CKO_PRIVATE_KEY,
                                       pPrivateKeyTemplate, ulPrivateKeyAttributeCount);
    if (!private_plan) return Refuse(private_plan.error());
    auto pair = row.generate_key_pair(chosen->parameter, *public_plan->object);
    if (!pair) return Refuse(pair.error());
    Apply(*public_plan->object, pair->public_attributes);
    Apply(*private_plan->object, pair->private_attributes);
    private_plan->object->secret = std::make_shared<KeySecret>(std::move(pair->secret));
    const auto handles = Enrol(session, {public_plan->object, private_plan->object});
    if (!handles) return Refuse(handles.error());
    *phPublicKey = (*handles)[0];
    *phPrivateKey = (*handles)[1];
    return {};
  });
}

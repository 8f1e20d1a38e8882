// C_EncapsulateKey and C_DecapsulateKey, PKCS#11 3.2, 5.18.8 and 5.18.9.

#include <cstring>

#include "mechanisms/vendor.h"
#include "pkcs11/named_keys.h"
#include "pkcs11/object_factory.h"
#include "pkcs11/operation_step.h"

namespace secretmem {
namespace {

CkResult<Blueprint> PlanSecret(Session& session, Origin origin, const Object& key,
                               CK_ATTRIBUTE_TYPE imposed_by, const CK_ATTRIBUTE* attributes,
                               CK_ULONG count) {
  const auto imposed = key.attributes.GetTemplate(imposed_by);
  return Plan(session, attributes, count,
              {.origin = origin,
               .object_class = CKO_SECRET_KEY,
               .default_key_type = CKK_GENERIC_SECRET,
               .imposed = imposed ? &*imposed : nullptr,
               .bound_to = key.Get(CKA_SECRETMEM_BOUND_TO)});
}

CkStatus EnrolSecret(Session& session, const Blueprint& plan, NewKey key,
                     CK_OBJECT_HANDLE* handle) {
  if (auto completed = Complete(*plan.object, std::move(key)); !completed) return completed;
  const auto handles = Enrol(session, {plan.object});
  if (!handles) return Refuse(handles.error());
  *handle = handles->front();
  return {};
}

}  // namespace
}  // namespace secretmem

using namespace secretmem;

CK_RV C_EncapsulateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                       CK_OBJECT_HANDLE hPublicKey, CK_ATTRIBUTE_PTR pTemplate,
                       CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext,
                       CK_ULONG_PTR pulCiphertextLen, CK_OBJECT_HANDLE_PTR phKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pulCiphertextLen == nullptr || (phKey == nullptr && pCiphertext != nullptr)) {
      return Refuse(CKR_ARGUMENTS_BAD);
    }
    const auto chosen = Choose(session, pMechanism);
    if (!chosen) return Refuse(chosen.error());
    const Mechanism& row = chosen->row;
    if (row.encapsulate == nullptr) return Refuse(CKR_MECHANISM_INVALID);
    const auto key =
        PermittedKey::Permit(session.token->Find(hPublicKey), CKA_ENCAPSULATE, row.type);
    if (!key) return Refuse(key.error());
    const auto named = NamedKeys::Find(session, *chosen);
    if (!named) return Refuse(named.error());
    const Key public_key = named->Beside(*key);
    const auto size = row.ciphertext_size(row.type, chosen->parameter, public_key);
    if (!size) return Refuse(size.error());
    const CK_ULONG room = *pulCiphertextLen;
    *pulCiphertextLen = *size;
    // No key is made before there is a place for the other half of it.
    if (pCiphertext == nullptr) return {};
    if (room < *size) return Refuse(CKR_BUFFER_TOO_SMALL);
    const auto plan = PlanSecret(session, Origin::kEncapsulate, key->object(),
                                 CKA_ENCAPSULATE_TEMPLATE, pTemplate, ulAttributeCount);
    if (!plan) return Refuse(plan.error());
    auto made = row.encapsulate(row.type, chosen->parameter, public_key, RequestOf(*plan->object));
    if (!made) return Refuse(made.error());
    if (made->ciphertext.size() != *size) return Refuse(CKR_GENERAL_ERROR);
    if (auto done = EnrolSecret(session, *plan, std::move(made->key), phKey); !done) return done;
    memcpy(pCiphertext, made->ciphertext.data(), made->ciphertext.size());
    return {};
  });
}

CK_RV C_DecapsulateKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                       CK_OBJECT_HANDLE hPrivateKey, CK_ATTRIBUTE_PTR pTemplate,
                       CK_ULONG ulAttributeCount, CK_BYTE_PTR pCiphertext, CK_ULONG ulCiphertextLen,
                       CK_OBJECT_HANDLE_PTR phKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pCiphertext == nullptr || phKey == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto chosen = Choose(session, pMechanism);
    if (!chosen) return Refuse(chosen.error());
    const Mechanism& row = chosen->row;
    if (row.decapsulate == nullptr) return Refuse(CKR_MECHANISM_INVALID);
    const auto key =
        PermittedKey::Permit(session.token->Find(hPrivateKey), CKA_DECAPSULATE, row.type);
    if (!key) return Refuse(key.error());
    const auto named = NamedKeys::Find(session, *chosen);
    if (!named) return Refuse(named.error());
    const auto plan = PlanSecret(session, Origin::kDecapsulate, key->object(),
                                 CKA_DECAPSULATE_TEMPLATE, pTemplate, ulAttributeCount);
    if (!plan) return Refuse(plan.error());
    auto made = row.decapsulate(row.type, chosen->parameter, named->Beside(*key),
                                RequestOf(*plan->object), {pCiphertext, ulCiphertextLen});
    if (!made) return Refuse(made.error());
    return EnrolSecret(session, *plan, std::move(*made), phKey);
  });
}

#include "pkcs11/resealing.h"

#include "pkcs11/bound_key.h"

namespace secretmem {
namespace {

// PermitBoth asks for the outer and the inner mechanism.
CkResult<PermittedKey> PermitBoth(const ObjectPtr& object, CK_ATTRIBUTE_TYPE usage,
                                  CK_MECHANISM_TYPE outer, CK_MECHANISM_TYPE inner) {
  if (auto permitted = PermittedKey::Permit(object, usage, outer); !permitted) return permitted;
  return PermittedKey::Permit(object, usage, inner);
}

// Whether the configuration leaves both mechanisms, of which the table has them all.
bool Offers(const OfferedMechanisms& offered, const Resealing& resealing) {
  const Mechanism* decapsulation = offered.Find(resealing.decapsulation->type);
  const Mechanism* wrapping = offered.Find(resealing.wrapping->type);
  return decapsulation != nullptr && decapsulation->decapsulate != nullptr && wrapping != nullptr &&
         wrapping->wrap != nullptr;
}

// What the templates of both keys ask of a key that is wrapped, as far as a secret without an
// object can answer it.
CkStatus CheckTemplates(const Object& binding, const Object& kem) {
  const auto wrappable = binding.attributes.GetTemplate(CKA_WRAP_TEMPLATE);
  if (wrappable && wrappable->size() != 0) return Refuse(CKR_KEY_NOT_WRAPPABLE);
  const auto imposed = kem.attributes.GetTemplate(CKA_DECAPSULATE_TEMPLATE);
  const bool needs_trust = imposed && imposed->GetBool(CKA_WRAP_WITH_TRUSTED).value_or(false);
  if (needs_trust && !binding.Is(CKA_TRUSTED)) return Refuse(CKR_KEY_NOT_WRAPPABLE);
  return {};
}

}  // namespace

CkResult<std::vector<uint8_t>> ResealKey(Session& session, const Chosen& chosen,
                                         CK_OBJECT_HANDLE binding, CK_OBJECT_HANDLE kem) {
  const auto resealing = chosen.row.read_resealing(chosen.parameter);
  if (!resealing) return Refuse(resealing.error());
  if (!Offers(session.mechanisms, *resealing)) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const CK_MECHANISM_TYPE outer = chosen.row.type;
  const auto to =
      PermitBoth(session.token->Find(binding), CKA_WRAP, outer, resealing->wrapping->type);
  if (!to) {
    return Refuse(to.error() == CKR_KEY_HANDLE_INVALID ? CKR_WRAPPING_KEY_HANDLE_INVALID
                                                       : to.error());
  }
  const auto from =
      PermitBoth(session.token->Find(kem), CKA_DECAPSULATE, outer, resealing->decapsulation->type);
  if (!from) return Refuse(from.error());
  if (auto its = CheckBinding(to->object(), from->object()); !its) return Refuse(its.error());
  if (auto fit = CheckTemplates(to->object(), from->object()); !fit) return Refuse(fit.error());
  return Reseal(*resealing, from->key(), to->key());
}

}  // namespace secretmem

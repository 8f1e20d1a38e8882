// C_WrapKey and C_UnwrapKey, with and without associated data, PKCS#11 3.2, 5.18.

#include <algorithm>

#include "mechanisms/key_family.h"
#include "mechanisms/pkcs8.h"
#include "mechanisms/secret_key.h"
#include "pkcs11/attribute_rules.h"
#include "pkcs11/bound_key.h"
#include "pkcs11/named_keys.h"
#include "pkcs11/object_factory.h"
#include "pkcs11/operation_step.h"
#include "pkcs11/resealing.h"

namespace secretmem {
namespace {

// What a mechanism says of its key and data, in the words of these two functions.
CK_RV InWrapping(CK_RV code) {
  switch (code) {
    case CKR_KEY_HANDLE_INVALID:
      return CKR_WRAPPING_KEY_HANDLE_INVALID;
    case CKR_KEY_TYPE_INCONSISTENT:
      return CKR_WRAPPING_KEY_TYPE_INCONSISTENT;
    default:
      return code;
  }
}

CK_RV InUnwrapping(CK_RV code) {
  switch (code) {
    case CKR_KEY_HANDLE_INVALID:
      return CKR_UNWRAPPING_KEY_HANDLE_INVALID;
    case CKR_KEY_TYPE_INCONSISTENT:
      return CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT;
    case CKR_ENCRYPTED_DATA_INVALID:
      return CKR_WRAPPED_KEY_INVALID;
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
      return CKR_WRAPPED_KEY_LEN_RANGE;
    default:
      return code;
  }
}

// CKA_WRAP_TEMPLATE: what a key must be for |wrapping| to wrap it.
bool MatchesTemplate(const Object& wrapping, const Object& key) {
  const auto wanted = wrapping.attributes.GetTemplate(CKA_WRAP_TEMPLATE);
  if (!wanted) return true;
  bool matches = true;
  wanted->ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
    const auto its = key.attributes.Get(type);
    matches &= its && std::ranges::equal(*its, value);
  });
  return matches;
}

// CheckWrappable says whether policy lets |wrapping| wrap |key|.
CkStatus CheckWrappable(const Object& wrapping, const Object* key) {
  if (key == nullptr || key->key_type() == CK_UNAVAILABLE_INFORMATION) {
    return Refuse(CKR_KEY_HANDLE_INVALID);
  }
  if (key->secret == nullptr) return Refuse(CKR_KEY_NOT_WRAPPABLE);  // a public key
  if (IsBound(*key) && key->object_class() == CKO_SECRET_KEY) {
    // To its binding key it goes although it is not extractable.
    if (auto its = CheckBinding(wrapping, *key); !its) return its;
  } else if (!key->Is(CKA_EXTRACTABLE)) {
    return Refuse(CKR_KEY_UNEXTRACTABLE);
  }
  if (key->Is(CKA_WRAP_WITH_TRUSTED) && !wrapping.Is(CKA_TRUSTED)) {
    return Refuse(CKR_KEY_NOT_WRAPPABLE);
  }
  if (!MatchesTemplate(wrapping, *key)) return Refuse(CKR_KEY_HANDLE_INVALID);
  return {};
}

// Associated is the associated data of the calls that have any.
using Associated = std::optional<std::span<const uint8_t>>;

CkResult<std::vector<uint8_t>> Wrap(const Chosen& chosen, const Key& wrapping, const Object& key,
                                    const Associated& associated) {
  const auto secret = key.secret->Open();
  if (!secret) return Refuse(secret.error());
  const auto wrap = [&](const Vault& material) {
    const auto& [row, parameter] = chosen;
    return associated ? row.wrap_authenticated(row.type, parameter, wrapping, material, *associated)
                      : row.wrap(row.type, parameter, wrapping, material);
  };
  if (key.object_class() == CKO_SECRET_KEY) return wrap(**secret);
  if (chosen.row.wraps_secret_keys_only) return Refuse(CKR_KEY_NOT_WRAPPABLE);
  const KeyFamily* family = FindKeyFamily(key.key_type());
  if (family == nullptr || family->to_pkcs8 == nullptr) return Refuse(CKR_KEY_NOT_WRAPPABLE);
  const auto material =
      family->to_pkcs8({key.object_class(), key.key_type(), key, *secret, &key.secret->cache()});
  if (!material) return Refuse(material.error());
  return wrap(*material);
}

// What a key family sees of an unwrapped secret key; for use within a borrow of its value.
class Unwrapped : public AttributeSource {
 public:
  Unwrapped(const Object& plan, std::span<const uint8_t> value) : plan_(plan), value_(value) {}

  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const override {
    if (type == CKA_VALUE) return value_;
    return plan_.attributes.Get(type);
  }

 private:
  const Object& plan_;
  std::span<const uint8_t> value_;
};

CkResult<NewKey> ReadSecretKey(const KeyFamily& family, const Object& plan,
                               std::span<const uint8_t> value) {
  const auto length = plan.attributes.GetUlong(CKA_VALUE_LEN);
  if (length && *length != value.size()) return Refuse(CKR_TEMPLATE_INCONSISTENT);
  auto key = family.import_secret(Unwrapped(plan, value));
  // There is no value in the template that could be wrong.
  if (!key && key.error() == CKR_ATTRIBUTE_VALUE_INVALID) return Refuse(CKR_WRAPPED_KEY_INVALID);
  return key;
}

CkResult<NewKey> ReadPrivateKey(const KeyFamily& family, std::span<const uint8_t> value) {
  const auto length = DerLength(value);
  if (!length) return Refuse(CKR_WRAPPED_KEY_INVALID);
  return family.from_pkcs8(value.first(*length));
}

// ReadKey lets the key family take in what was unwrapped.
CkResult<NewKey> ReadKey(const KeyFamily& family, const Object& plan, const Vault& material) {
  std::optional<CkResult<NewKey>> key;
  const auto read = ToCk(material.WithSecret([&](std::span<const uint8_t> value) {
    key.emplace(plan.object_class() == CKO_SECRET_KEY ? ReadSecretKey(family, plan, value)
                                                      : ReadPrivateKey(family, value));
  }));
  if (!read) return Refuse(read.error());
  return std::move(*key);
}

// KnownLengths are the lengths in bytes that the template or the key type allows; none: any.
std::vector<size_t> KnownLengths(const Object& plan) {
  if (plan.object_class() != CKO_SECRET_KEY) return {};
  if (const auto length = plan.attributes.GetUlong(CKA_VALUE_LEN)) return {*length};
  return FewSecretLengths(plan.key_type());
}

// Unwrapping is what C_UnwrapKey and C_UnwrapKeyAuthenticated are called with.
struct Unwrapping {
  CK_OBJECT_HANDLE key;
  std::span<const uint8_t> wrapped;
  const CK_ATTRIBUTE* attributes;
  CK_ULONG count;
  Associated associated;
};

CkResult<Vault> Unwrap(const Chosen& chosen, const Key& key, const Unwrapping& given,
                       std::span<const size_t> lengths) {
  const auto& [row, parameter] = chosen;
  return given.associated
             ? row.unwrap_authenticated(row.type, parameter, key, given.wrapped, *given.associated)
             : row.unwrap(row.type, parameter, key, given.wrapped, lengths);
}

CkStatus UnwrapKey(Session& session, const CK_MECHANISM* mechanism, const Unwrapping& given,
                   CK_OBJECT_HANDLE* handle) {
  const auto chosen = Choose(session, mechanism);
  if (!chosen) return Refuse(chosen.error());
  if (given.associated ? chosen->row.unwrap_authenticated == nullptr
                       : chosen->row.unwrap == nullptr) {
    return Refuse(CKR_MECHANISM_INVALID);
  }
  const auto unwrapping =
      PermittedKey::Permit(session.token->Find(given.key), CKA_UNWRAP, chosen->row.type);
  if (!unwrapping) return Refuse(InUnwrapping(unwrapping.error()));
  const auto named = NamedKeys::Find(session, *chosen);
  if (!named) return Refuse(named.error());
  const auto imposed = unwrapping->object().attributes.GetTemplate(CKA_UNWRAP_TEMPLATE);
  const auto plan = Plan(session, given.attributes, given.count,
                         {.origin = Origin::kUnwrap, .imposed = imposed ? &*imposed : nullptr});
  if (!plan) return Refuse(plan.error());
  Object& object = *plan->object;
  const bool is_secret = object.object_class() == CKO_SECRET_KEY;
  if (!is_secret &&
      (object.object_class() != CKO_PRIVATE_KEY || chosen->row.wraps_secret_keys_only)) {
    return Refuse(CKR_TEMPLATE_INCONSISTENT);
  }
  const KeyFamily* family = FindKeyFamily(object.key_type());
  if (family == nullptr ||
      (is_secret ? family->import_secret == nullptr : family->from_pkcs8 == nullptr)) {
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  const auto material = Unwrap(*chosen, named->Beside(*unwrapping), given, KnownLengths(object));
  if (!material) return Refuse(InUnwrapping(material.error()));
  auto key = ReadKey(*family, object, *material);
  if (!key) return Refuse(key.error());
  if (auto completed = Complete(object, std::move(*key)); !completed) return completed;
  const auto handles = Enrol(session, {plan->object});
  if (!handles) return Refuse(handles.error());
  *handle = handles->front();
  return {};
}

// Wrapping is what C_WrapKey and C_WrapKeyAuthenticated are called with.
struct Wrapping {
  CK_OBJECT_HANDLE wrapping;
  CK_OBJECT_HANDLE key;
  Associated associated;
};

CkStatus WrapKey(Session& session, const CK_MECHANISM* mechanism, const Wrapping& given,
                 CK_BYTE* out, CK_ULONG* length) {
  if (length == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
  const auto chosen = Choose(session, mechanism);
  if (!chosen) return Refuse(chosen.error());
  if (!given.associated && chosen->row.read_resealing != nullptr) {
    const auto wrapped = ResealKey(session, *chosen, given.wrapping, given.key);
    if (!wrapped) return Refuse(wrapped.error());
    return CopyOut(*wrapped, out, length);
  }
  if (given.associated ? chosen->row.wrap_authenticated == nullptr : chosen->row.wrap == nullptr) {
    return Refuse(CKR_MECHANISM_INVALID);
  }
  const auto wrapping =
      PermittedKey::Permit(session.token->Find(given.wrapping), CKA_WRAP, chosen->row.type);
  if (!wrapping) return Refuse(InWrapping(wrapping.error()));
  const ObjectPtr key = session.token->Find(given.key);
  if (auto may = CheckWrappable(wrapping->object(), key.get()); !may) return may;
  const auto named = NamedKeys::Find(session, *chosen);
  if (!named) return Refuse(named.error());
  // The result is no secret, so a size query may as well make it.
  const auto wrapped = Wrap(*chosen, named->Beside(*wrapping), *key, given.associated);
  if (!wrapped) return Refuse(InWrapping(wrapped.error()));
  return CopyOut(*wrapped, out, length);
}

}  // namespace
}  // namespace secretmem

using namespace secretmem;

CK_RV C_WrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey,
                CK_ULONG_PTR pulWrappedKeyLen) {
  return EnterSession(__func__, hSession, [&](Session& session) {
    return WrapKey(session, pMechanism, {hWrappingKey, hKey, std::nullopt}, pWrappedKey,
                   pulWrappedKeyLen);
  });
}

CK_RV C_WrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                             CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey,
                             CK_BYTE_PTR pAssociatedData, CK_ULONG ulAssociatedDataLen,
                             CK_BYTE_PTR pWrappedKey, CK_ULONG_PTR pulWrappedKeyLen) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (!IsInput(pAssociatedData, ulAssociatedDataLen)) return Refuse(CKR_ARGUMENTS_BAD);
    return WrapKey(session, pMechanism,
                   {hWrappingKey, hKey, std::span(pAssociatedData, ulAssociatedDataLen)},
                   pWrappedKey, pulWrappedKeyLen);
  });
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                  CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey,
                  CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount,
                  CK_OBJECT_HANDLE_PTR phKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pWrappedKey == nullptr || phKey == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    return UnwrapKey(
        session, pMechanism,
        {hUnwrappingKey, {pWrappedKey, ulWrappedKeyLen}, pTemplate, ulAttributeCount, std::nullopt},
        phKey);
  });
}

CK_RV C_UnwrapKeyAuthenticated(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                               CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey,
                               CK_ULONG ulWrappedKeyLen, CK_ATTRIBUTE_PTR pTemplate,
                               CK_ULONG ulAttributeCount, CK_BYTE_PTR pAssociatedData,
                               CK_ULONG ulAssociatedDataLen, CK_OBJECT_HANDLE_PTR phKey) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pWrappedKey == nullptr || phKey == nullptr ||
        !IsInput(pAssociatedData, ulAssociatedDataLen)) {
      return Refuse(CKR_ARGUMENTS_BAD);
    }
    return UnwrapKey(session, pMechanism,
                     {hUnwrappingKey,
                      {pWrappedKey, ulWrappedKeyLen},
                      pTemplate,
                      ulAttributeCount,
                      std::span(pAssociatedData, ulAssociatedDataLen)},
                     phKey);
  });
}

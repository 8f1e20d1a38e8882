#include "pkcs11/object_factory.h"

#include <algorithm>
#include <cstring>

#include "mechanisms/check_value.h"
#include "mechanisms/key_family.h"

namespace secretmem {
namespace {

// What a key family sees of a template: the attributes, and the secret values where they are.
class Material : public AttributeSource {
 public:
  explicit Material(const Blueprint& plan) : plan_(plan) {}

  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const override {
    const auto secret = std::ranges::find(plan_.secrets, type, &SecretValue::type);
    if (secret != plan_.secrets.end()) return secret->value;
    return plan_.object->attributes.Get(type);
  }

 private:
  const Blueprint& plan_;
};

// CheckGivenValue compares a check value that the template gave, unless it is empty, with
// compute's.
template <class Compute>
CkStatus CheckGivenValue(const Object& object, Compute&& compute) {
  const auto given = object.attributes.Get(CKA_CHECK_VALUE);
  if (!given || given->empty()) return {};
  const CkResult<CheckValue> right = compute();
  if (!right) return Refuse(right.error());
  if (!std::ranges::equal(*given, *right)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  return {};
}

// CheckPublicKeyInfo compares a CKA_PUBLIC_KEY_INFO that the template gave, unless it is empty,
// with the key (section 4.9). It is not stored, as it follows from the key.
CkStatus CheckPublicKeyInfo(Object& object) {
  const auto given = object.attributes.Get(CKA_PUBLIC_KEY_INFO);
  if (!given) return {};
  if (!given->empty()) {
    const auto right = PublicKeyInfoOf(object);
    if (!right) return Refuse(right.error());
    if (!std::ranges::equal(*given, *right)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  object.attributes.Remove(CKA_PUBLIC_KEY_INFO);
  return {};
}

// IsSubset says whether each number of |few| is one of |many|; both are CKA_ALLOWED_MECHANISMS.
bool IsSubset(std::span<const uint8_t> few, std::span<const uint8_t> many) {
  const auto number = [](std::span<const uint8_t> list, size_t at) {
    CK_MECHANISM_TYPE type;
    memcpy(&type, list.data() + at, sizeof(type));
    return type;
  };
  for (size_t i = 0; i + sizeof(CK_MECHANISM_TYPE) <= few.size(); i += sizeof(CK_MECHANISM_TYPE)) {
    bool found = false;
    for (size_t k = 0; k + sizeof(CK_MECHANISM_TYPE) <= many.size();
         k += sizeof(CK_MECHANISM_TYPE)) {
      found |= number(few, i) == number(many, k);
    }
    if (!found) return false;
  }
  return true;
}

}  // namespace

CkResult<std::vector<uint8_t>> PublicKeyInfoOf(const Object& object) {
  const KeyFamily* family = FindKeyFamily(object.key_type());
  if (family == nullptr || family->public_key_info == nullptr) {
    return Refuse(CKR_ATTRIBUTE_TYPE_INVALID);
  }
  const Vault* secret = nullptr;
  if (object.secret != nullptr) {
    const auto opened = object.secret->Open();
    if (!opened) return Refuse(opened.error());
    secret = *opened;
  }
  return family->public_key_info({object.object_class(), object.key_type(), object, secret,
                                  secret != nullptr ? &object.secret->cache() : nullptr});
}

CkResult<Blueprint> Plan(Session& session, const CK_ATTRIBUTE* attributes, CK_ULONG count,
                         BuildRequest request) {
  const auto given = TemplateReader::Read(attributes, count);
  if (!given) return Refuse(given.error());
  const auto uid = session.token->NewUid();
  if (!uid) return Refuse(uid.error());
  const auto id = UniqueId(*uid);
  request.caller = session.caller();
  request.unique_id = {id.data(), id.size()};
  auto built = session.drafts.Build(*given, request);
  if (!built) return Refuse(built.error());
  Blueprint plan{std::make_shared<Object>(), std::move(built->secrets)};
  plan.object->attributes = std::move(built->attributes);
  plan.object->uid = *uid;
  return plan;
}

void Apply(Object& object, const AttributeValues& values) {
  for (const AttributeValue& value : values) {
    object.attributes.SetBytes(value.type, value.value);
  }
}

SecretRequest RequestOf(const Object& object) {
  return {object.key_type(), object.attributes.GetUlong(CKA_VALUE_LEN)};
}

CkStatus Complete(Object& object, NewKey key) {
  for (const AttributeValue& value : key.attributes) {
    if (value.type == CKA_ALLOWED_MECHANISMS && object.attributes.Has(value.type) &&
        !object.attributes.Get(value.type)->empty()) {
      // Of the mechanisms that the key is for, a template may leave some out.
      if (!IsSubset(*object.attributes.Get(value.type), value.value)) {
        return Refuse(CKR_TEMPLATE_INCONSISTENT);
      }
      continue;
    }
    object.attributes.SetBytes(value.type, value.value);
  }
  if (object.object_class() == CKO_SECRET_KEY) {
    const auto right =
        CheckGivenValue(object, [&] { return CheckValueOf(object.key_type(), key.secret); });
    if (!right) return right;
  }
  object.secret = std::make_shared<KeySecret>(std::move(key.secret));
  return {};
}

CkStatus TakeIn(Blueprint& plan) {
  Object& object = *plan.object;
  const KeyFamily* family = FindKeyFamily(object.key_type());
  const Material material(plan);
  CkResult<NewKey> (*import)(const AttributeSource&) = nullptr;
  switch (object.object_class()) {
    case CKO_PUBLIC_KEY: {
      if (family == nullptr || family->import_public == nullptr) {
        return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
      }
      const auto values = family->import_public(material);
      if (!values) return Refuse(values.error());
      Apply(object, *values);
      return CheckPublicKeyInfo(object);
    }
    case CKO_PRIVATE_KEY:
      import = family != nullptr ? family->import_private : nullptr;
      break;
    case CKO_SECRET_KEY:
      import = family != nullptr ? family->import_secret : nullptr;
      break;
    case CKO_CERTIFICATE: {
      const auto value = object.attributes.Get(CKA_VALUE);
      if (!value || value->empty()) return {};
      const CheckValue right = CertificateCheckValue(*value);
      if (!object.attributes.Has(CKA_CHECK_VALUE)) {
        object.attributes.SetBytes(CKA_CHECK_VALUE, right);
      }
      return CheckGivenValue(object, [&] { return right; });
    }
    default:
      return {};
  }
  if (import == nullptr) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  auto key = import(material);
  if (!key) return Refuse(key.error());
  if (auto completed = Complete(object, std::move(*key)); !completed) return completed;
  return CheckPublicKeyInfo(object);
}

CkResult<std::vector<CK_OBJECT_HANDLE>> Enrol(Session& session,
                                              std::vector<std::shared_ptr<Object>> objects) {
  bool any_of_session = false;
  for (const auto& object : objects) {
    object->attributes.ShrinkToFit();
    if (object->Is(CKA_TOKEN)) continue;
    object->session = session.handle;
    any_of_session = true;
  }
  auto handles = session.token->Add(std::move(objects));
  if (handles && any_of_session && session.IsClosed()) {
    // It was closed on another thread, and its objects were dropped, before these came.
    session.token->ForgetSession(session.handle);
    return Refuse(CKR_SESSION_CLOSED);
  }
  return handles;
}

}  // namespace secretmem

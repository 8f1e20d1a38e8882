#include "pkcs11/attribute_access.h"

#include <algorithm>
#include <cstring>

#include "mechanisms/check_value.h"
#include "mechanisms/key_family.h"
#include "mechanisms/vendor.h"
#include "pkcs11/attribute_rules.h"
#include "pkcs11/object_factory.h"
#include "vault/constant_time.h"
#include "vault/secret_memory.h"

namespace secretmem {
namespace {

std::span<const uint8_t> Text(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

bool IsPublicKeyInfo(const Object& object, CK_ATTRIBUTE_TYPE type) {
  return type == CKA_PUBLIC_KEY_INFO &&
         (object.object_class() == CKO_PUBLIC_KEY || object.object_class() == CKO_PRIVATE_KEY);
}

// PublicValue returns what lies in ordinary memory or is told by the circumstances.
std::optional<std::span<const uint8_t>> PublicValue(const Object& object, CK_ATTRIBUTE_TYPE type) {
  if (object.secret != nullptr && type == CKA_SECRETMEM_PROTECTION) {
    return Text(CurrentProtection() == Protection::kMemfdSecret ? "memfd_secret" : "mlock");
  }
  if (object.secret != nullptr && type == CKA_SECRETMEM_AT_REST) {
    if (!object.Is(CKA_TOKEN)) return Text("none");
    return Text(object.Is(CKA_PRIVATE) ? "pin" : "store");
  }
  if (IsPublicKeyInfo(object, type)) return std::nullopt;
  return object.attributes.Get(type);
}

// Computed returns what follows from a key and is not stored: CKA_CHECK_VALUE of a secret key,
// CKA_PUBLIC_KEY_INFO.
std::optional<std::vector<uint8_t>> Computed(const Object& object, CK_ATTRIBUTE_TYPE type) {
  if (IsPublicKeyInfo(object, type)) {
    auto info = PublicKeyInfoOf(object);
    if (!info) return std::nullopt;
    return std::move(*info);
  }
  if (type != CKA_CHECK_VALUE || object.object_class() != CKO_SECRET_KEY ||
      object.secret == nullptr) {
    return std::nullopt;
  }
  const auto vault = object.secret->Open();
  if (!vault) return std::nullopt;
  const auto value = CheckValueOf(object.key_type(), **vault);
  if (!value) return std::nullopt;
  return std::vector<uint8_t>(value->begin(), value->end());
}

bool IsTemplate(CK_ATTRIBUTE_TYPE type) {
  const AttributeRule* rule = FindAnyRule(type);
  return rule != nullptr && rule->kind == ValueKind::kTemplate;
}

// WriteValue is the output convention of one attribute: a null buffer asks for the length.
CK_RV WriteValue(CK_ATTRIBUTE& attribute, std::span<const uint8_t> value) {
  if (attribute.pValue != nullptr) {
    if (attribute.ulValueLen < value.size()) {
      attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
      return CKR_BUFFER_TOO_SMALL;
    }
    if (!value.empty()) memcpy(attribute.pValue, value.data(), value.size());
  }
  attribute.ulValueLen = value.size();
  return CKR_OK;
}

// FindSecret returns the part of |secret| that is the value of |type|, in a borrow.
std::optional<std::span<const uint8_t>> FindSecret(const Object& object,
                                                   std::span<const uint8_t> secret,
                                                   CK_ATTRIBUTE_TYPE type) {
  const KeyFamily* family = FindKeyFamily(object.key_type());
  if (family == nullptr || family->find_secret == nullptr) return secret;
  return family->find_secret(secret, type);
}

CK_RV WriteSecret(CK_ATTRIBUTE& attribute, const Object& object) {
  const auto vault = object.secret->Open();
  if (!vault) {
    attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return vault.error();
  }
  const auto written = (*vault)->WithSecret([&](std::span<const uint8_t> secret) -> CK_RV {
    const auto value = FindSecret(object, secret, attribute.type);
    if (!value) {
      attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
      return CKR_ATTRIBUTE_TYPE_INVALID;
    }
    return WriteValue(attribute, *value);
  });
  return written ? *written : RvOf(written.error());
}

// WriteTemplate writes a template attribute: an array of CK_ATTRIBUTE whose values go where the
// client's array points.
CK_RV WriteTemplate(CK_ATTRIBUTE& attribute, const AttributeSet& value) {
  const CK_ULONG bytes = value.size() * sizeof(CK_ATTRIBUTE);
  if (attribute.pValue == nullptr) {
    attribute.ulValueLen = bytes;
    return CKR_OK;
  }
  if (attribute.ulValueLen < bytes) {
    attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  attribute.ulValueLen = bytes;
  CK_RV answer = CKR_OK;
  auto* at = static_cast<uint8_t*>(attribute.pValue);
  value.ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> inner) {
    CK_ATTRIBUTE entry;
    memcpy(&entry, at, sizeof(entry));
    entry.type = type;
    CK_RV code;
    if (IsTemplate(type)) {
      const auto nested = AttributeSet::Parse(inner);
      code = WriteTemplate(entry, nested ? *nested : AttributeSet());
    } else {
      code = WriteValue(entry, inner);
    }
    if (answer == CKR_OK) answer = code;
    memcpy(at, &entry, sizeof(entry));
    at += sizeof(entry);
  });
  return answer;
}

CK_RV ReadOne(const Object& object, CK_ATTRIBUTE& attribute) {
  switch (GetReadAccess(object.attributes, attribute.type)) {
    case ReadAccess::kSensitive:
      attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
      return CKR_ATTRIBUTE_SENSITIVE;
    case ReadAccess::kSecret:
      return WriteSecret(attribute, object);
    case ReadAccess::kStored:
    case ReadAccess::kUnknown:
      break;
  }
  const auto value = PublicValue(object, attribute.type);
  if (!value) {
    if (const auto computed = Computed(object, attribute.type)) {
      return WriteValue(attribute, *computed);
    }
    attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_ATTRIBUTE_TYPE_INVALID;
  }
  if (IsTemplate(attribute.type)) {
    return WriteTemplate(attribute,
                         object.attributes.GetTemplate(attribute.type).value_or(AttributeSet()));
  }
  return WriteValue(attribute, *value);
}

bool SecretEquals(const Object& object, const TemplateEntry& wanted) {
  const auto vault = object.secret->Open();
  if (!vault) return false;
  return (*vault)
      ->WithSecret([&](std::span<const uint8_t> secret) {
        const auto value = FindSecret(object, secret, wanted.type);
        return value && ConstantTimeEqual(*value, wanted.value);
      })
      .value_or(false);
}

}  // namespace

CkStatus ReadAttributes(const Object& object, CK_ATTRIBUTE* attributes, CK_ULONG count) {
  if (attributes == nullptr || count > TemplateReader::kMaxAttributes) {
    return Refuse(CKR_ARGUMENTS_BAD);
  }
  CK_RV answer = CKR_OK;
  auto* at = reinterpret_cast<uint8_t*>(attributes);
  for (CK_ULONG i = 0; i < count; ++i, at += sizeof(CK_ATTRIBUTE)) {
    CK_ATTRIBUTE attribute;
    memcpy(&attribute, at, sizeof(attribute));
    const CK_RV code = ReadOne(object, attribute);
    if (answer == CKR_OK) answer = code;
    memcpy(at, &attribute, sizeof(attribute));
  }
  if (answer != CKR_OK) return Refuse(answer);
  return {};
}

bool Matches(const Object& object, const TemplateReader& wanted) {
  return std::ranges::all_of(wanted.entries(), [&](const TemplateEntry& entry) {
    switch (GetReadAccess(object.attributes, entry.type)) {
      case ReadAccess::kSensitive:
        return false;
      case ReadAccess::kSecret:
        return SecretEquals(object, entry);
      case ReadAccess::kStored:
      case ReadAccess::kUnknown:
        break;
    }
    if (const auto value = PublicValue(object, entry.type)) {
      return std::ranges::equal(*value, entry.value);
    }
    const auto computed = Computed(object, entry.type);
    return computed && std::ranges::equal(*computed, entry.value);
  });
}

}  // namespace secretmem

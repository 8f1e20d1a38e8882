#include "tests/conformance/template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/conformance/module.h"
#include "tests/conformance/rv.h"

namespace secretmem::conformance {

Bytes ToBytes(std::string_view text) { return Bytes(text.begin(), text.end()); }

Bytes FromHex(std::string_view hex) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  Bytes bytes;
  EXPECT_EQ(hex.size() % 2, 0U) << hex;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    const size_t high = kDigits.find(hex[i]);
    const size_t low = kDigits.find(hex[i + 1]);
    EXPECT_TRUE(high < 16 && low < 16) << hex;
    bytes.push_back(static_cast<CK_BYTE>(high << 4 | low));
  }
  return bytes;
}

Bytes Template::Encode(CK_ULONG value) {
  Bytes bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

Template& Template::With(CK_ATTRIBUTE_TYPE type, Bytes value) {
  for (auto& [known, old] : values_) {
    if (known == type) {
      old = std::move(value);
      return *this;
    }
  }
  return Also(type, std::move(value));
}

Template& Template::Also(CK_ATTRIBUTE_TYPE type, Bytes value) {
  values_.emplace_back(type, std::move(value));
  return *this;
}

Template& Template::Without(CK_ATTRIBUTE_TYPE type) {
  std::erase_if(values_, [type](const auto& entry) { return entry.first == type; });
  return *this;
}

CK_ATTRIBUTE* Template::data() {
  attributes_.clear();
  for (auto& [type, value] : values_) {
    attributes_.push_back({type, value.empty() ? nullptr : value.data(), value.size()});
  }
  return attributes_.data();
}

Attribute ReadAttribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                        CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  CK_RV rv = P11().C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) {
    EXPECT_EQ(attribute.ulValueLen, CK_UNAVAILABLE_INFORMATION);
    return {rv, {}};
  }
  Bytes value(attribute.ulValueLen + 1, 0xa5);  // never NULL, and one byte that must stay
  attribute.pValue = value.data();
  rv = P11().C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) return {rv, {}};
  EXPECT_EQ(attribute.ulValueLen, value.size() - 1);
  EXPECT_EQ(value.back(), 0xa5);
  value.resize(std::min<size_t>(attribute.ulValueLen, value.size() - 1));
  return {CKR_OK, value};
}

Bytes ReadBytes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  Attribute attribute = ReadAttribute(session, object, type);
  EXPECT_RV(CKR_OK, attribute.rv) << "attribute 0x" << std::hex << type;
  return attribute.value;
}

bool ReadBool(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  const Bytes value = ReadBytes(session, object, type);
  EXPECT_EQ(value.size(), sizeof(CK_BBOOL)) << "attribute 0x" << std::hex << type;
  if (value.size() != sizeof(CK_BBOOL)) return false;
  EXPECT_LE(value[0], 1) << "attribute 0x" << std::hex << type;
  return value[0] != 0;
}

CK_ULONG ReadUlong(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  const Bytes value = ReadBytes(session, object, type);
  CK_ULONG number = 0;
  EXPECT_EQ(value.size(), sizeof number) << "attribute 0x" << std::hex << type;
  if (value.size() == sizeof number) std::memcpy(&number, value.data(), sizeof number);
  return number;
}

std::vector<CK_OBJECT_HANDLE> FindAll(CK_SESSION_HANDLE session, Template search) {
  std::vector<CK_OBJECT_HANDLE> found;
  EXPECT_RV(CKR_OK, P11().C_FindObjectsInit(session, search.data(), search.size()));
  std::array<CK_OBJECT_HANDLE, 7> batch{};  // odd and small: several calls are usual
  for (CK_ULONG count = 1; count != 0;) {
    const CK_RV rv = P11().C_FindObjects(session, batch.data(), batch.size(), &count);
    EXPECT_RV(CKR_OK, rv);
    if (rv != CKR_OK) break;
    EXPECT_LE(count, batch.size());
    found.insert(found.end(), batch.begin(), batch.begin() + static_cast<long>(count));
  }
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session));
  std::ranges::sort(found);
  EXPECT_EQ(std::ranges::adjacent_find(found), found.end()) << "an object was found twice";
  return found;
}

CK_OBJECT_HANDLE Create(CK_SESSION_HANDLE session, Template object) {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  EXPECT_RV(CKR_OK, P11().C_CreateObject(session, object.data(), object.size(), &handle));
  EXPECT_NE(handle, CK_INVALID_HANDLE);
  return handle;
}

Template DataObject(std::string_view label) {
  return Template()
      .With(CKA_CLASS, CKO_DATA)
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_LABEL, label)
      .With(CKA_VALUE, "the value");
}

Template SecretObject(const Bytes& value) {
  return Template()
      .With(CKA_CLASS, CKO_SECRET_KEY)
      .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
      .With(CKA_TOKEN, false)
      .With(CKA_PRIVATE, false)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true)
      .With(CKA_VALUE, value);
}

}  // namespace secretmem::conformance

// Attribute templates and attribute reads.
#pragma once

#include <concepts>
#include <string_view>
#include <utility>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem::conformance {

using Bytes = std::vector<CK_BYTE>;

// ToBytes copies the characters of `text`, without a terminating NUL.
Bytes ToBytes(std::string_view text);

// FromHex decodes an even number of hexadecimal digits; a failure is a failed assertion.
Bytes FromHex(std::string_view hex);

// Template is an attribute template that owns its values. Copies are independent. With() replaces
// an attribute of the same type; Also() appends it whether or not it is there already.
class Template {
 public:
  Template() = default;

  template <std::same_as<bool> T>
  Template& With(CK_ATTRIBUTE_TYPE type, T value) {
    return With(type, Bytes{static_cast<CK_BYTE>(value ? 1 : 0)});
  }
  template <std::same_as<CK_ULONG> T>
  Template& With(CK_ATTRIBUTE_TYPE type, T value) {
    return With(type, Encode(value));
  }
  template <std::convertible_to<std::string_view> T>
  Template& With(CK_ATTRIBUTE_TYPE type, const T& value) {
    return With(type, ToBytes(value));
  }
  Template& With(CK_ATTRIBUTE_TYPE type, Bytes value);
  Template& Also(CK_ATTRIBUTE_TYPE type, Bytes value);
  Template& Without(CK_ATTRIBUTE_TYPE type);

  // data() points into this object until it is next changed, copied over or destroyed.
  CK_ATTRIBUTE* data();
  CK_ULONG size() const { return static_cast<CK_ULONG>(values_.size()); }

  static Bytes Encode(CK_ULONG value);

 private:
  std::vector<std::pair<CK_ATTRIBUTE_TYPE, Bytes>> values_;
  std::vector<CK_ATTRIBUTE> attributes_;
};

// ReadAttribute reads one attribute by the size query and a second call (§5.7.5). Its result holds
// the return code of the call that failed, or CKR_OK and the value.
struct Attribute {
  CK_RV rv;
  Bytes value;
  bool operator==(const Attribute&) const = default;
};
Attribute ReadAttribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);

// ReadBytes, ReadBool and ReadUlong return the value, or fail the test and return an empty one.
Bytes ReadBytes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
bool ReadBool(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
CK_ULONG ReadUlong(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);

// FindAll returns every object that matches, sorted by handle.
std::vector<CK_OBJECT_HANDLE> FindAll(CK_SESSION_HANDLE session, Template search = {});

// Create makes an object and returns its handle; a failure fails the test and returns 0.
CK_OBJECT_HANDLE Create(CK_SESSION_HANDLE session, Template object);

// Templates of the least complete objects of each kind: session objects, not private.
Template DataObject(std::string_view label);
Template SecretObject(const Bytes& value);

}  // namespace secretmem::conformance

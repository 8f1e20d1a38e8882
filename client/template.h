// Templates that own their values.
#pragma once

#include <concepts>
#include <map>
#include <string_view>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem::client {

using Bytes = std::vector<CK_BYTE>;

Bytes ToBytes(std::string_view text);
Bytes Encode(CK_ULONG value);

// Template maps attribute types to values; a later value replaces an earlier one.
class Template {
 public:
  Template& With(CK_ATTRIBUTE_TYPE type, Bytes value);
  template <std::same_as<bool> T>
  Template& With(CK_ATTRIBUTE_TYPE type, T value) {
    return With(type, Bytes{static_cast<CK_BYTE>(value ? CK_TRUE : CK_FALSE)});
  }
  template <std::same_as<CK_ULONG> T>
  Template& With(CK_ATTRIBUTE_TYPE type, T value) {
    return With(type, Encode(value));
  }
  template <std::convertible_to<std::string_view> T>
  Template& With(CK_ATTRIBUTE_TYPE type, const T& value) {
    return With(type, ToBytes(value));
  }

  // data() points into this object until it is next changed.
  CK_ATTRIBUTE* data();
  CK_ULONG size() const { return values_.size(); }
  const std::map<CK_ATTRIBUTE_TYPE, Bytes>& values() const { return values_; }
  bool Has(CK_ATTRIBUTE_TYPE type) const { return values_.contains(type); }

 private:
  std::map<CK_ATTRIBUTE_TYPE, Bytes> values_;
  std::vector<CK_ATTRIBUTE> attributes_;
};

}  // namespace secretmem::client

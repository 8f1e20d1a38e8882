#include "client/template.h"

#include <cstring>

namespace secretmem::client {

Bytes ToBytes(std::string_view text) { return Bytes(text.begin(), text.end()); }

Bytes Encode(CK_ULONG value) {
  Bytes bytes(sizeof(value));
  memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

Template& Template::With(CK_ATTRIBUTE_TYPE type, Bytes value) {
  values_[type] = std::move(value);
  return *this;
}

CK_ATTRIBUTE* Template::data() {
  attributes_.clear();  // which keeps its room: a second call does not allocate
  for (auto& [type, value] : values_) {
    attributes_.push_back({type, value.empty() ? nullptr : value.data(), value.size()});
  }
  return attributes_.data();
}

}  // namespace secretmem::client

// A template under construction, for tests: keeps the values that CK_ATTRIBUTEs point to.

#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "pkcs11/template_reader.h"

namespace secretmem {

class TemplateForTest {
 public:
  TemplateForTest() = default;
  TemplateForTest(TemplateForTest&&) = default;  // not copied: attributes point to values
  TemplateForTest& Bool(CK_ATTRIBUTE_TYPE type, bool value) {
    return Bytes(type, {static_cast<uint8_t>(value)});
  }
  TemplateForTest& Ulong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    std::vector<uint8_t> bytes(sizeof(value));
    std::memcpy(bytes.data(), &value, sizeof(value));
    return Bytes(type, std::move(bytes));
  }
  TemplateForTest& Text(CK_ATTRIBUTE_TYPE type, std::string_view value) {
    return Bytes(type, {value.begin(), value.end()});
  }
  TemplateForTest& Bytes(CK_ATTRIBUTE_TYPE type, std::vector<uint8_t> value) {
    values_.push_back(std::move(value));
    attributes_.push_back({type, values_.back().data(), values_.back().size()});
    return *this;
  }
  TemplateForTest& Nested(CK_ATTRIBUTE_TYPE type, TemplateForTest& value) {
    attributes_.push_back(
        {type, value.attributes_.data(), value.attributes_.size() * sizeof(CK_ATTRIBUTE)});
    return *this;
  }

  // Without takes every attribute of this type out again.
  TemplateForTest& Without(CK_ATTRIBUTE_TYPE type) {
    std::erase_if(attributes_, [&](const CK_ATTRIBUTE& a) { return a.type == type; });
    return *this;
  }

  CK_ATTRIBUTE* data() { return attributes_.data(); }
  CK_ULONG size() const { return attributes_.size(); }

  // Read returns a reader, valid as long as this template is.
  TemplateReader Read() const {
    auto reader = TemplateReader::Read(attributes_.data(), attributes_.size());
    if (!reader) throw std::runtime_error("the test's own template is bad");
    return std::move(*reader);
  }

 private:
  std::deque<std::vector<uint8_t>> values_;
  std::vector<CK_ATTRIBUTE> attributes_;
};

}  // namespace secretmem

// Reading the caller's CK_ATTRIBUTE arrays (PKCS#11 3.2, sections 4.1 and 5.7).

#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem {

// TemplateEntry is one attribute of a template; |value| is the caller's memory.
struct TemplateEntry {
  CK_ATTRIBUTE_TYPE type;
  std::span<const uint8_t> value;
};

// TemplateReader is a checked view of a template. It copies types, pointers and lengths, never a
// value: secret values stay in the caller's memory, and every span it hands out points there. So it
// is valid only during the C_* call that was given the template.
//
// Neither the array nor the values need be aligned: everything is read with memcpy.
class TemplateReader {
 public:
  // More attributes than any template has; beyond it the count is taken for garbage.
  static constexpr CK_ULONG kMaxAttributes = 4096;
  // Template attributes inside template attributes, and so on: at most this deep.
  static constexpr int kMaxDepth = 4;

  // An empty template.
  TemplateReader() = default;

  // Read checks |attributes|[0..|count|) as far as it goes without knowing the types:
  //   CKR_ARGUMENTS_BAD            NULL with a count, or a count above kMaxAttributes
  //   CKR_ATTRIBUTE_VALUE_INVALID  NULL value with a length; a length above
  //                                AttributeSet::kMaxValueSize, so CK_UNAVAILABLE_INFORMATION too
  //   CKR_TEMPLATE_INCONSISTENT    a type given twice with different values (compared in place and
  //                                in constant time; the same value twice is taken once)
  // Throws std::bad_alloc.
  static std::expected<TemplateReader, CK_RV> Read(const CK_ATTRIBUTE* attributes, CK_ULONG count);

  // entries are sorted by type, without duplicates.
  std::span<const TemplateEntry> entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }

  bool Has(CK_ATTRIBUTE_TYPE type) const { return Get(type).has_value(); }

  // KeepIn returns the same template with its values copied to |bytes|, valid as long as those
  // are: for values that are no secrets. Arrays in template attributes are copied as they are.
  TemplateReader KeepIn(std::vector<uint8_t>& bytes) const;

  // Get returns the value's bytes as given, unchecked.
  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const;

  // The typed getters return nullopt for an absent attribute and CKR_ATTRIBUTE_VALUE_INVALID for
  // one of the wrong form: GetBool takes one byte CK_TRUE or CK_FALSE, GetUlong exactly a CK_ULONG,
  // GetMechanisms a whole number of them, GetDate nothing or the eight digits of a CK_DATE,
  // GetTemplate an array that itself reads as a template and is not too deep.
  std::expected<std::optional<bool>, CK_RV> GetBool(CK_ATTRIBUTE_TYPE type) const;
  std::expected<std::optional<CK_ULONG>, CK_RV> GetUlong(CK_ATTRIBUTE_TYPE type) const;
  std::expected<std::optional<std::span<const uint8_t>>, CK_RV> GetDate(
      CK_ATTRIBUTE_TYPE type) const;
  std::expected<std::optional<std::vector<CK_MECHANISM_TYPE>>, CK_RV> GetMechanisms(
      CK_ATTRIBUTE_TYPE type) const;
  std::expected<std::optional<TemplateReader>, CK_RV> GetTemplate(CK_ATTRIBUTE_TYPE type) const;

 private:
  static std::expected<TemplateReader, CK_RV> ReadAt(const uint8_t* attributes, CK_ULONG count,
                                                     int depth);

  std::vector<TemplateEntry> entries_;
  int depth_ = 0;
};

// ParseBool, ParseUlong and IsDate check one value's form, for values that do not come from a
// TemplateReader. A value of the wrong form gives nullopt or false.
std::optional<bool> ParseBool(std::span<const uint8_t> value);
std::optional<CK_ULONG> ParseUlong(std::span<const uint8_t> value);
bool IsDate(std::span<const uint8_t> value);

}  // namespace secretmem

#include "pkcs11/template_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "pkcs11/attribute_set.h"
#include "vault/constant_time.h"

namespace secretmem {

std::optional<bool> ParseBool(std::span<const uint8_t> value) {
  if (value.size() != sizeof(CK_BBOOL) || value[0] > CK_TRUE) return std::nullopt;
  return value[0] == CK_TRUE;
}

std::optional<CK_ULONG> ParseUlong(std::span<const uint8_t> value) {
  CK_ULONG number;
  if (value.size() != sizeof(number)) return std::nullopt;
  std::memcpy(&number, value.data(), sizeof(number));
  return number;
}

bool IsDate(std::span<const uint8_t> value) {
  static_assert(sizeof(CK_DATE) == 8);
  return value.empty() ||
         (value.size() == sizeof(CK_DATE) &&
          std::ranges::all_of(value, [](uint8_t c) { return '0' <= c && c <= '9'; }));
}

std::expected<TemplateReader, CK_RV> TemplateReader::Read(const CK_ATTRIBUTE* attributes,
                                                          CK_ULONG count) {
  return ReadAt(reinterpret_cast<const uint8_t*>(attributes), count, 0);
}

std::expected<TemplateReader, CK_RV> TemplateReader::ReadAt(const uint8_t* attributes,
                                                            CK_ULONG count, int depth) {
  TemplateReader reader;
  reader.depth_ = depth;
  if (count == 0) return reader;
  if (attributes == nullptr || count > kMaxAttributes) return std::unexpected(CKR_ARGUMENTS_BAD);

  reader.entries_.reserve(count);
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_ATTRIBUTE attribute;
    std::memcpy(&attribute, attributes + i * sizeof(attribute), sizeof(attribute));
    // The bound covers CK_UNAVAILABLE_INFORMATION too.
    if (attribute.ulValueLen > AttributeSet::kMaxValueSize ||
        (attribute.pValue == nullptr && attribute.ulValueLen != 0)) {
      return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    reader.entries_.push_back(
        {attribute.type, {static_cast<const uint8_t*>(attribute.pValue), attribute.ulValueLen}});
  }

  std::ranges::sort(reader.entries_, {}, &TemplateEntry::type);
  for (size_t i = 1; i < reader.entries_.size(); ++i) {
    const TemplateEntry& a = reader.entries_[i - 1];
    const TemplateEntry& b = reader.entries_[i];
    // Template attributes are compared as arrays of pointers, which is stricter than by value.
    if (a.type == b.type && !ConstantTimeEqual(a.value, b.value)) {
      return std::unexpected(CKR_TEMPLATE_INCONSISTENT);
    }
  }
  const auto duplicates = std::ranges::unique(reader.entries_, {}, &TemplateEntry::type);
  reader.entries_.erase(duplicates.begin(), duplicates.end());
  return reader;
}

TemplateReader TemplateReader::KeepIn(std::vector<uint8_t>& bytes) const {
  bytes.clear();
  for (const TemplateEntry& entry : entries_) {
    bytes.insert(bytes.end(), entry.value.begin(), entry.value.end());
  }
  TemplateReader kept = *this;
  std::span<const uint8_t> rest = bytes;
  for (TemplateEntry& entry : kept.entries_) {
    entry.value = rest.first(entry.value.size());
    rest = rest.subspan(entry.value.size());
  }
  return kept;
}

std::optional<std::span<const uint8_t>> TemplateReader::Get(CK_ATTRIBUTE_TYPE type) const {
  const auto found = std::ranges::lower_bound(entries_, type, {}, &TemplateEntry::type);
  if (found == entries_.end() || found->type != type) return std::nullopt;
  return found->value;
}

std::expected<std::optional<bool>, CK_RV> TemplateReader::GetBool(CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value) return std::nullopt;
  const std::optional<bool> parsed = ParseBool(*value);
  if (!parsed) return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
  return parsed;
}

std::expected<std::optional<CK_ULONG>, CK_RV> TemplateReader::GetUlong(
    CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value) return std::nullopt;
  const std::optional<CK_ULONG> parsed = ParseUlong(*value);
  if (!parsed) return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
  return parsed;
}

std::expected<std::optional<std::span<const uint8_t>>, CK_RV> TemplateReader::GetDate(
    CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (value && !IsDate(*value)) return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
  return value;
}

std::expected<std::optional<std::vector<CK_MECHANISM_TYPE>>, CK_RV> TemplateReader::GetMechanisms(
    CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value) return std::nullopt;
  if (value->size() % sizeof(CK_MECHANISM_TYPE) != 0) {
    return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  std::vector<CK_MECHANISM_TYPE> mechanisms(value->size() / sizeof(CK_MECHANISM_TYPE));
  if (!value->empty()) std::memcpy(mechanisms.data(), value->data(), value->size());
  return mechanisms;
}

std::expected<std::optional<TemplateReader>, CK_RV> TemplateReader::GetTemplate(
    CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value) return std::nullopt;
  if (value->size() % sizeof(CK_ATTRIBUTE) != 0 || depth_ == kMaxDepth) {
    return std::unexpected(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  auto nested = ReadAt(value->data(), value->size() / sizeof(CK_ATTRIBUTE), depth_ + 1);
  if (!nested) {
    // CKR_ARGUMENTS_BAD would speak of the function's own arguments.
    return std::unexpected(nested.error() == CKR_TEMPLATE_INCONSISTENT
                               ? CKR_TEMPLATE_INCONSISTENT
                               : CKR_ATTRIBUTE_VALUE_INVALID);
  }
  return std::move(*nested);
}

}  // namespace secretmem

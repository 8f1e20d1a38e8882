#include "pkcs11/attribute_set.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <stdexcept>
#include <utility>

#include "pkcs11/attribute_rules.h"

namespace secretmem {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are kept in the file's byte order and handed out as they are");

constexpr uint8_t kFormatVersion = 1;
constexpr size_t kHeaderSize = 1 + 4 + 4 + 2;
constexpr size_t kEntryHeaderSize = 4 + 4;
constexpr CK_ATTRIBUTE_TYPE kMaxType = std::numeric_limits<uint32_t>::max();

template <typename T>
T Load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

template <typename T>
void Store(uint8_t* bytes, T value) {
  std::memcpy(bytes, &value, sizeof(value));
}

// memcpy and memmove may not be given null pointers, which empty spans have.
void CopyBytes(uint8_t* to, const uint8_t* from, size_t size) {
  if (size != 0) std::memmove(to, from, size);
}

void WriteEntry(uint8_t* entry, CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
  Store(entry, static_cast<uint32_t>(type));
  Store(entry + 4, static_cast<uint32_t>(value.size()));
  CopyBytes(entry + kEntryHeaderSize, value.data(), value.size());
}

}  // namespace

AttributeSet::AttributeSet(const AttributeSet& other)
    : boolean_present_(other.boolean_present_), boolean_values_(other.boolean_values_) {
  Reserve(other.size_);
  CopyBytes(entries_.get(), other.entries_.get(), other.size_);
  size_ = other.size_;
}

AttributeSet& AttributeSet::operator=(const AttributeSet& other) {
  if (this != &other) *this = AttributeSet(other);
  return *this;
}

AttributeSet::AttributeSet(AttributeSet&& other) noexcept
    : boolean_present_(std::exchange(other.boolean_present_, 0)),
      boolean_values_(std::exchange(other.boolean_values_, 0)),
      entries_(std::move(other.entries_)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

AttributeSet& AttributeSet::operator=(AttributeSet&& other) noexcept {
  std::swap(boolean_present_, other.boolean_present_);
  std::swap(boolean_values_, other.boolean_values_);
  std::swap(entries_, other.entries_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

std::optional<uint32_t> AttributeSet::PackedBit(CK_ATTRIBUTE_TYPE type) {
  static_assert(std::ranges::is_sorted(kPackedBooleans, std::ranges::less_equal{}));
  // Index plus one by type, as every getter and setter begins here.
  static constexpr auto kIndex = [] {
    std::array<uint8_t, kPackedBooleans[kPackedCount - 1] + 1> index = {};
    for (uint8_t i = 0; i < kPackedCount; ++i) index[kPackedBooleans[i]] = i + 1;
    return index;
  }();
  if (type >= kIndex.size() || kIndex[type] == 0) return std::nullopt;
  return uint32_t{1} << (kIndex[type] - 1);
}

std::span<const uint8_t> AttributeSet::BooleanBytes(bool value) {
  static constexpr uint8_t kFalse = CK_FALSE;
  static constexpr uint8_t kTrue = CK_TRUE;
  return {value ? &kTrue : &kFalse, 1};
}

AttributeSet::Entry AttributeSet::EntryAt(size_t offset) const {
  const uint8_t* entry = entries_.get() + offset;
  const size_t length = Load<uint32_t>(entry + 4);
  return {.type = Load<uint32_t>(entry),
          .value = {entry + kEntryHeaderSize, length},
          .end = offset + kEntryHeaderSize + length};
}

AttributeSet::Position AttributeSet::Find(CK_ATTRIBUTE_TYPE type) const {
  size_t offset = 0;
  while (offset < size_) {
    const Entry entry = EntryAt(offset);
    if (entry.type == type) return {offset, entry.end, true};
    if (entry.type > type) break;
    offset = entry.end;
  }
  return {offset, offset, false};
}

size_t AttributeSet::EntryCount() const {
  size_t count = 0;
  for (size_t offset = 0; offset < size_; offset = EntryAt(offset).end) ++count;
  return count;
}

std::optional<std::span<const uint8_t>> AttributeSet::Get(CK_ATTRIBUTE_TYPE type) const {
  if (const std::optional<uint32_t> bit = PackedBit(type)) {
    if (!(boolean_present_ & *bit)) return std::nullopt;
    return BooleanBytes(boolean_values_ & *bit);
  }
  const Position at = Find(type);
  if (!at.found) return std::nullopt;
  return EntryAt(at.offset).value;
}

std::optional<bool> AttributeSet::GetBool(CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value || value->size() != sizeof(CK_BBOOL)) return std::nullopt;
  return value->front() != CK_FALSE;
}

std::optional<CK_ULONG> AttributeSet::GetUlong(CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value || value->size() != sizeof(CK_ULONG)) return std::nullopt;
  return Load<CK_ULONG>(value->data());
}

std::optional<AttributeSet> AttributeSet::GetTemplate(CK_ATTRIBUTE_TYPE type) const {
  const auto value = Get(type);
  if (!value) return std::nullopt;
  if (value->empty()) return AttributeSet();
  auto parsed = Parse(*value);
  if (!parsed) return std::nullopt;
  return std::move(*parsed);
}

void AttributeSet::RefuseSecret(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) const {
  const bool decides = type == CKA_CLASS || type == CKA_KEY_TYPE;
  if (!decides && !MayBeSecretAttribute(type)) return;
  CK_OBJECT_CLASS object_class = GetUlong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  CK_KEY_TYPE key_type = GetUlong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION);
  bool secret = IsSecretAttribute(object_class, key_type, type);
  if (decides && value.size() == sizeof(CK_ULONG)) {
    // A class or key type set late must not turn a stored attribute into a secret one.
    (type == CKA_CLASS ? object_class : key_type) = Load<CK_ULONG>(value.data());
    secret |= HoldsSecret(object_class, key_type);
  }
  if (secret) throw std::invalid_argument("a secret attribute cannot be stored in an AttributeSet");
}

bool AttributeSet::HoldsSecret(CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type) const {
  for (size_t offset = 0; offset < size_;) {
    const Entry entry = EntryAt(offset);
    if (IsSecretAttribute(object_class, key_type, entry.type)) return true;
    offset = entry.end;
  }
  return false;
}

void AttributeSet::SetBool(CK_ATTRIBUTE_TYPE type, bool value) {
  const std::optional<uint32_t> bit = PackedBit(type);
  if (!bit) {
    SetBytes(type, BooleanBytes(value));
    return;
  }
  boolean_present_ |= *bit;
  boolean_values_ = value ? boolean_values_ | *bit : boolean_values_ & ~*bit;
}

void AttributeSet::SetUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  uint8_t bytes[sizeof(value)];
  Store(bytes, value);
  SetBytes(type, bytes);
}

void AttributeSet::SetBytes(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
  if (PackedBit(type)) {
    if (value.size() != 1 || value[0] > CK_TRUE) {
      throw std::invalid_argument("a boolean attribute is one byte, 0 or 1");
    }
    SetBool(type, value[0] == CK_TRUE);
    return;
  }
  RefuseSecret(type, value);
  const Position at = Find(type);
  if (type > kMaxType || value.size() > kMaxValueSize ||
      (!at.found && size_ >= kMaxEntries * kEntryHeaderSize && EntryCount() == kMaxEntries)) {
    throw std::length_error("an attribute is too large");
  }
  Replace(at, type, value);
}

void AttributeSet::AppendEntry(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
  const size_t new_size = size_ + kEntryHeaderSize + value.size();
  if (new_size > capacity_) Reserve(new_size);
  uint8_t* entry = entries_.get() + size_;
  WriteEntry(entry, type, value);
  size_ = static_cast<uint32_t>(new_size);
}

void AttributeSet::Appender::SetBytes(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
  // What decides over the others is checked with them, and so is whatever is rare.
  const bool quick = (set_.size_ == 0 || type > last_) && type <= kMaxType &&
                     value.size() <= kMaxValueSize && !PackedBit(type) &&
                     set_.size_ < kMaxEntries * kEntryHeaderSize;
  const bool decides = type == CKA_CLASS || type == CKA_KEY_TYPE;
  const bool as_known =
      !decides || (value.size() == sizeof(CK_ULONG) &&
                   Load<CK_ULONG>(value.data()) == (type == CKA_CLASS ? object_class_ : key_type_));
  if (!quick || !as_known || IsSecretAttribute(object_class_, key_type_, type)) {
    // An entry that is not the last one would make |last_| wrong, so all others go this way too.
    set_.SetBytes(type, value);
    if (!PackedBit(type)) last_ = kMaxType;
    return;
  }
  set_.AppendEntry(type, value);
  last_ = type;
}

void AttributeSet::SetTemplate(CK_ATTRIBUTE_TYPE type, const AttributeSet& value) {
  if (value.empty()) {
    SetBytes(type, {});
  } else {
    SetBytes(type, value.Serialize());
  }
}

void AttributeSet::Replace(const Position& at, CK_ATTRIBUTE_TYPE type,
                           std::span<const uint8_t> value) {
  const size_t old_size = at.end - at.offset;
  const size_t new_size = kEntryHeaderSize + value.size();
  Reserve(size_ - old_size + new_size);
  uint8_t* entry = entries_.get() + at.offset;
  CopyBytes(entry + new_size, entry + old_size, size_ - at.end);
  WriteEntry(entry, type, value);
  size_ = static_cast<uint32_t>(size_ - old_size + new_size);
}

void AttributeSet::Remove(CK_ATTRIBUTE_TYPE type) {
  if (const std::optional<uint32_t> bit = PackedBit(type)) {
    boolean_present_ &= ~*bit;
    boolean_values_ &= ~*bit;
    return;
  }
  const Position at = Find(type);
  if (!at.found) return;
  CopyBytes(entries_.get() + at.offset, entries_.get() + at.end, size_ - at.end);
  size_ = static_cast<uint32_t>(size_ - (at.end - at.offset));
}

size_t AttributeSet::size() const {
  return static_cast<size_t>(std::popcount(boolean_present_)) + EntryCount();
}

void AttributeSet::Reserve(size_t bytes) {
  if (bytes <= capacity_) return;
  if (bytes > std::numeric_limits<uint32_t>::max()) {
    throw std::length_error("the attributes of one object are too large");
  }
  auto grown = std::make_unique_for_overwrite<uint8_t[]>(bytes);
  CopyBytes(grown.get(), entries_.get(), size_);
  entries_ = std::move(grown);
  capacity_ = static_cast<uint32_t>(bytes);
}

void AttributeSet::ShrinkToFit() {
  if (capacity_ == size_) return;
  std::unique_ptr<uint8_t[]> exact;
  if (size_ != 0) exact = std::make_unique_for_overwrite<uint8_t[]>(size_);
  CopyBytes(exact.get(), entries_.get(), size_);
  entries_ = std::move(exact);
  capacity_ = size_;
}

std::vector<uint8_t> AttributeSet::Serialize() const {
  std::vector<uint8_t> bytes(kHeaderSize + size_);
  bytes[0] = kFormatVersion;
  Store(&bytes[1], boolean_present_);
  Store(&bytes[5], boolean_values_);
  Store(&bytes[9], static_cast<uint16_t>(EntryCount()));
  CopyBytes(bytes.data() + kHeaderSize, entries_.get(), size_);
  return bytes;
}

std::expected<AttributeSet, AttributeSetError> AttributeSet::Parse(std::span<const uint8_t> bytes) {
  using enum AttributeSetError;
  if (bytes.empty()) return std::unexpected(kTruncated);
  if (bytes[0] != kFormatVersion) return std::unexpected(kVersion);
  if (bytes.size() < kHeaderSize) return std::unexpected(kTruncated);

  AttributeSet set;
  set.boolean_present_ = Load<uint32_t>(&bytes[1]);
  set.boolean_values_ = Load<uint32_t>(&bytes[5]);
  const size_t count = Load<uint16_t>(&bytes[9]);
  if ((uint64_t{set.boolean_present_} >> kPackedCount) != 0 ||
      (set.boolean_values_ & ~set.boolean_present_) != 0) {
    return std::unexpected(kBoolean);
  }
  if (count > kMaxEntries) return std::unexpected(kTooLarge);

  const std::span<const uint8_t> entries = bytes.subspan(kHeaderSize);
  std::span<const uint8_t> rest = entries;
  std::optional<uint32_t> previous;
  for (size_t i = 0; i < count; ++i) {
    if (rest.size() < kEntryHeaderSize) return std::unexpected(kTruncated);
    const uint32_t type = Load<uint32_t>(rest.data());
    const size_t length = Load<uint32_t>(rest.data() + 4);
    if (length > kMaxValueSize) return std::unexpected(kTooLarge);
    if (previous && type <= *previous) return std::unexpected(kOrder);
    if (PackedBit(type)) return std::unexpected(kBoolean);
    rest = rest.subspan(kEntryHeaderSize);
    if (rest.size() < length) return std::unexpected(kTruncated);
    rest = rest.subspan(length);
    previous = type;
  }
  if (!rest.empty()) return std::unexpected(kTrailing);

  set.Reserve(entries.size());
  CopyBytes(set.entries_.get(), entries.data(), entries.size());
  set.size_ = static_cast<uint32_t>(entries.size());

  const CK_OBJECT_CLASS object_class = set.GetUlong(CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
  const CK_KEY_TYPE key_type = set.GetUlong(CKA_KEY_TYPE).value_or(CK_UNAVAILABLE_INFORMATION);
  if (set.HoldsSecret(object_class, key_type)) return std::unexpected(kSecret);
  return set;
}

bool AttributeSet::operator==(const AttributeSet& other) const {
  return boolean_present_ == other.boolean_present_ && boolean_values_ == other.boolean_values_ &&
         std::ranges::equal(std::span(entries_.get(), size_),
                            std::span(other.entries_.get(), other.size_));
}

}  // namespace secretmem

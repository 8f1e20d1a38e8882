// The attributes of one object (PKCS#11 3.2, section 4), packed into one heap buffer.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "mechanisms/cryptoki.h"

namespace secretmem {

// AttributeSetError says why AttributeSet::Parse refused its input.
enum class AttributeSetError {
  kTruncated,  // ends inside a field
  kVersion,    // not the format written by Serialize
  kBoolean,    // a mask bit without meaning, or a packed boolean written out as bytes
  kOrder,      // types not strictly ascending
  kTooLarge,   // more than kMaxEntries entries or a value above kMaxValueSize
  kTrailing,   // bytes after the last entry
  kSecret,     // an attribute that may never be stored here
};

// AttributeSet maps attribute types to values. It holds what may lie in ordinary memory: never the
// secret part of a key (IsSecretAttribute in attribute_rules.h; setters and Parse refuse it).
//
// The attributes in kPackedBooleans take two bits each; all others are entries of 8 bytes and their
// value, sorted by type. CK_ULONG values are 64-bit little endian, which is also the module's
// memory form; CKA_ALLOWED_MECHANISMS is an array of such; template attributes (CKA_WRAP_TEMPLATE
// and so on) are a serialised AttributeSet, or empty. An X25519 private key with about 30
// attributes takes some 300 bytes.
//
// Not synchronised; safe to read from many threads while nobody changes it.
class AttributeSet {
 public:
  static constexpr size_t kMaxEntries = 256;
  static constexpr size_t kMaxValueSize = size_t{4} << 20;

  AttributeSet() = default;
  AttributeSet(const AttributeSet& other);
  AttributeSet& operator=(const AttributeSet& other);
  AttributeSet(AttributeSet&& other) noexcept;
  AttributeSet& operator=(AttributeSet&& other) noexcept;
  ~AttributeSet() = default;

  // Has returns whether |type| is present, with whatever value.
  bool Has(CK_ATTRIBUTE_TYPE type) const { return Get(type).has_value(); }

  // Get returns the value as C_GetAttributeValue would copy it out (except template attributes, see
  // above). The span points into this set, valid until it is changed or destroyed; a packed
  // boolean's points to a constant.
  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE type) const;

  // GetBool returns the value of a boolean attribute: absent or not one byte gives nullopt.
  std::optional<bool> GetBool(CK_ATTRIBUTE_TYPE type) const;

  // GetUlong returns the value of a CK_ULONG attribute: absent or not 8 bytes gives nullopt.
  std::optional<CK_ULONG> GetUlong(CK_ATTRIBUTE_TYPE type) const;

  // GetTemplate returns the value of a template attribute: absent or malformed gives nullopt.
  std::optional<AttributeSet> GetTemplate(CK_ATTRIBUTE_TYPE type) const;

  // SetBool, SetUlong, SetBytes and SetTemplate add the attribute or replace its value. |value| of
  // SetBytes is copied and may not point into this set. They throw std::bad_alloc;
  // std::length_error beyond kMaxEntries, kMaxValueSize or a type of more than 32 bits;
  // std::invalid_argument for a packed boolean given other than one byte 0 or 1, and for a secret
  // attribute. The set is then unchanged.
  void SetBool(CK_ATTRIBUTE_TYPE type, bool value);
  void SetUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  void SetBytes(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value);
  void SetTemplate(CK_ATTRIBUTE_TYPE type, const AttributeSet& value);

  // Appender fills a set that has no entries yet, for an object of a class and key type that are
  // known: in ascending order of types that costs a copy each.
  class Appender;

  // Remove takes |type| out if it is there.
  void Remove(CK_ATTRIBUTE_TYPE type);

  // ForEach calls f(CK_ATTRIBUTE_TYPE, std::span<const uint8_t>) for every attribute in ascending
  // order of types. |f| may not change the set.
  template <typename F>
  void ForEach(F&& f) const {
    size_t next_boolean = 0;
    for (size_t offset = 0; offset < size_;) {
      const Entry entry = EntryAt(offset);
      next_boolean = VisitBooleans(next_boolean, entry.type, f);
      f(entry.type, entry.value);
      offset = entry.end;
    }
    VisitBooleans(next_boolean, ~CK_ATTRIBUTE_TYPE{0}, f);
  }

  // size returns the number of attributes.
  size_t size() const;
  bool empty() const { return boolean_present_ == 0 && size_ == 0; }

  // MemoryUse returns the bytes taken: this object and its buffer.
  size_t MemoryUse() const { return sizeof(*this) + capacity_; }

  // Reserve makes room for |bytes| of entries, so that setters need not reallocate; ShrinkToFit
  // gives the unused part back.
  void Reserve(size_t bytes);
  void ShrinkToFit();

  // Serialize returns the canonical form: equal sets give equal bytes. One version byte (1); the
  // present and the value mask of the packed booleans, 32 bits each; the number of entries, 16
  // bits; then each entry as 32-bit type, 32-bit length, value. All integers little endian.
  std::vector<uint8_t> Serialize() const;

  // Parse accepts exactly what Serialize can return and nothing else; it never reads outside
  // |bytes|. Throws std::bad_alloc.
  static std::expected<AttributeSet, AttributeSetError> Parse(std::span<const uint8_t> bytes);

  bool operator==(const AttributeSet& other) const;

 private:
  struct Entry {
    CK_ATTRIBUTE_TYPE type;
    std::span<const uint8_t> value;
    size_t end;  // offset of the next entry
  };
  // Where an entry of a type is (|found|) or would be inserted.
  struct Position {
    size_t offset;
    size_t end;
    bool found;
  };

  // The position of a type here is its bit in the masks, in memory and in the file: append only,
  // ascending. A type that does not fit the order needs a new format version.
  static constexpr CK_ATTRIBUTE_TYPE kPackedBooleans[] = {
      CKA_TOKEN,
      CKA_PRIVATE,
      CKA_TRUSTED,
      CKA_SENSITIVE,
      CKA_ENCRYPT,
      CKA_DECRYPT,
      CKA_WRAP,
      CKA_UNWRAP,
      CKA_SIGN,
      CKA_SIGN_RECOVER,
      CKA_VERIFY,
      CKA_VERIFY_RECOVER,
      CKA_DERIVE,
      CKA_EXTRACTABLE,
      CKA_LOCAL,
      CKA_NEVER_EXTRACTABLE,
      CKA_ALWAYS_SENSITIVE,
      CKA_MODIFIABLE,
      CKA_COPYABLE,
      CKA_DESTROYABLE,
      CKA_ALWAYS_AUTHENTICATE,
      CKA_WRAP_WITH_TRUSTED,
      CKA_ENCAPSULATE,
      CKA_DECAPSULATE,
  };
  static constexpr size_t kPackedCount = std::size(kPackedBooleans);
  static_assert(kPackedCount <= 32);

  static std::optional<uint32_t> PackedBit(CK_ATTRIBUTE_TYPE type);
  static std::span<const uint8_t> BooleanBytes(bool value);

  Entry EntryAt(size_t offset) const;
  Position Find(CK_ATTRIBUTE_TYPE type) const;
  size_t EntryCount() const;
  void RefuseSecret(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) const;
  bool HoldsSecret(CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type) const;
  void Replace(const Position& at, CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value);

  // Calls f for the packed booleans from index |next| whose type is below |limit|; returns the
  // index to go on with.
  template <typename F>
  size_t VisitBooleans(size_t next, CK_ATTRIBUTE_TYPE limit, F& f) const {
    for (; next < kPackedCount && kPackedBooleans[next] < limit; ++next) {
      const uint32_t bit = uint32_t{1} << next;
      if (boolean_present_ & bit) f(kPackedBooleans[next], BooleanBytes(boolean_values_ & bit));
    }
    return next;
  }

  void AppendEntry(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value);

  uint32_t boolean_present_ = 0;
  uint32_t boolean_values_ = 0;  // a subset of boolean_present_
  std::unique_ptr<uint8_t[]> entries_;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
};

class AttributeSet::Appender {
 public:
  Appender(AttributeSet& set, CK_OBJECT_CLASS object_class, CK_KEY_TYPE key_type)
      : set_(set), object_class_(object_class), key_type_(key_type) {}

  // They do and throw what the setters of AttributeSet do.
  void SetBool(CK_ATTRIBUTE_TYPE type, bool value) { set_.SetBool(type, value); }
  void SetUlong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    uint8_t bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    SetBytes(type, bytes);
  }
  void SetBytes(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value);

 private:
  AttributeSet& set_;
  const CK_OBJECT_CLASS object_class_;
  const CK_KEY_TYPE key_type_;
  CK_ATTRIBUTE_TYPE last_ = 0;
};

}  // namespace secretmem

#include "pkcs11/object_codec.h"

#include <algorithm>

#include "mechanisms/vendor.h"
#include "vault/sealing.h"

namespace secretmem {
namespace {

// What rows are found by, the most telling first.
constexpr CK_ATTRIBUTE_TYPE kIndexed[] = {CKA_ID, CKA_LABEL, CKA_KEY_TYPE, CKA_CLASS};

std::vector<uint8_t> Concatenate(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  std::vector<uint8_t> both(a.begin(), a.end());
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

IndexTerm Term(CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
  uint8_t name[sizeof(type)];
  memcpy(name, &type, sizeof(type));
  return Concatenate(name, value);
}

IndexHash Shortened(const KeyedHash& hash) {
  IndexHash shortened;
  std::copy_n(hash.begin(), shortened.size(), shortened.begin());
  return shortened;
}

// IndexOf returns the index of |object|'s row; |keys| are those of a private one: of these the file
// shows which have equal values, not what they are.
CkResult<std::vector<IndexHash>> IndexOf(const Object& object, const SealingKeys* keys) {
  std::vector<IndexTerm> terms;
  for (const CK_ATTRIBUTE_TYPE type : kIndexed) {
    if (const auto value = object.attributes.Get(type)) terms.push_back(Term(type, *value));
  }
  if (object.attributes.Get(CKA_SECRETMEM_EXPIRES)) terms.push_back(ExpiringTerm());
  std::vector<IndexHash> index;
  for (const IndexTerm& term : terms) {
    const auto hash =
        keys == nullptr ? CkResult<IndexHash>(OpenHash(term)) : SealedHash(term, *keys);
    if (!hash) return Refuse(hash.error());
    index.push_back(*hash);
  }
  return index;
}

CkResult<std::shared_ptr<const Vault>> Derive(const Vault& base, std::string_view label) {
  auto derived = DeriveSealingKey(base, label);
  if (!derived) return Refuse(RvOf(derived.error()));
  return std::make_shared<const Vault>(std::move(*derived));
}

}  // namespace

CkResult<std::shared_ptr<const SealingKeys>> SealingKeys::From(Vault base) {
  auto attributes = Derive(base, "attributes");
  auto secrets = Derive(base, "secrets");
  auto index = Derive(base, "index");
  for (const auto* derived : {&attributes, &secrets, &index}) {
    if (!*derived) return Refuse(derived->error());
  }
  return std::make_shared<const SealingKeys>(
      SealingKeys{std::move(base), *attributes, *secrets, *index});
}

std::optional<IndexTerm> TermOf(const TemplateReader& wanted) {
  for (const CK_ATTRIBUTE_TYPE type : kIndexed) {
    // Most objects have empty values.
    const auto value = wanted.Get(type);
    if (value && !value->empty()) return Term(type, *value);
  }
  return std::nullopt;
}

IndexTerm ExpiringTerm() { return Term(CKA_SECRETMEM_EXPIRES, {}); }

IndexHash OpenHash(const IndexTerm& term) { return Shortened(Checksum(term)); }

CkResult<IndexHash> SealedHash(const IndexTerm& term, const SealingKeys& keys) {
  const auto hash = HashUnder(*keys.index, term);
  if (!hash) return Refuse(RvOf(hash.error()));
  return Shortened(*hash);
}

RowKind RowKindOf(const Object& object) {
  if (object.Is(CKA_PRIVATE)) return RowKind::kPrivate;
  return object.secret != nullptr ? RowKind::kStoreSealed : RowKind::kPublic;
}

CkResult<ObjectRow> EncodeRow(const Object& object, const SealingKeys* keys) {
  const RowKind kind = RowKindOf(object);
  ObjectRow row;
  row.id = object.row;
  row.uid = object.uid;
  row.kind = static_cast<uint8_t>(kind);
  row.version = object.version;
  const std::vector<uint8_t> plain = object.attributes.Serialize();
  if (object.secret != nullptr) {
    const auto vault = object.secret->Open();
    if (!vault) return Refuse(vault.error());
    auto sealed = Seal(*keys->secrets, Concatenate(object.uid, plain), **vault);
    if (!sealed) return Refuse(RvOf(sealed.error()));
    row.secret = std::move(*sealed);
  }
  switch (kind) {
    case RowKind::kPublic:
      row.attributes = Concatenate(plain, Checksum(plain));
      break;
    case RowKind::kStoreSealed:
      row.attributes = plain;
      break;
    case RowKind::kPrivate: {
      auto sealed = SealPublic(*keys->attributes, object.uid, plain);
      if (!sealed) return Refuse(RvOf(sealed.error()));
      row.attributes = std::move(*sealed);
      break;
    }
    case RowKind::kClock:
      return Refuse(CKR_GENERAL_ERROR);
  }
  auto index = IndexOf(object, kind == RowKind::kPrivate ? keys : nullptr);
  if (!index) return Refuse(index.error());
  row.index = std::move(*index);
  return row;
}

CkResult<std::shared_ptr<Object>> DecodeRow(ObjectRow row, const SealingKeys* keys) {
  const auto kind = static_cast<RowKind>(row.kind);
  std::vector<uint8_t> plain = std::move(row.attributes);
  switch (kind) {
    case RowKind::kPublic: {
      // A secret under no key was put there by hand.
      if (plain.size() < sizeof(KeyedHash) || !row.secret.empty()) return Refuse(CKR_DEVICE_ERROR);
      const auto checksum = std::span(plain).last(sizeof(KeyedHash));
      const auto data = std::span(plain).first(plain.size() - sizeof(KeyedHash));
      if (!std::ranges::equal(Checksum(data), checksum)) return Refuse(CKR_DEVICE_ERROR);
      plain.resize(data.size());
      break;
    }
    case RowKind::kStoreSealed:
      break;
    case RowKind::kPrivate: {
      auto opened = UnsealPublic(*keys->attributes, row.uid, plain);
      if (!opened) return Refuse(RvOf(opened.error()));
      plain = std::move(*opened);
      break;
    }
    default:
      return Refuse(CKR_DEVICE_ERROR);
  }
  auto parsed = AttributeSet::Parse(plain);
  if (!parsed) return Refuse(CKR_DEVICE_ERROR);

  auto object = std::make_shared<Object>();
  object->attributes = std::move(*parsed);
  object->uid = row.uid;
  object->row = row.id;
  object->version = row.version;
  if (!row.secret.empty()) {
    object->secret = std::make_shared<KeySecret>(std::move(row.secret), Concatenate(row.uid, plain),
                                                 keys->secrets);
  }
  // The row of an object that says of itself that it belongs elsewhere was moved there by hand.
  if (RowKindOf(*object) != kind) return Refuse(CKR_DEVICE_ERROR);
  // No seal vouches for what is missing: a key whose secret was cut off is none.
  const CK_OBJECT_CLASS object_class = object->object_class();
  const bool is_key = object_class == CKO_PRIVATE_KEY || object_class == CKO_SECRET_KEY;
  if (is_key != (object->secret != nullptr)) return Refuse(CKR_DEVICE_ERROR);
  if (kind == RowKind::kStoreSealed) {
    // Only the secret's seal vouches for these attributes.
    if (const auto vault = object->secret->OpenQuietly(); !vault) return Refuse(vault.error());
  }
  return object;
}

}  // namespace secretmem

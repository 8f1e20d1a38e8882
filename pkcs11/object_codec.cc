#include "pkcs11/object_codec.h"

#include <algorithm>

#include "vault/sealing.h"

namespace secretmem {
namespace {

// What a client searches by, kept as keyed hashes: the file shows which private objects have equal
// values, not what they are.
constexpr CK_ATTRIBUTE_TYPE kIndexed[] = {CKA_CLASS, CKA_KEY_TYPE, CKA_ID, CKA_LABEL};

std::vector<uint8_t> Concatenate(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  std::vector<uint8_t> both(a.begin(), a.end());
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

CkResult<std::vector<IndexHash>> IndexOf(const Object& object, const Vault* key) {
  std::vector<IndexHash> index;
  for (const CK_ATTRIBUTE_TYPE type : kIndexed) {
    const auto value = object.attributes.Get(type);
    if (!value) continue;
    uint8_t name[sizeof(type)];
    memcpy(name, &type, sizeof(type));
    const std::vector<uint8_t> named = Concatenate(name, *value);
    KeyedHash hash;
    if (key == nullptr) {
      hash = Checksum(named);
    } else {
      const auto keyed = HashUnder(*key, named);
      if (!keyed) return Refuse(RvOf(keyed.error()));
      hash = *keyed;
    }
    IndexHash& entry = index.emplace_back();
    std::copy_n(hash.begin(), entry.size(), entry.begin());
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
  auto index = IndexOf(object, kind == RowKind::kPrivate ? keys->index.get() : nullptr);
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

// The objects of a token: between the handles in memory and the rows in the file.

#include <cstring>

#include "pkcs11/log.h"
#include "pkcs11/token.h"
#include "vault/random.h"
#include "vault/sealing.h"

namespace secretmem {
namespace {

void LogDamage(const Snapshot& snapshot) {
  for (const int64_t row : snapshot.damaged) {
    LogError("object %lld of the token file is damaged", static_cast<long long>(row));
  }
  if (snapshot.missing > 0) {
    LogError("%llu objects of the token file are missing or cannot be read",
             static_cast<unsigned long long>(snapshot.missing));
  }
  if (snapshot.index_damaged) {
    LogError("the index of the token file is damaged: a search may not find what is there");
  }
}

}  // namespace

CkResult<Token::Keys> Token::StoreKeys() {
  {
    const std::lock_guard lock(mutex_);
    if (store_keys_ != nullptr) return store_keys_;
  }
  const auto record = store_.Call([](TokenStore& store) { return store.Read(); });
  if (!record) return Refuse(RvOfStoreError(record.error()));
  if (record->store_key_blob.size() != kSealingKeyBytes) return Refuse(CKR_TOKEN_NOT_RECOGNIZED);
  auto base = ToCk(Vault::CopyOf(record->store_key_blob));
  if (!base) return Refuse(base.error());
  auto keys = SealingKeys::From(std::move(*base));
  if (!keys) return keys;
  const std::lock_guard lock(mutex_);
  if (record->incarnation != incarnation_) return Refuse(CKR_DEVICE_REMOVED);
  store_keys_ = *keys;
  return store_keys_;
}

CkResult<Token::Keys> Token::KeysFor(RowKind kind) {
  switch (kind) {
    case RowKind::kPublic:
    case RowKind::kClock:
      return nullptr;
    case RowKind::kStoreSealed:
      return StoreKeys();
    case RowKind::kPrivate:
      break;
  }
  const std::lock_guard lock(mutex_);
  if (login_ != Login::kUser) return Refuse(CKR_USER_NOT_LOGGED_IN);
  return keys_;
}

CkResult<ObjectUid> Token::NewUid() {
  if (!has_first_uid_) {
    ObjectUid drawn;
    if (auto random = RandomBytes(drawn); !random) return Refuse(RvOf(random.error()));
    const std::lock_guard lock(mutex_);
    // Of two threads that draw, the second takes what the first has drawn.
    if (!has_first_uid_) first_uid_ = drawn;
    has_first_uid_ = true;
  }
  uint64_t number = uids_++;
  ObjectUid uid = first_uid_;
  for (size_t i = uid.size() - 1; number != 0 && i > 8; --i, number >>= 8) {
    number += uid[i];
    uid[i] = static_cast<uint8_t>(number);
  }
  // RFC 9562, 5.8: version 8, a format of our own.
  uid[6] = static_cast<uint8_t>((uid[6] & 0x0f) | 0x80);
  uid[8] = static_cast<uint8_t>((uid[8] & 0x3f) | 0x80);
  return uid;
}

CkResult<ObjectPtr> Token::Decode(ObjectRow row) {
  const int64_t id = row.id;
  const auto kind = static_cast<RowKind>(row.kind);
  if (kind == RowKind::kClock) return nullptr;
  const auto keys = KeysFor(kind);
  if (!keys) {
    if (kind == RowKind::kStoreSealed) return Refuse(keys.error());
    return nullptr;  // Nobody may see it now, or it is of no kind that there is.
  }
  auto object = DecodeRow(std::move(row), keys->get());
  if (object) return SetDeadline(**object) ? ObjectPtr(std::move(*object)) : nullptr;
  // A shortage passes, a broken seal does not, and must not hide the other objects.
  if (object.error() != CKR_DEVICE_ERROR) return Refuse(object.error());
  LogError("object %lld of the token file does not verify: it was changed from outside",
           static_cast<long long>(id));
  return nullptr;
}

CkStatus Token::Refresh() {
  for (;;) {
    const ObjectTable::State since = table_.state();
    const auto now = store_.Call([](TokenStore& store) { return store.ChangeCounter(); });
    if (!now) return Refuse(RvOfStoreError(now.error()));
    if (now->incarnation != incarnation_) return Refuse(CKR_DEVICE_REMOVED);
    if (now->sequence == since.sequence) return {};
    if (since.sequence == 0) {
      if (table_.Apply(since, now->sequence, false, {}, {})) return {};
      continue;
    }
    auto snapshot = store_.Call([&](TokenStore& store) {
      return store.LoadChangedSince({now->incarnation, since.sequence});
    });
    if (!snapshot) return Refuse(RvOfStoreError(snapshot.error()));
    // Between the two calls another process may have initialised the token again.
    if (snapshot->state.incarnation != now->incarnation) return Refuse(CKR_DEVICE_REMOVED);
    LogDamage(*snapshot);
    std::vector<ObjectTable::Change> changes;
    for (ObjectRow& row : snapshot->rows) {
      const bool needed = (snapshot->complete || table_.Concerns(row)) && !table_.IsCurrent(row);
      ObjectTable::Change change{row.id, row.version, nullptr};
      if (needed) {
        auto object = Decode(std::move(row));
        if (!object) return Refuse(object.error());
        if (*object == nullptr) continue;
        change.object = std::move(*object);
      }
      changes.push_back(std::move(change));
    }
    if (table_.Apply(since, snapshot->state.sequence, snapshot->complete, changes,
                     snapshot->deleted)) {
      return {};
    }
  }
}

CkResult<std::vector<IndexHash>> Token::HashesOf(const IndexTerm& term) {
  std::vector<IndexHash> hashes = {OpenHash(term)};
  const auto keys = KeysFor(RowKind::kPrivate);
  if (!keys) return hashes;
  const auto hash = SealedHash(term, **keys);
  if (!hash) return Refuse(hash.error());
  hashes.push_back(*hash);
  return hashes;
}

CkStatus Token::Load(const TemplateReader& wanted) {
  const auto term = TermOf(wanted);
  for (;;) {
    if (auto refreshed = Refresh(); !refreshed) return refreshed;
    const ObjectTable::State since = table_.state();
    std::vector<IndexHash> hashes;
    if (term) {
      if (table_.Covers(OpenHash(*term))) return {};
      // Expired rows are deleted by those who know them.
      for (const IndexTerm& each : {*term, ExpiringTerm()}) {
        if (table_.Covers(OpenHash(each))) continue;
        const auto its = HashesOf(each);
        if (!its) return Refuse(its.error());
        hashes.insert(hashes.end(), its->begin(), its->end());
      }
    } else if (table_.CoversAll()) {
      return {};
    }
    auto snapshot = store_.Call(
        [&](TokenStore& store) { return term ? store.LoadByIndex(hashes) : store.LoadAll(); });
    if (!snapshot) return Refuse(RvOfStoreError(snapshot.error()));
    if (snapshot->state.incarnation != incarnation_) return Refuse(CKR_DEVICE_REMOVED);
    LogDamage(*snapshot);
    std::vector<ObjectPtr> objects;
    for (ObjectRow& row : snapshot->rows) {
      if (table_.IsCurrent(row)) continue;
      auto object = Decode(std::move(row));
      if (!object) return Refuse(object.error());
      if (*object != nullptr) objects.push_back(std::move(*object));
    }
    if (snapshot->complete) hashes.clear();
    if (table_.Admit(since, snapshot->state.sequence, objects, hashes)) return {};
  }
}

ObjectPtr Token::Find(CK_OBJECT_HANDLE handle) const {
  ObjectPtr object = table_.Find(handle);
  if (object != nullptr && object->IsExpired()) return nullptr;
  if (object != nullptr && object->Is(CKA_PRIVATE) && login() != Login::kUser) return nullptr;
  return object;
}

CkResult<std::vector<CK_OBJECT_HANDLE>> Token::Add(std::vector<std::shared_ptr<Object>> objects) {
  // Before the keys: what is sealed for a token that is initialised again meanwhile stays out.
  const uint64_t incarnation = incarnation_;
  if (auto stamped = StampLifetimes(objects); !stamped) return Refuse(stamped.error());
  std::vector<ObjectRow> rows;
  std::vector<Object*> stored;
  for (const auto& object : objects) {
    if (!object->Is(CKA_TOKEN)) continue;
    const auto keys = KeysFor(RowKindOf(*object));
    if (!keys) return Refuse(keys.error());
    auto row = EncodeRow(*object, keys->get());
    if (!row) return Refuse(row.error());
    rows.push_back(std::move(*row));
    stored.push_back(object.get());
  }
  if (!rows.empty()) {
    const auto done =
        store_.Call([&](TokenStore& store) { return store.Insert(incarnation, rows); });
    if (!done) return Refuse(RvOfStoreError(done.error()));
    for (size_t i = 0; i < stored.size(); ++i) {
      stored[i]->row = done->ids[i];
      stored[i]->version = done->state.sequence;
    }
  }
  std::vector<CK_OBJECT_HANDLE> handles;
  bool any_private = false;
  for (auto& object : objects) {
    any_private |= object->Is(CKA_PRIVATE);
    handles.push_back(table_.Add(std::move(object)));
  }
  // A logout on another thread has swept the table before these came.
  if (any_private && login() != Login::kUser) {
    table_.RemoveIf([](const Object& object) { return object.Is(CKA_PRIVATE); });
    return Refuse(CKR_USER_NOT_LOGGED_IN);
  }
  return handles;
}

CkResult<bool> Token::Replace(CK_OBJECT_HANDLE handle, const ObjectPtr& before,
                              std::shared_ptr<Object> changed) {
  changed->uid = before->uid;
  changed->row = before->row;
  changed->session = before->session;
  changed->version = before->version;
  changed->deadline = before->deadline;
  if (before->row != 0) {
    const uint64_t incarnation = incarnation_;
    const auto keys = KeysFor(RowKindOf(*changed));
    if (!keys) return Refuse(keys.error());
    const auto row = EncodeRow(*changed, keys->get());
    if (!row) return Refuse(row.error());
    const auto done =
        store_.Call([&](TokenStore& store) { return store.Update(incarnation, *row); });
    if (!done && done.error().kind == StoreError::Kind::kConflict) return false;
    if (!done) return Refuse(RvOfStoreError(done.error()));
    changed->version = done->state.sequence;
    table_.Add(std::move(changed));
    return true;
  }
  return table_.Replace(handle, before, std::move(changed));
}

CkStatus Token::Destroy(CK_OBJECT_HANDLE handle, const ObjectPtr& object) {
  if (object->row != 0) {
    const int64_t row = object->row;
    const uint64_t incarnation = incarnation_;
    const auto done = store_.Call(
        [&](TokenStore& store) { return store.Delete(incarnation, std::span(&row, 1)); });
    if (!done) return Refuse(RvOfStoreError(done.error()));
  }
  table_.Remove(handle);
  return {};
}

}  // namespace secretmem

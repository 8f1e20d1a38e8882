#include "tool/token_check.h"

#include <algorithm>
#include <memory>

#include "pkcs11/object_codec.h"
#include "pkcs11/pin.h"
#include "pkcs11/prepare_vault.h"
#include "pkcs11/token_clock.h"
#include "pkcs11/token_store.h"
#include "tool/module.h"
#include "vault/sealing.h"

namespace secretmem::tool {

namespace {

using Keys = std::shared_ptr<const SealingKeys>;

template <class T>
T FromStore(StoreResult<T> result) {
  if (!result) throw result.error();
  return *std::move(result);
}

template <class T>
T Must(CkResult<T> result, const char* doing) {
  if (!result) Check(result.error(), doing);
  return *std::move(result);
}

// Verifies says whether everything in |row| does under |keys|.
bool Verifies(const ObjectRow& row, RowKind of, const SealingKeys* keys) {
  const auto broken = [](CK_RV rv) {
    if (rv != CKR_DEVICE_ERROR) Check(rv, "opening an object");
    return false;
  };
  if (static_cast<RowKind>(row.kind) == RowKind::kClock) {
    const auto clock = DecodeClock(row, of, *keys);
    return clock ? true : broken(clock.error());
  }
  const auto object = DecodeRow(row, keys);
  if (!object) return broken(object.error());
  if ((*object)->secret != nullptr) {
    const auto vault = (*object)->secret->OpenQuietly();
    if (!vault) return broken(vault.error());
  }
  // What it is found by is sealed by nothing, but follows from the rest.
  return std::ranges::is_permutation(Must(EncodeRow(**object, keys), "opening an object").index,
                                     row.index);
}

// KindOf returns under which keys a row is sealed.
RowKind KindOf(const ObjectRow& row) {
  if (static_cast<RowKind>(row.kind) != RowKind::kClock) return static_cast<RowKind>(row.kind);
  return row.uid == ClockUid(RowKind::kPrivate) ? RowKind::kPrivate : RowKind::kStoreSealed;
}

// StoreKeys returns the keys that lie in the file itself.
Keys StoreKeys(const TokenRecord& record, const std::string& path) {
  if (record.store_key_blob.size() != kSealingKeyBytes) {
    throw StoreError{StoreError::Kind::kCorrupt, path + ": its own key is damaged"};
  }
  return Must(SealingKeys::From(Must(ToCk(Vault::CopyOf(record.store_key_blob)), "taking a key")),
              "taking a key");
}

Keys TokenKeys(const TokenRecord& record, const PinText& pin) {
  constexpr char kDoing[] = "opening the token with the PIN";
  if (record.user.wrapped_key.empty()) Check(CKR_USER_PIN_NOT_INITIALIZED, kDoing);
  auto key =
      UnwrapUnderPin(PinRole::kUser, record.serial, Pin(pin.data(), pin.size()), record.user);
  if (!key && key.error() == CKR_PIN_INCORRECT) {
    throw ToolError(kPinRefused, "the PIN does not open this token",
                    "A backup is opened by the PIN that the token had when it was made.");
  }
  return Must(SealingKeys::From(Must(std::move(key), kDoing)), kDoing);
}

}  // namespace

TokenCheck CheckToken(const Config& config, const std::string& path, const PinText* pin) {
  TokenStore store = FromStore(TokenStore::Open(path));
  const TokenRecord record = FromStore(store.Read());
  const Snapshot all = FromStore(store.LoadAll());
  const CkStatus ready = PrepareVault(config);
  if (!ready && pin != nullptr) {
    throw ToolError(
        kNoSecretMemory, "the token cannot be opened: there is no secret memory",
        "secretmem-pkcs11 status says why. Without a PIN what is sealed stays unopened.");
  }
  const Keys store_keys = ready ? StoreKeys(record, path) : nullptr;
  const Keys token_keys = pin != nullptr ? TokenKeys(record, *pin) : nullptr;

  TokenCheck check;
  check.broken = all.damaged.size() + all.missing;
  for (const ObjectRow& row : all.rows) {
    const RowKind kind = KindOf(row);
    const Keys& keys = kind == RowKind::kPrivate ? token_keys : store_keys;
    if (kind != RowKind::kPublic && keys == nullptr) {
      ++check.unopened;
    } else {
      ++(Verifies(row, kind, keys.get()) ? check.opened : check.broken);
    }
  }
  return check;
}

}  // namespace secretmem::tool

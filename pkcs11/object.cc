#include "pkcs11/object.h"

#include "pkcs11/log.h"
#include "vault/sealing.h"

namespace secretmem {

KeySecret::KeySecret(Vault vault) : key_(std::move(vault)) {}

KeySecret::KeySecret(std::vector<uint8_t> sealed, std::vector<uint8_t> associated,
                     std::shared_ptr<const Vault> sealing_key)
    : key_(std::make_unique<Sealed>(std::move(sealed), std::move(associated),
                                    std::move(sealing_key))) {}

CkResult<const Vault*> KeySecret::Open() {
  auto opened = OpenQuietly();
  if (!opened && opened.error() == CKR_DEVICE_ERROR) {
    LogError("the secret of a key in the token file does not verify: it was changed from outside");
  }
  return opened;
}

CkResult<const Vault*> KeySecret::OpenQuietly() {
  if (const Vault* vault = std::get_if<Vault>(&key_)) return vault;
  Sealed& key = *std::get<std::unique_ptr<Sealed>>(key_);
  if (const Vault* vault = key.open) return vault;
  auto opened = Unseal(*key.sealing_key, key.associated, key.sealed);
  if (!opened) return Refuse(RvOf(opened.error()));
  const std::lock_guard lock(key.mutex);
  // Another thread may have been faster; its vault may be in use already.
  if (!key.vault) key.vault.emplace(std::move(*opened));
  key.open = &*key.vault;
  return &*key.vault;
}

std::array<char, 36> UniqueId(const ObjectUid& uid) {
  constexpr char kHex[] = "0123456789abcdef";
  std::array<char, 36> text;
  size_t at = 0;
  for (size_t i = 0; i < uid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text[at++] = '-';
    text[at++] = kHex[uid[i] >> 4];
    text[at++] = kHex[uid[i] & 15];
  }
  return text;
}

}  // namespace secretmem

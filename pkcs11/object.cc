#include "pkcs11/object.h"

#include "pkcs11/log.h"
#include "vault/sealing.h"

namespace secretmem {

KeySecret::KeySecret(Vault vault) : vault_(std::move(vault)) {}

KeySecret::KeySecret(std::vector<uint8_t> sealed, std::vector<uint8_t> associated,
                     std::shared_ptr<const Vault> sealing_key)
    : sealed_(std::move(sealed)),
      associated_(std::move(associated)),
      sealing_key_(std::move(sealing_key)) {}

CkResult<const Vault*> KeySecret::Open() {
  auto opened = OpenQuietly();
  if (!opened && opened.error() == CKR_DEVICE_ERROR) {
    LogError("the secret of a key in the token file does not verify: it was changed from outside");
  }
  return opened;
}

CkResult<const Vault*> KeySecret::OpenQuietly() {
  {
    const std::lock_guard lock(mutex_);
    if (vault_) return &*vault_;
  }
  // Written by the constructor only, so readable without the lock.
  auto opened = Unseal(*sealing_key_, associated_, sealed_);
  if (!opened) return Refuse(RvOf(opened.error()));
  const std::lock_guard lock(mutex_);
  // Another thread may have been faster; its vault may be in use already.
  if (!vault_) vault_.emplace(std::move(*opened));
  return &*vault_;
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

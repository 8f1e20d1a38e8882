#include "pkcs11/object.h"

#include "vault/random.h"
#include "vault/sealing.h"

namespace secretmem {

KeySecret::KeySecret(Vault vault) : vault_(std::make_unique<const Vault>(std::move(vault))) {}

KeySecret::KeySecret(std::vector<uint8_t> sealed, std::vector<uint8_t> associated,
                     std::shared_ptr<const Vault> sealing_key)
    : sealed_(std::move(sealed)),
      associated_(std::move(associated)),
      sealing_key_(std::move(sealing_key)) {}

CkResult<const Vault*> KeySecret::Open() {
  {
    const std::lock_guard lock(mutex_);
    if (vault_ != nullptr) return vault_.get();
  }
  // Written by the constructor only, so readable without the lock.
  auto opened = Unseal(*sealing_key_, associated_, sealed_);
  if (!opened) return Refuse(RvOf(opened.error()));
  auto vault = std::make_unique<const Vault>(std::move(*opened));
  const std::lock_guard lock(mutex_);
  // Another thread may have been faster; its vault may be in use already.
  if (vault_ == nullptr) vault_ = std::move(vault);
  return vault_.get();
}

std::vector<uint8_t> UniqueId(const ObjectUid& uid) {
  constexpr char kHex[] = "0123456789abcdef";
  std::vector<uint8_t> text;
  for (size_t i = 0; i < uid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    text.push_back(static_cast<uint8_t>(kHex[uid[i] >> 4]));
    text.push_back(static_cast<uint8_t>(kHex[uid[i] & 15]));
  }
  return text;
}

CkResult<ObjectUid> NewObjectUid() {
  ObjectUid uid;
  if (auto drawn = RandomBytes(uid); !drawn) return Refuse(RvOf(drawn.error()));
  // RFC 9562, 5.4: version 4.
  uid[6] = static_cast<uint8_t>((uid[6] & 0x0f) | 0x40);
  uid[8] = static_cast<uint8_t>((uid[8] & 0x3f) | 0x80);
  return uid;
}

}  // namespace secretmem

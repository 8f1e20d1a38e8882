#include "mechanisms/ecdh_wrap.h"

#include <openssl/aes.h>

#include <algorithm>

#include "mechanisms/ec_params.h"
#include "mechanisms/ecdh_agreement.h"

namespace secretmem {
namespace {

constexpr size_t kSemiblock = 8;
constexpr size_t kMostKey = size_t{1} << 24;

struct WrapParameter {
  EcdhSharing sharing;
  size_t aes_bytes;
};

CkResult<WrapParameter> Read(Parameter parameter, const EcDomain& domain) {
  const auto given = ReadParameter<CK_ECDH_AES_KEY_WRAP_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const auto sharing = ReadEcdhSharing(given->kdf, given->pSharedData, given->ulSharedDataLen);
  if (!sharing) return Refuse(sharing.error());
  const CK_ULONG bits = given->ulAESKeyBits;
  if ((bits != 128 && bits != 192 && bits != 256) ||
      (sharing->kdf->digest == nullptr && bits / 8 > domain.bytes)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return WrapParameter{*sharing, bits / 8};
}

CkResult<EcDomain> DomainFor(CK_MECHANISM_TYPE type, const Key& key) {
  if ((type == CKM_ECDH_X_AES_KEY_WRAP && key.key_type != CKK_EC_MONTGOMERY) ||
      (type == CKM_ECDH_COF_AES_KEY_WRAP && key.key_type != CKK_EC)) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return DomainOf(key);
}

// WrapInto makes the wrapped key in |room|, secret memory, and the ephemeral point in |sent|.
CK_RV WrapInto(const EcDomain& domain, const WrapParameter& read, std::span<const uint8_t> point,
               std::span<const uint8_t> plain, std::span<uint8_t> room, std::span<uint8_t> sent) {
  Ephemeral ephemeral;
  uint8_t secret[32];
  if (!Draw(domain, ephemeral)) return CKR_FUNCTION_FAILED;
  std::copy_n(ephemeral.point, sent.size(), sent.begin());
  const CK_RV agreed = Agree(domain, {ephemeral.scalar, domain.bytes}, point, read.sharing,
                             SecretPart::kFirst, {secret, read.aes_bytes});
  if (agreed != CKR_OK) return agreed;
  AES_KEY key;
  size_t written = 0;
  if (AES_set_encrypt_key(secret, static_cast<unsigned>(read.aes_bytes * 8), &key) != 0 ||
      !AES_wrap_key_padded(&key, room.data(), &written, room.size(), plain.data(), plain.size()) ||
      written != room.size()) {
    return CKR_FUNCTION_FAILED;
  }
  return CKR_OK;
}

// SplitPoint returns how many bytes of |wrapped| are the ephemeral public key; 0 if it cannot be.
size_t SplitPoint(const EcDomain& domain, std::span<const uint8_t> wrapped) {
  const size_t header = domain.point_bytes < 0x80 ? 2 : 3;
  for (const size_t size : {domain.point_bytes, domain.point_bytes + header}) {
    if (size != domain.point_bytes && domain.curve == nullptr) break;
    if (wrapped.size() >= size + 2 * kSemiblock && (wrapped.size() - size) % kSemiblock == 0) {
      return size;
    }
  }
  return 0;
}

// UnwrapInto says how many bytes of |room| are the key; 0 if anything is wrong.
size_t UnwrapInto(const EcDomain& domain, const WrapParameter& read,
                  std::span<const uint8_t> scalar, std::span<const uint8_t> point,
                  std::span<const uint8_t> wrapped, std::span<uint8_t> room) {
  uint8_t secret[32];
  AES_KEY key;
  size_t written = 0;
  if (Agree(domain, scalar, point, read.sharing, SecretPart::kFirst, {secret, read.aes_bytes}) !=
          CKR_OK ||
      AES_set_decrypt_key(secret, static_cast<unsigned>(read.aes_bytes * 8), &key) != 0 ||
      !AES_unwrap_key_padded(&key, room.data(), &written, room.size(), wrapped.data(),
                             wrapped.size())) {
    return 0;
  }
  return written;
}

}  // namespace

CkResult<std::vector<uint8_t>> WrapEcdhAes(CK_MECHANISM_TYPE type, Parameter parameter,
                                           const Key& wrapping, const Vault& material) {
  const auto domain = DomainFor(type, wrapping);
  if (!domain) return Refuse(domain.error());
  const auto point = PointOf(wrapping);
  if (!point) return Refuse(point.error());
  const auto read = Read(parameter, *domain);
  if (!read) return Refuse(read.error());
  if (material.size() > kMostKey) return Refuse(CKR_KEY_SIZE_RANGE);
  const size_t size = (material.size() + kSemiblock - 1) / kSemiblock * kSemiblock + kSemiblock;
  auto room = ToCk(Vault::New(size));
  if (!room) return Refuse(room.error());
  std::vector<uint8_t> sent(domain->point_bytes);
  std::vector<uint8_t> wrapped(size);
  const auto done = Flatten(room->WriteSecret([&](std::span<uint8_t> bytes) {
    return material.WithSecret([&](std::span<const uint8_t> plain) {
      const CK_RV code = WrapInto(*domain, *read, *point, plain, bytes, sent);
      if (code == CKR_OK) std::ranges::copy(bytes, wrapped.begin());
      return code;
    });
  }));
  if (!done) return Refuse(done.error());
  if (type == CKM_ECDH_COF_AES_KEY_WRAP) sent = OctetString(sent);
  sent.insert(sent.end(), wrapped.begin(), wrapped.end());
  return sent;
}

CkResult<Vault> UnwrapEcdhAes(CK_MECHANISM_TYPE type, Parameter parameter, const Key& unwrapping,
                              std::span<const uint8_t> wrapped,
                              std::span<const size_t> /*lengths*/) {
  if (unwrapping.object_class != CKO_PRIVATE_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  const auto domain = DomainFor(type, unwrapping);
  if (!domain) return Refuse(domain.error());
  const auto read = Read(parameter, *domain);
  if (!read) return Refuse(read.error());
  const size_t split = SplitPoint(*domain, wrapped);
  if (split == 0 || wrapped.size() > kMostKey) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  auto room = ToCk(Vault::New(wrapped.size() - split));
  if (!room) return room;
  std::optional<Vault> key;
  const auto done = Flatten(room->WriteSecret([&](std::span<uint8_t> bytes) {
    return unwrapping.secret->WithSecret([&](std::span<const uint8_t> scalar) -> CK_RV {
      const size_t size =
          UnwrapInto(*domain, *read, scalar, wrapped.first(split), wrapped.subspan(split), bytes);
      if (size == 0) return CKR_WRAPPED_KEY_INVALID;
      auto copy = Vault::CopyOf(bytes.first(size));
      if (!copy) return RvOf(copy.error());
      key.emplace(std::move(*copy));
      return CKR_OK;
    });
  }));
  if (!done) return Refuse(done.error());
  return std::move(*key);
}

}  // namespace secretmem

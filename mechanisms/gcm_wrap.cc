#include "mechanisms/gcm_wrap.h"

#include "mechanisms/aead.h"

namespace secretmem {
namespace {

CkResult<AeadParameter> ReadWith(Parameter parameter, bool make_nonce,
                                 std::span<const uint8_t> associated) {
  auto read = ReadGcmWrap(parameter, make_nonce);
  if (!read || associated.empty()) return read;
  if (!read->aad.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  read->aad = associated;
  return read;
}

}  // namespace

CkResult<std::vector<uint8_t>> WrapGcm(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                       const Key& wrapping, const Vault& material,
                                       std::span<const uint8_t> associated) {
  const auto read = ReadWith(parameter, true, associated);
  if (!read) return Refuse(read.error());
  auto aead = Aead::Make(CKM_AES_GCM, wrapping);
  if (!aead) return Refuse(aead.error());
  std::vector<uint8_t> wrapped(material.size() + read->tag_size);
  const std::span<uint8_t> out(wrapped);
  auto done =
      aead->Start(read->nonce, read->aad, {material.size(), read->tag_size}, Direction::kEncrypt);
  if (done) {
    done = Flatten(material.WithSecret([&](std::span<const uint8_t> plain) -> CK_RV {
      const auto encrypted = aead->Crypt(plain, out.first(plain.size()));
      return encrypted ? CKR_OK : encrypted.error();
    }));
  }
  if (done) done = aead->MakeTag(out.last(read->tag_size));
  if (!done) return Refuse(done.error());
  return wrapped;
}

CkResult<Vault> UnwrapGcm(CK_MECHANISM_TYPE /*type*/, Parameter parameter, const Key& unwrapping,
                          std::span<const uint8_t> wrapped, std::span<const uint8_t> associated) {
  const auto read = ReadWith(parameter, false, associated);
  if (!read) return Refuse(read.error());
  if (wrapped.size() <= read->tag_size) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
  auto aead = Aead::Make(CKM_AES_GCM, unwrapping);
  if (!aead) return Refuse(aead.error());
  const size_t size = wrapped.size() - read->tag_size;
  return aead->OpenVault(read->nonce, read->aad, wrapped.first(size), wrapped.subspan(size));
}

}  // namespace secretmem

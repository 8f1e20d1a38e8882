#include "tests/conformance/cipher.h"

#include <algorithm>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

CK_BYTE* Data(const Bytes& bytes) {
  static CK_BYTE nothing;
  return bytes.empty() ? &nothing : const_cast<CK_BYTE*>(bytes.data());
}

// Deliver calls call(out, length) for the size and then for the value.
template <class F>
Result Deliver(F call) {
  CK_ULONG size = 0;
  if (const CK_RV rv = call(nullptr, &size); rv != CKR_OK) return {rv, {}};
  // A length of 0 still needs a place to point to: a null pointer would ask for the size again.
  Bytes out(size + 1, 0xcc);
  const CK_RV rv = call(out.data(), &size);
  if (rv != CKR_OK) return {rv, {}};
  out.resize(size);
  return {CKR_OK, out};
}

template <class Update, class Final>
Result InParts(const Bytes& data, size_t part, Update update, Final final) {
  Result all;
  for (size_t at = 0; at < data.size(); at += part) {
    const size_t size = std::min(part, data.size() - at);
    const Result got = Deliver([&](CK_BYTE* out, CK_ULONG* length) {
      return update(const_cast<CK_BYTE*>(data.data() + at), size, out, length);
    });
    all.value.insert(all.value.end(), got.value.begin(), got.value.end());
    if ((all.rv = got.rv) != CKR_OK) return all;
  }
  const Result got = Deliver(final);
  all.value.insert(all.value.end(), got.value.begin(), got.value.end());
  all.rv = got.rv;
  return all;
}

}  // namespace

void PrintTo(const Result& result, std::ostream* out) {
  *out << RvName(result.rv) << ", " << result.value.size() << " bytes "
       << testing::PrintToString(result.value);
}

OwnedMechanism Gcm(const Bytes& iv, const Bytes& aad, CK_ULONG tag_bits) {
  const CK_GCM_PARAMS parameters{Data(iv),  iv.size(),  iv.size() * 8,
                                 Data(aad), aad.size(), tag_bits};
  return OwnedMechanism::Of(CKM_AES_GCM, parameters);
}

OwnedMechanism Ccm(const Bytes& iv, const Bytes& aad, CK_ULONG tag_size, CK_ULONG data_size) {
  const CK_CCM_PARAMS parameters{data_size, Data(iv), iv.size(), Data(aad), aad.size(), tag_size};
  return OwnedMechanism::Of(CKM_AES_CCM, parameters);
}

OwnedMechanism ChaCha(const Bytes& iv, const Bytes& aad) {
  const CK_SALSA20_CHACHA20_POLY1305_PARAMS parameters{Data(iv), iv.size(), Data(aad), aad.size()};
  return OwnedMechanism::Of(CKM_CHACHA20_POLY1305, parameters);
}

OwnedMechanism Ctr(CK_ULONG bits, const Bytes& block) {
  CK_AES_CTR_PARAMS parameters{};
  parameters.ulCounterBits = bits;
  std::copy_n(block.begin(), sizeof parameters.cb, parameters.cb);
  return OwnedMechanism::Of(CKM_AES_CTR, parameters);
}

bool HasMechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_FLAGS flags) {
  CK_MECHANISM_INFO info{};
  return P11().C_GetMechanismInfo(slot, type, &info) == CKR_OK && (info.flags & flags) == flags;
}

Template SecretKeyTemplate(CK_KEY_TYPE type, const Bytes& value) {
  Template key;
  key.With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY}).With(CKA_KEY_TYPE, CK_ULONG{type});
  key.With(CKA_TOKEN, false).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true);
  for (const CK_ATTRIBUTE_TYPE usage :
       {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP}) {
    key.With(usage, true);
  }
  return key.With(CKA_VALUE, value);
}

CK_OBJECT_HANDLE ImportKey(CK_SESSION_HANDLE session, CK_KEY_TYPE type, const Bytes& value) {
  Template key = SecretKeyTemplate(type, value);
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  P11().C_CreateObject(session, key.data(), key.size(), &handle);
  return handle;
}

Result Encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
               Bytes data) {
  const CK_RV rv = P11().C_EncryptInit(session, mechanism.get(), key);
  if (rv != CKR_OK) return {rv, {}};
  return Deliver([&](CK_BYTE* out, CK_ULONG* length) {
    return P11().C_Encrypt(session, Data(data), data.size(), out, length);
  });
}

Result Decrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
               Bytes data) {
  const CK_RV rv = P11().C_DecryptInit(session, mechanism.get(), key);
  if (rv != CKR_OK) return {rv, {}};
  return Deliver([&](CK_BYTE* out, CK_ULONG* length) {
    return P11().C_Decrypt(session, Data(data), data.size(), out, length);
  });
}

Result EncryptInParts(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
                      Bytes data, size_t part) {
  const CK_RV rv = P11().C_EncryptInit(session, mechanism.get(), key);
  if (rv != CKR_OK) return {rv, {}};
  return InParts(
      data, part,
      [&](CK_BYTE* in, CK_ULONG size, CK_BYTE* out, CK_ULONG* length) {
        return P11().C_EncryptUpdate(session, in, size, out, length);
      },
      [&](CK_BYTE* out, CK_ULONG* length) { return P11().C_EncryptFinal(session, out, length); });
}

Result DecryptInParts(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
                      Bytes data, size_t part) {
  const CK_RV rv = P11().C_DecryptInit(session, mechanism.get(), key);
  if (rv != CKR_OK) return {rv, {}};
  return InParts(
      data, part,
      [&](CK_BYTE* in, CK_ULONG size, CK_BYTE* out, CK_ULONG* length) {
        return P11().C_DecryptUpdate(session, in, size, out, length);
      },
      [&](CK_BYTE* out, CK_ULONG* length) { return P11().C_DecryptFinal(session, out, length); });
}

Result Sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism, Bytes data) {
  const CK_RV rv = P11().C_SignInit(session, mechanism.get(), key);
  if (rv != CKR_OK) return {rv, {}};
  return Deliver([&](CK_BYTE* out, CK_ULONG* length) {
    return P11().C_Sign(session, Data(data), data.size(), out, length);
  });
}

CK_RV Verify(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism, Bytes data,
             Bytes signature) {
  const CK_RV rv = P11().C_VerifyInit(session, mechanism.get(), key);
  if (rv != CKR_OK) return rv;
  return P11().C_Verify(session, Data(data), data.size(), Data(signature), signature.size());
}

Result Wrap(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE wrapping, OwnedMechanism mechanism,
            CK_OBJECT_HANDLE key) {
  return Deliver([&](CK_BYTE* out, CK_ULONG* length) {
    return P11().C_WrapKey(session, mechanism.get(), wrapping, key, out, length);
  });
}

CK_RV Unwrap(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE unwrapping, OwnedMechanism mechanism,
             Bytes wrapped, Template key, CK_OBJECT_HANDLE& handle) {
  handle = CK_INVALID_HANDLE;
  return P11().C_UnwrapKey(session, mechanism.get(), unwrapping, Data(wrapped), wrapped.size(),
                           key.data(), key.size(), &handle);
}

Template UnwrappedTemplate(CK_KEY_TYPE type) {
  Template key;
  key.With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY}).With(CKA_KEY_TYPE, CK_ULONG{type});
  return key.With(CKA_TOKEN, false).With(CKA_SENSITIVE, false).With(CKA_EXTRACTABLE, true);
}

}  // namespace secretmem::conformance

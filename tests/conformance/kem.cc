#include "tests/conformance/kem.h"

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

CK_BYTE* Data(Bytes& bytes) {
  static CK_BYTE nothing;
  return bytes.empty() ? &nothing : bytes.data();
}

}  // namespace

const CK_FUNCTION_LIST_3_2* P11v32() {
  using GetInterface = CK_RV (*)(CK_UTF8CHAR*, CK_VERSION*, CK_INTERFACE**, CK_FLAGS);
  const auto get = reinterpret_cast<GetInterface>(ModuleSymbol("C_GetInterface"));
  if (get == nullptr) return nullptr;
  CK_VERSION version{3, 2};
  CK_INTERFACE* interface = nullptr;
  if (get(nullptr, &version, &interface, 0) != CKR_OK) return nullptr;
  return static_cast<const CK_FUNCTION_LIST_3_2*>(interface->pFunctionList);
}

Encapsulated Encapsulate(CK_SESSION_HANDLE session, OwnedMechanism mechanism,
                         CK_OBJECT_HANDLE public_key, Template key) {
  constexpr CK_OBJECT_HANDLE kUntouched = 0x5a5a5a;
  const auto before = FindAll(session);
  CK_OBJECT_HANDLE handle = kUntouched;
  CK_ULONG size = 7;
  const auto call = [&](CK_BYTE* out) {
    return P11v32()->C_EncapsulateKey(session, mechanism.get(), public_key, key.data(), key.size(),
                                      out, &size, &handle);
  };
  if (const CK_RV rv = call(nullptr); rv != CKR_OK) {
    EXPECT_EQ(handle, kUntouched);
    return {.rv = rv};
  }
  EXPECT_GT(size, 0U);
  Bytes out(size, 0xcc);
  const CK_ULONG needed = size--;
  EXPECT_RV(CKR_BUFFER_TOO_SMALL, call(out.data()));
  EXPECT_EQ(size, needed);
  EXPECT_EQ(out, Bytes(needed, 0xcc));
  EXPECT_EQ(handle, kUntouched);
  EXPECT_EQ(FindAll(session), before);
  const CK_RV rv = call(out.data());
  if (rv != CKR_OK) {
    EXPECT_EQ(handle, kUntouched);
    EXPECT_EQ(FindAll(session), before);
    return {.rv = rv};
  }
  EXPECT_EQ(size, needed);
  return {CKR_OK, out, handle};
}

CK_RV Decapsulate(CK_SESSION_HANDLE session, OwnedMechanism mechanism, CK_OBJECT_HANDLE private_key,
                  Bytes ciphertext, Template key, CK_OBJECT_HANDLE& handle) {
  const auto before = FindAll(session);
  handle = CK_INVALID_HANDLE;
  const CK_RV rv =
      P11v32()->C_DecapsulateKey(session, mechanism.get(), private_key, key.data(), key.size(),
                                 Data(ciphertext), ciphertext.size(), &handle);
  if (rv != CKR_OK) {
    EXPECT_EQ(handle, CK_INVALID_HANDLE);
    EXPECT_EQ(FindAll(session), before);
  }
  return rv;
}

Result WrapAuthenticated(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE wrapping,
                         OwnedMechanism mechanism, CK_OBJECT_HANDLE key, Bytes associated) {
  CK_ULONG size = 0;
  const auto call = [&](CK_BYTE* out) {
    return P11v32()->C_WrapKeyAuthenticated(session, mechanism.get(), wrapping, key,
                                            Data(associated), associated.size(), out, &size);
  };
  if (const CK_RV rv = call(nullptr); rv != CKR_OK) return {rv, {}};
  Bytes out(size);
  const CK_RV rv = call(out.data());
  return rv == CKR_OK ? Result{rv, out} : Result{rv, {}};
}

CK_RV UnwrapAuthenticated(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE unwrapping,
                          OwnedMechanism mechanism, Bytes wrapped, Bytes associated, Template key,
                          CK_OBJECT_HANDLE& handle) {
  const auto before = FindAll(session);
  handle = CK_INVALID_HANDLE;
  const CK_RV rv = P11v32()->C_UnwrapKeyAuthenticated(
      session, mechanism.get(), unwrapping, Data(wrapped), wrapped.size(), key.data(), key.size(),
      Data(associated), associated.size(), &handle);
  if (rv != CKR_OK) {
    EXPECT_EQ(handle, CK_INVALID_HANDLE);
    EXPECT_EQ(FindAll(session), before);
  }
  return rv;
}

OwnedMechanism EcdhKem(CK_ULONG kdf, const Bytes& shared, CK_MECHANISM_TYPE type) {
  CK_ECDH1_DERIVE_PARAMS parameters{};
  parameters.kdf = kdf;
  parameters.ulSharedDataLen = shared.size();
  parameters.pSharedData = shared.empty() ? nullptr : const_cast<CK_BYTE*>(shared.data());
  return OwnedMechanism::Of(type, parameters);
}

}  // namespace secretmem::conformance

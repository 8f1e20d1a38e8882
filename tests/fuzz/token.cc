#include "tests/fuzz/token.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "mechanisms/vendor.h"
#include "tests/blackbox/module.h"
#include "tests/blackbox/template.h"

namespace secretmem::fuzz {

using blackbox::Must;
using blackbox::P11;
using blackbox::Template;

namespace {

constexpr std::string_view kSoPin = "so pin";
constexpr std::string_view kUserPin = "user pin";

// Left behind at exit, where the fuzzer ends the process without notice: the directory is small.
struct Place {
  blackbox::Scratch scratch{blackbox::Scratch::kQuickPins,
                            std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : ""};
  CK_SLOT_ID slot = 0;
};

Place& ThePlace() {
  static Place place = [] {
    CK_FUNCTION_LIST* functions = nullptr;
    Must(C_GetFunctionList(&functions), "C_GetFunctionList");
    blackbox::SetFunctions(functions);
    return Place();
  }();
  return place;
}

void Renew(CK_SLOT_ID slot) {
  std::string label = "fuzz";
  label.resize(32, ' ');
  Must(P11().C_InitToken(slot, blackbox::Utf8(kSoPin), kSoPin.size(), blackbox::Utf8(label)),
       "C_InitToken");
  CK_SESSION_HANDLE session = 0;
  Must(P11().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
       "C_OpenSession");
  Must(P11().C_Login(session, CKU_SO, blackbox::Utf8(kSoPin), kSoPin.size()), "C_Login");
  Must(P11().C_InitPIN(session, blackbox::Utf8(kUserPin), kUserPin.size()), "C_InitPIN");
  Must(P11().C_CloseSession(session), "C_CloseSession");
}

}  // namespace

CK_SLOT_ID Slot() {
  static const CK_SLOT_ID slot = [] {
    ThePlace();
    Must(blackbox::Initialise(), "C_Initialize");
    return blackbox::MakeToken("fuzz", kSoPin, kUserPin);
  }();
  return slot;
}

CK_SESSION_HANDLE OpenSession() {
  const CK_SLOT_ID slot = Slot();
  CK_SESSION_HANDLE session = 0;
  Must(P11().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
       "C_OpenSession");
  const CK_RV rv = P11().C_Login(session, CKU_USER, blackbox::Utf8(kUserPin), kUserPin.size());
  if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) Must(rv, "C_Login");
  return session;
}

CK_SESSION_HANDLE LastingSession() {
  static CK_SESSION_HANDLE session = 0;
  CK_SESSION_INFO info{};
  const CK_SLOT_ID slot = Slot();
  if (P11().C_GetSessionInfo(session, &info) == CKR_OK) {
    if (info.state == CKS_RW_USER_FUNCTIONS) return session;
    // The security officer, or nobody.
    Must(P11().C_CloseAllSessions(slot), "C_CloseAllSessions");
  }
  session = OpenSession();
  return session;
}

void CleanUp() {
  const CK_SLOT_ID slot = Slot();
  const CK_SESSION_HANDLE session = LastingSession();
  bool left = false;
  for (const CK_OBJECT_HANDLE object : blackbox::Find(session, Template()).handles) {
    if (P11().C_DestroyObject(session, object) != CKR_OK) left = true;
  }
  if (!left) return;
  Must(P11().C_CloseAllSessions(slot), "C_CloseAllSessions");
  Renew(slot);
}

const std::vector<CK_MECHANISM_TYPE>& Mechanisms() {
  static const std::vector<CK_MECHANISM_TYPE> types = [] {
    const CK_SLOT_ID slot = Slot();
    CK_ULONG count = 0;
    Must(P11().C_GetMechanismList(slot, nullptr, &count), "C_GetMechanismList");
    std::vector<CK_MECHANISM_TYPE> all(count);
    Must(P11().C_GetMechanismList(slot, all.data(), &count), "C_GetMechanismList");
    return all;
  }();
  return types;
}

namespace {

void AddPair(CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, Template& of_public,
             Template& of_private, std::vector<CK_OBJECT_HANDLE>& keys) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_OBJECT_HANDLE handles[2] = {};
  Must(P11().C_GenerateKeyPair(session, &mechanism, of_public.data(), of_public.size(),
                               of_private.data(), of_private.size(), &handles[0], &handles[1]),
       "C_GenerateKeyPair");
  keys.insert(keys.end(), handles, handles + 2);
}

}  // namespace

std::vector<CK_OBJECT_HANDLE> SomeKeys(CK_SESSION_HANDLE session) {
  std::vector<CK_OBJECT_HANDLE> keys;
  const auto everything = [](Template key) {
    for (const CK_ATTRIBUTE_TYPE use : {CKA_SIGN, CKA_VERIFY, CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP,
                                        CKA_UNWRAP, CKA_DERIVE, CKA_EXTRACTABLE}) {
      key.With(use, true);
    }
    return key;
  };
  for (const CK_KEY_TYPE type : {CKK_AES, CKK_GENERIC_SECRET, CKK_HKDF, CKK_CHACHA20}) {
    Template key = everything(Template()
                                  .With(CKA_CLASS, CKO_SECRET_KEY)
                                  .With(CKA_KEY_TYPE, CK_ULONG{type})
                                  .With(CKA_VALUE, blackbox::Bytes(32, 7)));
    CK_OBJECT_HANDLE handle = 0;
    Must(P11().C_CreateObject(session, key.data(), key.size(), &handle), "C_CreateObject");
    keys.push_back(handle);
  }
  const auto pair = [&](CK_MECHANISM_TYPE type, Template of_public) {
    Template of_private;
    for (const CK_ATTRIBUTE_TYPE use :
         {CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE, CKA_EXTRACTABLE}) {
      of_private.With(use, true);
    }
    for (const CK_ATTRIBUTE_TYPE use : {CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP})
      of_public.With(use, true);
    AddPair(session, type, of_public, of_private, keys);
  };
  pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, Template().With(CKA_EC_PARAMS, blackbox::X25519Params()));
  pair(CKM_EC_EDWARDS_KEY_PAIR_GEN,
       Template().With(CKA_EC_PARAMS, blackbox::Bytes{0x06, 0x03, 0x2b, 0x65, 0x70}));
  pair(CKM_EC_KEY_PAIR_GEN,
       Template().With(CKA_EC_PARAMS, blackbox::Bytes{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
                                                      0x03, 0x01, 0x07}));
  pair(CKM_RSA_PKCS_KEY_PAIR_GEN, Template()
                                      .With(CKA_MODULUS_BITS, CK_ULONG{2048})
                                      .With(CKA_PUBLIC_EXPONENT, blackbox::Bytes{1, 0, 1}));
  return keys;
}

std::vector<CK_OBJECT_HANDLE> SomeKemKeys(CK_SESSION_HANDLE session) {
  std::vector<CK_OBJECT_HANDLE> keys;
  const auto pair = [&](CK_MECHANISM_TYPE type, Template of_public, Template of_private) {
    if (std::ranges::find(Mechanisms(), type) == Mechanisms().end()) return;
    for (const CK_ATTRIBUTE_TYPE use : {CKA_ENCAPSULATE, CKA_ENCRYPT, CKA_WRAP}) {
      of_public.With(use, true);
    }
    of_private.With(CKA_DECAPSULATE, true);
    AddPair(session, type, of_public, of_private, keys);
  };
  const Template x25519 = Template().With(CKA_EC_PARAMS, blackbox::X25519Params());
  const Template unwraps =
      Template().With(CKA_UNWRAP, true).With(CKA_DECRYPT, true).With(CKA_EXTRACTABLE, true);
  pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, x25519, unwraps);
  // Bound to the first.
  const auto point = blackbox::Read(session, keys[0], CKA_EC_POINT).value;
  pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, x25519, Template().With(CKA_SECRETMEM_BOUND_TO, point));
  pair(CKM_SECRETMEM_XWING_KEY_PAIR_GEN, {}, unwraps);
  pair(CKM_ML_KEM_KEY_PAIR_GEN, Template().With(CKA_PARAMETER_SET, CK_ULONG{CKP_ML_KEM_768}), {});
  Template secret = Template()
                        .With(CKA_CLASS, CKO_SECRET_KEY)
                        .With(CKA_KEY_TYPE, CK_ULONG{CKK_AES})
                        .With(CKA_VALUE, blackbox::Bytes(32, 9));
  for (const CK_ATTRIBUTE_TYPE use : {CKA_WRAP, CKA_UNWRAP, CKA_DERIVE, CKA_EXTRACTABLE}) {
    secret.With(use, true);
  }
  CK_OBJECT_HANDLE handle = 0;
  Must(P11().C_CreateObject(session, secret.data(), secret.size(), &handle), "C_CreateObject");
  keys.push_back(handle);
  return keys;
}

}  // namespace secretmem::fuzz

// Sequences of calls: any function, in any order, on sessions, objects and operations that there
// are, and on some that there are not.
#include <algorithm>

#include "tests/fuzz/input.h"
#include "tests/fuzz/token.h"

namespace secretmem::fuzz {
namespace {

class Caller {
 public:
  explicit Caller(Input& input) : input_(input), sessions_{LastingSession()} {}
  ~Caller() {
    for (size_t i = 1; i < sessions_.size(); ++i) C_CloseSession(sessions_[i]);
    C_SessionCancel(sessions_[0], ~CK_FLAGS{0});
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void Call();

 private:
  CK_SESSION_HANDLE Session() {
    const size_t which = input_.Below(8);
    return which < sessions_.size() ? sessions_[which] : sessions_[0];
  }
  CK_OBJECT_HANDLE Object() {
    if (objects_.empty()) return input_.Number();
    return objects_[input_.Below(objects_.size())];
  }
  void Made(CK_OBJECT_HANDLE handle) {
    if (handle != 0) objects_.push_back(handle);
  }
  CK_MECHANISM* Mechanism() {
    mechanism_ = AnyMechanism(input_, keep_, Mechanisms(), objects_);
    return &mechanism_;
  }
  std::span<uint8_t> Data() { return keep_.Bytes(input_.Some()); }
  // An output of a size that the input says, or none.
  CK_BYTE* Out() {
    if (input_.Below(4) == 0) {
      length_ = input_.Below(300);
      return nullptr;
    }
    const auto out = keep_.Bytes(Bytes(input_.Below(2) == 0 ? 600 : input_.Below(300)));
    length_ = out.size();
    return out.data();
  }
  void Manage();
  void Keys();
  void Begin();
  void Go();

  Input& input_;
  Keep keep_;
  std::vector<CK_SESSION_HANDLE> sessions_;
  std::vector<CK_OBJECT_HANDLE> objects_;
  CK_MECHANISM mechanism_{};
  CK_ULONG length_ = 0;
};

void Caller::Manage() {
  const CK_SESSION_HANDLE session = Session();
  CK_SESSION_HANDLE opened = 0;
  CK_TOKEN_INFO token{};
  CK_SESSION_INFO info{};
  CK_MECHANISM_INFO mechanism{};
  CK_OBJECT_HANDLE found[4]{};
  CK_ULONG count = 0;
  const auto pin = keep_.Bytes(input_.Below(2) == 0 ? Bytes{'u', 's', 'e', 'r', ' ', 'p', 'i', 'n'}
                                                    : input_.Some(20));
  switch (input_.Below(16)) {
    case 0:
      if (sessions_.size() < 8 &&
          C_OpenSession(Slot(), input_.Below(16), nullptr, nullptr, &opened) == CKR_OK) {
        sessions_.push_back(opened);
      }
      break;
    case 1:
      // The first one stays: whoever logs in anew computes for long.
      if (session != sessions_[0] || input_.Below(16) == 0) C_CloseSession(session);
      break;
    case 2:
      C_GetSessionInfo(session, &info);
      break;
    case 3:
      C_GetTokenInfo(input_.Below(2) == 0 ? Slot() : input_.Number(), &token);
      break;
    case 4:
      // A wrong one is counted, and ten lock: what logs in does so with the right one.
      C_Login(session, CKU_USER, pin.data(), std::min<size_t>(pin.size(), 8));
      break;
    case 5:
      if (input_.Below(8) == 0) C_Logout(session);
      break;
    case 6:
      C_SessionCancel(session, input_.Number());
      break;
    case 7: {
      const auto wanted = AnyTemplate(input_, keep_);
      C_FindObjectsInit(session, wanted.data(), wanted.size());
      break;
    }
    case 8:
      if (C_FindObjects(session, found, input_.Below(5), &count) == CKR_OK) {
        for (CK_ULONG i = 0; i < count; ++i) Made(found[i]);
      }
      break;
    case 9:
      C_FindObjectsFinal(session);
      break;
    case 10:
      C_GetMechanismInfo(Slot(), input_.Number(), &mechanism);
      break;
    case 11: {
      const auto out = keep_.Bytes(Bytes(input_.Below(100)));
      C_GenerateRandom(session, out.data(), out.size());
      break;
    }
    case 12: {
      const auto seed = Data();
      C_SeedRandom(session, seed.data(), seed.size());
      break;
    }
    case 13: {
      CK_BYTE* out = Out();
      C_GetOperationState(session, out, &length_);
      break;
    }
    case 14:
      C_GetObjectSize(session, Object(), &count);
      break;
    default:
      if (input_.Below(4) != 0) break;
      C_CloseAllSessions(Slot());
      sessions_ = {LastingSession()};
  }
}

void Caller::Keys() {
  const CK_SESSION_HANDLE session = Session();
  CK_OBJECT_HANDLE made = 0;
  CK_OBJECT_HANDLE second = 0;
  const auto given = AnyTemplate(input_, keep_);
  switch (input_.Below(10)) {
    case 0:
      C_CreateObject(session, given.data(), given.size(), &made);
      break;
    case 1:
      C_CopyObject(session, Object(), given.data(), given.size(), &made);
      break;
    case 2:
      C_DestroyObject(session, Object());
      break;
    case 3:
      C_SetAttributeValue(session, Object(), given.data(), given.size());
      break;
    case 4: {
      // The values are room for what there is.
      Blank(given);
      C_GetAttributeValue(session, Object(), given.data(), given.size());
      break;
    }
    case 5:
      C_GenerateKey(session, Mechanism(), given.data(), given.size(), &made);
      break;
    case 6: {
      // Large keys are what RSA allows, and would be all that the fuzzer does.
      for (const CK_ATTRIBUTE& attribute : given) {
        if (attribute.type == CKA_MODULUS_BITS) return;
      }
      const auto other = AnyTemplate(input_, keep_);
      C_GenerateKeyPair(session, Mechanism(), given.data(), given.size(), other.data(),
                        other.size(), &made, &second);
      break;
    }
    case 7:
      C_DeriveKey(session, Mechanism(), Object(), given.data(), given.size(), &made);
      break;
    case 8: {
      CK_BYTE* out = Out();
      C_WrapKey(session, Mechanism(), Object(), Object(), out, &length_);
      break;
    }
    default: {
      const auto wrapped = Data();
      C_UnwrapKey(session, Mechanism(), Object(), wrapped.data(), wrapped.size(), given.data(),
                  given.size(), &made);
    }
  }
  Made(made);
  Made(second);
}

void Caller::Begin() {
  const CK_SESSION_HANDLE session = Session();
  CK_MECHANISM* mechanism = Mechanism();
  const CK_OBJECT_HANDLE key = Object();
  switch (input_.Below(7)) {
    case 0:
      C_DigestInit(session, mechanism);
      break;
    case 1:
      C_SignInit(session, mechanism, key);
      break;
    case 2:
      C_VerifyInit(session, mechanism, key);
      break;
    case 3:
      C_EncryptInit(session, mechanism, key);
      break;
    case 4:
      C_DecryptInit(session, mechanism, key);
      break;
    case 5:
      C_MessageEncryptInit(session, mechanism, key);
      break;
    default:
      C_MessageDecryptInit(session, mechanism, key);
  }
}

void Caller::Go() {
  const CK_SESSION_HANDLE session = Session();
  const auto data = Data();
  CK_BYTE* out = Out();
  switch (input_.Below(20)) {
    case 0:
      C_Digest(session, data.data(), data.size(), out, &length_);
      break;
    case 1:
      C_DigestUpdate(session, data.data(), data.size());
      break;
    case 2:
      C_DigestKey(session, Object());
      break;
    case 3:
      C_DigestFinal(session, out, &length_);
      break;
    case 4:
      C_Sign(session, data.data(), data.size(), out, &length_);
      break;
    case 5:
      C_SignUpdate(session, data.data(), data.size());
      break;
    case 6:
      C_SignFinal(session, out, &length_);
      break;
    case 7: {
      const auto signature = Data();
      C_Verify(session, data.data(), data.size(), signature.data(), signature.size());
      break;
    }
    case 8:
      C_VerifyUpdate(session, data.data(), data.size());
      break;
    case 9:
      C_VerifyFinal(session, data.data(), data.size());
      break;
    case 10:
      C_Encrypt(session, data.data(), data.size(), out, &length_);
      break;
    case 11:
      C_EncryptUpdate(session, data.data(), data.size(), out, &length_);
      break;
    case 12:
      C_EncryptFinal(session, out, &length_);
      break;
    case 13:
      C_Decrypt(session, data.data(), data.size(), out, &length_);
      break;
    case 14:
      C_DecryptUpdate(session, data.data(), data.size(), out, &length_);
      break;
    case 15:
      C_DecryptFinal(session, out, &length_);
      break;
    case 16:
      C_DigestEncryptUpdate(session, data.data(), data.size(), out, &length_);
      break;
    case 17:
      C_DecryptVerifyUpdate(session, data.data(), data.size(), out, &length_);
      break;
    case 18:
      C_MessageEncryptFinal(session);
      break;
    default:
      C_MessageDecryptFinal(session);
  }
}

void Caller::Call() {
  if (objects_.size() > 64) objects_.erase(objects_.begin(), objects_.begin() + 32);
  switch (input_.Below(8)) {
    case 0:
      return Manage();
    case 1:
    case 2:
      return Keys();
    case 3:
    case 4:
      return Begin();
    default:
      return Go();
  }
}

}  // namespace
}  // namespace secretmem::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretmem::fuzz;
  Input input(data, size);
  {
    Caller caller(input);
    for (int call = 0; call < 60 && !input.empty(); ++call) caller.Call();
  }
  CleanUp();
  return 0;
}

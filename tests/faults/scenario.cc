#include "tests/faults/scenario.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "mechanisms/vendor.h"
#include "tests/conformance/rv.h"

namespace secretmem::faults {

using blackbox::Bytes;
using blackbox::Must;
using blackbox::P11;
using blackbox::Template;
using blackbox::Utf8;

namespace {

constexpr std::string_view kSoPin = "so pin";
constexpr const char* kPins[] = {"user pin", "other pin"};
constexpr CK_FLAGS kReadWrite = CKF_SERIAL_SESSION | CKF_RW_SESSION;

Template Secret(CK_KEY_TYPE type, const std::string& label) {
  Template key = Template()
                     .With(CKA_CLASS, CKO_SECRET_KEY)
                     .With(CKA_KEY_TYPE, CK_ULONG{type})
                     .With(CKA_LABEL, label)
                     .With(CKA_SENSITIVE, false)
                     .With(CKA_EXTRACTABLE, true);
  for (const CK_ATTRIBUTE_TYPE use :
       {CKA_SIGN, CKA_VERIFY, CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE}) {
    key.With(use, true);
  }
  return key;
}

Bytes ValueOf(const std::string& label) { return Bytes(32, static_cast<CK_BYTE>(label.back())); }

}  // namespace

bool SaysWhy(CK_RV rv, bool files) {
  switch (rv) {
    case CKR_OK:
    case CKR_HOST_MEMORY:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_ERROR:
    case CKR_TOKEN_WRITE_PROTECTED:
    case CKR_RANDOM_NO_RNG:
      return true;
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_DEVICE_REMOVED:
      return files;
    default:
      return false;
  }
}

void Scenario::Add(std::string name, std::function<CK_RV()> run) {
  steps_.push_back({std::move(name), std::move(run)});
}

CK_OBJECT_HANDLE Scenario::Key(const std::string& label) const {
  for (const auto& [its, handle] : keys_) {
    if (its == label) return handle;
  }
  throw std::runtime_error("no object " + label);
}

CK_RV Scenario::Create(Template object, CK_OBJECT_HANDLE* made) {
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv = P11().C_CreateObject(session_, object.data(), object.size(), &handle);
  if (made != nullptr) *made = handle;
  return rv;
}

CK_RV Scenario::GeneratePair(bool token) {
  // Made before anything is refused.
  static Template of_public[2];
  static Template of_private[2];
  if (of_public[token].size() == 0) {
    of_public[token].With(CKA_TOKEN, token).With(CKA_EC_PARAMS, blackbox::X25519Params());
    of_private[token].With(CKA_TOKEN, token).With(CKA_DERIVE, true);
    of_public[token].data();
    of_private[token].data();
  }
  CK_MECHANISM mechanism{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE handles[2];
  return P11().C_GenerateKeyPair(session_, &mechanism, of_public[token].data(),
                                 of_public[token].size(), of_private[token].data(),
                                 of_private[token].size(), &handles[0], &handles[1]);
}

void Scenario::OpenAndLogIn() {
  slot_ = blackbox::FindToken("faults");
  Must(P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session_), "C_OpenSession");
  CK_RV rv = CKR_OK;
  for (const char* pin : kPins) {
    pin_ = pin;
    rv = P11().C_Login(session_, CKU_USER, Utf8(pin), pin_.size());
    if (rv != CKR_PIN_INCORRECT) break;
  }
  Must(rv, "C_Login");
}

void Scenario::Begin(const blackbox::Scratch& scratch) {
  scratch_ = &scratch;
  Must(blackbox::Initialise(), "C_Initialize");
  blackbox::MakeToken("faults", kSoPin, kPins[0]);
  for (const auto& entry : std::filesystem::directory_iterator(scratch.tokens())) {
    if (entry.path().extension() == ".token") token_file_ = entry.path();
  }
  OpenAndLogIn();
  for (const char* label : {"keep a", "keep b"}) {
    Must(Create(Secret(CKK_AES, label).With(CKA_TOKEN, true).With(CKA_VALUE, ValueOf(label))),
         "C_CreateObject");
  }
  Must(Create(Secret(CKK_GENERIC_SECRET, "keep c")
                  .With(CKA_TOKEN, true)
                  .With(CKA_PRIVATE, false)
                  .With(CKA_VALUE, ValueOf("keep c"))),
       "C_CreateObject");
  Must(Create(Template()
                  .With(CKA_CLASS, CKO_PRIVATE_KEY)
                  .With(CKA_KEY_TYPE, CKK_EC_MONTGOMERY)
                  .With(CKA_TOKEN, true)
                  .With(CKA_LABEL, "keep d")
                  .With(CKA_SENSITIVE, false)
                  .With(CKA_EXTRACTABLE, true)
                  .With(CKA_DERIVE, true)
                  .With(CKA_EC_PARAMS, blackbox::X25519Params())
                  .With(CKA_VALUE, ValueOf("keep d"))),
       "C_CreateObject");
  FindKeys();
  AddTokenSteps();
  AddObjectSteps();
  AddOperationSteps();
}

// Everything of Begin's must be there and right; everything else goes.
void Scenario::FindKeys() {
  keys_.clear();
  const auto found = blackbox::Find(session_, Template());
  Must(found.rv, "C_FindObjects");
  for (const CK_OBJECT_HANDLE handle : found.handles) {
    const auto label = blackbox::Read(session_, handle, CKA_LABEL);
    Must(label.rv, "C_GetAttributeValue of a label");
    const std::string text(label.value.begin(), label.value.end());
    if (!text.starts_with("keep ")) {
      Must(P11().C_DestroyObject(session_, handle), "C_DestroyObject");
      continue;
    }
    const auto value = blackbox::Read(session_, handle, CKA_VALUE);
    Must(value.rv, "C_GetAttributeValue of a key");
    if (value.value != ValueOf(text)) throw std::runtime_error("another value in " + text);
    keys_.emplace_back(text, handle);
  }
  std::ranges::sort(keys_);
  if (keys_.size() != 4) throw std::runtime_error("an object was lost, or is there twice");
}

void Scenario::Restore() {
  const CK_RV rv = blackbox::Initialise();
  if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) Must(rv, "C_Initialize");
  // Other tokens are of C_InitToken's.
  for (const auto& entry : std::filesystem::directory_iterator(scratch_->tokens())) {
    const std::string path = entry.path();
    if (!path.starts_with(token_file_)) std::filesystem::remove(path);
  }
  CK_ULONG count = 0;
  Must(P11().C_GetSlotList(CK_TRUE, nullptr, &count), "C_GetSlotList");
  Must(P11().C_CloseAllSessions(slot_), "C_CloseAllSessions");
  CK_TOKEN_INFO info{};
  Must(P11().C_GetTokenInfo(slot_, &info), "C_GetTokenInfo");
  if (info.ulSessionCount != 0 || info.ulRwSessionCount != 0) {
    throw std::runtime_error("sessions are left after C_CloseAllSessions");
  }
  OpenAndLogIn();
  FindKeys();
}

void Scenario::End() { Must(P11().C_Finalize(nullptr), "C_Finalize"); }

void Scenario::AddTokenSteps() {
  Add("C_Finalize", [] { return P11().C_Finalize(nullptr); });
  Add("C_Finalize and C_Initialize", [] {
    const CK_RV rv = P11().C_Finalize(nullptr);
    return rv == CKR_OK ? blackbox::Initialise() : rv;
  });
  Add("C_GetSlotList", [] {
    CK_ULONG count = 0;
    return P11().C_GetSlotList(CK_TRUE, nullptr, &count);
  });
  Add("C_GetTokenInfo", [this] {
    CK_TOKEN_INFO info{};
    return P11().C_GetTokenInfo(slot_, &info);
  });
  Add("C_InitToken", [] {
    // The slot without a token is the last.
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    CK_RV rv = P11().C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK) return rv;
    static const std::string label(32, 'x');
    for (CK_ULONG i = 0; i < count; ++i) {
      CK_TOKEN_INFO info{};
      rv = P11().C_GetTokenInfo(slots[i], &info);
      if (rv != CKR_OK) return rv;
      if ((info.flags & CKF_TOKEN_INITIALIZED) != 0) continue;
      return P11().C_InitToken(slots[i], Utf8(kSoPin), kSoPin.size(), Utf8(label));
    }
    return CK_RV{CKR_OK};
  });
  Add("C_OpenSession, C_CloseSession", [this] {
    CK_SESSION_HANDLE session = 0;
    const CK_RV rv = P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session);
    return rv == CKR_OK ? P11().C_CloseSession(session) : rv;
  });
  Add("C_CloseSession with objects", [this] {
    CK_SESSION_HANDLE session = 0;
    CK_RV rv = P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session);
    for (int i = 0; i < 9 && rv == CKR_OK; ++i) {
      static Template data = Template().With(CKA_CLASS, CKO_DATA);
      static CK_ATTRIBUTE* attributes = data.data();
      CK_OBJECT_HANDLE made = 0;
      rv = P11().C_CreateObject(session, attributes, data.size(), &made);
    }
    return rv == CKR_OK ? P11().C_CloseSession(session) : rv;
  });
  Add("C_Logout, C_Login", [this] {
    const CK_RV rv = P11().C_Logout(session_);
    if (rv != CKR_OK) return rv;
    return P11().C_Login(session_, CKU_USER, Utf8(pin_), pin_.size());
  });
  Add("C_SetPIN", [this] {
    const std::string_view other = pin_ == kPins[0] ? kPins[1] : kPins[0];
    return P11().C_SetPIN(session_, Utf8(pin_), pin_.size(), Utf8(other), other.size());
  });
  Add("C_InitPIN", [this] {
    CK_RV rv = P11().C_Logout(session_);
    if (rv == CKR_OK) rv = P11().C_Login(session_, CKU_SO, Utf8(kSoPin), kSoPin.size());
    if (rv != CKR_OK) return rv;
    return P11().C_InitPIN(session_, Utf8(kPins[0]), std::string_view(kPins[0]).size());
  });
}

void Scenario::AddObjectSteps() {
  for (const bool token : {false, true}) {
    const std::string where = token ? ", token" : ", session";
    static Template data[2];
    static Template key[2];
    static Template generated[2];
    data[token] =
        Template().With(CKA_CLASS, CKO_DATA).With(CKA_TOKEN, token).With(CKA_VALUE, Bytes(5000, 1));
    key[token] = Secret(CKK_AES, "made").With(CKA_TOKEN, token).With(CKA_VALUE, Bytes(32, 1));
    generated[token] = Template().With(CKA_TOKEN, token).With(CKA_VALUE_LEN, CK_ULONG{32});
    const auto create = [this](Template& object) {
      CK_OBJECT_HANDLE made = 0;
      return P11().C_CreateObject(session_, object.data(), object.size(), &made);
    };
    Add("C_CreateObject of data" + where, [=] { return create(data[token]); });
    Add("C_CreateObject of a key" + where, [=] { return create(key[token]); });
    Add("C_GenerateKey" + where, [=, this] {
      CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
      CK_OBJECT_HANDLE made = 0;
      return P11().C_GenerateKey(session_, &mechanism, generated[token].data(),
                                 generated[token].size(), &made);
    });
    Add("C_GenerateKeyPair" + where, [=, this] { return GeneratePair(token); });
    Add("C_CopyObject, C_SetAttributeValue, C_DestroyObject" + where, [=, this] {
      CK_BBOOL is_token = token ? CK_TRUE : CK_FALSE;
      CK_BYTE label[] = {'c', 'o', 'p', 'y'};
      CK_ATTRIBUTE copied[] = {{CKA_TOKEN, &is_token, 1}, {CKA_LABEL, label, sizeof(label)}};
      CK_OBJECT_HANDLE made = 0;
      CK_RV rv = P11().C_CopyObject(session_, Key("keep a"), copied, 2, &made);
      CK_ATTRIBUTE id{CKA_ID, label, sizeof(label)};
      if (rv == CKR_OK) rv = P11().C_SetAttributeValue(session_, made, &id, 1);
      return rv == CKR_OK ? P11().C_DestroyObject(session_, made) : rv;
    });
  }
  Add("C_GenerateKey with a lifetime", [this] {
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG size = 32;
    CK_ULONG lifetime = 3600;
    CK_ATTRIBUTE attributes[] = {{CKA_TOKEN, &yes, 1},
                                 {CKA_VALUE_LEN, &size, sizeof(size)},
                                 {CKA_SECRETMEM_LIFETIME, &lifetime, sizeof(lifetime)}};
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    CK_OBJECT_HANDLE made = 0;
    return P11().C_GenerateKey(session_, &mechanism, attributes, 3, &made);
  });
  Add("C_GetAttributeValue", [this] {
    CK_BYTE value[32];
    CK_ATTRIBUTE attribute{CKA_VALUE, value, sizeof(value)};
    return P11().C_GetAttributeValue(session_, Key("keep a"), &attribute, 1);
  });
  Add("C_FindObjects", [this] {
    CK_RV rv = P11().C_FindObjectsInit(session_, nullptr, 0);
    CK_OBJECT_HANDLE found[9];
    CK_ULONG count = 0;
    if (rv == CKR_OK) rv = P11().C_FindObjects(session_, found, 9, &count);
    const CK_RV end = P11().C_FindObjectsFinal(session_);
    return rv == CKR_OK ? end : rv;
  });
  Add("a new process's C_FindObjects", [this] {
    CK_RV rv = P11().C_Finalize(nullptr);
    if (rv == CKR_OK) rv = blackbox::Initialise();
    if (rv == CKR_OK) rv = P11().C_OpenSession(slot_, kReadWrite, nullptr, nullptr, &session_);
    if (rv == CKR_OK) rv = P11().C_Login(session_, CKU_USER, Utf8(pin_), pin_.size());
    if (rv == CKR_OK) rv = P11().C_FindObjectsInit(session_, nullptr, 0);
    return rv;
  });
}

void Scenario::AddOperationSteps() {
  static Bytes input(100, 3);
  static Bytes output(400);
  static CK_ULONG length;
  Add("C_Digest", [this] {
    CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
    const CK_RV rv = P11().C_DigestInit(session_, &mechanism);
    length = output.size();
    return rv == CKR_OK
               ? P11().C_Digest(session_, input.data(), input.size(), output.data(), &length)
               : rv;
  });
  Add("C_Sign, C_Verify with HMAC", [this] {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    CK_RV rv = P11().C_SignInit(session_, &mechanism, Key("keep c"));
    length = output.size();
    if (rv == CKR_OK) {
      rv = P11().C_Sign(session_, input.data(), input.size(), output.data(), &length);
    }
    if (rv == CKR_OK) rv = P11().C_VerifyInit(session_, &mechanism, Key("keep c"));
    return rv == CKR_OK
               ? P11().C_Verify(session_, input.data(), input.size(), output.data(), length)
               : rv;
  });
  Add("C_Encrypt, C_Decrypt with GCM", [this] {
    static CK_BYTE iv[12];
    CK_GCM_PARAMS parameters{iv, sizeof(iv), 96, nullptr, 0, 128};
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof(parameters)};
    CK_RV rv = P11().C_EncryptInit(session_, &mechanism, Key("keep a"));
    length = output.size();
    if (rv == CKR_OK) {
      rv = P11().C_Encrypt(session_, input.data(), input.size(), output.data(), &length);
    }
    if (rv == CKR_OK) rv = P11().C_DecryptInit(session_, &mechanism, Key("keep a"));
    CK_BYTE plain[200];
    CK_ULONG plain_length = sizeof(plain);
    return rv == CKR_OK ? P11().C_Decrypt(session_, output.data(), length, plain, &plain_length)
                        : rv;
  });
  Add("C_EncryptUpdate with CBC", [this] {
    static CK_BYTE iv[16];
    CK_MECHANISM mechanism{CKM_AES_CBC_PAD, iv, sizeof(iv)};
    CK_RV rv = P11().C_EncryptInit(session_, &mechanism, Key("keep b"));
    for (int i = 0; i < 2 && rv == CKR_OK; ++i) {
      length = output.size();
      rv = P11().C_EncryptUpdate(session_, input.data(), input.size(), output.data(), &length);
    }
    length = output.size();
    return rv == CKR_OK ? P11().C_EncryptFinal(session_, output.data(), &length) : rv;
  });
  Add("C_DeriveKey", [this] {
    static Template derived = Secret(CKK_GENERIC_SECRET, "derived");
    static CK_ATTRIBUTE* attributes = derived.data();
    CK_BYTE peer[32] = {9};
    CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, sizeof(peer), peer};
    CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
    CK_OBJECT_HANDLE made = 0;
    return P11().C_DeriveKey(session_, &mechanism, Key("keep d"), attributes, derived.size(),
                             &made);
  });
  Add("C_WrapKey, C_UnwrapKey", [this] {
    static Template unwrapped = Secret(CKK_AES, "unwrapped");
    static CK_ATTRIBUTE* attributes = unwrapped.data();
    CK_MECHANISM mechanism{CKM_AES_KEY_WRAP_KWP, nullptr, 0};
    length = output.size();
    const CK_RV rv =
        P11().C_WrapKey(session_, &mechanism, Key("keep a"), Key("keep b"), output.data(), &length);
    CK_OBJECT_HANDLE made = 0;
    return rv == CKR_OK ? P11().C_UnwrapKey(session_, &mechanism, Key("keep a"), output.data(),
                                            length, attributes, unwrapped.size(), &made)
                        : rv;
  });
  Add("P-256: pair, C_Sign, C_Verify", [this] {
    static Template of_public = Template().With(
        CKA_EC_PARAMS, Bytes{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07});
    static CK_ATTRIBUTE* attributes = of_public.data();
    CK_MECHANISM generate{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
    CK_OBJECT_HANDLE handles[2];
    CK_RV rv = P11().C_GenerateKeyPair(session_, &generate, attributes, of_public.size(), nullptr,
                                       0, &handles[0], &handles[1]);
    CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
    if (rv == CKR_OK) rv = P11().C_SignInit(session_, &mechanism, handles[1]);
    length = output.size();
    if (rv == CKR_OK) {
      rv = P11().C_Sign(session_, input.data(), input.size(), output.data(), &length);
    }
    if (rv == CKR_OK) rv = P11().C_VerifyInit(session_, &mechanism, handles[0]);
    return rv == CKR_OK
               ? P11().C_Verify(session_, input.data(), input.size(), output.data(), length)
               : rv;
  });
  Add("C_GenerateRandom",
      [this] { return P11().C_GenerateRandom(session_, output.data(), output.size()); });
}

}  // namespace secretmem::faults

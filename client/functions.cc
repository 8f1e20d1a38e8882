#include "client/functions.h"

#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

namespace secretmem::client {
namespace {

#define NAMED(code) \
  std::pair<CK_RV, const char*> { code, #code }

constexpr auto kNames = std::to_array<std::pair<CK_RV, const char*>>({
    NAMED(CKR_OK),
    NAMED(CKR_CANCEL),
    NAMED(CKR_HOST_MEMORY),
    NAMED(CKR_SLOT_ID_INVALID),
    NAMED(CKR_GENERAL_ERROR),
    NAMED(CKR_FUNCTION_FAILED),
    NAMED(CKR_ARGUMENTS_BAD),
    NAMED(CKR_NO_EVENT),
    NAMED(CKR_NEED_TO_CREATE_THREADS),
    NAMED(CKR_CANT_LOCK),
    NAMED(CKR_ATTRIBUTE_READ_ONLY),
    NAMED(CKR_ATTRIBUTE_SENSITIVE),
    NAMED(CKR_ATTRIBUTE_TYPE_INVALID),
    NAMED(CKR_ATTRIBUTE_VALUE_INVALID),
    NAMED(CKR_ACTION_PROHIBITED),
    NAMED(CKR_DATA_INVALID),
    NAMED(CKR_DATA_LEN_RANGE),
    NAMED(CKR_DEVICE_ERROR),
    NAMED(CKR_DEVICE_MEMORY),
    NAMED(CKR_DEVICE_REMOVED),
    NAMED(CKR_ENCRYPTED_DATA_INVALID),
    NAMED(CKR_ENCRYPTED_DATA_LEN_RANGE),
    NAMED(CKR_FUNCTION_CANCELED),
    NAMED(CKR_FUNCTION_NOT_PARALLEL),
    NAMED(CKR_FUNCTION_NOT_SUPPORTED),
    NAMED(CKR_KEY_HANDLE_INVALID),
    NAMED(CKR_KEY_SIZE_RANGE),
    NAMED(CKR_KEY_TYPE_INCONSISTENT),
    NAMED(CKR_KEY_NOT_NEEDED),
    NAMED(CKR_KEY_CHANGED),
    NAMED(CKR_KEY_NEEDED),
    NAMED(CKR_KEY_INDIGESTIBLE),
    NAMED(CKR_KEY_FUNCTION_NOT_PERMITTED),
    NAMED(CKR_KEY_NOT_WRAPPABLE),
    NAMED(CKR_KEY_UNEXTRACTABLE),
    NAMED(CKR_MECHANISM_INVALID),
    NAMED(CKR_MECHANISM_PARAM_INVALID),
    NAMED(CKR_OBJECT_HANDLE_INVALID),
    NAMED(CKR_OPERATION_ACTIVE),
    NAMED(CKR_OPERATION_NOT_INITIALIZED),
    NAMED(CKR_PIN_INCORRECT),
    NAMED(CKR_PIN_INVALID),
    NAMED(CKR_PIN_LEN_RANGE),
    NAMED(CKR_PIN_EXPIRED),
    NAMED(CKR_PIN_LOCKED),
    NAMED(CKR_SESSION_CLOSED),
    NAMED(CKR_SESSION_COUNT),
    NAMED(CKR_SESSION_HANDLE_INVALID),
    NAMED(CKR_SESSION_PARALLEL_NOT_SUPPORTED),
    NAMED(CKR_SESSION_READ_ONLY),
    NAMED(CKR_SESSION_EXISTS),
    NAMED(CKR_SESSION_READ_ONLY_EXISTS),
    NAMED(CKR_SESSION_READ_WRITE_SO_EXISTS),
    NAMED(CKR_SIGNATURE_INVALID),
    NAMED(CKR_SIGNATURE_LEN_RANGE),
    NAMED(CKR_TEMPLATE_INCOMPLETE),
    NAMED(CKR_TEMPLATE_INCONSISTENT),
    NAMED(CKR_TOKEN_NOT_PRESENT),
    NAMED(CKR_TOKEN_NOT_RECOGNIZED),
    NAMED(CKR_TOKEN_WRITE_PROTECTED),
    NAMED(CKR_UNWRAPPING_KEY_SIZE_RANGE),
    NAMED(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT),
    NAMED(CKR_USER_ALREADY_LOGGED_IN),
    NAMED(CKR_USER_NOT_LOGGED_IN),
    NAMED(CKR_USER_PIN_NOT_INITIALIZED),
    NAMED(CKR_USER_TYPE_INVALID),
    NAMED(CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
    NAMED(CKR_USER_TOO_MANY_TYPES),
    NAMED(CKR_WRAPPED_KEY_INVALID),
    NAMED(CKR_WRAPPED_KEY_LEN_RANGE),
    NAMED(CKR_WRAPPING_KEY_HANDLE_INVALID),
    NAMED(CKR_WRAPPING_KEY_SIZE_RANGE),
    NAMED(CKR_WRAPPING_KEY_TYPE_INCONSISTENT),
    NAMED(CKR_RANDOM_SEED_NOT_SUPPORTED),
    NAMED(CKR_RANDOM_NO_RNG),
    NAMED(CKR_DOMAIN_PARAMS_INVALID),
    NAMED(CKR_CURVE_NOT_SUPPORTED),
    NAMED(CKR_BUFFER_TOO_SMALL),
    NAMED(CKR_SAVED_STATE_INVALID),
    NAMED(CKR_INFORMATION_SENSITIVE),
    NAMED(CKR_STATE_UNSAVEABLE),
    NAMED(CKR_CRYPTOKI_NOT_INITIALIZED),
    NAMED(CKR_CRYPTOKI_ALREADY_INITIALIZED),
    NAMED(CKR_MUTEX_BAD),
    NAMED(CKR_MUTEX_NOT_LOCKED),
    NAMED(CKR_NEW_PIN_MODE),
    NAMED(CKR_NEXT_OTP),
    NAMED(CKR_PUBLIC_KEY_INVALID),
    NAMED(CKR_FUNCTION_REJECTED),
    NAMED(CKR_OPERATION_CANCEL_FAILED),
});

#undef NAMED

std::string Padded(std::string_view label) {
  std::string padded(label);
  padded.resize(32, ' ');
  return padded;
}

std::vector<CK_SLOT_ID> Slots(const CK_FUNCTION_LIST& p11) {
  CK_ULONG count = 0;
  Check(p11.C_GetSlotList(CK_TRUE, nullptr, &count), "C_GetSlotList");
  std::vector<CK_SLOT_ID> slots(count + 8);
  count = slots.size();
  Check(p11.C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList");
  slots.resize(count);
  return slots;
}

}  // namespace

CK_FUNCTION_LIST* LoadFunctions(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  if (get == nullptr) throw std::runtime_error(path + " is no PKCS#11 module");
  CK_FUNCTION_LIST* functions = nullptr;
  Check(get(&functions), "C_GetFunctionList");
  if (functions == nullptr) throw std::runtime_error(path + " has no functions");
  return functions;
}

std::string RvName(CK_RV rv) {
  for (const auto& [code, name] : kNames) {
    if (code == rv) return name;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "CKR 0x%lx", rv);
  return text;
}

CallFailed::CallFailed(CK_RV rv, const char* what)
    : std::runtime_error(std::string(what) + ": " + RvName(rv)), rv_(rv) {}

void Failed(CK_RV rv, const char* what) { throw CallFailed(rv, what); }

CK_SLOT_ID MakeToken(const CK_FUNCTION_LIST& p11, std::string_view label, std::string_view so_pin,
                     std::string_view user_pin) {
  for (const CK_SLOT_ID slot : Slots(p11)) {
    CK_TOKEN_INFO info{};
    if (p11.C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if ((info.flags & CKF_TOKEN_INITIALIZED) != 0) continue;
    Check(p11.C_InitToken(slot, Utf8(so_pin), so_pin.size(), Utf8(Padded(label))), "C_InitToken");
    const CK_SLOT_ID made = FindToken(p11, label);
    CK_SESSION_HANDLE session = 0;
    Check(p11.C_OpenSession(made, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
          "C_OpenSession");
    Check(p11.C_Login(session, CKU_SO, Utf8(so_pin), so_pin.size()), "C_Login");
    Check(p11.C_InitPIN(session, Utf8(user_pin), user_pin.size()), "C_InitPIN");
    Check(p11.C_CloseSession(session), "C_CloseSession");
    return made;
  }
  throw std::runtime_error("no slot without a token");
}

CK_SLOT_ID FindToken(const CK_FUNCTION_LIST& p11, std::string_view label) {
  const std::string padded = Padded(label);
  for (const CK_SLOT_ID slot : Slots(p11)) {
    CK_TOKEN_INFO info{};
    if (p11.C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    if (memcmp(info.label, padded.data(), sizeof(info.label)) == 0) return slot;
  }
  throw std::runtime_error("no token " + std::string(label));
}

}  // namespace secretmem::client

#include "tool/module.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace secretmem::tool {

namespace {

struct Answer {
  CK_RV rv;
  const char* name;
  ExitCode code;
  const char* means;
  const char* remedy;
};

// What a user can do something about; the rest is shown by its name.
constexpr Answer kAnswers[] = {
    {CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT", kPinRefused, "the PIN is wrong",
     "After too many wrong PINs in a row (pin.max_failures) it is locked."},
    {CKR_PIN_LOCKED, "CKR_PIN_LOCKED", kPinRefused, "the PIN is locked: too many wrong ones",
     "The security officer sets a new user PIN: pkcs11-tool --init-pin --login --login-type so."},
    {CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE", kPinRefused, "the PIN is too short or too long",
     "The lengths allowed are pin.min_length and pin.max_length of the configuration."},
    {CKR_PIN_INVALID, "CKR_PIN_INVALID", kPinRefused, "the PIN is not allowed", ""},
    {CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED", kPinRefused,
     "the token has no user PIN yet",
     "The security officer sets it: pkcs11-tool --init-pin --login --login-type so."},
    {CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED", kFailed,
     "the token's file is damaged, or not a token",
     "Put back a backup: secretmem-pkcs11 token restore."},
    {CKR_TOKEN_WRITE_PROTECTED, "CKR_TOKEN_WRITE_PROTECTED", kFailed,
     "the token's file cannot be written", "Look at the permissions of the tokens' directory."},
    {CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY", kNoSecretMemory, "there is not enough secret memory",
     "Raise the memory-lock limit: ulimit -l, LimitMEMLOCK= in a systemd unit. secretmem-pkcs11 "
     "status shows it."},
    {CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR", kFailed, "the token's file could not be used",
     "SECRETMEM_PKCS11_LOG=error has the module say why."},
    {CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED", kFailed, "the module could not",
     "SECRETMEM_PKCS11_LOG=error has the module say why; secretmem-pkcs11 status looks further."},
    {CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR", kFailed, "the module could not",
     "SECRETMEM_PKCS11_LOG=error has the module say why; secretmem-pkcs11 status looks further."},
    {CKR_SESSION_EXISTS, "CKR_SESSION_EXISTS", kFailed, "the token is in use", ""},
    {CKR_HOST_MEMORY, "CKR_HOST_MEMORY", kFailed, "no memory is left", ""},
    {CKR_KEY_UNEXTRACTABLE, "CKR_KEY_UNEXTRACTABLE", kFailed, "the key may not leave its token",
     ""},
    {CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID", kFailed, "the module lacks the mechanism", ""},
    {CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN", kFailed, "this needs a login", ""},
};

}  // namespace

std::string DefaultModule() {
  char self[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (size <= 0) return SECRETMEM_INSTALLED_MODULE;
  const std::filesystem::path directory =
      std::filesystem::path(std::string(self, static_cast<size_t>(size))).parent_path();
  const std::filesystem::path above = directory.parent_path();
  const std::filesystem::path built = above / "secretmem-pkcs11.so";
  std::error_code ignored;
  if (std::filesystem::exists(built, ignored)) return built;
  return (above / SECRETMEM_INSTALLED_MODULE).lexically_normal();
}

std::string RvName(CK_RV rv) {
  for (const Answer& answer : kAnswers) {
    if (answer.rv == rv) return answer.name;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "CKR 0x%lx", rv);
  return text;
}

void Check(CK_RV rv, const std::string& doing) {
  if (rv == CKR_OK) return;
  for (const Answer& answer : kAnswers) {
    if (answer.rv != rv) continue;
    throw ToolError(answer.code, doing + ": " + answer.means + " (" + answer.name + ")",
                    answer.remedy);
  }
  throw ToolError(kFailed, doing + ": " + RvName(rv));
}

std::string Trimmed(const unsigned char* text, size_t size) {
  while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\0')) --size;
  return std::string(reinterpret_cast<const char*>(text), size);
}

Module::Module(const std::string& path) : path_(path) {
  handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    throw ToolError(kFailed, std::string("cannot load the module: ") + dlerror(),
                    "Install it, or say where it is: --module FILE.");
  }
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(dlsym(handle_, "C_GetFunctionList"));
  if (get == nullptr || get(&functions_) != CKR_OK || functions_ == nullptr) {
    throw ToolError(kFailed, path + " is no PKCS#11 module", "Say which is: --module FILE.");
  }
  Check(functions_->C_Initialize(nullptr), "initialising " + path);
}

Module::~Module() { functions_->C_Finalize(nullptr); }

std::string Module::Description() const {
  CK_INFO info;
  Check(functions_->C_GetInfo(&info), "asking the module what it is");
  return Trimmed(info.libraryDescription, sizeof(info.libraryDescription));
}

std::vector<Slot> Module::Slots() const {
  CK_ULONG count = 0;
  Check(functions_->C_GetSlotList(CK_TRUE, nullptr, &count), "listing the slots");
  std::vector<CK_SLOT_ID> ids(count);
  Check(functions_->C_GetSlotList(CK_TRUE, ids.data(), &count), "listing the slots");
  ids.resize(count);
  std::vector<Slot> slots;
  for (const CK_SLOT_ID id : ids) {
    CK_TOKEN_INFO info;
    // A damaged token stays out of the list; `status` says what is wrong with it.
    if (functions_->C_GetTokenInfo(id, &info) != CKR_OK) continue;
    Slot slot;
    slot.id = id;
    slot.flags = info.flags;
    slot.initialised = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
    slot.label = Trimmed(info.label, sizeof(info.label));
    slot.serial = Trimmed(info.serialNumber, sizeof(info.serialNumber));
    slots.push_back(slot);
  }
  return slots;
}

Slot Module::Find(const std::string& name) const {
  std::vector<Slot> found;
  std::string others;
  for (const Slot& slot : Slots()) {
    if (!slot.initialised) continue;
    if (slot.label == name || slot.serial == name) {
      found.push_back(slot);
    } else {
      others += (others.empty() ? "" : ", ") + ("\"" + slot.label + "\"");
    }
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    throw ToolError(kNoToken, "there is no token \"" + name + "\"",
                    others.empty() ? "Make one: secretmem-pkcs11 token init --label NAME."
                                   : "There are: " + others + ".");
  }
  std::string serials;
  for (const Slot& slot : found) serials += (serials.empty() ? "" : ", ") + slot.serial;
  throw ToolError(kNoToken, std::to_string(found.size()) + " tokens are called \"" + name + "\"",
                  "Name one by its serial number: " + serials + ".");
}

Session::Session(const Module& module, CK_SLOT_ID slot, bool read_write) : module_(module) {
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0);
  Check(module.functions().C_OpenSession(slot, flags, nullptr, nullptr, &handle_),
        "opening a session");
}

Session::~Session() { module_.functions().C_CloseSession(handle_); }

}  // namespace secretmem::tool

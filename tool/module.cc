#include "tool/module.h"

#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>

#include "client/functions.h"
#include "tool/system.h"

namespace secretmem::tool {

namespace {

struct Answer {
  CK_RV rv;
  ExitCode code;
  const char* means;
  const char* remedy;
};

// What a user can do something about; the rest is shown by its name.
constexpr Answer kAnswers[] = {
    {CKR_PIN_INCORRECT, kPinRefused, "the PIN is wrong",
     "Try again, but not often: after pin.max_failures wrong ones in a row it is locked. Where it "
     "is "
     "lost the security officer sets another: pkcs11-tool --init-pin --login --login-type so."},
    {CKR_PIN_LOCKED, kPinRefused, "the PIN is locked: too many wrong ones",
     "The security officer sets a new user PIN: pkcs11-tool --init-pin --login --login-type so."},
    {CKR_PIN_LEN_RANGE, kPinRefused, "the PIN is too short or too long",
     "The lengths allowed are pin.min_length and pin.max_length of the configuration."},
    {CKR_PIN_INVALID, kPinRefused, "the PIN is not allowed", ""},
    {CKR_USER_PIN_NOT_INITIALIZED, kPinRefused, "the token has no user PIN yet",
     "The security officer sets it: pkcs11-tool --init-pin --login --login-type so."},
    {CKR_TOKEN_NOT_RECOGNIZED, kFailed, "the token's file is damaged, or not a token",
     "Put back a backup: secretmem-pkcs11 token restore."},
    {CKR_TOKEN_WRITE_PROTECTED, kFailed, "the token's file cannot be written",
     "Look at the permissions of the tokens' directory."},
    {CKR_DEVICE_MEMORY, kNoSecretMemory, "there is not enough secret memory",
     "Raise the memory-lock limit: ulimit -l, LimitMEMLOCK= in a systemd unit. secretmem-pkcs11 "
     "status shows it."},
    {CKR_DEVICE_ERROR, kFailed, "the token's file could not be used",
     "SECRETMEM_PKCS11_LOG=error has the module say why."},
    {CKR_FUNCTION_FAILED, kFailed, "the module could not",
     "SECRETMEM_PKCS11_LOG=error has the module say why; secretmem-pkcs11 status looks further."},
    {CKR_GENERAL_ERROR, kFailed, "the module could not",
     "SECRETMEM_PKCS11_LOG=error has the module say why; secretmem-pkcs11 status looks further."},
    {CKR_SESSION_EXISTS, kFailed, "the token is in use", ""},
    {CKR_HOST_MEMORY, kFailed, "no memory is left", ""},
    {CKR_KEY_UNEXTRACTABLE, kFailed, "the key may not leave its token", ""},
    {CKR_MECHANISM_INVALID, kFailed, "the module lacks the mechanism", ""},
    {CKR_USER_NOT_LOGGED_IN, kFailed, "this needs a login", ""},
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

void Check(CK_RV rv, const std::string& doing) {
  if (rv == CKR_OK) return;
  for (const Answer& answer : kAnswers) {
    if (answer.rv != rv) continue;
    throw ToolError(answer.code, doing + ": " + answer.means + " (" + client::RvName(rv) + ")",
                    answer.remedy);
  }
  throw ToolError(kFailed, doing + ": " + client::RvName(rv));
}

bool IsOurs(const std::string& path) { return path.find("secretmem-pkcs11") != std::string::npos; }

std::string Trimmed(const unsigned char* text, size_t size) {
  while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\0')) --size;
  return std::string(reinterpret_cast<const char*>(text), size);
}

Module::Module(const std::string& path) try : path_(path), functions_(client::LoadFunctions(path)) {
  const CK_RV rv = functions_->C_Initialize(nullptr);
  const std::string doing = "initialising " + path;
  if (rv != CKR_OK && !IsOurs(path)) {
    throw ToolError(kFailed, doing + ": " + client::RvName(rv),
                    "Its own documentation says what it needs, such as a configuration that this "
                    "user can read.");
  }
  if (rv == CKR_FUNCTION_FAILED) {
    if (const SecretMemory memory = TrySecretMemory(); !memory.works) {
      throw ToolError(kNoSecretMemory, doing + ": " + memory.reason, memory.remedy);
    }
  }
  Check(rv, doing);
} catch (const ToolError&) {
  throw;
} catch (const std::runtime_error& error) {
  throw ToolError(kFailed, std::string("cannot load the module: ") + error.what(),
                  "Install it, or say where it is: --module FILE.");
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

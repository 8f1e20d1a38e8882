#include "tests/blackbox/module.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "tests/conformance/rv.h"

namespace secretmem::blackbox {
namespace {

CK_FUNCTION_LIST* g_functions = nullptr;

std::string Padded(std::string_view label) {
  std::string padded(label);
  padded.resize(32, ' ');
  return padded;
}

std::vector<CK_SLOT_ID> Slots() {
  CK_ULONG count = 0;
  Must(P11().C_GetSlotList(CK_TRUE, nullptr, &count), "C_GetSlotList");
  std::vector<CK_SLOT_ID> slots(count + 8);
  count = slots.size();
  Must(P11().C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList");
  slots.resize(count);
  return slots;
}

}  // namespace

void LoadModule(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  auto get_list =
      reinterpret_cast<CK_RV (*)(CK_FUNCTION_LIST**)>(dlsym(library, "C_GetFunctionList"));
  if (get_list == nullptr) throw std::runtime_error("no C_GetFunctionList in " + path);
  Must(get_list(&g_functions), "C_GetFunctionList");
}

void SetFunctions(CK_FUNCTION_LIST* functions) { g_functions = functions; }

const CK_FUNCTION_LIST& P11() { return *g_functions; }

Scratch::Scratch(std::string_view settings, const std::string& base) : owner_(getpid()) {
  const std::string where = base.empty() ? std::filesystem::temp_directory_path().string() : base;
  std::string name = where + "/secretmem-test-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp: " + name);
  directory_ = name;
  std::filesystem::create_directory(tokens());
  std::filesystem::permissions(tokens(), std::filesystem::perms::owner_all);
  const std::string file = directory_ + "/config.toml";
  std::ofstream(file) << settings << "\n[tokens]\ndirectory = \"" << tokens() << "\"\n";
  setenv("SECRETMEM_PKCS11_CONF", file.c_str(), 1);
}

Scratch::~Scratch() {
  if (getpid() != owner_) return;
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Scratch::EmptyTokens() const {
  for (const auto& entry : std::filesystem::directory_iterator(tokens())) {
    std::filesystem::remove_all(entry.path());
  }
}

CK_RV Initialise() {
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  return P11().C_Initialize(&args);
}

CK_SLOT_ID MakeToken(std::string_view label, std::string_view so_pin, std::string_view user_pin) {
  for (const CK_SLOT_ID slot : Slots()) {
    CK_TOKEN_INFO info{};
    if (P11().C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if ((info.flags & CKF_TOKEN_INITIALIZED) != 0) continue;
    Must(P11().C_InitToken(slot, Utf8(so_pin), so_pin.size(), Utf8(Padded(label))), "C_InitToken");
    const CK_SLOT_ID made = FindToken(label);
    CK_SESSION_HANDLE session = 0;
    Must(P11().C_OpenSession(made, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
         "C_OpenSession");
    Must(P11().C_Login(session, CKU_SO, Utf8(so_pin), so_pin.size()), "C_Login");
    Must(P11().C_InitPIN(session, Utf8(user_pin), user_pin.size()), "C_InitPIN");
    Must(P11().C_CloseSession(session), "C_CloseSession");
    return made;
  }
  throw std::runtime_error("no slot without a token");
}

CK_SLOT_ID FindToken(std::string_view label) {
  const std::string padded = Padded(label);
  for (const CK_SLOT_ID slot : Slots()) {
    CK_TOKEN_INFO info{};
    if (P11().C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    if (memcmp(info.label, padded.data(), sizeof(info.label)) == 0) return slot;
  }
  throw std::runtime_error("no token " + std::string(label));
}

CK_UTF8CHAR* Utf8(std::string_view text) {
  return reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(text.data()));
}

void Must(CK_RV rv, const char* what) {
  if (rv != CKR_OK) {
    throw std::runtime_error(std::string(what) + ": " + conformance::RvName(rv));
  }
}

}  // namespace secretmem::blackbox

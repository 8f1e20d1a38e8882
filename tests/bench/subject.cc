#include "tests/bench/subject.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/blackbox/module.h"
#include "tests/conformance/rv.h"

namespace secretmem::bench {
namespace {

constexpr std::string_view kSoPin = "so-pin-123456";
constexpr std::string_view kLabel = "bench                           ";

std::string& Settings() {
  static std::string settings = "[pin]\niterations = 1000\ndelay_ms = 0\n";
  return settings;
}

// FindSlot returns the slot of the token that we made, or of one that nobody has.
CK_SLOT_ID FindSlot(const CK_FUNCTION_LIST& p11, bool made) {
  CK_SLOT_ID slots[64];
  CK_ULONG count = std::size(slots);
  Check(p11.C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_TOKEN_INFO info{};
    if (p11.C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
    const bool initialised = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
    const bool ours = initialised && memcmp(info.label, kLabel.data(), kLabel.size()) == 0;
    if (made ? ours : !initialised) return slots[i];
  }
  throw std::runtime_error("no slot for a token");
}

}  // namespace

void Failed(CK_RV rv, const char* what) {
  throw std::runtime_error(std::string(what) + ": " + conformance::RvName(rv));
}

void TokenDirectory::AddSettings(const std::string& settings) { Settings() += settings + '\n'; }

TokenDirectory::TokenDirectory() : owner_(getpid()) {
  std::string name = (std::filesystem::temp_directory_path() / "pkcs11-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp: " + name);
  directory_ = name;
  const std::string tokens = directory_ + "/tokens";
  std::filesystem::create_directory(tokens);
  std::filesystem::permissions(tokens, std::filesystem::perms::owner_all);
  std::ofstream(directory_ + "/secretmem-pkcs11.toml")
      << Settings() << "\n[tokens]\ndirectory = \"" << tokens << "\"\n";
  std::ofstream(directory_ + "/softhsm2.conf")
      << "directories.tokendir = " << tokens << "\nobjectstore.backend = file\n"
      << "log.level = ERROR\nslots.removable = false\n";
}

void TokenDirectory::EnterExisting(const std::string& directory) {
  setenv("SECRETMEM_PKCS11_CONF", (directory + "/secretmem-pkcs11.toml").c_str(), 1);
  setenv("SOFTHSM2_CONF", (directory + "/softhsm2.conf").c_str(), 1);
}

TokenDirectory::~TokenDirectory() {
  if (getpid() != owner_) return;
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

ModuleName::ModuleName(std::string_view argument) {
  const size_t colon = argument.rfind(':');
  const size_t slash = argument.rfind('/');
  const bool labelled =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  path = argument.substr(0, labelled ? colon : argument.size());
  label = labelled ? argument.substr(colon + 1) : std::filesystem::path(path).stem().string();
}

CK_FUNCTION_LIST* LoadFunctions(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  auto get_list =
      reinterpret_cast<CK_RV (*)(CK_FUNCTION_LIST**)>(dlsym(library, "C_GetFunctionList"));
  if (get_list == nullptr) throw std::runtime_error("no C_GetFunctionList in " + path);
  CK_FUNCTION_LIST* functions = nullptr;
  Check(get_list(&functions), "C_GetFunctionList");
  return functions;
}

Module::Module(const ModuleName& name)
    : path_(name.path), label_(name.label), functions_(LoadFunctions(name.path)) {
  directory_.Enter();
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  Check(p11().C_Initialize(&args), "C_Initialize");
  Check(p11().C_InitToken(FindSlot(p11(), false), blackbox::Utf8(kSoPin), kSoPin.size(),
                          blackbox::Utf8(kLabel)),
        "C_InitToken");
  // Some modules give the token another slot.
  slot_ = FindSlot(p11(), true);
  session_ = OpenSession();
  Check(p11().C_Login(session_, CKU_SO, blackbox::Utf8(kSoPin), kSoPin.size()), "C_Login");
  Check(p11().C_InitPIN(session_, blackbox::Utf8(kPin), kPin.size()), "C_InitPIN");
  Check(p11().C_Logout(session_), "C_Logout");
  Check(p11().C_Login(session_, CKU_USER, blackbox::Utf8(kPin), kPin.size()), "C_Login");
}

Module::~Module() { p11().C_Finalize(nullptr); }

CK_SESSION_HANDLE Module::OpenSession() const {
  CK_SESSION_HANDLE session = 0;
  Check(p11().C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
        "C_OpenSession");
  return session;
}

bool Module::Has(CK_MECHANISM_TYPE type) const {
  CK_MECHANISM_INFO info{};
  return p11().C_GetMechanismInfo(slot_, type, &info) == CKR_OK;
}

void Module::Need(CK_MECHANISM_TYPE type) const {
  if (!Has(type)) throw Lacking(label_ + ": no mechanism " + std::to_string(type));
}

Module::Pair Module::GeneratePair(CK_MECHANISM_TYPE type, Template public_key,
                                  Template private_key) const {
  CK_MECHANISM mechanism = {type, nullptr, 0};
  Pair pair{};
  const CK_RV rv = p11().C_GenerateKeyPair(session_, &mechanism, public_key.data(),
                                           public_key.size(), private_key.data(),
                                           private_key.size(), &pair.public_key, &pair.private_key);
  if (rv != CKR_OK) throw Lacking("C_GenerateKeyPair: " + conformance::RvName(rv));
  return pair;
}

CK_OBJECT_HANDLE Module::Create(CK_SESSION_HANDLE session, Template object) const {
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv = p11().C_CreateObject(session, object.data(), object.size(), &handle);
  if (rv != CKR_OK) throw Lacking("C_CreateObject: " + conformance::RvName(rv));
  return handle;
}

Bytes Module::Value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
  CK_ATTRIBUTE attribute = {type, nullptr, 0};
  CK_RV rv = p11().C_GetAttributeValue(session_, object, &attribute, 1);
  if (rv != CKR_OK) throw Lacking("C_GetAttributeValue: " + conformance::RvName(rv));
  Bytes value(attribute.ulValueLen);
  attribute.pValue = value.data();
  Check(p11().C_GetAttributeValue(session_, object, &attribute, 1), "C_GetAttributeValue");
  return value;
}

}  // namespace secretmem::bench

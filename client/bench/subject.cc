#include "client/bench/subject.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace secretmem::bench {
namespace {

std::string& Settings() {
  static std::string settings = "[pin]\niterations = 1000\ndelay_ms = 0\n";
  return settings;
}

}  // namespace

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

bool TokenDirectory::Serves(const CK_FUNCTION_LIST& functions) {
  CK_INFO info{};
  Check(functions.C_GetInfo(&info), "C_GetInfo");
  const std::string_view maker(reinterpret_cast<const char*>(info.manufacturerID),
                               sizeof(info.manufacturerID));
  return maker.starts_with("secretmem-pkcs11 ") || maker.starts_with("SoftHSM ");
}

ModuleName::ModuleName(std::string_view argument) {
  const size_t colon = argument.rfind(':');
  const size_t slash = argument.rfind('/');
  const bool labelled =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  path = argument.substr(0, labelled ? colon : argument.size());
  label = labelled ? argument.substr(colon + 1) : std::filesystem::path(path).stem().string();
}

Module::Module(const ModuleName& name)
    : directory_(std::make_unique<TokenDirectory>()),
      label_(name.label),
      functions_(client::LoadFunctions(name.path)) {
  directory_->Enter();
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  Check(p11().C_Initialize(&args), "C_Initialize");
  slot_ = MakeToken(p11());
  session_ = OpenSession();
  Check(p11().C_Login(session_, CKU_USER, client::Utf8(kPin), kPin.size()), "C_Login");
}

Module::~Module() {
  if (directory_) p11().C_Finalize(nullptr);
}

CK_SLOT_ID Module::MakeToken(const CK_FUNCTION_LIST& functions) {
  return client::MakeToken(functions, "bench", "so-pin-123456", kPin);
}

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
  if (Has(type)) return;
  char name[32];
  snprintf(name, sizeof(name), "no mechanism 0x%lx", type);
  throw Lacking(name);
}

Module::Pair Module::GeneratePair(CK_MECHANISM_TYPE type, Template public_key,
                                  Template private_key) const {
  CK_MECHANISM mechanism = {type, nullptr, 0};
  Pair pair{};
  const CK_RV rv = p11().C_GenerateKeyPair(session_, &mechanism, public_key.data(),
                                           public_key.size(), private_key.data(),
                                           private_key.size(), &pair.public_key, &pair.private_key);
  if (rv != CKR_OK) throw Lacking("C_GenerateKeyPair: " + client::RvName(rv));
  return pair;
}

CK_OBJECT_HANDLE Module::Create(CK_SESSION_HANDLE session, Template object) const {
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv = p11().C_CreateObject(session, object.data(), object.size(), &handle);
  if (rv != CKR_OK) throw Lacking("C_CreateObject: " + client::RvName(rv));
  return handle;
}

Bytes Module::Value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
  CK_ATTRIBUTE attribute = {type, nullptr, 0};
  CK_RV rv = p11().C_GetAttributeValue(session_, object, &attribute, 1);
  if (rv != CKR_OK) throw Lacking("C_GetAttributeValue: " + client::RvName(rv));
  Bytes value(attribute.ulValueLen);
  attribute.pValue = value.data();
  Check(p11().C_GetAttributeValue(session_, object, &attribute, 1), "C_GetAttributeValue");
  return value;
}

}  // namespace secretmem::bench

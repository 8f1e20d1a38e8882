#include "tests/audit/client.h"

#include <cstdio>
#include <cstring>
#include <fstream>

#include "tests/audit/expected.h"

namespace secretmem::audit {
namespace {

constexpr char kLogFile[] = "log";

// RandomPin has 24 letters and digits: enough 8-byte windows, and no module refuses it.
Bytes RandomPin() {
  static const char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  Bytes pin = RandomBytes(24);
  for (auto& character : pin) character = static_cast<uint8_t>(kAlphabet[character % 64]);
  return pin;
}

std::string Hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%lx", value);
  return text;
}

void MustRun(Remote& remote, const PreparedCall& call) {
  const CK_RV rv = remote.Run(call);
  if (rv != CKR_OK) throw CannotLook(call.name() + " answered " + Hex(rv));
}

PreparedCall InitializeCall() {
  return PreparedCall("C_Initialize", AUDIT_SLOT(C_Initialize)).Number(0);
}

}  // namespace

Attribute Flag(CK_ATTRIBUTE_TYPE type, bool value) {
  return {type, {static_cast<uint8_t>(value ? CK_TRUE : CK_FALSE)}};
}

Attribute Ulong(CK_ATTRIBUTE_TYPE type, CK_ULONG value) { return {type, BytesOf(value)}; }

Bytes EcParamsOf(KeyKind kind) {
  switch (kind) {
    case KeyKind::kX25519:
      return {0x06, 0x03, 0x2b, 0x65, 0x6e};
    case KeyKind::kEd25519:
      return {0x06, 0x03, 0x2b, 0x65, 0x70};
    default:
      return {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  }
}

Token::Token(const std::string& target, const std::string& module, const std::string& settings)
    : target_(std::filesystem::absolute(target)),
      module_(std::filesystem::absolute(module)),
      pin_(RandomPin()),
      so_pin_(RandomPin()),
      label_(32, ' ') {
  std::string pattern = (std::filesystem::temp_directory_path() / "audit-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw CannotLook("cannot make a directory");
  directory_ = pattern;
  std::filesystem::create_directories(directory_ / "tokens");
  std::filesystem::create_directories(directory_ / "softhsm");
  std::ofstream(directory_ / "config.toml")
      << "[tokens]\ndirectory = \"" << (directory_ / "tokens").string()
      << "\"\n[pin]\niterations = 1000\n"
      << settings;
  std::ofstream(directory_ / "softhsm2.conf")
      << "directories.tokendir = " << (directory_ / "softhsm").string()
      << "\nobjectstore.backend = file\nlog.level = ERROR\n";
  std::memcpy(label_.data(), "audit", 5);

  const auto remote = Start();
  MustRun(*remote, InitializeCall());
  const CK_SLOT_ID empty = FindSlot(*remote, false);
  MustRun(*remote, PreparedCall("C_InitToken", AUDIT_SLOT(C_InitToken))
                       .Number(empty)
                       .DataAndLength(so_pin_)
                       .Data(label_));
  const CK_SLOT_ID slot = FindSlot(*remote, true);
  MustRun(*remote, PreparedCall("C_OpenSession", AUDIT_SLOT(C_OpenSession))
                       .Number(slot)
                       .Number(CKF_SERIAL_SESSION | CKF_RW_SESSION)
                       .Number(0)
                       .Number(0)
                       .Handle());
  const uint64_t session = remote->Word(4);
  MustRun(*remote, PreparedCall("C_Login", AUDIT_SLOT(C_Login))
                       .Number(session)
                       .Number(CKU_SO)
                       .DataAndLength(so_pin_));
  MustRun(*remote,
          PreparedCall("C_InitPIN", AUDIT_SLOT(C_InitPIN)).Number(session).DataAndLength(pin_));
  MustRun(*remote, PreparedCall("C_Finalize", AUDIT_SLOT(C_Finalize)).Number(0));
}

Token::~Token() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::unique_ptr<Remote> Token::Start() const {
  std::vector<std::string> environment = {
      "PATH=/usr/bin:/bin", "HOME=" + directory_.string(), "LC_ALL=C",
      "SECRETMEM_PKCS11_CONF=" + (directory_ / "config.toml").string(),
      "SOFTHSM2_CONF=" + (directory_ / "softhsm2.conf").string()};
  const char* log = keep_log_ ? "debug" : getenv("SECRETMEM_PKCS11_LOG");
  if (log != nullptr) environment.push_back(std::string("SECRETMEM_PKCS11_LOG=") + log);
  return std::make_unique<Remote>(target_, module_, environment, directory_.string(),
                                  keep_log_ ? (directory_ / kLogFile).string() : "");
}

size_t Token::LogLines() const {
  std::ifstream log(directory_ / kLogFile);
  size_t lines = 0;
  for (std::string line; std::getline(log, line);) ++lines;
  return lines;
}

CK_SLOT_ID Token::FindSlot(Remote& remote, bool initialised) const {
  MustRun(remote, PreparedCall("C_GetSlotList", AUDIT_SLOT(C_GetSlotList))
                      .Number(CK_TRUE)
                      .Output(64 * sizeof(CK_SLOT_ID)));
  // The length is a count here.
  const uint64_t count = std::min<uint64_t>(remote.Word(2), 64);
  const Bytes list = remote.Data(1, count * sizeof(CK_SLOT_ID));
  for (size_t i = 0; i < count; ++i) {
    CK_SLOT_ID slot;
    std::memcpy(&slot, list.data() + i * sizeof(slot), sizeof(slot));
    const CK_RV rv = remote.Run(PreparedCall("C_GetTokenInfo", AUDIT_SLOT(C_GetTokenInfo))
                                    .Number(slot)
                                    .Data(Bytes(sizeof(CK_TOKEN_INFO), 0)));
    if (rv != CKR_OK) continue;
    CK_TOKEN_INFO info;
    const Bytes raw = remote.Data(1, sizeof(info));
    std::memcpy(&info, raw.data(), sizeof(info));
    const bool ours = std::memcmp(info.label, label_.data(), 32) == 0;
    const bool ready = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
    if (initialised ? ready && ours : !ready) return slot;
  }
  throw CannotLook(initialised ? "the audit's token has no slot" : "no slot without a token");
}

std::vector<std::pair<CK_MECHANISM_TYPE, CK_FLAGS>> Token::Mechanisms() const {
  const auto remote = Start();
  MustRun(*remote, InitializeCall());
  const CK_SLOT_ID slot = FindSlot(*remote, true);
  constexpr size_t kMost = 1024;
  MustRun(*remote, PreparedCall("C_GetMechanismList", AUDIT_SLOT(C_GetMechanismList))
                       .Number(slot)
                       .Data(Bytes(kMost * sizeof(CK_MECHANISM_TYPE), 0))
                       .Data(BytesOf(CK_ULONG{kMost})));
  const uint64_t count = remote->Word(2);
  const Bytes list = remote->Data(1, count * sizeof(CK_MECHANISM_TYPE));
  std::vector<std::pair<CK_MECHANISM_TYPE, CK_FLAGS>> mechanisms;
  for (size_t i = 0; i < count; ++i) {
    CK_MECHANISM_TYPE type;
    std::memcpy(&type, list.data() + i * sizeof(type), sizeof(type));
    MustRun(*remote, PreparedCall("C_GetMechanismInfo", AUDIT_SLOT(C_GetMechanismInfo))
                         .Number(slot)
                         .Number(type)
                         .Data(Bytes(sizeof(CK_MECHANISM_INFO), 0)));
    CK_MECHANISM_INFO info;
    const Bytes raw = remote->Data(2, sizeof(info));
    std::memcpy(&info, raw.data(), sizeof(info));
    mechanisms.emplace_back(type, info.flags);
  }
  return mechanisms;
}

Client::Client(const Token& token, bool login) : token_(token), remote_(token.Start()) {
  Must(InitializeCall());
  slot_ = token.FindSlot(*remote_, true);
  session_ = OpenSession();
  if (login) Must(Login(CKU_USER, token.pin()));
}

CK_SESSION_HANDLE Client::OpenSession() {
  Must(PreparedCall("C_OpenSession", AUDIT_SLOT(C_OpenSession))
           .Number(slot_)
           .Number(CKF_SERIAL_SESSION | CKF_RW_SESSION)
           .Number(0)
           .Number(0)
           .Handle());
  return remote_->Word(4);
}

void Client::Must(const PreparedCall& call) { MustRun(*remote_, call); }

PreparedCall Client::Login(CK_USER_TYPE user, const Bytes& pin) const {
  return PreparedCall("C_Login", AUDIT_SLOT(C_Login))
      .Number(session_)
      .Number(user)
      .DataAndLength(pin);
}

PreparedCall Client::Import(KeyKind kind, const Bytes& value, const Template& extra) const {
  const bool private_key =
      kind == KeyKind::kX25519 || kind == KeyKind::kEd25519 || kind == KeyKind::kP256;
  CK_KEY_TYPE type = CKK_GENERIC_SECRET;
  std::vector<CK_ATTRIBUTE_TYPE> uses = {CKA_SIGN, CKA_VERIFY, CKA_DERIVE};
  switch (kind) {
    case KeyKind::kX25519:
      type = dialect().montgomery_as_edwards ? ck::kKeyEdwards : ck::kKeyMontgomery;
      uses = {CKA_DERIVE};
      break;
    case KeyKind::kEd25519:
      type = ck::kKeyEdwards;
      uses = {CKA_SIGN};
      break;
    case KeyKind::kP256:
      type = CKK_EC;
      uses = {CKA_SIGN, CKA_DERIVE};
      break;
    case KeyKind::kAes:
      type = CKK_AES;
      uses = {CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP, CKA_SIGN, CKA_VERIFY, CKA_DERIVE};
      break;
    case KeyKind::kChaCha20:
      type = ck::kKeyChaCha20;
      uses = {CKA_ENCRYPT, CKA_DECRYPT};
      break;
    case KeyKind::kHkdf:
      type = ck::kKeyHkdf;
      uses = {CKA_DERIVE};
      break;
    default:
      break;
  }
  Template attributes = {Ulong(CKA_CLASS, private_key ? CKO_PRIVATE_KEY : CKO_SECRET_KEY),
                         Ulong(CKA_KEY_TYPE, type),
                         Flag(CKA_TOKEN, false),
                         Flag(CKA_PRIVATE, true),
                         Flag(CKA_SENSITIVE, true),
                         Flag(CKA_EXTRACTABLE, false)};
  for (CK_ATTRIBUTE_TYPE use : uses) attributes.push_back(Flag(use, true));
  if (private_key) attributes.push_back({CKA_EC_PARAMS, EcParamsOf(kind)});
  attributes.push_back({CKA_VALUE, value});
  for (const Attribute& other : extra) {
    std::erase_if(attributes, [&](const Attribute& mine) { return mine.type == other.type; });
    attributes.push_back(other);
  }
  return PreparedCall("C_CreateObject", AUDIT_SLOT(C_CreateObject))
      .Number(session_)
      .Attributes(attributes)
      .Handle();
}

PreparedCall Client::ImportRsa(const RsaKey& key, bool extractable) const {
  return PreparedCall("C_CreateObject", AUDIT_SLOT(C_CreateObject))
      .Number(session_)
      .Attributes({Ulong(CKA_CLASS, CKO_PRIVATE_KEY),
                   Ulong(CKA_KEY_TYPE, CKK_RSA),
                   Flag(CKA_TOKEN, false),
                   Flag(CKA_PRIVATE, true),
                   Flag(CKA_SENSITIVE, true),
                   Flag(CKA_EXTRACTABLE, extractable),
                   Flag(CKA_SIGN, true),
                   Flag(CKA_SIGN_RECOVER, true),
                   Flag(CKA_DECRYPT, true),
                   Flag(CKA_UNWRAP, true),
                   {CKA_MODULUS, key.modulus},
                   {CKA_PUBLIC_EXPONENT, key.public_exponent},
                   {CKA_PRIVATE_EXPONENT, key.private_exponent},
                   {CKA_PRIME_1, key.prime1},
                   {CKA_PRIME_2, key.prime2},
                   {CKA_EXPONENT_1, key.exponent1},
                   {CKA_EXPONENT_2, key.exponent2},
                   {CKA_COEFFICIENT, key.coefficient}})
      .Handle();
}

CK_OBJECT_HANDLE Client::Create(const PreparedCall& call) {
  Must(call);
  Track(remote_->Word(3));
  return objects_.back();
}

Bytes Client::Value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  PreparedCall call("C_GetAttributeValue", AUDIT_SLOT(C_GetAttributeValue));
  call.Number(session_).Number(object).Attributes({{type, Bytes(1024, 0)}});
  if (remote_->Run(call) != CKR_OK) return {};
  CK_ATTRIBUTE attribute;
  const Bytes raw = remote_->Data(2, sizeof(attribute));
  std::memcpy(&attribute, raw.data(), sizeof(attribute));
  return remote_->ArenaBytes(reinterpret_cast<uint64_t>(attribute.pValue) - kArenaAddress,
                             attribute.ulValueLen);
}

void Client::DestroyObjects() {
  for (const CK_OBJECT_HANDLE object : objects_) {
    remote_->Run(PreparedCall("C_DestroyObject", AUDIT_SLOT(C_DestroyObject))
                     .Number(session_)
                     .Number(object));
  }
  objects_.clear();
}

void Client::Logout() {
  remote_->Run(PreparedCall("C_Logout", AUDIT_SLOT(C_Logout)).Number(session_));
}

void Client::CloseSession() {
  Must(PreparedCall("C_CloseSession", AUDIT_SLOT(C_CloseSession)).Number(session_));
}

void Client::Finalize() { Must(PreparedCall("C_Finalize", AUDIT_SLOT(C_Finalize)).Number(0)); }

Client::Dialect& Client::dialect() {
  static Dialect dialect;
  return dialect;
}

Bytes Client::Point(KeyKind kind, const Bytes& raw) const {
  const bool wrap = kind == KeyKind::kX25519 && dialect().der_points;
  return wrap ? Concat({{0x04, static_cast<uint8_t>(raw.size())}, raw}) : raw;
}

void Client::LearnDialect(const Token& token) {
  dialect() = {};
  Client client(token);
  const KeyPair own = NewX25519();
  const KeyPair peer = NewX25519();
  if (client.remote().Run(client.Import(KeyKind::kX25519, own.private_value)) != CKR_OK) {
    dialect().montgomery_as_edwards = true;
  }
  if (client.remote().Run(client.Import(KeyKind::kX25519, own.private_value)) != CKR_OK) return;
  const uint64_t key = client.remote().Word(3);
  for (const bool der : {false, true}) {
    dialect().der_points = der;
    PreparedCall derive("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
    const Bytes point = client.Point(KeyKind::kX25519, peer.public_value);
    const ck::Ecdh1Params params = {1, 0, 0, point.size(), derive.Place(point)};
    derive.Number(client.session()).Mechanism(CKM_ECDH1_DERIVE, BytesOf(params)).Number(key);
    derive.Attributes({Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                       Flag(CKA_TOKEN, false), Ulong(CKA_VALUE_LEN, 32)});
    if (client.remote().Run(derive.Handle()) == CKR_OK) return;
  }
  dialect().der_points = false;
}

}  // namespace secretmem::audit

// Scenarios that belong to no mechanism.
#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"
#include "tests/audit/token_file.h"

namespace secretmem::audit {
namespace {

Scenario ImportScenario(const std::string& name, KeyKind kind, Bytes value,
                        std::vector<Secret> secrets, Template extra = {}) {
  return {"import of " + name, ck::kNone, 0, [=](Client& client) {
            Plan plan;
            plan.calls.push_back(client.Import(kind, value, extra));
            plan.secrets = secrets;
            plan.handle = 3;
            return plan;
          }};
}

Plan LoginPlan(Client& client) {
  Plan plan;
  plan.calls.push_back(client.Login(CKU_USER, client.token().pin()));
  plan.secrets = {{"user PIN", client.token().pin()}};
  return plan;
}

Plan SecurityOfficerPlan(Client& client) {
  Plan plan;
  plan.calls.push_back(client.Login(CKU_SO, client.token().so_pin()));
  plan.calls.push_back(PreparedCall("C_InitPIN", AUDIT_SLOT(C_InitPIN))
                           .Number(client.session())
                           .DataAndLength(client.token().pin()));
  plan.secrets = {{"SO PIN", client.token().so_pin()}, {"user PIN", client.token().pin()}};
  return plan;
}

Plan SetPinPlan(Client& client) {
  // To the same PIN: the token is used by other scenarios.
  Plan plan;
  plan.calls.push_back(PreparedCall("C_SetPIN", AUDIT_SLOT(C_SetPIN))
                           .Number(client.session())
                           .DataAndLength(client.token().pin())
                           .DataAndLength(client.token().pin()));
  plan.secrets = {{"user PIN", client.token().pin()}};
  return plan;
}

Plan WrongPinPlan(Client& client) {
  Bytes wrong = RandomBytes(24);
  for (auto& character : wrong) character = static_cast<uint8_t>('a' + character % 26);
  Plan plan;
  plan.calls.push_back(client.Login(CKU_USER, wrong).Expect(CKR_PIN_INCORRECT));
  plan.calls.push_back(client.Login(CKU_USER, client.token().pin()));
  plan.secrets = {{"wrong PIN", wrong}};
  // It is stretched as a right one is.
  if (const auto file = TokenFile::Find(client.token().directory() / "tokens")) {
    plan.secrets = file->SecretsOfPin(CKU_USER, "wrong PIN", wrong);
  }
  return plan;
}

Plan CopyPlan(Client& client) {
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  Plan plan;
  plan.calls.push_back(PreparedCall("C_CopyObject", AUDIT_SLOT(C_CopyObject))
                           .Number(client.session())
                           .Number(key)
                           .Attributes({Flag(CKA_TOKEN, false)})
                           .Handle());
  plan.secrets = {{"generic secret", value}};
  plan.handle = 4;
  return plan;
}

Plan ReadPlan(Client& client) {
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(
      KeyKind::kGeneric, value, {Flag(CKA_SENSITIVE, false), Flag(CKA_EXTRACTABLE, true)}));
  Plan plan;
  plan.calls.push_back(PreparedCall("C_GetAttributeValue", AUDIT_SLOT(C_GetAttributeValue))
                           .Number(client.session())
                           .Number(key)
                           .Attributes({{CKA_VALUE, Bytes(32, 0)}}));
  plan.secrets = {{"extractable secret", value}};
  return plan;
}

Plan StoredKeyPlan(Client& client) {
  // A token object is sealed when made, and unsealed when first found after a new login.
  const KeyPair pair = NewX25519();
  Plan plan;
  plan.calls.push_back(
      client.Import(KeyKind::kX25519, pair.private_value, {Flag(CKA_TOKEN, true)}));
  plan.secrets = SecretsOfX25519("X25519 token key", pair.private_value);
  plan.handle = 3;
  return plan;
}

Plan LoadKeyPlan(Client& client) {
  // The key is written by another process.
  const KeyPair pair = NewX25519();
  Bytes id = RandomBytes(8);
  {
    Client writer(client.token());
    writer.Must(
        writer.Import(KeyKind::kX25519, pair.private_value, {Flag(CKA_TOKEN, true), {CKA_ID, id}}));
  }
  Plan plan;
  plan.setup.push_back(client.Login(CKU_USER, client.token().pin()));
  plan.calls.push_back(PreparedCall("C_FindObjectsInit", AUDIT_SLOT(C_FindObjectsInit))
                           .Number(client.session())
                           .Attributes({Ulong(CKA_CLASS, CKO_PRIVATE_KEY), {CKA_ID, id}}));
  plan.calls.push_back(PreparedCall("C_FindObjects", AUDIT_SLOT(C_FindObjects))
                           .Number(client.session())
                           .Handle()
                           .Number(1)
                           .Data(BytesOf(CK_ULONG{0})));
  plan.secrets = SecretsOfX25519("X25519 token key", pair.private_value);
  plan.handle = 1;
  plan.secrets.push_back({"user PIN", client.token().pin()});
  return plan;
}

Plan RandomPlan(Client& client) {
  Plan plan;
  plan.calls.push_back(PreparedCall("C_GenerateRandom", AUDIT_SLOT(C_GenerateRandom))
                           .Number(client.session())
                           .DataAndLength(Bytes(64, 0)));
  plan.learn = [](Client& after) {
    std::vector<Secret> outputs = {{"random output", after.remote().Data(1, 64)}};
    // What comes next must not lie ready in anything that was recorded before.
    after.Must(PreparedCall("C_GenerateRandom", AUDIT_SLOT(C_GenerateRandom))
                   .Number(after.session())
                   .DataAndLength(Bytes(64, 0)));
    outputs.push_back({"the next random output", after.remote().Data(1, 64)});
    return outputs;
  };
  return plan;
}

// One token key and one session key whose lifetimes end while the process does nothing.
Plan LifetimePlan(Client& client) {
  const KeyPair pair = NewX25519();
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE stored = client.Create(client.Import(
      KeyKind::kX25519, pair.private_value, {Flag(CKA_TOKEN, true), Ulong(ck::kLifetime, 1)}));
  Plan plan;
  plan.calls.push_back(client.Import(KeyKind::kGeneric, value, {Ulong(ck::kLifetime, 1)}));
  plan.calls.push_back(PreparedCall("C_GetAttributeValue", AUDIT_SLOT(C_GetAttributeValue))
                           .Number(client.session())
                           .Number(stored)
                           .Attributes({{CKA_CLASS, BytesOf(CK_ULONG{0})}})
                           .Expect(CKR_OBJECT_HANDLE_INVALID)
                           .AfterPause(3000));
  plan.secrets = SecretsOfX25519("token key with a lifetime", pair.private_value);
  plan.secrets.push_back({"session key with a lifetime", value});
  return plan;
}

}  // namespace

std::vector<Scenario> BasicScenarios() {
  const KeyPair x25519 = NewX25519();
  const KeyPair ed25519 = NewEd25519();
  const KeyPair p256 = NewP256();
  const Bytes aes = RandomBytes(32);
  const Bytes generic = RandomBytes(48);
  std::vector<Scenario> all = {
      ImportScenario("an X25519 key", KeyKind::kX25519, x25519.private_value,
                     SecretsOfX25519("X25519 key", x25519.private_value)),
      ImportScenario("a generic secret", KeyKind::kGeneric, generic, {{"generic secret", generic}}),
      {"user login", ck::kNone, 0, LoginPlan, false},
      {"wrong PIN, then user login", ck::kNone, 0, WrongPinPlan, false},
      {"SO login and C_InitPIN", ck::kNone, 0, SecurityOfficerPlan, false},
      {"C_SetPIN", ck::kNone, 0, SetPinPlan},
      {"C_CopyObject", ck::kNone, 0, CopyPlan},
      {"C_GetAttributeValue of an extractable key", ck::kNone, 0, ReadPlan},
      {"import of a token object", ck::kNone, 0, StoredKeyPlan},
      {"loading of a token object", ck::kNone, 0, LoadKeyPlan, false},
      {"C_GenerateRandom", ck::kNone, 0, RandomPlan},
  };
  // What PINs and token keys do between stays on another stack is mostly the token file's.
  for (Scenario& scenario : all) {
    scenario.whole = scenario.name.find("PIN") != std::string::npos ||
                     scenario.name.find("login") != std::string::npos ||
                     scenario.name.find("token object") != std::string::npos;
  }
  // Imports of keys that only some modules can hold: they stand for the mechanism that uses them.
  auto for_mechanism = [&](CK_MECHANISM_TYPE mechanism, CK_FLAGS function, Scenario scenario) {
    scenario.mechanism = mechanism;
    scenario.function = function;
    all.push_back(std::move(scenario));
  };
  for_mechanism(ck::kEddsa, CKF_SIGN,
                ImportScenario("an Ed25519 key", KeyKind::kEd25519, ed25519.private_value,
                               SecretsOfEd25519("Ed25519 key", ed25519.private_value, {})));
  for_mechanism(CKM_ECDSA, CKF_SIGN,
                ImportScenario("a P-256 key", KeyKind::kP256, p256.private_value,
                               {{"P-256 key", p256.private_value}}));
  for_mechanism(CKM_AES_CBC, CKF_ENCRYPT,
                ImportScenario("an AES key", KeyKind::kAes, aes, SecretsOfAes("AES key", aes)));
  for_mechanism(CKM_RSA_PKCS, CKF_SIGN, {"import of an RSA key", ck::kNone, 0, [](Client& client) {
                                           const RsaKey key = NewRsa(2048);
                                           Plan plan;
                                           plan.calls.push_back(client.ImportRsa(key));
                                           plan.secrets = SecretsOfRsa(key);
                                           plan.handle = 3;
                                           return plan;
                                         }});
  // Lifetimes are the same project's that resealing is.
  for_mechanism(ck::kReseal, CKF_WRAP, {"end of a key's lifetime", ck::kNone, 0, LifetimePlan});
  return all;
}

}  // namespace secretmem::audit

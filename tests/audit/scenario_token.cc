// Tokens, PINs and token objects.
#include <algorithm>

#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"
#include "tests/audit/token_file.h"

namespace secretmem::audit {
namespace {

Bytes NewPin() {
  Bytes pin = RandomBytes(24);
  for (auto& character : pin) character = static_cast<uint8_t>('a' + character % 26);
  return pin;
}

std::vector<std::filesystem::path> TokenFiles(const Client& client) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(client.token().directory() / "tokens")) {
    files.push_back(entry.path());
  }
  return files;
}

// A further token is made; what its PIN and its key are turned into is read from its file, which
// goes again.
Plan InitTokenPlan(Client& client) {
  const Bytes pin = NewPin();
  const auto before = TokenFiles(client);
  Plan plan;
  plan.calls.push_back(PreparedCall("C_InitToken", AUDIT_SLOT(C_InitToken))
                           .Number(client.token().FindSlot(client.remote(), false))
                           .DataAndLength(pin)
                           .Data(Bytes(32, 'n')));
  plan.secrets = {{"new token's SO PIN", pin}};
  plan.learn = [pin, before](Client& after) {
    std::vector<Secret> secrets;
    const auto files = TokenFiles(after);
    for (const auto& file : files) {
      if (std::find(before.begin(), before.end(), file) != before.end()) continue;
      if (file.extension() == ".token") {
        const TokenFile token = TokenFile::Read(file);
        Append(&secrets, token.SecretsOfPin(CKU_SO, "new token's SO PIN", pin));
        for (Secret& secret : token.SecretsOfToken(CKU_SO, pin)) {
          secrets.push_back({"new " + secret.name, std::move(secret.value)});
        }
      }
    }
    for (const auto& file : files) {
      if (std::find(before.begin(), before.end(), file) == before.end()) {
        std::filesystem::remove(file);
      }
    }
    return secrets;
  };
  return plan;
}

PreparedCall SetPin(Client& client, const Bytes& from, const Bytes& to) {
  return PreparedCall("C_SetPIN", AUDIT_SLOT(C_SetPIN))
      .Number(client.session())
      .DataAndLength(from)
      .DataAndLength(to);
}

// To another PIN, after a wrong one was tried; the token gets its PIN back for other scenarios.
Plan ChangePinPlan(Client& client) {
  const Bytes pin = NewPin();
  const Bytes wrong = NewPin();
  Plan plan;
  plan.calls.push_back(SetPin(client, wrong, pin).Expect(CKR_PIN_INCORRECT));
  plan.calls.push_back(SetPin(client, client.token().pin(), pin));
  plan.secrets = {{"wrong old PIN", wrong}, {"new PIN", pin}};
  plan.learn = [pin](Client& after) {
    std::vector<Secret> secrets;
    if (const auto file = TokenFile::Find(after.token().directory() / "tokens")) {
      secrets = file->SecretsOfPin(CKU_USER, "new PIN", pin);
      Append(&secrets, file->SecretsOfToken(CKU_USER, pin));
    }
    after.Must(SetPin(after, pin, after.token().pin()));
    return secrets;
  };
  return plan;
}

Plan LoginUserPlan(Client& client) {
  Plan plan;
  plan.calls.push_back(PreparedCall("C_LoginUser", ck::kSlotLoginUser)
                           .Number(client.session())
                           .Number(CKU_USER)
                           .DataAndLength(client.token().pin())
                           .Number(0)
                           .Number(0));
  plan.secrets = {{"user PIN", client.token().pin()}};
  return plan;
}

// A key that asks for the PIN before each signature.
Plan ContextPlan(Client& client) {
  const KeyPair pair = NewEd25519();
  const Bytes message(40, 0x6d);
  const CK_OBJECT_HANDLE key = client.Create(
      client.Import(KeyKind::kEd25519, pair.private_value, {Flag(CKA_ALWAYS_AUTHENTICATE, true)}));
  Plan plan;
  plan.calls.push_back(PreparedCall("C_SignInit", AUDIT_SLOT(C_SignInit))
                           .Number(client.session())
                           .Mechanism(ck::kEddsa)
                           .Number(key));
  const PreparedCall sign = PreparedCall("C_Sign", AUDIT_SLOT(C_Sign))
                                .Number(client.session())
                                .DataAndLength(message)
                                .Output(128);
  plan.calls.push_back(client.Login(CKU_CONTEXT_SPECIFIC, client.token().pin()));
  plan.calls.push_back(sign);
  plan.secrets = SecretsOfEd25519("Ed25519 key", pair.private_value, message);
  plan.secrets.push_back({"user PIN", client.token().pin()});
  return plan;
}

// From session object to token object: the bytes are sealed from where they are.
Plan CopyToTokenPlan(Client& client) {
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  Plan plan;
  plan.calls.push_back(PreparedCall("C_CopyObject", AUDIT_SLOT(C_CopyObject))
                           .Number(client.session())
                           .Number(key)
                           .Attributes({Flag(CKA_TOKEN, true)})
                           .Handle());
  plan.secrets = {{"generic secret", value}};
  plan.handle = 4;
  return plan;
}

// Keys with CKA_PRIVATE false are found by a process that knows no PIN.
Plan PublicKeysPlan(Client& client) {
  const KeyPair pair = NewX25519();
  const Bytes id = RandomBytes(8);
  const Template template_of_key = {Flag(CKA_TOKEN, true), Flag(CKA_PRIVATE, false), {CKA_ID, id}};
  const KeyPair own = NewX25519();
  {
    Client writer(client.token());
    writer.Must(writer.Import(KeyKind::kX25519, pair.private_value, template_of_key));
  }
  Plan plan;
  plan.calls.push_back(PreparedCall("C_FindObjectsInit", AUDIT_SLOT(C_FindObjectsInit))
                           .Number(client.session())
                           .Attributes({Ulong(CKA_CLASS, CKO_PRIVATE_KEY), {CKA_ID, id}}));
  plan.calls.push_back(
      PreparedCall("C_FindObjectsFinal", AUDIT_SLOT(C_FindObjectsFinal)).Number(client.session()));
  plan.calls.push_back(client.Import(KeyKind::kX25519, own.private_value,
                                     {Flag(CKA_TOKEN, true), Flag(CKA_PRIVATE, false)}));
  plan.calls.push_back(PreparedCall("C_FindObjectsInit", AUDIT_SLOT(C_FindObjectsInit))
                           .Number(client.session())
                           .Attributes({Ulong(CKA_CLASS, CKO_PRIVATE_KEY), {CKA_ID, id}}));
  plan.calls.push_back(PreparedCall("C_FindObjects", AUDIT_SLOT(C_FindObjects))
                           .Number(client.session())
                           .Handle()
                           .Number(1)
                           .Data(BytesOf(CK_ULONG{0})));
  plan.secrets = SecretsOfX25519("token key of another process", pair.private_value);
  Append(&plan.secrets, SecretsOfX25519("token key without a PIN", own.private_value));
  plan.handle = 1;
  return plan;
}

}  // namespace

std::vector<Scenario> TokenScenarios() {
  std::vector<Scenario> all = {
      {"C_InitToken", ck::kNone, 0, InitTokenPlan, false},
      {"C_SetPIN to another PIN", ck::kNone, 0, ChangePinPlan},
      {"copy to a token object", ck::kNone, 0, CopyToTokenPlan},
  };
  const auto for_mechanism = [&](const std::string& name, CK_MECHANISM_TYPE mechanism,
                                 CK_FLAGS function, std::function<Plan(Client&)> prepare,
                                 bool login) {
    all.push_back({name, mechanism, function, std::move(prepare), login});
  };
  // These are not in every module.
  for_mechanism("user login by C_LoginUser", ck::kReseal, CKF_WRAP, LoginUserPlan, false);
  for_mechanism("token objects that need no PIN", ck::kReseal, CKF_WRAP, PublicKeysPlan, false);
  for_mechanism("PIN for one signature", ck::kEddsa, CKF_SIGN, ContextPlan, true);
  for (Scenario& scenario : all) scenario.whole = true;
  return all;
}

}  // namespace secretmem::audit

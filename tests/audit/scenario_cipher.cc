// Encryption and decryption, in one part and, for ciphers, in several.
#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

bool IsCipher(CK_MECHANISM_TYPE mechanism) {
  switch (mechanism) {
    case CKM_AES_ECB:
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
    case CKM_AES_CTR:
    case CKM_AES_GCM:
    case CKM_AES_CCM:
    case ck::kChaCha20Poly1305:
      return true;
    default:
      return false;
  }
}

void AddMechanism(PreparedCall* call, CK_MECHANISM_TYPE mechanism, size_t data_size) {
  const Bytes iv(16, 0x24);
  Bytes parameter;
  switch (mechanism) {
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
      parameter = iv;
      break;
    case CKM_AES_CTR: {
      ck::CtrParams params = {32, {}};
      parameter = BytesOf(params);
      break;
    }
    case CKM_AES_GCM:
      parameter = BytesOf(ck::GcmParams{call->Place(iv), 12, 96, 0, 0, 128});
      break;
    case CKM_AES_CCM:
      parameter = BytesOf(ck::CcmParams{data_size, call->Place(iv), 12, 0, 0, 16});
      break;
    case ck::kChaCha20Poly1305:
      parameter = BytesOf(ck::ChaChaParams{call->Place(iv), 12, 0, 0});
      break;
    case CKM_RSA_PKCS_OAEP:
      parameter = BytesOf(ck::OaepParams{CKM_SHA_1, 1, 1, 0, 0});
      break;
    default:
      break;
  }
  call->Mechanism(mechanism, parameter);
}

PreparedCall Init(Client& client, bool encrypt, CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key,
                  size_t data_size) {
  PreparedCall call = encrypt ? PreparedCall("C_EncryptInit", AUDIT_SLOT(C_EncryptInit))
                              : PreparedCall("C_DecryptInit", AUDIT_SLOT(C_DecryptInit));
  call.Number(client.session());
  AddMechanism(&call, mechanism, data_size);
  return call.Number(key);
}

PreparedCall Crypt(Client& client, bool encrypt, const Bytes& data) {
  PreparedCall call = encrypt ? PreparedCall("C_Encrypt", AUDIT_SLOT(C_Encrypt))
                              : PreparedCall("C_Decrypt", AUDIT_SLOT(C_Decrypt));
  return call.Number(client.session()).DataAndLength(data).Output(2048);
}

Plan CipherPlan(Client& client, CK_MECHANISM_TYPE mechanism, bool encrypt, bool parts) {
  const bool chacha = mechanism == ck::kChaCha20Poly1305;
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(chacha ? KeyKind::kChaCha20 : KeyKind::kAes, value));
  const Bytes text = RandomBytes(64);
  Bytes data = text;
  if (!encrypt) {
    client.Must(Init(client, true, mechanism, key, data.size()));
    client.Must(Crypt(client, true, data));
    data = client.remote().Data(3, client.remote().Word(4));
  }
  Plan plan;
  plan.secrets =
      chacha ? std::vector<Secret>{{"ChaCha20 key", value}} : SecretsOfAes("AES key", value);
  // The client has it, and the module leaves no copy of its own.
  plan.secrets.push_back({"plain text", text});
  plan.calls.push_back(Init(client, encrypt, mechanism, key, 64));
  if (!parts) {
    plan.calls.push_back(Crypt(client, encrypt, data));
    return plan;
  }
  const auto half = data.begin() + 32;
  for (const Bytes& part : {Bytes(data.begin(), half), Bytes(half, data.end())}) {
    PreparedCall call = encrypt ? PreparedCall("C_EncryptUpdate", AUDIT_SLOT(C_EncryptUpdate))
                                : PreparedCall("C_DecryptUpdate", AUDIT_SLOT(C_DecryptUpdate));
    plan.calls.push_back(call.Number(client.session()).DataAndLength(part).Output(2048));
  }
  PreparedCall call = encrypt ? PreparedCall("C_EncryptFinal", AUDIT_SLOT(C_EncryptFinal))
                              : PreparedCall("C_DecryptFinal", AUDIT_SLOT(C_DecryptFinal));
  plan.calls.push_back(call.Number(client.session()).Output(2048));
  return plan;
}

Plan RsaDecryptPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const RsaKey rsa = NewRsa(2048);
  const CK_OBJECT_HANDLE key = client.Create(client.ImportRsa(rsa));
  client.Must(PreparedCall("C_CreateObject", AUDIT_SLOT(C_CreateObject))
                  .Number(client.session())
                  .Attributes({Ulong(CKA_CLASS, CKO_PUBLIC_KEY),
                               Ulong(CKA_KEY_TYPE, CKK_RSA),
                               Flag(CKA_TOKEN, false),
                               Flag(CKA_ENCRYPT, true),
                               {CKA_MODULUS, rsa.modulus},
                               {CKA_PUBLIC_EXPONENT, rsa.public_exponent}})
                  .Handle());
  const CK_OBJECT_HANDLE public_key = client.remote().Word(3);
  client.Track(public_key);
  Bytes message(mechanism == CKM_RSA_X_509 ? 256 : 32, 0);
  const Bytes random = RandomBytes(32);
  std::copy(random.begin(), random.end(), message.end() - 32);
  client.Must(Init(client, true, mechanism, public_key, 0));
  client.Must(Crypt(client, true, message));
  const Bytes sealed = client.remote().Data(3, client.remote().Word(4));
  Plan plan;
  plan.secrets = SecretsOfRsa(rsa);
  plan.secrets.push_back({"plain text", random});
  plan.calls.push_back(Init(client, false, mechanism, key, 0));
  plan.calls.push_back(Crypt(client, false, sealed));
  return plan;
}

// What one call decrypts and hashes, and encrypts and signs.
Plan DualPlan(Client& client, bool encrypt) {
  const Bytes value = RandomBytes(32);
  const Bytes mac_value = RandomBytes(64);
  const Bytes text = RandomBytes(64);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kAes, value));
  const CK_OBJECT_HANDLE mac_key = client.Create(client.Import(KeyKind::kGeneric, mac_value));
  Bytes data = text;
  if (!encrypt) {
    client.Must(Init(client, true, CKM_AES_CBC, key, data.size()));
    client.Must(Crypt(client, true, data));
    data = client.remote().Data(3, client.remote().Word(4));
  }
  Plan plan;
  plan.secrets = SecretsOfAes("AES key", value);
  plan.secrets.push_back({"plain text", text});
  Append(&plan.secrets, SecretsOfHmac("SHA256", "HMAC key", mac_value));
  plan.calls.push_back(Init(client, encrypt, CKM_AES_CBC, key, data.size()));
  PreparedCall other = encrypt ? PreparedCall("C_SignInit", AUDIT_SLOT(C_SignInit))
                               : PreparedCall("C_VerifyInit", AUDIT_SLOT(C_VerifyInit));
  plan.calls.push_back(other.Number(client.session()).Mechanism(CKM_SHA256_HMAC).Number(mac_key));
  PreparedCall both =
      encrypt ? PreparedCall("C_SignEncryptUpdate", AUDIT_SLOT(C_SignEncryptUpdate))
              : PreparedCall("C_DecryptVerifyUpdate", AUDIT_SLOT(C_DecryptVerifyUpdate));
  plan.calls.push_back(both.Number(client.session()).DataAndLength(data).Output(2048));
  return plan;
}

}  // namespace

void AddCipherScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function,
                        std::vector<Scenario>* all) {
  const bool encrypt = function == CKF_ENCRYPT;
  if (!encrypt && function != CKF_DECRYPT) return;
  auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  const std::string name = MechanismName(mechanism) + (encrypt ? " encryption" : " decryption");
  if (IsCipher(mechanism)) {
    add(name, [=](Client& client) { return CipherPlan(client, mechanism, encrypt, false); });
    add(name + " in parts",
        [=](Client& client) { return CipherPlan(client, mechanism, encrypt, true); });
  }
  if (mechanism == CKM_AES_CBC) {
    add(encrypt ? "encryption with a MAC" : "decryption with a MAC",
        [=](Client& client) { return DualPlan(client, encrypt); });
  }
  if (!encrypt &&
      (mechanism == CKM_RSA_PKCS || mechanism == CKM_RSA_PKCS_OAEP || mechanism == CKM_RSA_X_509)) {
    add("RSA-2048 " + name, [=](Client& client) { return RsaDecryptPlan(client, mechanism); });
  }
}

}  // namespace secretmem::audit

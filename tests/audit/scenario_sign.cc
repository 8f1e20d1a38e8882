// Signatures and message authentication codes, in one part and in several.
#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

const Bytes kMessage = {'t', 'h', 'e', ' ', 'a', 'u', 'd', 'i', 't', 'e', 'd', ' ',
                        'm', 'e', 's', 's', 'a', 'g', 'e', ' ', 'i', 's', ' ', 'l',
                        'o', 'n', 'g', ' ', 'e', 'n', 'o', 'u', 'g', 'h', ' ', '!'};

// The hash of an HMAC mechanism, or "" for any other.
std::string HmacHash(CK_MECHANISM_TYPE mechanism) {
  switch (mechanism) {
    case CKM_SHA_1_HMAC:
    case CKM_SHA_1_HMAC_GENERAL:
      return "SHA1";
    case CKM_SHA224_HMAC:
    case CKM_SHA224_HMAC_GENERAL:
      return "SHA224";
    case CKM_SHA256_HMAC:
    case CKM_SHA256_HMAC_GENERAL:
      return "SHA256";
    case CKM_SHA384_HMAC:
    case CKM_SHA384_HMAC_GENERAL:
      return "SHA384";
    case CKM_SHA512_HMAC:
    case CKM_SHA512_HMAC_GENERAL:
      return "SHA512";
    case CKM_SHA512_256_HMAC:
    case CKM_SHA512_256_HMAC_GENERAL:
      return "SHA512-256";
    default:
      return "";
  }
}

bool IsGeneralHmac(CK_MECHANISM_TYPE mechanism) {
  return mechanism == CKM_SHA_1_HMAC_GENERAL || mechanism == CKM_SHA224_HMAC_GENERAL ||
         mechanism == CKM_SHA256_HMAC_GENERAL || mechanism == CKM_SHA384_HMAC_GENERAL ||
         mechanism == CKM_SHA512_HMAC_GENERAL || mechanism == CKM_SHA512_256_HMAC_GENERAL;
}

// The hash that an ECDSA mechanism applies, "" when it signs what it is given.
std::string EcdsaHash(CK_MECHANISM_TYPE mechanism) {
  static const char* const kHashes[] = {"", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512"};
  return kHashes[mechanism - CKM_ECDSA];
}

bool IsRsaSignature(CK_MECHANISM_TYPE mechanism) {
  return mechanism == CKM_RSA_PKCS || mechanism == CKM_RSA_X_509 || mechanism == CKM_RSA_PKCS_PSS ||
         mechanism == CKM_SHA1_RSA_PKCS || (mechanism >= 0x40 && mechanism <= 0x47) ||
         mechanism == CKM_SHA1_RSA_PKCS_PSS;
}

Bytes RsaParameter(CK_MECHANISM_TYPE mechanism) {
  switch (mechanism) {
    case CKM_SHA1_RSA_PKCS_PSS:
      return BytesOf(ck::PssParams{CKM_SHA_1, 1, 20});
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
      return BytesOf(ck::PssParams{CKM_SHA256, 2, 32});
    case CKM_SHA384_RSA_PKCS_PSS:
      return BytesOf(ck::PssParams{CKM_SHA384, 3, 48});
    case CKM_SHA512_RSA_PKCS_PSS:
      return BytesOf(ck::PssParams{CKM_SHA512, 4, 64});
    case 0x47:  // CKM_SHA224_RSA_PKCS_PSS
      return BytesOf(ck::PssParams{CKM_SHA224, 5, 28});
    default:
      return {};
  }
}

PreparedCall SignInit(Client& client, CK_MECHANISM_TYPE mechanism, const Bytes& parameter,
                      CK_OBJECT_HANDLE key) {
  return PreparedCall("C_SignInit", AUDIT_SLOT(C_SignInit))
      .Number(client.session())
      .Mechanism(mechanism, parameter)
      .Number(key);
}

PreparedCall Sign(Client& client, const Bytes& data) {
  return PreparedCall("C_Sign", AUDIT_SLOT(C_Sign))
      .Number(client.session())
      .DataAndLength(data)
      .Output(1024);
}

void AddMultiPart(Client& client, Plan* plan, const Bytes& data) {
  const auto half = data.begin() + 20;
  for (const Bytes& part : {Bytes(data.begin(), half), Bytes(half, data.end())}) {
    plan->calls.push_back(PreparedCall("C_SignUpdate", AUDIT_SLOT(C_SignUpdate))
                              .Number(client.session())
                              .DataAndLength(part));
  }
  plan->calls.push_back(
      PreparedCall("C_SignFinal", AUDIT_SLOT(C_SignFinal)).Number(client.session()).Output(1024));
}

Plan SymmetricPlan(Client& client, CK_MECHANISM_TYPE mechanism, bool verify, bool parts) {
  const std::string hash = HmacHash(mechanism);
  const bool aes = hash.empty();
  const Bytes value = RandomBytes(aes ? 32 : 64);  // some modules want no key below the hash's size
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(aes ? KeyKind::kAes : KeyKind::kGeneric, value));
  const bool general = IsGeneralHmac(mechanism) || mechanism == ck::kAesCmacGeneral;
  const Bytes parameter = general ? BytesOf(CK_ULONG{16}) : Bytes();
  Plan plan;
  plan.secrets = aes ? SecretsOfAes("AES key", value) : SecretsOfHmac(hash, "HMAC key", value);
  if (!verify) {
    plan.calls.push_back(SignInit(client, mechanism, parameter, key));
    if (parts) {
      AddMultiPart(client, &plan, kMessage);
    } else {
      plan.calls.push_back(Sign(client, kMessage));
    }
    return plan;
  }
  client.Must(SignInit(client, mechanism, parameter, key));
  client.Must(Sign(client, kMessage));
  const Bytes mac = client.remote().Data(3, client.remote().Word(4));
  plan.calls.push_back(PreparedCall("C_VerifyInit", AUDIT_SLOT(C_VerifyInit))
                           .Number(client.session())
                           .Mechanism(mechanism, parameter)
                           .Number(key));
  plan.calls.push_back(PreparedCall("C_Verify", AUDIT_SLOT(C_Verify))
                           .Number(client.session())
                           .DataAndLength(kMessage)
                           .DataAndLength(mac));
  return plan;
}

// Verification by a signature that comes first.
Plan SignatureFirstPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const Bytes value = RandomBytes(64);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  Plan plan;
  plan.secrets = SecretsOfHmac(HmacHash(mechanism), "HMAC key", value);
  plan.calls.push_back(PreparedCall("C_VerifySignatureInit", ck::kSlotVerifySignatureInit)
                           .Number(client.session())
                           .Mechanism(mechanism)
                           .Number(key)
                           .DataAndLength(Hmac(HmacHash(mechanism), value, kMessage)));
  plan.calls.push_back(PreparedCall("C_VerifySignature", ck::kSlotVerifySignature)
                           .Number(client.session())
                           .DataAndLength(kMessage));
  return plan;
}

Plan EddsaPlan(Client& client, bool parts) {
  const KeyPair pair = NewEd25519();
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kEd25519, pair.private_value));
  Plan plan;
  plan.secrets = SecretsOfEd25519("Ed25519 key", pair.private_value, kMessage);
  plan.calls.push_back(SignInit(client, ck::kEddsa, {}, key));
  if (parts) {
    AddMultiPart(client, &plan, kMessage);
  } else {
    plan.calls.push_back(Sign(client, kMessage));
  }
  return plan;
}

Plan EcdsaPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const KeyPair pair = NewP256();
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kP256, pair.private_value));
  const std::string hash = EcdsaHash(mechanism);
  const Bytes digest = Sha(hash.empty() ? "SHA256" : hash, kMessage);
  Plan plan;
  plan.secrets = {{"P-256 key", pair.private_value}};
  plan.calls.push_back(SignInit(client, mechanism, {}, key));
  plan.calls.push_back(Sign(client, hash.empty() ? digest : kMessage));
  plan.learn = [pair, digest](Client& after) {
    return SecretsOfP256("P-256 key", pair.private_value, digest, after.remote().Data(3, 64));
  };
  return plan;
}

Plan RsaPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const RsaKey rsa = NewRsa(2048);
  const CK_OBJECT_HANDLE key = client.Create(client.ImportRsa(rsa));
  Plan plan;
  plan.secrets = SecretsOfRsa(rsa);
  plan.calls.push_back(SignInit(client, mechanism, RsaParameter(mechanism), key));
  plan.calls.push_back(
      Sign(client, mechanism == CKM_RSA_PKCS_PSS ? Sha("SHA256", kMessage) : kMessage));
  return plan;
}

Plan RecoverPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const RsaKey rsa = NewRsa(2048);
  const CK_OBJECT_HANDLE key = client.Create(client.ImportRsa(rsa));
  Plan plan;
  plan.secrets = SecretsOfRsa(rsa);
  plan.calls.push_back(PreparedCall("C_SignRecoverInit", AUDIT_SLOT(C_SignRecoverInit))
                           .Number(client.session())
                           .Mechanism(mechanism, {})
                           .Number(key));
  plan.calls.push_back(PreparedCall("C_SignRecover", AUDIT_SLOT(C_SignRecover))
                           .Number(client.session())
                           .DataAndLength(kMessage)
                           .Output(1024));
  return plan;
}

Plan DigestKeyPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const Bytes value = RandomBytes(48);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  Plan plan;
  plan.secrets = {{"digested key", value}};
  plan.calls.push_back(PreparedCall("C_DigestInit", AUDIT_SLOT(C_DigestInit))
                           .Number(client.session())
                           .Mechanism(mechanism, {}));
  plan.calls.push_back(
      PreparedCall("C_DigestKey", AUDIT_SLOT(C_DigestKey)).Number(client.session()).Number(key));
  plan.calls.push_back(
      PreparedCall("C_DigestFinal", AUDIT_SLOT(C_DigestFinal)).Number(client.session()).Output(64));
  return plan;
}

}  // namespace

void AddSigningScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function,
                         std::vector<Scenario>* all) {
  auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  const std::string name = MechanismName(mechanism);
  if (function == CKF_DIGEST) {
    add(name + " of a key", [=](Client& client) { return DigestKeyPlan(client, mechanism); });
  }
  const bool symmetric =
      !HmacHash(mechanism).empty() || mechanism == ck::kAesCmac || mechanism == ck::kAesCmacGeneral;
  if (symmetric && function == CKF_SIGN) {
    add(name + " signing",
        [=](Client& client) { return SymmetricPlan(client, mechanism, false, false); });
    add(name + " signing in parts",
        [=](Client& client) { return SymmetricPlan(client, mechanism, false, true); });
  }
  if (symmetric && function == CKF_VERIFY) {
    add(name + " verification",
        [=](Client& client) { return SymmetricPlan(client, mechanism, true, false); });
  }
  if (mechanism == CKM_SHA256_HMAC && function == CKF_VERIFY) {
    add(name + " verification, signature first",
        [=](Client& client) { return SignatureFirstPlan(client, mechanism); });
    all->back().needs = ck::kReseal;  // a function of PKCS#11 3.2
  }
  if (function == CKF_SIGN_RECOVER && IsRsaSignature(mechanism)) {
    add("RSA-2048 " + name + " signing with recovery",
        [=](Client& client) { return RecoverPlan(client, mechanism); });
  }
  if (function != CKF_SIGN) return;
  if (mechanism == ck::kEddsa) {
    add("Ed25519 signing", [](Client& client) { return EddsaPlan(client, false); });
  } else if (mechanism >= CKM_ECDSA && mechanism <= CKM_ECDSA + 5) {
    add("P-256 " + name + " signing", [=](Client& client) { return EcdsaPlan(client, mechanism); });
  } else if (IsRsaSignature(mechanism)) {
    add("RSA-2048 " + name + " signing",
        [=](Client& client) { return RsaPlan(client, mechanism); });
  }
}

}  // namespace secretmem::audit

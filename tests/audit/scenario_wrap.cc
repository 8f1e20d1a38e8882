// Wrapping and unwrapping.
#include "tests/audit/expected.h"
#include "tests/audit/public_keys.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

bool IsAesWrap(CK_MECHANISM_TYPE mechanism) {
  switch (mechanism) {
    case ck::kAesKeyWrap:
    case ck::kAesKeyWrapPad:
    case ck::kAesKeyWrapKwp:
    case CKM_AES_ECB:
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD:
    case CKM_AES_GCM:
      return true;
    default:
      return false;
  }
}

bool IsRsaWrap(CK_MECHANISM_TYPE mechanism) {
  return mechanism == CKM_RSA_PKCS || mechanism == CKM_RSA_PKCS_OAEP ||
         mechanism == ck::kRsaAesKeyWrap;
}

Bytes WrapParameter(PreparedCall* call, CK_MECHANISM_TYPE mechanism) {
  if (mechanism == CKM_AES_GCM) {
    return BytesOf(ck::GcmParams{call->Place(Bytes(12, 0x24)), 12, 96, 0, 0, 128});
  }
  if (mechanism == CKM_AES_CBC || mechanism == CKM_AES_CBC_PAD) return Bytes(16, 0x24);
  if (mechanism == ck::kRsaAesKeyWrap) {
    const uint64_t oaep = call->Place(BytesOf(ck::OaepParams{CKM_SHA256, 2, 1, 0, 0}));
    return BytesOf(ck::RsaAesKeyWrapParams{256, oaep});
  }
  if (mechanism == CKM_RSA_PKCS_OAEP) return BytesOf(ck::OaepParams{CKM_SHA_1, 1, 1, 0, 0});
  if (mechanism == ck::kEcdhXAesKeyWrap || mechanism == ck::kEcdhAesKeyWrap ||
      mechanism == ck::kEcdhCofAesKeyWrap) {
    return BytesOf(ck::EcdhAesKeyWrapParams{256, 6, 0, 0});
  }
  return {};
}

PreparedCall Wrap(Client& client, CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE wrapping,
                  CK_OBJECT_HANDLE key) {
  PreparedCall call("C_WrapKey", AUDIT_SLOT(C_WrapKey));
  const Bytes parameter = WrapParameter(&call, mechanism);
  return call.Number(client.session())
      .Mechanism(mechanism, parameter)
      .Number(wrapping)
      .Number(key)
      .Output(2048);
}

Template UnwrappedTemplate() {
  return {Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
          Flag(CKA_TOKEN, false),           Flag(CKA_PRIVATE, true),
          Flag(CKA_SENSITIVE, true),        Flag(CKA_EXTRACTABLE, false)};
}

struct WrappingPair {
  CK_OBJECT_HANDLE wrapping = 0;
  CK_OBJECT_HANDLE unwrapping = 0;
  std::vector<Secret> secrets;
};

WrappingPair MakeWrappingPair(Client& client, CK_MECHANISM_TYPE mechanism) {
  if (IsAesWrap(mechanism)) {
    const Bytes value = RandomBytes(32);
    const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kAes, value));
    return {key, key, SecretsOfAes("wrapping key", value)};
  }
  if (IsRsaWrap(mechanism)) {
    const RsaKey rsa = NewRsa(2048);
    return {CreatePublic(client, {Ulong(CKA_CLASS, CKO_PUBLIC_KEY),
                                  Ulong(CKA_KEY_TYPE, CKK_RSA),
                                  Flag(CKA_TOKEN, false),
                                  Flag(CKA_WRAP, true),
                                  {CKA_MODULUS, rsa.modulus},
                                  {CKA_PUBLIC_EXPONENT, rsa.public_exponent}}),
            client.Create(client.ImportRsa(rsa)), SecretsOfRsa(rsa)};
  }
  const bool x25519 = mechanism == ck::kEcdhXAesKeyWrap;
  const KeyKind kind = x25519 ? KeyKind::kX25519 : KeyKind::kP256;
  const KeyPair pair = x25519 ? NewX25519() : NewP256();
  return {CreatePublicPoint(client, kind, pair.public_value, CKA_WRAP),
          client.Create(client.Import(kind, pair.private_value, {Flag(CKA_UNWRAP, true)})),
          {{"unwrapping key", pair.private_value}}};
}

Plan WrapPlan(Client& client, CK_MECHANISM_TYPE mechanism, bool wrap) {
  WrappingPair pair = MakeWrappingPair(client, mechanism);
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(KeyKind::kGeneric, value, {Flag(CKA_EXTRACTABLE, true)}));
  Plan plan;
  plan.secrets = pair.secrets;
  plan.secrets.push_back({"wrapped key", value});
  if (wrap) {
    plan.calls.push_back(Wrap(client, mechanism, pair.wrapping, key));
    return plan;
  }
  client.Must(Wrap(client, mechanism, pair.wrapping, key));
  const Bytes wrapped = client.remote().Data(4, client.remote().Word(5));
  PreparedCall call("C_UnwrapKey", AUDIT_SLOT(C_UnwrapKey));
  const Bytes parameter = WrapParameter(&call, mechanism);
  plan.calls.push_back(call.Number(client.session())
                           .Mechanism(mechanism, parameter)
                           .Number(pair.unwrapping)
                           .DataAndLength(wrapped)
                           .Attributes(UnwrappedTemplate())
                           .Handle());
  plan.handle = 7;
  return plan;
}

// C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated; the latter once with other associated data.
Plan AuthenticatedPlan(Client& client, bool wrap) {
  const Bytes value = RandomBytes(32);
  const Bytes target = RandomBytes(32);
  const Bytes associated(20, 0x31);
  const CK_OBJECT_HANDLE wrapping = client.Create(client.Import(KeyKind::kAes, value));
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(KeyKind::kGeneric, target, {Flag(CKA_EXTRACTABLE, true)}));
  PreparedCall wrap_call("C_WrapKeyAuthenticated", ck::kSlotWrapKeyAuthenticated);
  const Bytes parameter = WrapParameter(&wrap_call, CKM_AES_GCM);
  wrap_call.Number(client.session())
      .Mechanism(CKM_AES_GCM, parameter)
      .Number(wrapping)
      .Number(key)
      .DataAndLength(associated)
      .Output(256);
  Plan plan;
  plan.secrets = SecretsOfAes("wrapping key", value);
  plan.secrets.push_back({"wrapped key", target});
  if (wrap) {
    plan.calls.push_back(wrap_call);
    return plan;
  }
  client.Must(wrap_call);
  const Bytes wrapped = client.remote().Data(6, client.remote().Word(7));
  const auto unwrap = [&](const Bytes& with) {
    PreparedCall call("C_UnwrapKeyAuthenticated", ck::kSlotUnwrapKeyAuthenticated);
    const Bytes its = WrapParameter(&call, CKM_AES_GCM);
    return call.Number(client.session())
        .Mechanism(CKM_AES_GCM, its)
        .Number(wrapping)
        .DataAndLength(wrapped)
        .Attributes(UnwrappedTemplate())
        .DataAndLength(with)
        .Handle();
  };
  plan.calls.push_back(unwrap(Bytes(20, 0x32)).Expect(CKR_WRAPPED_KEY_INVALID));
  plan.calls.push_back(unwrap(associated));
  plan.handle = 9;
  return plan;
}

// A private key is wrapped as PKCS#8.
Plan WrapPrivatePlan(Client& client, CK_MECHANISM_TYPE mechanism, KeyKind kind, bool wrap) {
  const WrappingPair pair = MakeWrappingPair(client, mechanism);
  Plan plan;
  plan.secrets = pair.secrets;
  CK_KEY_TYPE type = CKK_RSA;
  CK_OBJECT_HANDLE key = 0;
  if (kind == KeyKind::kRsa) {
    const RsaKey rsa = NewRsa(2048);
    Append(&plan.secrets, SecretsOfRsa(rsa));
    key = client.Create(client.ImportRsa(rsa, true));
  } else {
    type = kind == KeyKind::kP256      ? CKK_EC
           : kind == KeyKind::kEd25519 ? ck::kKeyEdwards
                                       : ck::kKeyMontgomery;
    const KeyPair target = kind == KeyKind::kP256      ? NewP256()
                           : kind == KeyKind::kEd25519 ? NewEd25519()
                                                       : NewX25519();
    plan.secrets.push_back({"wrapped key", target.private_value});
    key = client.Create(client.Import(kind, target.private_value, {Flag(CKA_EXTRACTABLE, true)}));
  }
  if (wrap) {
    plan.calls.push_back(Wrap(client, mechanism, pair.wrapping, key));
    return plan;
  }
  client.Must(Wrap(client, mechanism, pair.wrapping, key));
  const Bytes wrapped = client.remote().Data(4, client.remote().Word(5));
  PreparedCall call("C_UnwrapKey", AUDIT_SLOT(C_UnwrapKey));
  const Bytes parameter = WrapParameter(&call, mechanism);
  plan.calls.push_back(
      call.Number(client.session())
          .Mechanism(mechanism, parameter)
          .Number(pair.unwrapping)
          .DataAndLength(wrapped)
          .Attributes({Ulong(CKA_CLASS, CKO_PRIVATE_KEY), Ulong(CKA_KEY_TYPE, type),
                       Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true)})
          .Handle());
  plan.handle = 7;
  return plan;
}

}  // namespace

void AddWrappingScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function,
                          std::vector<Scenario>* all) {
  auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  const bool wrap = function == CKF_WRAP;
  const bool known = IsAesWrap(mechanism) || IsRsaWrap(mechanism) ||
                     mechanism == ck::kEcdhAesKeyWrap || mechanism == ck::kEcdhXAesKeyWrap ||
                     mechanism == ck::kEcdhCofAesKeyWrap;
  if (known && (wrap || function == CKF_UNWRAP)) {
    add(MechanismName(mechanism) + (wrap ? " wrapping" : " unwrapping"),
        [=](Client& client) { return WrapPlan(client, mechanism, wrap); });
  }
  if (mechanism == CKM_AES_GCM && (wrap || function == CKF_UNWRAP)) {
    all->push_back({std::string("AES_GCM authenticated ") + (wrap ? "wrapping" : "unwrapping"),
                    mechanism, function,
                    [=](Client& client) { return AuthenticatedPlan(client, wrap); }, true,
                    ck::kReseal});  // functions of PKCS#11 3.2
  }
  const bool wraps_private_keys =
      mechanism == ck::kAesKeyWrapKwp || mechanism == ck::kRsaAesKeyWrap;
  if (wraps_private_keys && (wrap || function == CKF_UNWRAP)) {
    struct Target {
      const char* name;
      KeyKind kind;
      CK_MECHANISM_TYPE needs;
    };
    for (const Target& target : {Target{"X25519", KeyKind::kX25519, ck::kMontgomeryKeyPairGen},
                                 {"P-256", KeyKind::kP256, CKM_ECDSA},
                                 {"Ed25519", KeyKind::kEd25519, ck::kEddsa},
                                 {"RSA-2048", KeyKind::kRsa, CKM_RSA_PKCS}}) {
      all->push_back(
          {MechanismName(mechanism) + (wrap ? " wrapping" : " unwrapping") + " of " + target.name,
           mechanism, function,
           [=](Client& client) { return WrapPrivatePlan(client, mechanism, target.kind, wrap); },
           true, target.needs});
    }
  }
}

}  // namespace secretmem::audit

// Wrapping and unwrapping, encapsulation and decapsulation.
#include "tests/audit/expected.h"
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

CK_OBJECT_HANDLE CreatePublic(Client& client, const Template& attributes) {
  client.Must(PreparedCall("C_CreateObject", AUDIT_SLOT(C_CreateObject))
                  .Number(client.session())
                  .Attributes(attributes)
                  .Handle());
  client.Track(client.remote().Word(3));
  return client.remote().Word(3);
}

CK_OBJECT_HANDLE CreatePublicPoint(Client& client, KeyKind kind, const Bytes& point,
                                   CK_ATTRIBUTE_TYPE use) {
  const bool x25519 = kind == KeyKind::kX25519;
  const Bytes der = Concat({{0x04, static_cast<uint8_t>(point.size())}, point});
  return CreatePublic(client, {Ulong(CKA_CLASS, CKO_PUBLIC_KEY),
                               Ulong(CKA_KEY_TYPE, x25519 ? ck::kKeyMontgomery : CKK_EC),
                               Flag(CKA_TOKEN, false),
                               Flag(use, true),
                               {CKA_EC_PARAMS, EcParamsOf(kind)},
                               {CKA_EC_POINT, x25519 ? point : der}});
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

// A private key is wrapped as PKCS#8.
Plan WrapPrivatePlan(Client& client, CK_MECHANISM_TYPE mechanism, KeyKind kind, bool wrap) {
  const WrappingPair pair = MakeWrappingPair(client, mechanism);
  const KeyPair target = kind == KeyKind::kP256      ? NewP256()
                         : kind == KeyKind::kEd25519 ? NewEd25519()
                                                     : NewX25519();
  const CK_KEY_TYPE type = kind == KeyKind::kP256      ? CKK_EC
                           : kind == KeyKind::kEd25519 ? ck::kKeyEdwards
                                                       : ck::kKeyMontgomery;
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(kind, target.private_value, {Flag(CKA_EXTRACTABLE, true)}));
  Plan plan;
  plan.secrets = pair.secrets;
  plan.secrets.push_back({"wrapped key", target.private_value});
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

Plan KemPlan(Client& client, CK_MECHANISM_TYPE mechanism, bool encapsulate) {
  const KeyPair pair = NewX25519();
  const KeyPair sender = NewX25519();
  ck::Ecdh1Params params = {6, 0, 0, 0, 0};  // the SHA-256 KDF
  Plan plan;
  if (encapsulate) {
    const CK_OBJECT_HANDLE key =
        CreatePublicPoint(client, KeyKind::kX25519, pair.public_value, ck::kEncapsulate);
    plan.calls.push_back(
        PreparedCall("C_EncapsulateKey", ck::kSlotEncapsulateKey)
            .Number(client.session())
            .Mechanism(mechanism, BytesOf(params))
            .Number(key)
            .Attributes({Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                         Flag(CKA_TOKEN, false), Ulong(CKA_VALUE_LEN, 32)})
            .Output(64)
            .Handle());
    plan.learn = [pair](Client& after) {
      after.Track(after.remote().Word(7));
      const Bytes shared = X25519(pair.private_value, after.remote().Data(5, 32));
      return SecretsOfField25519("shared secret", shared);
    };
    return plan;
  }
  const CK_OBJECT_HANDLE key = client.Create(
      client.Import(KeyKind::kX25519, pair.private_value, {Flag(ck::kDecapsulate, true)}));
  const Bytes shared = X25519(pair.private_value, sender.public_value);
  plan.secrets = SecretsOfX25519("X25519 key", pair.private_value);
  Append(&plan.secrets, SecretsOfField25519("shared secret", shared));
  plan.calls.push_back(
      PreparedCall("C_DecapsulateKey", ck::kSlotDecapsulateKey)
          .Number(client.session())
          .Mechanism(mechanism, BytesOf(params))
          .Number(key)
          .Attributes({Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                       Flag(CKA_TOKEN, false), Ulong(CKA_VALUE_LEN, 32)})
          .DataAndLength(sender.public_value)
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
  if (mechanism == ck::kAesKeyWrapKwp && (wrap || function == CKF_UNWRAP)) {
    struct Target {
      const char* name;
      KeyKind kind;
      CK_MECHANISM_TYPE needs;
    };
    for (const Target& target : {Target{"X25519", KeyKind::kX25519, ck::kMontgomeryKeyPairGen},
                                 {"P-256", KeyKind::kP256, CKM_ECDSA},
                                 {"Ed25519", KeyKind::kEd25519, ck::kEddsa}}) {
      all->push_back(
          {MechanismName(mechanism) + (wrap ? " wrapping" : " unwrapping") + " of " + target.name,
           mechanism, function,
           [=](Client& client) { return WrapPrivatePlan(client, mechanism, target.kind, wrap); },
           true, target.needs});
    }
  }
  if (mechanism != CKM_ECDH1_DERIVE) return;
  if (function == ck::kFlagEncapsulate) {
    add("X25519 encapsulation", [=](Client& client) { return KemPlan(client, mechanism, true); });
  }
  if (function == ck::kFlagDecapsulate) {
    add("X25519 decapsulation", [=](Client& client) { return KemPlan(client, mechanism, false); });
  }
}

}  // namespace secretmem::audit

// HPKE and resealing, the project's own mechanisms.
#include "tests/audit/expected.h"
#include "tests/audit/public_keys.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

// AES-256-GCM in base mode, no info.
constexpr ck::HpkeParams kParams = {0, 0x20, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

Bytes Text(const char* text) { return Bytes(text, text + std::strlen(text)); }

Bytes Extract(const Bytes& suite, const Bytes& salt, const char* label, const Bytes& ikm) {
  return Hmac("SHA256", salt.empty() ? Bytes(32) : salt,
              Concat({Text("HPKE-v1"), suite, Text(label), ikm}));
}

Bytes Expand(const Bytes& suite, const Bytes& prk, const char* label, const Bytes& info,
             uint8_t length) {
  Bytes block =
      Hmac("SHA256", prk, Concat({{0, length}, Text("HPKE-v1"), suite, Text(label), info, {1}}));
  block.resize(length);
  return block;
}

// And from the agreement of |private_value|, whose public key is |public_value|, with |enc| (4.1).
std::vector<Secret> SecretsOfHpke(const Bytes& private_value, const Bytes& public_value,
                                  const Bytes& enc) {
  const Bytes dh = X25519(private_value, enc);
  std::vector<Secret> all = SecretsOfField25519("agreement", dh);
  const Bytes kem = Concat({Text("KEM"), {0x00, 0x20}});
  const Bytes eae = Extract(kem, {}, "eae_prk", dh);
  const Bytes shared = Expand(kem, eae, "shared_secret", Concat({enc, public_value}), 32);
  all.push_back({"eae_prk", eae});
  Append(&all, SecretsOfHpkeSchedule({0x00, 0x20}, shared));
  return all;
}

struct Recipient {
  KeyPair pair = NewX25519();
  CK_OBJECT_HANDLE to = 0;
  CK_OBJECT_HANDLE from = 0;

  Recipient(Client& client, CK_ATTRIBUTE_TYPE seal, CK_ATTRIBUTE_TYPE open)
      : to(CreatePublicPoint(client, KeyKind::kX25519, pair.public_value, seal)),
        from(client.Create(
            client.Import(KeyKind::kX25519, pair.private_value, {Flag(open, true)}))) {}

  std::vector<Secret> Secrets(const Bytes& enc) const {
    std::vector<Secret> all = SecretsOfX25519("X25519 key", pair.private_value);
    Append(&all, SecretsOfHpke(pair.private_value, pair.public_value, enc));
    return all;
  }
};

Bytes First32(const Bytes& sealed) { return Bytes(sealed.begin(), sealed.begin() + 32); }

Template SecretTemplate() {
  return {Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
          Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), Flag(CKA_SENSITIVE, true)};
}

PreparedCall Wrap(Client& client, CK_MECHANISM_TYPE mechanism, const Bytes& parameter,
                  CK_OBJECT_HANDLE to, CK_OBJECT_HANDLE key) {
  return PreparedCall("C_WrapKey", AUDIT_SLOT(C_WrapKey))
      .Number(client.session())
      .Mechanism(mechanism, parameter)
      .Number(to)
      .Number(key)
      .Output(256);
}

Plan WrapPlan(Client& client, bool wrap) {
  const Recipient recipient(client, CKA_WRAP, CKA_UNWRAP);
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(KeyKind::kGeneric, value, {Flag(CKA_EXTRACTABLE, true)}));
  Plan plan;
  plan.secrets = {{"wrapped key", value}};
  PreparedCall call = Wrap(client, ck::kHpke, BytesOf(kParams), recipient.to, key);
  if (wrap) {
    plan.calls.push_back(call);
    plan.learn = [recipient](Client& after) {
      return recipient.Secrets(after.remote().Data(4, 32));
    };
    return plan;
  }
  client.Must(call);
  const Bytes wrapped = client.remote().Data(4, client.remote().Word(5));
  Append(&plan.secrets, recipient.Secrets(First32(wrapped)));
  plan.calls.push_back(PreparedCall("C_UnwrapKey", AUDIT_SLOT(C_UnwrapKey))
                           .Number(client.session())
                           .Mechanism(ck::kHpke, BytesOf(kParams))
                           .Number(recipient.from)
                           .DataAndLength(wrapped)
                           .Attributes(SecretTemplate())
                           .Handle());
  plan.handle = 7;
  return plan;
}

// What is encrypted is the client's; the keys are not.
Plan DataPlan(Client& client, bool encrypt) {
  const Recipient recipient(client, CKA_ENCRYPT, CKA_DECRYPT);
  const auto init = [&](bool seal) {
    return PreparedCall(seal ? "C_EncryptInit" : "C_DecryptInit",
                        seal ? AUDIT_SLOT(C_EncryptInit) : AUDIT_SLOT(C_DecryptInit))
        .Number(client.session())
        .Mechanism(ck::kHpke, BytesOf(kParams))
        .Number(seal ? recipient.to : recipient.from);
  };
  const auto whole = [&](bool seal, const Bytes& in) {
    return PreparedCall(seal ? "C_Encrypt" : "C_Decrypt",
                        seal ? AUDIT_SLOT(C_Encrypt) : AUDIT_SLOT(C_Decrypt))
        .Number(client.session())
        .DataAndLength(in)
        .Output(256);
  };
  Plan plan;
  if (encrypt) {
    plan.calls = {init(true), whole(true, Bytes(64, 0x55))};
    plan.learn = [recipient](Client& after) {
      return recipient.Secrets(First32(after.remote().Data(3, 32)));
    };
    return plan;
  }
  client.Must(init(true));
  client.Must(whole(true, Bytes(64, 0x55)));
  const Bytes sealed = client.remote().Data(3, client.remote().Word(4));
  plan.secrets = recipient.Secrets(First32(sealed));
  plan.calls = {init(false), whole(false, sealed)};
  return plan;
}

Plan KemPlan(Client& client, bool encapsulate) {
  const Recipient recipient(client, ck::kEncapsulate, ck::kDecapsulate);
  Template wanted = SecretTemplate();
  wanted.push_back(Ulong(CKA_VALUE_LEN, 32));
  Plan plan;
  plan.handle = 7;
  if (encapsulate) {
    plan.calls.push_back(PreparedCall("C_EncapsulateKey", ck::kSlotEncapsulateKey)
                             .Number(client.session())
                             .Mechanism(ck::kHpke, BytesOf(kParams))
                             .Number(recipient.to)
                             .Attributes(wanted)
                             .Output(64)
                             .Handle());
    plan.learn = [recipient](Client& after) {
      return recipient.Secrets(after.remote().Data(5, 32));
    };
    return plan;
  }
  const Bytes enc = NewX25519().public_value;
  plan.secrets = recipient.Secrets(enc);
  plan.calls.push_back(PreparedCall("C_DecapsulateKey", ck::kSlotDecapsulateKey)
                           .Number(client.session())
                           .Mechanism(ck::kHpke, BytesOf(kParams))
                           .Number(recipient.from)
                           .Attributes(wanted)
                           .DataAndLength(enc)
                           .Handle());
  return plan;
}

// A bound key's secret, from a client's encapsulated key to the binding key in one call.
Plan ResealPlan(Client& client) {
  const KeyPair binding = NewX25519();
  const KeyPair kem = NewX25519();
  const Bytes enc = NewX25519().public_value;
  const CK_OBJECT_HANDLE to =
      CreatePublicPoint(client, KeyKind::kX25519, binding.public_value, CKA_WRAP);
  const CK_OBJECT_HANDLE from =
      client.Create(client.Import(KeyKind::kX25519, kem.private_value,
                                  {Flag(ck::kDecapsulate, true),
                                   Flag(CKA_DERIVE, false),
                                   Flag(CKA_SENSITIVE, true),
                                   Flag(CKA_EXTRACTABLE, false),
                                   {ck::kBoundTo, binding.public_value}}));
  PreparedCall call("C_WrapKey", AUDIT_SLOT(C_WrapKey));
  const uint64_t inner = call.Place(BytesOf(kParams));
  const uint64_t mechanism = call.Place(
      BytesOf(CK_MECHANISM{ck::kHpke, reinterpret_cast<void*>(inner), sizeof(ck::HpkeParams)}));
  const ck::ResealParams params{mechanism, call.Place(enc), enc.size(), 32, mechanism};
  Plan plan;
  plan.secrets = SecretsOfX25519("KEM key", kem.private_value);
  Append(&plan.secrets, SecretsOfHpke(kem.private_value, kem.public_value, enc));
  plan.calls.push_back(call.Number(client.session())
                           .Mechanism(ck::kReseal, BytesOf(params))
                           .Number(to)
                           .Number(from)
                           .Output(256));
  plan.learn = [binding](Client& after) {
    return SecretsOfHpke(binding.private_value, binding.public_value, after.remote().Data(4, 32));
  };
  return plan;
}

}  // namespace

std::vector<Secret> SecretsOfHpkeSchedule(const Bytes& kem_id, const Bytes& shared) {
  const Bytes suite = Concat({Text("HPKE"), kem_id, {0x00, 0x01, 0x00, 0x02}});
  const Bytes context =
      Concat({{0}, Extract(suite, {}, "psk_id_hash", {}), Extract(suite, {}, "info_hash", {})});
  const Bytes secret = Extract(suite, shared, "secret", {});
  const Bytes exporter = Expand(suite, secret, "exp", context, 32);
  std::vector<Secret> all = {{"shared secret", shared},
                             {"schedule's secret", secret},
                             {"base nonce", Expand(suite, secret, "base_nonce", context, 12)},
                             {"exporter's secret", exporter},
                             {"exported secret", Expand(suite, exporter, "sec", {}, 32)}};
  Append(&all, SecretsOfAes("AEAD key", Expand(suite, secret, "key", context, 32)));
  return all;
}

void AddHpkeScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function, std::vector<Scenario>* all) {
  const auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  if (mechanism == ck::kReseal && function == CKF_WRAP) add("resealing", ResealPlan);
  if (mechanism != ck::kHpke) return;
  switch (function) {
    case CKF_WRAP:
    case CKF_UNWRAP:
      add(function == CKF_WRAP ? "HPKE wrapping" : "HPKE unwrapping",
          [=](Client& client) { return WrapPlan(client, function == CKF_WRAP); });
      break;
    case CKF_ENCRYPT:
    case CKF_DECRYPT:
      add(function == CKF_ENCRYPT ? "HPKE encryption" : "HPKE decryption",
          [=](Client& client) { return DataPlan(client, function == CKF_ENCRYPT); });
      break;
    case ck::kFlagEncapsulate:
    case ck::kFlagDecapsulate:
      add(function == ck::kFlagEncapsulate ? "HPKE encapsulation" : "HPKE decapsulation",
          [=](Client& client) { return KemPlan(client, function == ck::kFlagEncapsulate); });
      break;
    default:
      break;
  }
}

}  // namespace secretmem::audit

// The key schedule of TLS 1.2. What comes out is computed by the audit with HMAC.
#include <algorithm>

#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

constexpr size_t kMasterSize = 48;

Bytes Text(const std::string& text) { return Bytes(text.begin(), text.end()); }

// A run of PRF(secret, seed) of RFC 5246 with SHA-256: its output, and what it hides on the way.
struct PrfRun {
  Bytes output;
  std::vector<Secret> secrets;
};

PrfRun Prf(const std::string& name, const Bytes& secret, const Bytes& seed, size_t size) {
  PrfRun run{{}, SecretsOfHmac("SHA256", name, secret)};
  Bytes chain = seed;
  while (run.output.size() < size) {
    chain = Hmac("SHA256", secret, chain);
    run.secrets.push_back({name + ": chaining value", chain});
    run.output = Concat({run.output, Hmac("SHA256", secret, Concat({chain, seed}))});
  }
  run.output.resize(size);
  return run;
}

Bytes Part(const Bytes& whole, size_t at, size_t size) {
  const auto begin = whole.begin() + static_cast<ptrdiff_t>(at);
  return Bytes(begin, begin + static_cast<ptrdiff_t>(size));
}

Template SecretTemplate(bool with_length) {
  Template attributes = {Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                         Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true)};
  if (with_length) attributes.push_back(Ulong(CKA_VALUE_LEN, 32));
  return attributes;
}

Template HiddenTemplate(bool with_length) {
  Template attributes = SecretTemplate(with_length);
  attributes.push_back(Flag(CKA_SENSITIVE, true));
  attributes.push_back(Flag(CKA_EXTRACTABLE, false));
  return attributes;
}

ck::RandomData PlaceRandoms(PreparedCall* call, const Bytes& client, const Bytes& server) {
  return {call->Place(client), client.size(), call->Place(server), server.size()};
}

Plan MasterPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const Bytes premaster = RandomBytes(kMasterSize);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, premaster));
  const Bytes client_random = RandomBytes(32), server_random = RandomBytes(32);
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  const bool extended =
      mechanism == ck::kTlsExtendedMaster || mechanism == ck::kTlsExtendedMasterDh;
  const bool rsa = mechanism == ck::kTlsExtendedMaster || mechanism == CKM_TLS12_MASTER_KEY_DERIVE;
  const uint64_t version = rsa ? call.Place(Bytes(2)) : 0;
  const Bytes parameter =
      extended
          ? BytesOf(ck::TlsExtendedMasterParams{CKM_SHA256, call.Place(client_random), 32, version})
          : BytesOf(ck::TlsMasterParams{PlaceRandoms(&call, client_random, server_random), version,
                                        CKM_SHA256});
  const Bytes seed = extended ? Concat({Text("extended master secret"), client_random})
                              : Concat({Text("master secret"), client_random, server_random});
  const PrfRun run = Prf("premaster secret", premaster, seed, kMasterSize);
  Plan plan;
  plan.secrets = run.secrets;
  plan.secrets.push_back({"master secret", run.output});
  plan.calls.push_back(call.Number(client.session())
                           .Mechanism(mechanism, parameter)
                           .Number(key)
                           .Attributes(HiddenTemplate(false))
                           .Handle());
  plan.handle = 5;
  return plan;
}

Plan KeyBlockPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  constexpr size_t kMac = 32, kKey = 32;
  const Bytes master = RandomBytes(kMasterSize);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, master));
  const Bytes client_random = RandomBytes(32), server_random = RandomBytes(32);
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  const uint64_t iv = call.Place(Bytes(16));
  const uint64_t out = call.Place(BytesOf(ck::TlsKeyMaterialOut{0, 0, 0, 0, iv, iv}));
  ck::TlsKeyMaterialParams params = {};
  params.mac_bits = 8 * kMac;
  params.key_bits = 8 * kKey;
  params.iv_bits = 32;
  params.randoms = PlaceRandoms(&call, client_random, server_random);
  params.out = out;
  params.hash = CKM_SHA256;
  const PrfRun run =
      Prf("master secret", master, Concat({Text("key expansion"), server_random, client_random}),
          2 * (kMac + kKey));
  Plan plan;
  plan.secrets = run.secrets;
  plan.secrets.push_back({"client MAC key", Part(run.output, 0, kMac)});
  plan.secrets.push_back({"server MAC key", Part(run.output, kMac, kMac)});
  plan.secrets.push_back({"client key", Part(run.output, 2 * kMac, kKey)});
  plan.secrets.push_back({"server key", Part(run.output, 2 * kMac + kKey, kKey)});
  // As sensitive as the base key, so the template need not say it.
  plan.calls.push_back(call.Number(client.session())
                           .Mechanism(mechanism, BytesOf(params))
                           .Number(key)
                           .Attributes(SecretTemplate(true))
                           .Number(0));
  return plan;
}

Plan KdfPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const Bytes master = RandomBytes(kMasterSize);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, master));
  const Bytes client_random = RandomBytes(32), server_random = RandomBytes(32);
  const Bytes label = Text("EXPORTER-audit");
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  const ck::TlsKdfParams params = {CKM_SHA256,
                                   call.Place(label),
                                   label.size(),
                                   PlaceRandoms(&call, client_random, server_random),
                                   0,
                                   0};
  const PrfRun run =
      Prf("master secret", master, Concat({label, client_random, server_random}), 32);
  Plan plan;
  plan.secrets = run.secrets;
  plan.secrets.push_back({"exported key", run.output});
  plan.calls.push_back(call.Number(client.session())
                           .Mechanism(mechanism, BytesOf(params))
                           .Number(key)
                           .Attributes(HiddenTemplate(true))
                           .Handle());
  plan.handle = 5;
  return plan;
}

Plan MacPlan(Client& client, CK_MECHANISM_TYPE mechanism, bool verify) {
  const Bytes master = RandomBytes(kMasterSize);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, master));
  const Bytes hash = RandomBytes(32);
  const Bytes parameter = BytesOf(ck::TlsMacParams{CKM_SHA256, 12, 2});
  const PrfRun run = Prf("master secret", master, Concat({Text("client finished"), hash}), 12);
  Plan plan;
  plan.secrets = run.secrets;
  PreparedCall init = verify ? PreparedCall("C_VerifyInit", AUDIT_SLOT(C_VerifyInit))
                             : PreparedCall("C_SignInit", AUDIT_SLOT(C_SignInit));
  plan.calls.push_back(init.Number(client.session()).Mechanism(mechanism, parameter).Number(key));
  if (verify) {
    plan.calls.push_back(PreparedCall("C_Verify", AUDIT_SLOT(C_Verify))
                             .Number(client.session())
                             .DataAndLength(hash)
                             .DataAndLength(run.output));
  } else {
    plan.calls.push_back(PreparedCall("C_Sign", AUDIT_SLOT(C_Sign))
                             .Number(client.session())
                             .DataAndLength(hash)
                             .Output(64));
  }
  return plan;
}

Plan PremasterPlan(Client& client) {
  // The audit reads it afterwards to know it.
  Template attributes = SecretTemplate(false);
  attributes.push_back(Flag(CKA_SENSITIVE, false));
  attributes.push_back(Flag(CKA_EXTRACTABLE, true));
  Plan plan;
  plan.calls.push_back(PreparedCall("C_GenerateKey", AUDIT_SLOT(C_GenerateKey))
                           .Number(client.session())
                           .Mechanism(CKM_TLS_PRE_MASTER_KEY_GEN, Bytes{3, 3})
                           .Attributes(attributes)
                           .Handle());
  plan.learn = [](Client& after) {
    const CK_OBJECT_HANDLE key = after.remote().Word(4);
    after.Track(key);
    return std::vector<Secret>{{"premaster secret", after.Value(key)}};
  };
  return plan;
}

}  // namespace

void AddTlsScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function, std::vector<Scenario>* all) {
  auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  const std::string name = MechanismName(mechanism);
  switch (mechanism) {
    case CKM_TLS_PRE_MASTER_KEY_GEN:
      if (function == CKF_GENERATE) add(name, PremasterPlan);
      break;
    case CKM_TLS12_MASTER_KEY_DERIVE:
    case CKM_TLS12_MASTER_KEY_DERIVE_DH:
    case ck::kTlsExtendedMaster:
    case ck::kTlsExtendedMasterDh:
      if (function == CKF_DERIVE) {
        add(name, [=](Client& client) { return MasterPlan(client, mechanism); });
      }
      break;
    case CKM_TLS12_KEY_AND_MAC_DERIVE:
    case CKM_TLS12_KEY_SAFE_DERIVE:
      if (function == CKF_DERIVE) {
        add(name, [=](Client& client) { return KeyBlockPlan(client, mechanism); });
      }
      break;
    case CKM_TLS12_KDF:
    case CKM_TLS_KDF:
      if (function == CKF_DERIVE) {
        add(name, [=](Client& client) { return KdfPlan(client, mechanism); });
      }
      break;
    case CKM_TLS12_MAC:
    case CKM_TLS_MAC:
      if (function == CKF_SIGN) {
        add(name + " signing", [=](Client& client) { return MacPlan(client, mechanism, false); });
      }
      if (function == CKF_VERIFY) {
        add(name + " verification",
            [=](Client& client) { return MacPlan(client, mechanism, true); });
      }
      break;
    default:
      break;
  }
}

}  // namespace secretmem::audit

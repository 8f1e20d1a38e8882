// Encapsulation and decapsulation.
#include <algorithm>

#include "tests/audit/expected.h"
#include "tests/audit/public_keys.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

Template SecretTemplate() {
  return {Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
          Flag(CKA_TOKEN, false), Ulong(CKA_VALUE_LEN, 32)};
}

PreparedCall Encapsulate(Client& client, CK_MECHANISM_TYPE mechanism, const Bytes& parameter,
                         CK_OBJECT_HANDLE key, size_t room = 128) {
  return PreparedCall("C_EncapsulateKey", ck::kSlotEncapsulateKey)
      .Number(client.session())
      .Mechanism(mechanism, parameter)
      .Number(key)
      .Attributes(SecretTemplate())
      .Output(room)
      .Handle();
}

PreparedCall Decapsulate(Client& client, CK_MECHANISM_TYPE mechanism, const Bytes& parameter,
                         CK_OBJECT_HANDLE key, const Bytes& ciphertext) {
  return PreparedCall("C_DecapsulateKey", ck::kSlotDecapsulateKey)
      .Number(client.session())
      .Mechanism(mechanism, parameter)
      .Number(key)
      .Attributes(SecretTemplate())
      .DataAndLength(ciphertext)
      .Handle();
}

// What CKD_SHA256_KDF makes of a shared secret.
Secret DerivedKey(const Bytes& shared) {
  return {"derived key", Sha("SHA256", Concat({shared, {0, 0, 0, 1}}))};
}

struct Curve {
  KeyKind kind;
  KeyPair (*make)();
  Bytes (*agree)(const Bytes& private_value, const Bytes& peer);
  size_t point;  // bytes of a public key at the end of the ciphertext
  std::vector<Secret> (*of_shared)(const std::string& name, const Bytes& element);
};

constexpr Curve kX25519{KeyKind::kX25519, NewX25519, X25519, 32, SecretsOfField25519};
constexpr Curve kP256{KeyKind::kP256, NewP256, EcdhP256, 65,
                      [](const std::string& name, const Bytes& element) {
                        return std::vector<Secret>{{name, element}};
                      }};

std::vector<Secret> SecretsOfAgreement(const Curve& curve, const Bytes& private_value,
                                       const Bytes& peer) {
  const Bytes shared = curve.agree(private_value, peer);
  std::vector<Secret> all = curve.of_shared("shared secret", shared);
  all.push_back(DerivedKey(shared));
  return all;
}

Plan EcdhPlan(Client& client, CK_MECHANISM_TYPE mechanism, const Curve& curve, bool encapsulate) {
  const KeyPair pair = curve.make();
  const Bytes parameter = BytesOf(ck::Ecdh1Params{6, 0, 0, 0, 0});  // the SHA-256 KDF
  Plan plan;
  if (encapsulate) {
    const CK_OBJECT_HANDLE key =
        CreatePublicPoint(client, curve.kind, pair.public_value, ck::kEncapsulate);
    plan.calls.push_back(Encapsulate(client, mechanism, parameter, key));
    plan.learn = [pair, curve](Client& after) {
      const Bytes sent = after.remote().Data(5, after.remote().Word(6));
      return SecretsOfAgreement(curve, pair.private_value,
                                Bytes(sent.end() - static_cast<long>(curve.point), sent.end()));
    };
    plan.handle = 7;
    return plan;
  }
  const KeyPair sender = curve.make();
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(curve.kind, pair.private_value, {Flag(ck::kDecapsulate, true)}));
  plan.secrets = curve.kind == KeyKind::kX25519
                     ? SecretsOfX25519("X25519 key", pair.private_value)
                     : std::vector<Secret>{{"P-256 key", pair.private_value}};
  Append(&plan.secrets, SecretsOfAgreement(curve, pair.private_value, sender.public_value));
  plan.calls.push_back(Decapsulate(client, mechanism, parameter, key, sender.public_value));
  plan.handle = 7;
  return plan;
}

// Keys that can be read once the recording is complete: what ML-KEM and X-Wing make of a seed is
// not something that the audit could compute. The handles are arguments 6, 7.
PreparedCall GeneratePair(Client& client, CK_MECHANISM_TYPE mechanism, Template public_key) {
  public_key.push_back(Flag(CKA_TOKEN, false));
  public_key.push_back(Flag(ck::kEncapsulate, true));
  return PreparedCall("C_GenerateKeyPair", AUDIT_SLOT(C_GenerateKeyPair))
      .Number(client.session())
      .Mechanism(mechanism)
      .Attributes(public_key)
      .Attributes({Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), Flag(CKA_SENSITIVE, false),
                   Flag(CKA_EXTRACTABLE, true), Flag(ck::kDecapsulate, true)})
      .Handle()
      .Handle();
}

PreparedCall GenerateMlKem(Client& client) {
  return GeneratePair(client, ck::kMlKemKeyPairGen, {Ulong(ck::kParameterSet, ck::kMlKem768)});
}

PreparedCall GenerateXWing(Client& client) {
  return GeneratePair(client, ck::kXWingKeyPairGen, {});
}

// A seed, d then z, and of what FIPS 203, algorithm 13, makes of d what the noise comes from.
std::vector<Secret> SecretsOfMlKemSeed(const Bytes& seed) {
  if (seed.size() != 64) throw CannotLook("no ML-KEM seed to look for");
  const Bytes expanded = Sha("SHA3-512", Concat({Bytes(seed.begin(), seed.begin() + 32), {3}}));
  return {{"ML-KEM seed", seed}, {"ML-KEM sigma", Bytes(expanded.begin() + 32, expanded.end())}};
}

std::vector<Secret> SecretsOfMlKem(Client& client, CK_OBJECT_HANDLE key) {
  return SecretsOfMlKemSeed(client.Value(key, ck::kSeed));
}

// XWingKey is what the draft (5.2) makes of a seed: ML-KEM's, and an X25519 key.
struct XWingKey {
  Bytes seed, ml_kem, x25519;

  XWingKey(Client& client, CK_OBJECT_HANDLE key) : seed(client.Value(key, ck::kSeed)) {
    if (seed.size() != 32) throw CannotLook("no X-Wing seed to look for");
    const Bytes expanded = Shake256(seed, 96);
    ml_kem.assign(expanded.begin(), expanded.begin() + 64);
    x25519.assign(expanded.begin() + 64, expanded.end());
  }

  std::vector<Secret> Secrets() const {
    std::vector<Secret> all = {{"X-Wing seed", seed}};
    Append(&all, SecretsOfMlKemSeed(ml_kem));
    Append(&all, SecretsOfX25519("X-Wing's X25519 key", x25519));
    return all;
  }

  // And from |enc| to HPKE's AEAD key. ML-KEM's half is what the module decapsulates with it.
  std::vector<Secret> SecretsOf(Client& client, const Bytes& enc) const {
    const auto half = enc.begin() + 1088;
    const CK_OBJECT_HANDLE alone =
        client.Create(PreparedCall("C_CreateObject", AUDIT_SLOT(C_CreateObject))
                          .Number(client.session())
                          .Attributes({Ulong(CKA_CLASS, CKO_PRIVATE_KEY),
                                       Ulong(CKA_KEY_TYPE, ck::kKeyMlKem),
                                       Flag(CKA_TOKEN, false),
                                       Ulong(ck::kParameterSet, ck::kMlKem768),
                                       Flag(ck::kDecapsulate, true),
                                       {ck::kSeed, ml_kem}})
                          .Handle());
    client.Must(Decapsulate(client, ck::kMlKem, {}, alone, Bytes(enc.begin(), half)));
    const CK_OBJECT_HANDLE made = client.remote().Word(7);
    client.Track(made);
    const Bytes from_ml_kem = client.Value(made);
    const Bytes agreed = X25519(x25519, Bytes(half, enc.end()));
    Bytes base(32);
    base[0] = 9;
    const Bytes point = X25519(x25519, base);
    const Bytes shared = Sha("SHA3-256", Concat({from_ml_kem,
                                                 agreed,
                                                 Bytes(half, enc.end()),
                                                 point,
                                                 {0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c}}));
    std::vector<Secret> all = Secrets();
    all.push_back({"ML-KEM's shared secret", from_ml_kem});
    Append(&all, SecretsOfField25519("agreement", agreed));
    Append(&all, SecretsOfHpkeSchedule({0x64, 0x7a}, shared));
    return all;
  }
};

std::vector<Secret> SecretsOfXWing(Client& client, CK_OBJECT_HANDLE key) {
  return XWingKey(client, key).Secrets();
}

Plan PairPlan(Client& client, PreparedCall (*generate)(Client&),
              std::vector<Secret> (*secrets)(Client&, CK_OBJECT_HANDLE)) {
  Plan plan;
  plan.calls.push_back(generate(client));
  plan.learn = [secrets](Client& after) {
    const CK_OBJECT_HANDLE public_key = after.remote().Word(6);
    const CK_OBJECT_HANDLE private_key = after.remote().Word(7);
    after.Track(public_key);
    after.Track(private_key);
    return secrets(after, private_key);
  };
  return plan;
}

struct PairOfHandles {
  CK_OBJECT_HANDLE public_key, private_key;

  PairOfHandles(Client& client, const PreparedCall& generate) {
    client.Must(generate);
    public_key = client.remote().Word(6);
    private_key = client.remote().Word(7);
    client.Track(public_key);
    client.Track(private_key);
  }
};

Plan MlKemPlan(Client& client, bool encapsulate) {
  constexpr size_t kCiphertext = 1088;
  const PairOfHandles pair(client, GenerateMlKem(client));
  const PreparedCall send = Encapsulate(client, ck::kMlKem, {}, pair.public_key, kCiphertext);
  Plan plan;
  if (encapsulate) {
    plan.calls.push_back(send);
  } else {
    client.Must(send);
    const Bytes sent = client.remote().Data(5, kCiphertext);
    client.Track(client.remote().Word(7));
    plan.calls.push_back(Decapsulate(client, ck::kMlKem, {}, pair.private_key, sent));
  }
  plan.handle = 7;
  plan.learn = [pair](Client& after) {
    const CK_OBJECT_HANDLE made = after.remote().Word(7);
    std::vector<Secret> all = {{"shared secret", after.Value(made)}};
    Append(&all, SecretsOfMlKem(after, pair.private_key));
    return all;
  };
  return plan;
}

// HPKE with X-Wing: AES-256-GCM in base mode, no info.
Plan XWingPlan(Client& client, bool encapsulate) {
  constexpr size_t kEnc = 1120;
  ck::HpkeParams params{};
  params.kem = 0x647a;
  params.kdf = 1;
  params.aead = 2;
  const PairOfHandles pair(client, GenerateXWing(client));
  const PreparedCall send = Encapsulate(client, ck::kHpke, BytesOf(params), pair.public_key, kEnc);
  Plan plan;
  Bytes sent;
  if (encapsulate) {
    plan.calls.push_back(send);
  } else {
    client.Must(send);
    sent = client.remote().Data(5, kEnc);
    client.Track(client.remote().Word(7));
    plan.calls.push_back(Decapsulate(client, ck::kHpke, BytesOf(params), pair.private_key, sent));
  }
  plan.handle = 7;
  plan.learn = [pair, sent](Client& after) {
    const CK_OBJECT_HANDLE made = after.remote().Word(7);
    const Bytes enc = sent.empty() ? after.remote().Data(5, kEnc) : sent;
    std::vector<Secret> all = XWingKey(after, pair.private_key).SecretsOf(after, enc);
    // What the module exported is what follows from the draft, or the rest would be looked for in
    // vain.
    const bool computed = std::ranges::any_of(all, [value = after.Value(made)](const Secret& its) {
      return its.name == "exported secret" && its.value == value;
    });
    if (!computed) throw CannotLook("not what X-Wing and HPKE make of these keys");
    return all;
  };
  return plan;
}

}  // namespace

void AddKemScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function, std::vector<Scenario>* all) {
  if (mechanism == ck::kMlKemKeyPairGen && function == CKF_GENERATE_KEY_PAIR) {
    all->push_back({"ML-KEM-768 key generation", mechanism, function, [](Client& client) {
                      return PairPlan(client, GenerateMlKem, SecretsOfMlKem);
                    }});
  }
  if (mechanism == ck::kXWingKeyPairGen && function == CKF_GENERATE_KEY_PAIR) {
    all->push_back({"X-Wing key generation", mechanism, function, [](Client& client) {
                      return PairPlan(client, GenerateXWing, SecretsOfXWing);
                    }});
  }
  const bool encapsulate = function == ck::kFlagEncapsulate;
  if (!encapsulate && function != ck::kFlagDecapsulate) return;
  const std::string what = encapsulate ? " encapsulation" : " decapsulation";
  const auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  if (mechanism == ck::kMlKem) {
    add("ML-KEM-768" + what, [=](Client& client) { return MlKemPlan(client, encapsulate); });
  }
  if (mechanism == ck::kHpke) {
    add("HPKE X-Wing" + what, [=](Client& client) { return XWingPlan(client, encapsulate); });
    all->back().needs = ck::kXWingKeyPairGen;
  }
  if (mechanism == CKM_ECDH1_DERIVE) {
    add("X25519" + what,
        [=](Client& client) { return EcdhPlan(client, mechanism, kX25519, encapsulate); });
  }
  if (mechanism == CKM_ECDH1_DERIVE || mechanism == CKM_ECDH1_COFACTOR_DERIVE) {
    add(MechanismName(mechanism) + " P-256" + what,
        [=](Client& client) { return EcdhPlan(client, mechanism, kP256, encapsulate); });
  }
}

}  // namespace secretmem::audit

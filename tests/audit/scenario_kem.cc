// Encapsulation and decapsulation.
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

// ML-KEM-768 keys that can be read once the recording is complete. The handles are arguments 6, 7.
PreparedCall GenerateMlKem(Client& client) {
  return PreparedCall("C_GenerateKeyPair", AUDIT_SLOT(C_GenerateKeyPair))
      .Number(client.session())
      .Mechanism(ck::kMlKemKeyPairGen)
      .Attributes({Flag(CKA_TOKEN, false), Ulong(ck::kParameterSet, ck::kMlKem768),
                   Flag(ck::kEncapsulate, true)})
      .Attributes({Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), Flag(CKA_SENSITIVE, false),
                   Flag(CKA_EXTRACTABLE, true), Flag(ck::kDecapsulate, true)})
      .Handle()
      .Handle();
}

// The seed, d then z, and of what FIPS 203, algorithm 13, makes of d what the noise comes from.
std::vector<Secret> SecretsOfMlKem(Client& client, CK_OBJECT_HANDLE key) {
  const Bytes seed = client.Value(key, ck::kSeed);
  if (seed.size() != 64) throw CannotLook("no ML-KEM seed to look for");
  const Bytes expanded = Sha("SHA3-512", Concat({Bytes(seed.begin(), seed.begin() + 32), {3}}));
  return {{"ML-KEM seed", seed}, {"ML-KEM sigma", Bytes(expanded.begin() + 32, expanded.end())}};
}

Plan MlKemPairPlan(Client& client) {
  Plan plan;
  plan.calls.push_back(GenerateMlKem(client));
  plan.learn = [](Client& after) {
    const CK_OBJECT_HANDLE public_key = after.remote().Word(6);
    const CK_OBJECT_HANDLE private_key = after.remote().Word(7);
    after.Track(public_key);
    after.Track(private_key);
    return SecretsOfMlKem(after, private_key);
  };
  return plan;
}

Plan MlKemPlan(Client& client, bool encapsulate) {
  constexpr size_t kCiphertext = 1088;
  client.Must(GenerateMlKem(client));
  const CK_OBJECT_HANDLE public_key = client.remote().Word(6);
  const CK_OBJECT_HANDLE private_key = client.remote().Word(7);
  client.Track(public_key);
  client.Track(private_key);
  const PreparedCall send = Encapsulate(client, ck::kMlKem, {}, public_key, kCiphertext);
  Plan plan;
  if (encapsulate) {
    plan.calls.push_back(send);
  } else {
    client.Must(send);
    const Bytes sent = client.remote().Data(5, kCiphertext);
    client.Track(client.remote().Word(7));
    plan.calls.push_back(Decapsulate(client, ck::kMlKem, {}, private_key, sent));
  }
  plan.handle = 7;
  plan.learn = [private_key](Client& after) {
    const CK_OBJECT_HANDLE made = after.remote().Word(7);
    std::vector<Secret> all = {{"shared secret", after.Value(made)}};
    Append(&all, SecretsOfMlKem(after, private_key));
    return all;
  };
  return plan;
}

}  // namespace

void AddKemScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function, std::vector<Scenario>* all) {
  if (mechanism == ck::kMlKemKeyPairGen && function == CKF_GENERATE_KEY_PAIR) {
    all->push_back({"ML-KEM-768 key generation", mechanism, function, MlKemPairPlan});
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

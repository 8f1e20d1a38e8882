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
                         CK_OBJECT_HANDLE key) {
  return PreparedCall("C_EncapsulateKey", ck::kSlotEncapsulateKey)
      .Number(client.session())
      .Mechanism(mechanism, parameter)
      .Number(key)
      .Attributes(SecretTemplate())
      .Output(128)
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

}  // namespace

void AddKemScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function, std::vector<Scenario>* all) {
  const bool encapsulate = function == ck::kFlagEncapsulate;
  if (!encapsulate && function != ck::kFlagDecapsulate) return;
  const std::string what = encapsulate ? " encapsulation" : " decapsulation";
  const auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
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

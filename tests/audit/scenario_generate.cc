// Key generation. The keys are made extractable, so that their values can be asked for once the
// recording is complete.
#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

using SecretsOf = std::function<std::vector<Secret>(const Bytes&)>;

Template PrivateTemplate(CK_ATTRIBUTE_TYPE use) {
  return {Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), Flag(CKA_SENSITIVE, false),
          Flag(CKA_EXTRACTABLE, true), Flag(use, true)};
}

Plan PairPlan(Client& client, CK_MECHANISM_TYPE mechanism, KeyKind kind, SecretsOf secrets_of) {
  const CK_ATTRIBUTE_TYPE use = kind == KeyKind::kX25519 ? CKA_DERIVE : CKA_SIGN;
  Plan plan;
  plan.calls.push_back(PreparedCall("C_GenerateKeyPair", AUDIT_SLOT(C_GenerateKeyPair))
                           .Number(client.session())
                           .Mechanism(mechanism)
                           .Attributes({Flag(CKA_TOKEN, false), {CKA_EC_PARAMS, EcParamsOf(kind)}})
                           .Attributes(PrivateTemplate(use))
                           .Handle()
                           .Handle());
  plan.learn = [secrets_of](Client& after) {
    const CK_OBJECT_HANDLE public_key = after.remote().Word(6);
    const CK_OBJECT_HANDLE private_key = after.remote().Word(7);
    after.Track(public_key);
    after.Track(private_key);
    return secrets_of(after.Value(private_key));
  };
  return plan;
}

Plan RsaPlan(Client& client) {
  Plan plan;
  plan.calls.push_back(PreparedCall("C_GenerateKeyPair", AUDIT_SLOT(C_GenerateKeyPair))
                           .Number(client.session())
                           .Mechanism(CKM_RSA_PKCS_KEY_PAIR_GEN)
                           .Attributes({Flag(CKA_TOKEN, false),
                                        Ulong(CKA_MODULUS_BITS, 2048),
                                        {CKA_PUBLIC_EXPONENT, {1, 0, 1}}})
                           .Attributes(PrivateTemplate(CKA_SIGN))
                           .Handle()
                           .Handle());
  plan.learn = [](Client& after) {
    const CK_OBJECT_HANDLE public_key = after.remote().Word(6);
    const CK_OBJECT_HANDLE key = after.remote().Word(7);
    after.Track(public_key);
    after.Track(key);
    return SecretsOfRsa({{},
                         {},
                         after.Value(key, CKA_PRIVATE_EXPONENT),
                         after.Value(key, CKA_PRIME_1),
                         after.Value(key, CKA_PRIME_2),
                         after.Value(key, CKA_EXPONENT_1),
                         after.Value(key, CKA_EXPONENT_2),
                         after.Value(key, CKA_COEFFICIENT)});
  };
  return plan;
}

Plan SecretPlan(Client& client, CK_MECHANISM_TYPE mechanism, CK_ATTRIBUTE_TYPE use, bool length) {
  Template attributes = PrivateTemplate(use);
  if (length) attributes.push_back(Ulong(CKA_VALUE_LEN, 32));
  Plan plan;
  plan.calls.push_back(PreparedCall("C_GenerateKey", AUDIT_SLOT(C_GenerateKey))
                           .Number(client.session())
                           .Mechanism(mechanism)
                           .Attributes(attributes)
                           .Handle());
  plan.learn = [mechanism](Client& after) {
    const CK_OBJECT_HANDLE key = after.remote().Word(4);
    after.Track(key);
    const Bytes value = after.Value(key);
    return mechanism == CKM_AES_KEY_GEN ? SecretsOfAes("generated AES key", value)
                                        : std::vector<Secret>{{"generated secret key", value}};
  };
  return plan;
}

Plan Pbkdf2Plan(Client& client) {
  const Bytes password = RandomBytes(32);
  PreparedCall call("C_GenerateKey", AUDIT_SLOT(C_GenerateKey));
  const Bytes salt = RandomBytes(16);
  // CKZ_SALT_SPECIFIED 1, CKP_PKCS5_PBKD2_HMAC_SHA256 4.
  const ck::Pbkd2Params2 params = {1, call.Place(salt),     salt.size(),    100, 4, 0,
                                   0, call.Place(password), password.size()};
  Template attributes = PrivateTemplate(CKA_SIGN);
  attributes.push_back(Ulong(CKA_CLASS, CKO_SECRET_KEY));
  attributes.push_back(Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET));
  attributes.push_back(Ulong(CKA_VALUE_LEN, 32));
  Plan plan;
  plan.calls.push_back(call.Number(client.session())
                           .Mechanism(CKM_PKCS5_PBKD2, BytesOf(params))
                           .Attributes(attributes)
                           .Handle());
  plan.secrets = SecretsOfHmac("SHA256", "password", password);
  plan.learn = [](Client& after) {
    const CK_OBJECT_HANDLE key = after.remote().Word(4);
    after.Track(key);
    return std::vector<Secret>{{"key from the password", after.Value(key)}};
  };
  return plan;
}

}  // namespace

void AddGenerationScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function,
                            std::vector<Scenario>* all) {
  auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  const auto x25519 = [](const Bytes& value) {
    return SecretsOfX25519("generated X25519 key", value);
  };
  const auto ed25519 = [](const Bytes& value) {
    return SecretsOfEd25519("generated Ed25519 key", value, {});
  };
  const auto p256 = [](const Bytes& value) {
    return std::vector<Secret>{{"generated P-256 key", value}};
  };
  if (function == CKF_GENERATE_KEY_PAIR) {
    switch (mechanism) {
      case ck::kMontgomeryKeyPairGen:
        add("X25519 key generation",
            [=](Client& client) { return PairPlan(client, mechanism, KeyKind::kX25519, x25519); });
        break;
      case ck::kEdwardsKeyPairGen:
      case ck::kEddsa:  // an alias that p11tool uses
        if (mechanism == ck::kEdwardsKeyPairGen && Client::dialect().montgomery_as_edwards) {
          add("X25519 key generation", [=](Client& client) {
            return PairPlan(client, mechanism, KeyKind::kX25519, x25519);
          });
        }
        add("Ed25519 key generation", [=](Client& client) {
          return PairPlan(client, mechanism, KeyKind::kEd25519, ed25519);
        });
        break;
      case CKM_EC_KEY_PAIR_GEN:
        add("P-256 key generation",
            [=](Client& client) { return PairPlan(client, mechanism, KeyKind::kP256, p256); });
        break;
      case CKM_RSA_PKCS_KEY_PAIR_GEN:
        add("RSA-2048 key generation", RsaPlan);
        break;
      default:
        break;
    }
  }
  if (function != CKF_GENERATE) return;
  const bool sha_key_gen = mechanism >= 0x4003 && mechanism <= 0x400b;
  if (mechanism == CKM_GENERIC_SECRET_KEY_GEN || mechanism == CKM_AES_KEY_GEN || sha_key_gen ||
      mechanism == ck::kHkdfKeyGen || mechanism == ck::kChaCha20KeyGen) {
    const bool cipher = mechanism == CKM_AES_KEY_GEN || mechanism == ck::kChaCha20KeyGen;
    const CK_ATTRIBUTE_TYPE use = cipher                         ? CKA_ENCRYPT
                                  : mechanism == ck::kHkdfKeyGen ? CKA_DERIVE
                                                                 : CKA_SIGN;
    add(MechanismName(mechanism), [=](Client& client) {
      return SecretPlan(client, mechanism, use, mechanism != ck::kChaCha20KeyGen);
    });
  }
  if (mechanism == CKM_PKCS5_PBKD2) add("PBKDF2", Pbkdf2Plan);
}

}  // namespace secretmem::audit

// Key derivation. Derived keys stay sensitive; what they must be is computed by the audit.
#include <algorithm>

#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

constexpr CK_ULONG kKdfNull = 1;
constexpr CK_ULONG kKdfSha256 = 6;

Template DerivedTemplate(size_t size) {
  Template attributes = {Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                         Flag(CKA_TOKEN, false),           Flag(CKA_PRIVATE, true),
                         Flag(CKA_SENSITIVE, true),        Flag(CKA_EXTRACTABLE, false)};
  if (size != 0) attributes.push_back(Ulong(CKA_VALUE_LEN, size));
  return attributes;
}

void Finish(Plan* plan, PreparedCall call, size_t size) {
  plan->calls.push_back(call.Attributes(DerivedTemplate(size)).Handle());
  plan->handle = 5;
}

Plan EcdhPlan(Client& client, CK_MECHANISM_TYPE mechanism, KeyKind kind, CK_ULONG kdf) {
  const bool x25519 = kind == KeyKind::kX25519;
  const KeyPair own = x25519 ? NewX25519() : NewP256();
  const KeyPair peer = x25519 ? NewX25519() : NewP256();
  const CK_OBJECT_HANDLE key = client.Create(client.Import(kind, own.private_value));
  Plan plan;
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  const Bytes point = client.Point(kind, peer.public_value);
  const ck::Ecdh1Params params = {kdf, 0, 0, point.size(), call.Place(point)};
  call.Number(client.session()).Mechanism(mechanism, BytesOf(params)).Number(key);
  Finish(&plan, call, 32);
  const Bytes shared = x25519 ? X25519(own.private_value, peer.public_value)
                              : EcdhP256(own.private_value, peer.public_value);
  plan.secrets = x25519 ? SecretsOfX25519("X25519 key", own.private_value)
                        : std::vector<Secret>{{"P-256 key", own.private_value}};
  Append(&plan.secrets, x25519 ? SecretsOfField25519("shared secret", shared)
                               : std::vector<Secret>{{"shared secret", shared}});
  if (kdf == kKdfSha256) {
    plan.secrets.push_back({"derived key", Sha("SHA256", Concat({shared, {0, 0, 0, 1}}))});
  }
  return plan;
}

Plan HkdfPlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const Bytes value = RandomBytes(32);
  const Bytes salt = RandomBytes(32);
  const Bytes info = {'a', 'u', 'd', 'i', 't'};
  const CK_OBJECT_HANDLE key = client.Create(
      client.Import(mechanism == ck::kHkdfData ? KeyKind::kHkdf : KeyKind::kGeneric, value));
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  ck::HkdfParams params = {};
  params.extract = params.expand = CK_TRUE;
  params.hash = CKM_SHA256;
  params.salt_type = 2;  // CKF_HKDF_SALT_DATA
  params.salt = call.Place(salt);
  params.salt_size = salt.size();
  params.info = call.Place(info);
  params.info_size = info.size();
  call.Number(client.session()).Mechanism(mechanism, BytesOf(params)).Number(key);
  const Bytes extracted = Hmac("SHA256", salt, value);
  Plan plan;
  plan.secrets = {{"HKDF input key", value}};
  Append(&plan.secrets, SecretsOfHmac("SHA256", "HKDF pseudorandom key", extracted));
  const Bytes expanded = Hmac("SHA256", extracted, Concat({info, {1}}));
  plan.secrets.push_back({"HKDF output", expanded});
  if (mechanism == ck::kHkdfData) {
    // The output is a data object; only its input is a key.
    plan.secrets.pop_back();
    plan.calls.push_back(call.Attributes({Ulong(CKA_CLASS, CKO_DATA), Flag(CKA_TOKEN, false),
                                          Flag(CKA_PRIVATE, true), Ulong(CKA_VALUE_LEN, 32)})
                             .Handle());
    plan.handle = 5;
  } else {
    Finish(&plan, call, 32);
  }
  return plan;
}

std::string DerivationHash(CK_MECHANISM_TYPE mechanism) {
  switch (mechanism) {
    case CKM_SHA1_KEY_DERIVATION:
      return "SHA1";
    case CKM_SHA224_KEY_DERIVATION:
      return "SHA224";
    case CKM_SHA256_KEY_DERIVATION:
      return "SHA256";
    case CKM_SHA384_KEY_DERIVATION:
      return "SHA384";
    case CKM_SHA512_KEY_DERIVATION:
      return "SHA512";
    default:
      return "SHA512-256";
  }
}

// Plans of the simple derivations: a base key, some data, a result.
Plan SimplePlan(Client& client, CK_MECHANISM_TYPE mechanism) {
  const Bytes value = RandomBytes(32);
  const Bytes data = RandomBytes(32);
  const bool aes = mechanism == CKM_AES_ECB_ENCRYPT_DATA || mechanism == CKM_AES_CBC_ENCRYPT_DATA;
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(aes ? KeyKind::kAes : KeyKind::kGeneric, value));
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  Plan plan;
  plan.secrets = aes ? SecretsOfAes("base key", value) : std::vector<Secret>{{"base key", value}};
  Bytes parameter;
  size_t size = 32;
  switch (mechanism) {
    case CKM_CONCATENATE_BASE_AND_KEY: {
      const Bytes other = RandomBytes(32);
      parameter = BytesOf(client.Create(client.Import(KeyKind::kGeneric, other)));
      plan.secrets.push_back({"second key", other});
      size = 64;
      break;
    }
    case CKM_SHA1_KEY_DERIVATION:
    case CKM_SHA224_KEY_DERIVATION:
    case CKM_SHA256_KEY_DERIVATION:
    case CKM_SHA384_KEY_DERIVATION:
    case CKM_SHA512_KEY_DERIVATION:
    case CKM_SHA512_256_KEY_DERIVATION: {
      const Bytes digest = Sha(DerivationHash(mechanism), value);
      size = 16;
      plan.secrets.push_back({"derived key", Bytes(digest.begin(), digest.begin() + 16)});
      break;
    }
    case CKM_EXTRACT_KEY_FROM_KEY: {
      // From bit 4 on, so that the result is no window of the base key.
      parameter = BytesOf(CK_ULONG{4});
      Bytes result(16);
      for (size_t i = 0; i < result.size(); ++i) {
        result[i] = static_cast<uint8_t>(value[i] << 4 | value[i + 1] >> 4);
      }
      plan.secrets.push_back({"derived key", result});
      size = 16;
      break;
    }
    case CKM_AES_CBC_ENCRYPT_DATA: {
      ck::CbcData params = {};
      params.data = call.Place(data);
      params.size = data.size();
      parameter = BytesOf(params);
      break;
    }
    default: {
      parameter = BytesOf(ck::StringData{call.Place(data), data.size()});
      if (mechanism == CKM_XOR_BASE_AND_DATA) {
        Bytes result = value;
        for (size_t i = 0; i < result.size(); ++i) result[i] ^= data[i];
        plan.secrets.push_back({"derived key", result});
      } else if (!aes) {
        size = 64;
      }
      break;
    }
  }
  call.Number(client.session()).Mechanism(mechanism, parameter).Number(key);
  Finish(&plan, call, size);
  return plan;
}

Plan CounterKdfPlan(Client& client) {
  const Bytes value = RandomBytes(32);
  const Bytes label = {'a', 'u', 'd', 'i', 't'};
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  const uint64_t format = call.Place(BytesOf(ck::CounterFormat{CK_FALSE, 32}));
  // CK_SP800_108_ITERATION_VARIABLE 1, CK_SP800_108_BYTE_ARRAY 4.
  const uint64_t list =
      call.Place(Concat({BytesOf(ck::PrfDataParam{1, format, sizeof(ck::CounterFormat)}),
                         BytesOf(ck::PrfDataParam{4, call.Place(label), label.size()})}));
  const ck::CounterKdfParams params = {CKM_SHA256_HMAC, 2, list, 0, 0};
  call.Number(client.session()).Mechanism(ck::kCounterKdf, BytesOf(params)).Number(key);
  Plan plan;
  plan.secrets = SecretsOfHmac("SHA256", "base key", value);
  plan.secrets.push_back({"derived key", Hmac("SHA256", value, Concat({{0, 0, 0, 1}, label}))});
  Finish(&plan, call, 32);
  return plan;
}

}  // namespace

void AddDerivationScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function,
                            std::vector<Scenario>* all) {
  if (function != CKF_DERIVE) return;
  auto add = [&](const std::string& name, std::function<Plan(Client&)> prepare) {
    all->push_back({name, mechanism, function, std::move(prepare)});
  };
  switch (mechanism) {
    case CKM_ECDH1_DERIVE:
      add("X25519 derivation",
          [=](Client& client) { return EcdhPlan(client, mechanism, KeyKind::kX25519, kKdfNull); });
      if (!Client::dialect().der_points) {
        add("X25519 derivation with the SHA-256 KDF", [=](Client& client) {
          return EcdhPlan(client, mechanism, KeyKind::kX25519, kKdfSha256);
        });
      }
      [[fallthrough]];
    case CKM_ECDH1_COFACTOR_DERIVE:
      add("P-256 derivation",
          [=](Client& client) { return EcdhPlan(client, mechanism, KeyKind::kP256, kKdfNull); });
      all->back().needs = CKM_EC_KEY_PAIR_GEN;
      break;
    case ck::kHkdfDerive:
    case ck::kHkdfData:
      add(MechanismName(mechanism), [=](Client& client) { return HkdfPlan(client, mechanism); });
      break;
    case CKM_CONCATENATE_BASE_AND_KEY:
    case CKM_CONCATENATE_BASE_AND_DATA:
    case CKM_CONCATENATE_DATA_AND_BASE:
    case CKM_XOR_BASE_AND_DATA:
    case CKM_EXTRACT_KEY_FROM_KEY:
    case CKM_AES_ECB_ENCRYPT_DATA:
    case CKM_AES_CBC_ENCRYPT_DATA:
    case CKM_SHA1_KEY_DERIVATION:
    case CKM_SHA224_KEY_DERIVATION:
    case CKM_SHA256_KEY_DERIVATION:
    case CKM_SHA384_KEY_DERIVATION:
    case CKM_SHA512_KEY_DERIVATION:
    case CKM_SHA512_256_KEY_DERIVATION:
      add(MechanismName(mechanism), [=](Client& client) { return SimplePlan(client, mechanism); });
      break;
    case ck::kCounterKdf:
      add("SP 800-108 counter KDF", CounterKdfPlan);
      break;
    default:
      break;
  }
}

}  // namespace secretmem::audit

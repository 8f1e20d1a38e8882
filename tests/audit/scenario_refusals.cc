// Calls that are refused, fail half way or are given up: what was worked on until then must be
// nowhere either.
#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

const Bytes kMessage(40, 0x6d);

PreparedCall SignInit(Client& client, CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key) {
  return PreparedCall("C_SignInit", AUDIT_SLOT(C_SignInit))
      .Number(client.session())
      .Mechanism(mechanism)
      .Number(key);
}

PreparedCall SignUpdate(Client& client) {
  return PreparedCall("C_SignUpdate", AUDIT_SLOT(C_SignUpdate))
      .Number(client.session())
      .DataAndLength(kMessage);
}

PreparedCall SetAttribute(Client& client, CK_OBJECT_HANDLE object, const Attribute& attribute) {
  return PreparedCall("C_SetAttributeValue", AUDIT_SLOT(C_SetAttributeValue))
      .Number(client.session())
      .Number(object)
      .Attributes({attribute});
}

PreparedCall Read(Client& client, CK_OBJECT_HANDLE object, size_t room) {
  return PreparedCall("C_GetAttributeValue", AUDIT_SLOT(C_GetAttributeValue))
      .Number(client.session())
      .Number(object)
      .Attributes({{CKA_VALUE, Bytes(room, 0)}});
}

// Imports whose values are wrong, and right values in templates that are wrong.
Plan ImportPlan(Client& client) {
  const Bytes generic = RandomBytes(32);
  const Bytes x25519 = RandomBytes(31);
  const Bytes p256(32, 0xff);
  const Bytes rest = RandomBytes(32);
  Plan plan;
  plan.calls.push_back(client.Import(KeyKind::kGeneric, generic, {{CKA_CHECK_VALUE, {1, 2, 3}}})
                           .Expect(CKR_ATTRIBUTE_VALUE_INVALID));
  plan.calls.push_back(client.Import(KeyKind::kX25519, x25519).Expect(CKR_ATTRIBUTE_VALUE_INVALID));
  plan.calls.push_back(client.Import(KeyKind::kGeneric, rest, {Flag(CKA_LOCAL, true)})
                           .Expect(CKR_ATTRIBUTE_READ_ONLY));
  plan.secrets = {{"secret with a wrong check value", generic},
                  {"X25519 key that is too short", x25519},
                  {"secret in a refused template", rest}};
  return plan;
}

// Values of keys where a client may put them and none belongs.
Plan ValuePlan(Client& client) {
  const Bytes sensitive = RandomBytes(32);
  const Bytes open = RandomBytes(32);
  const Bytes offered = RandomBytes(32);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, sensitive));
  const CK_OBJECT_HANDLE readable = client.Create(client.Import(
      KeyKind::kGeneric, open, {Flag(CKA_SENSITIVE, false), Flag(CKA_EXTRACTABLE, true)}));
  Plan plan;
  plan.calls.push_back(Read(client, key, 32).Expect(CKR_ATTRIBUTE_SENSITIVE));
  plan.calls.push_back(Read(client, readable, 31).Expect(CKR_BUFFER_TOO_SMALL));
  plan.calls.push_back(
      SetAttribute(client, key, {CKA_VALUE, offered}).Expect(CKR_ATTRIBUTE_READ_ONLY));
  plan.calls.push_back(PreparedCall("C_CopyObject", AUDIT_SLOT(C_CopyObject))
                           .Number(client.session())
                           .Number(readable)
                           .Attributes({{CKA_VALUE, offered}})
                           .Handle()
                           .Expect(CKR_ATTRIBUTE_READ_ONLY));
  // A search compares with values that may be read, and with no others.
  for (const Bytes& value : {open, sensitive, offered}) {
    plan.calls.push_back(PreparedCall("C_FindObjectsInit", AUDIT_SLOT(C_FindObjectsInit))
                             .Number(client.session())
                             .Attributes({{CKA_VALUE, value}}));
    plan.calls.push_back(PreparedCall("C_FindObjectsFinal", AUDIT_SLOT(C_FindObjectsFinal))
                             .Number(client.session()));
  }
  plan.secrets = {{"sensitive secret", sensitive},
                  {"extractable secret", open},
                  {"value that no key has", offered}};
  return plan;
}

// An operation that is begun and never ended; the keys go, then the session.
Plan AbandonedPlan(Client& client, bool cancel) {
  const Bytes value = RandomBytes(64);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  Plan plan;
  plan.secrets = SecretsOfHmac("SHA256", "HMAC key", value);
  plan.calls.push_back(SignInit(client, CKM_SHA256_HMAC, key));
  plan.calls.push_back(SignUpdate(client));
  if (cancel) {
    plan.calls.push_back(PreparedCall("C_SessionCancel", ck::kSlotSessionCancel)
                             .Number(client.session())
                             .Number(CKF_SIGN));
  }
  return plan;
}

// A MAC that is wrong: the right one must not be read off.
Plan WrongMacPlan(Client& client) {
  const Bytes value = RandomBytes(64);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kGeneric, value));
  Plan plan;
  plan.secrets = SecretsOfHmac("SHA256", "HMAC key", value);
  plan.secrets.push_back({"right MAC", Hmac("SHA256", value, kMessage)});
  plan.calls.push_back(PreparedCall("C_VerifyInit", AUDIT_SLOT(C_VerifyInit))
                           .Number(client.session())
                           .Mechanism(CKM_SHA256_HMAC)
                           .Number(key));
  plan.calls.push_back(PreparedCall("C_Verify", AUDIT_SLOT(C_Verify))
                           .Number(client.session())
                           .DataAndLength(kMessage)
                           .DataAndLength(Bytes(32, 0x11))
                           .Expect(CKR_SIGNATURE_INVALID));
  return plan;
}

// What was decrypted before the tag turned out to be wrong.
Plan WrongTagPlan(Client& client) {
  const Bytes value = RandomBytes(32);
  const Bytes text = RandomBytes(64);
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kAes, value));
  const auto init = [&](bool encrypt) {
    PreparedCall call = encrypt ? PreparedCall("C_EncryptInit", AUDIT_SLOT(C_EncryptInit))
                                : PreparedCall("C_DecryptInit", AUDIT_SLOT(C_DecryptInit));
    const ck::GcmParams params{call.Place(Bytes(12, 0x24)), 12, 96, 0, 0, 128};
    return call.Number(client.session()).Mechanism(CKM_AES_GCM, BytesOf(params)).Number(key);
  };
  client.Must(init(true));
  client.Must(PreparedCall("C_Encrypt", AUDIT_SLOT(C_Encrypt))
                  .Number(client.session())
                  .DataAndLength(text)
                  .Output(256));
  Bytes sealed = client.remote().Data(3, client.remote().Word(4));
  sealed.back() ^= 1;
  Plan plan;
  plan.secrets = SecretsOfAes("AES key", value);
  plan.secrets.push_back({"text under a wrong tag", text});
  plan.calls.push_back(init(false));
  plan.calls.push_back(PreparedCall("C_Decrypt", AUDIT_SLOT(C_Decrypt))
                           .Number(client.session())
                           .DataAndLength(sealed)
                           .Output(256)
                           .Expect(CKR_ENCRYPTED_DATA_INVALID));
  plan.calls.push_back(init(false));
  plan.calls.push_back(PreparedCall("C_DecryptUpdate", AUDIT_SLOT(C_DecryptUpdate))
                           .Number(client.session())
                           .DataAndLength(sealed)
                           .Output(256));
  plan.calls.push_back(PreparedCall("C_DecryptFinal", AUDIT_SLOT(C_DecryptFinal))
                           .Number(client.session())
                           .Output(256)
                           .Expect(CKR_ENCRYPTED_DATA_INVALID));
  return plan;
}

// Keys that come out of unwrapping and are then refused.
Plan DamagedWrappingPlan(Client& client) {
  const Bytes wrapping = RandomBytes(32);
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE wrapping_key = client.Create(client.Import(KeyKind::kAes, wrapping));
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(KeyKind::kGeneric, value, {Flag(CKA_EXTRACTABLE, true)}));
  const auto wrap = [&](CK_MECHANISM_TYPE mechanism, const Bytes& parameter) {
    client.Must(PreparedCall("C_WrapKey", AUDIT_SLOT(C_WrapKey))
                    .Number(client.session())
                    .Mechanism(mechanism, parameter)
                    .Number(wrapping_key)
                    .Number(key)
                    .Output(256));
    return client.remote().Data(4, client.remote().Word(5));
  };
  const auto unwrap = [&](CK_MECHANISM_TYPE mechanism, const Bytes& parameter, const Bytes& wrapped,
                          const Attribute& more) {
    return PreparedCall("C_UnwrapKey", AUDIT_SLOT(C_UnwrapKey))
        .Number(client.session())
        .Mechanism(mechanism, parameter)
        .Number(wrapping_key)
        .DataAndLength(wrapped)
        .Attributes({Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                     Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), more})
        .Handle();
  };
  const Bytes iv(16, 0x24);
  Bytes kwp = wrap(ck::kAesKeyWrapKwp, {});
  Bytes cbc = wrap(CKM_AES_CBC_PAD, iv);
  Plan plan;
  plan.secrets = SecretsOfAes("wrapping key", wrapping);
  plan.secrets.push_back({"wrapped key", value});
  plan.calls.push_back(unwrap(ck::kAesKeyWrapKwp, {}, kwp, {CKA_CHECK_VALUE, {1, 2, 3}})
                           .Expect(CKR_ATTRIBUTE_VALUE_INVALID));
  kwp.back() ^= 1;
  plan.calls.push_back(
      unwrap(ck::kAesKeyWrapKwp, {}, kwp, Flag(CKA_SIGN, true)).Expect(CKR_WRAPPED_KEY_INVALID));
  // The last block is the padding alone: the key itself is decrypted as it was.
  cbc.back() ^= 1;
  plan.calls.push_back(
      unwrap(CKM_AES_CBC_PAD, iv, cbc, Flag(CKA_SIGN, true)).Expect(CKR_WRAPPED_KEY_INVALID));
  return plan;
}

// A derived key that its template turns out not to fit.
Plan DerivationPlan(Client& client) {
  const KeyPair own = NewX25519();
  const KeyPair peer = NewX25519();
  const CK_OBJECT_HANDLE key = client.Create(client.Import(KeyKind::kX25519, own.private_value));
  const auto derive = [&](const Attribute& more) {
    PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
    const Bytes point = client.Point(KeyKind::kX25519, peer.public_value);
    const ck::Ecdh1Params params = {1, 0, 0, point.size(), call.Place(point)};
    return call.Number(client.session())
        .Mechanism(CKM_ECDH1_DERIVE, BytesOf(params))
        .Number(key)
        .Attributes({Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                     Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), more})
        .Handle();
  };
  Plan plan;
  plan.secrets = SecretsOfX25519("X25519 key", own.private_value);
  Append(&plan.secrets,
         SecretsOfField25519("shared secret", X25519(own.private_value, peer.public_value)));
  plan.calls.push_back(derive({CKA_CHECK_VALUE, {1, 2, 3}}).Expect(CKR_ATTRIBUTE_VALUE_INVALID));
  plan.calls.push_back(derive(Ulong(CKA_VALUE_LEN, 33)).Expect(CKR_TEMPLATE_INCONSISTENT));
  return plan;
}

// What the client hands over for the generator is nobody else's.
Plan SeedPlan(Client& client) {
  const Bytes seed = RandomBytes(64);
  Plan plan;
  plan.calls.push_back(PreparedCall("C_SeedRandom", AUDIT_SLOT(C_SeedRandom))
                           .Number(client.session())
                           .DataAndLength(seed));
  plan.secrets = {{"seed", seed}};
  return plan;
}

}  // namespace

std::vector<Scenario> RefusalScenarios() {
  std::vector<Scenario> all = {
      {"refused imports", ck::kNone, 0, ImportPlan},
      {"values that are refused and searched for", ck::kNone, 0, ValuePlan},
      {"C_SeedRandom", ck::kNone, 0, SeedPlan},
  };
  const auto for_mechanism = [&](const std::string& name, CK_MECHANISM_TYPE mechanism,
                                 CK_FLAGS function, std::function<Plan(Client&)> prepare) {
    all.push_back({name, mechanism, function, std::move(prepare)});
  };
  for_mechanism("operation left open", CKM_SHA256_HMAC, CKF_SIGN,
                [](Client& client) { return AbandonedPlan(client, false); });
  for_mechanism("operation cancelled", CKM_SHA256_HMAC, CKF_SIGN,
                [](Client& client) { return AbandonedPlan(client, true); });
  for_mechanism("wrong MAC", CKM_SHA256_HMAC, CKF_VERIFY, WrongMacPlan);
  for_mechanism("wrong tag", CKM_AES_GCM, CKF_DECRYPT, WrongTagPlan);
  for_mechanism("damaged wrappings", ck::kAesKeyWrapKwp, CKF_UNWRAP, DamagedWrappingPlan);
  for_mechanism("refused X25519 derivation", CKM_ECDH1_DERIVE, CKF_DERIVE, DerivationPlan);
  return all;
}

}  // namespace secretmem::audit

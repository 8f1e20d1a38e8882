// Message-based encryption and decryption, in one part and in several.
#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {
namespace {

constexpr size_t kTagSize = 16;

struct Message {
  Bytes data;
  Bytes tag;
};

// MessageParameter places nonce and tag in |call|; returns the structure and the tag's address.
std::pair<Bytes, uint64_t> MessageParameter(PreparedCall* call, CK_MECHANISM_TYPE mechanism,
                                            const Bytes& tag) {
  const uint64_t nonce = call->Place(Bytes(12, 0x24));
  const uint64_t tag_address = call->Place(tag);
  if (mechanism == ck::kChaCha20Poly1305) {
    return {BytesOf(ck::ChaChaMessageParams{nonce, 12, tag_address}), tag_address};
  }
  return {BytesOf(ck::GcmMessageParams{nonce, 12, 0, 0, tag_address, kTagSize * 8}), tag_address};
}

PreparedCall Init(Client& client, bool encrypt, CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key) {
  PreparedCall call = encrypt ? PreparedCall("C_MessageEncryptInit", ck::kSlotMessageEncryptInit)
                              : PreparedCall("C_MessageDecryptInit", ck::kSlotMessageDecryptInit);
  return call.Number(client.session()).Mechanism(mechanism).Number(key);
}

PreparedCall Whole(Client& client, bool encrypt, CK_MECHANISM_TYPE mechanism,
                   const Message& message, uint64_t* tag_address) {
  PreparedCall call = encrypt ? PreparedCall("C_EncryptMessage", ck::kSlotEncryptMessage)
                              : PreparedCall("C_DecryptMessage", ck::kSlotDecryptMessage);
  const auto [parameter, tag] = MessageParameter(&call, mechanism, message.tag);
  if (tag_address != nullptr) *tag_address = tag;
  return call.Number(client.session())
      .DataAndLength(parameter)
      .DataAndLength(Bytes(20, 0x31))
      .DataAndLength(message.data)
      .Output(2048);
}

PreparedCall Begin(Client& client, bool encrypt, CK_MECHANISM_TYPE mechanism,
                   const Message& message) {
  PreparedCall call = encrypt ? PreparedCall("C_EncryptMessageBegin", ck::kSlotEncryptMessageBegin)
                              : PreparedCall("C_DecryptMessageBegin", ck::kSlotDecryptMessageBegin);
  const auto parameter = MessageParameter(&call, mechanism, message.tag).first;
  return call.Number(client.session()).DataAndLength(parameter).DataAndLength(Bytes(20, 0x31));
}

PreparedCall Next(Client& client, bool encrypt, CK_MECHANISM_TYPE mechanism, const Message& message,
                  bool last) {
  PreparedCall call = encrypt ? PreparedCall("C_EncryptMessageNext", ck::kSlotEncryptMessageNext)
                              : PreparedCall("C_DecryptMessageNext", ck::kSlotDecryptMessageNext);
  const auto parameter = MessageParameter(&call, mechanism, message.tag).first;
  constexpr uint64_t kEndOfMessage = 1;
  return call.Number(client.session())
      .DataAndLength(parameter)
      .DataAndLength(message.data)
      .Output(2048)
      .Number(last ? kEndOfMessage : 0);
}

Plan MessagePlan(Client& client, CK_MECHANISM_TYPE mechanism, bool encrypt, bool parts) {
  const bool chacha = mechanism == ck::kChaCha20Poly1305;
  const Bytes value = RandomBytes(32);
  const CK_OBJECT_HANDLE key =
      client.Create(client.Import(chacha ? KeyKind::kChaCha20 : KeyKind::kAes, value));
  const Bytes text = RandomBytes(64);
  Message message{text, Bytes(kTagSize, 0)};
  if (!encrypt) {
    uint64_t tag_address = 0;
    client.Must(Init(client, true, mechanism, key));
    client.Must(Whole(client, true, mechanism, message, &tag_address));
    message.tag = client.remote().ArenaBytes(tag_address - kArenaAddress, kTagSize);
    message.data = client.remote().Data(7, client.remote().Word(8));
  }
  Plan plan;
  plan.secrets =
      chacha ? std::vector<Secret>{{"ChaCha20 key", value}} : SecretsOfAes("AES key", value);
  plan.secrets.push_back({"plain text", text});
  plan.calls.push_back(Init(client, encrypt, mechanism, key));
  if (!parts) {
    plan.calls.push_back(Whole(client, encrypt, mechanism, message, nullptr));
    return plan;
  }
  const auto half = message.data.begin() + 32;
  plan.calls.push_back(Begin(client, encrypt, mechanism, message));
  plan.calls.push_back(
      Next(client, encrypt, mechanism, {Bytes(message.data.begin(), half), message.tag}, false));
  plan.calls.push_back(
      Next(client, encrypt, mechanism, {Bytes(half, message.data.end()), message.tag}, true));
  return plan;
}

}  // namespace

void AddMessageScenarios(CK_MECHANISM_TYPE mechanism, CK_FLAGS function,
                         std::vector<Scenario>* all) {
  const bool encrypt = function == ck::kFlagMessageEncrypt;
  if (!encrypt && function != ck::kFlagMessageDecrypt) return;
  if (mechanism != CKM_AES_GCM && mechanism != ck::kChaCha20Poly1305) return;
  for (const bool parts : {false, true}) {
    all->push_back({MechanismName(mechanism) + " message " +
                        (encrypt ? "encryption" : "decryption") + (parts ? " in parts" : ""),
                    mechanism, function, [=](Client& client) {
                      return MessagePlan(client, mechanism, encrypt, parts);
                    }});
  }
}

}  // namespace secretmem::audit

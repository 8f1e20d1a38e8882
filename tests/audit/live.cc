#include "tests/audit/live.h"

#include "tests/audit/expected.h"
#include "tests/audit/scenario.h"

namespace secretmem::audit {

Live::Live(const Token& token) : client_(token) {
  const KeyPair own = NewX25519();
  const KeyPair peer = NewX25519();
  const Bytes generic = RandomBytes(32);
  key_ = client_.Create(client_.Import(KeyKind::kX25519, own.private_value));
  client_.Create(client_.Import(KeyKind::kGeneric, generic));
  point_ = client_.Point(KeyKind::kX25519, peer.public_value);
  client_.Must(Derive());
  client_.Track(remote().Word(5));
  resident_ = SecretsOfX25519("X25519 key", own.private_value);
  resident_.push_back({"generic secret", generic});
  Append(&resident_,
         SecretsOfField25519("shared secret", X25519(own.private_value, peer.public_value)));
  // Signatures, where the module has them: SoftHSM2 keeps keys enciphered until they are used.
  const Bytes message(64, 0x5a);
  const KeyPair ed25519 = NewEd25519();
  if (UseForSigning(client_.Import(KeyKind::kEd25519, ed25519.private_value), ck::kEddsa,
                    message)) {
    Append(&resident_, SecretsOfEd25519("Ed25519 key", ed25519.private_value, message));
  }
  // This one stays active: the state of an operation must be as hidden as its key.
  UseForSigning(client_.Import(KeyKind::kGeneric, generic), CKM_SHA256_HMAC, {});
  secrets_ = resident_;
  secrets_.push_back({"user PIN", token.pin()});
}

bool Live::UseForSigning(const PreparedCall& import, CK_MECHANISM_TYPE mechanism,
                         const Bytes& message) {
  if (remote().Run(import) != CKR_OK) return false;
  const CK_OBJECT_HANDLE key = remote().Word(3);
  client_.Track(key);
  const CK_RV rv = remote().Run(PreparedCall("C_SignInit", AUDIT_SLOT(C_SignInit))
                                    .Number(client_.session())
                                    .Mechanism(mechanism)
                                    .Number(key));
  if (rv != CKR_OK || message.empty()) return true;
  client_.Must(PreparedCall("C_Sign", AUDIT_SLOT(C_Sign))
                   .Number(client_.session())
                   .DataAndLength(message)
                   .Output(1024));
  return true;
}

PreparedCall Live::Derive() const {
  PreparedCall call("C_DeriveKey", AUDIT_SLOT(C_DeriveKey));
  const ck::Ecdh1Params params = {1, 0, 0, point_.size(), call.Place(point_)};
  return call.Number(client_.session())
      .Mechanism(CKM_ECDH1_DERIVE, BytesOf(params))
      .Number(key_)
      .Attributes({Ulong(CKA_CLASS, CKO_SECRET_KEY), Ulong(CKA_KEY_TYPE, CKK_GENERIC_SECRET),
                   Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), Flag(CKA_SENSITIVE, true),
                   Flag(CKA_EXTRACTABLE, false), Ulong(CKA_VALUE_LEN, 32)})
      .Handle();
}

void Live::DeriveAndDestroy() {
  client_.Must(Derive());
  const CK_OBJECT_HANDLE derived = remote().Word(5);
  client_.Must(PreparedCall("C_DestroyObject", AUDIT_SLOT(C_DestroyObject))
                   .Number(client_.session())
                   .Number(derived));
}

bool Live::has_secret_regions() {
  for (const Mapping& mapping : ReadMappings(remote().pid())) {
    if (mapping.secret() && mapping.start != kArenaAddress) return true;
  }
  return false;
}

std::vector<Mapping> Live::Regions() {
  const bool secret = has_secret_regions();
  std::vector<Mapping> regions;
  for (const Mapping& mapping : ReadMappingsWithFlags(remote().pid())) {
    if (mapping.start == kArenaAddress) continue;
    if (secret ? mapping.secret() : mapping.writable() && mapping.size() <= 4 * 1024 * 1024) {
      regions.push_back(mapping);
    }
  }
  return regions;
}

}  // namespace secretmem::audit

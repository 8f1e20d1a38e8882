// Digests, MACs and ciphers, and the states that they go through.
#include "tests/blackbox/module.h"
#include "tests/model/reference.h"
#include "tests/model/world.h"

namespace secretmem::model {

using blackbox::P11;

void World::Begin() {
  const CK_SESSION_HANDLE session = AnySession();
  const auto kind = static_cast<Kinds>(random_.Below(kOperationKinds));
  int index = AnyObject();
  const bool cipher = kind == kEncrypt || kind == kDecrypt;
  const Kind wanted = cipher ? Kind::kAes : Kind::kGeneric;
  for (int i = 0; i < 4 && index >= 0 && objects_.at(index).kind != wanted; ++i) {
    index = AnyObject();
  }
  const CK_OBJECT_HANDLE handle = HandleOf(index);
  Operation begun;
  if (cipher) begun.iv = random_.Bytes(16);
  CK_MECHANISM mechanism{cipher            ? CKM_AES_CBC_PAD
                         : kind == kDigest ? CKM_SHA256
                                           : CKM_SHA256_HMAC,
                         cipher ? begun.iv.data() : nullptr, begun.iv.size()};
  CK_RV rv = CKR_OK;
  CK_ATTRIBUTE_TYPE usage = CKA_SIGN;
  switch (kind) {
    case kDigest:
      rv = P11().C_DigestInit(session, &mechanism);
      break;
    case kSign:
      rv = P11().C_SignInit(session, &mechanism, handle);
      break;
    case kVerify:
      usage = CKA_VERIFY;
      rv = P11().C_VerifyInit(session, &mechanism, handle);
      break;
    case kEncrypt:
      usage = CKA_ENCRYPT;
      rv = P11().C_EncryptInit(session, &mechanism, handle);
      break;
    case kDecrypt:
    case kOperationKinds:
      usage = CKA_DECRYPT;
      rv = P11().C_DecryptInit(session, &mechanism, handle);
      break;
  }
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && sessions_.at(session).operations[kind]) want = CKR_OPERATION_ACTIVE;
  if (want == CKR_OK && kind != kDigest) {
    const Object* key = index < 0 ? nullptr : &objects_.at(index);
    if (key == nullptr || key->kind == Kind::kData) {
      want = CKR_KEY_HANDLE_INVALID;
    } else if (!ReadBool(key->attributes, usage)) {
      want = CKR_KEY_FUNCTION_NOT_PERMITTED;
    } else if (key->kind != wanted) {
      want = CKR_KEY_TYPE_INCONSISTENT;
    } else {
      begun.key = key->secret;
      begun.private_key = key->is_private();
    }
  }
  Expect(kind == kDigest ? "C_DigestInit" : "C_*Init", want, rv);
  if (want == CKR_OK) sessions_.at(session).operations[kind] = std::move(begun);
}

std::optional<Bytes> World::Collect(const char* call, Producer produce, CK_SESSION_HANDLE session,
                                    Kinds kind, Bytes in, size_t size,
                                    const std::optional<Bytes>& want, CK_RV problem) {
  const size_t way = random_.Below(6);
  CK_ULONG length = 0;
  // An empty part has an address all the same.
  in.reserve(1);
  if (problem != CKR_OK) {
    Bytes out(size + 64);
    length = out.size();
    Expect(call, problem, produce(session, in, out.data(), &length));
    return {};
  }
  if (way == 0) {
    Expect(call, CKR_OK, produce(session, in, nullptr, &length));
    if (length != size) Fail(std::string(call) + " asks for " + std::to_string(length));
    return {};
  }
  if (way == 1 && size > 0) {
    Bytes out(size - 1 - random_.Below(size));
    out.reserve(1);
    length = out.size();
    Expect(call, CKR_BUFFER_TOO_SMALL, produce(session, in, out.data(), &length));
    if (length != size) Fail(std::string(call) + " needs " + std::to_string(length));
    return {};
  }
  Bytes out(size + random_.Below(4));
  out.reserve(1);
  length = out.size();
  Expect(call, CKR_OK, produce(session, in, out.data(), &length));
  if (length > size) Fail(std::string(call) + " wrote more than it asked for");
  out.resize(length);
  if (want) ExpectBytes(call, *want, out);
  sessions_.at(session).operations[kind].reset();
  return out;
}

void World::Whole() {
  const CK_SESSION_HANDLE session = AnySession();
  const auto kind = static_cast<Kinds>(random_.Below(kOperationKinds));
  Bytes data = random_.Bytes(random_.Below(70));
  CK_RV problem = SessionProblem(session);
  std::optional<Operation>* active =
      problem == CKR_OK ? &sessions_.at(session).operations[kind] : nullptr;
  if (problem == CKR_OK && !*active) problem = CKR_OPERATION_NOT_INITIALIZED;
  if (problem == CKR_OK && (*active)->multi_part) problem = CKR_OPERATION_ACTIVE;
  std::optional<Bytes> key;
  Bytes iv;
  if (problem == CKR_OK) {
    key = (*active)->key;
    iv = (*active)->iv;
  }
  switch (kind) {
    case kDigest:
      Collect(
          "C_Digest",
          [](CK_SESSION_HANDLE s, Bytes& in, CK_BYTE* out, CK_ULONG* length) {
            return P11().C_Digest(s, in.data(), in.size(), out, length);
          },
          session, kind, data, 32, Sha256(data), problem);
      break;
    case kSign:
      Collect(
          "C_Sign",
          [](CK_SESSION_HANDLE s, Bytes& in, CK_BYTE* out, CK_ULONG* length) {
            return P11().C_Sign(s, in.data(), in.size(), out, length);
          },
          session, kind, data, 32, key ? std::optional(HmacSha256(*key, data)) : std::nullopt,
          problem);
      break;
    case kEncrypt:
      Collect(
          "C_Encrypt",
          [](CK_SESSION_HANDLE s, Bytes& in, CK_BYTE* out, CK_ULONG* length) {
            return P11().C_Encrypt(s, in.data(), in.size(), out, length);
          },
          session, kind, data, (data.size() / 16 + 1) * 16,
          key ? std::optional(EncryptCbcPad(*key, iv, data)) : std::nullopt, problem);
      break;
    case kDecrypt: {
      if (problem == CKR_OK && !key) return Cancel();
      const bool good = problem == CKR_OK && !random_.OneIn(4);
      Bytes sealed = good ? EncryptCbcPad(*key, iv, data) : data;
      const auto plain = problem == CKR_OK ? DecryptCbcPad(*key, iv, sealed) : std::nullopt;
      if (problem == CKR_OK && !plain) {
        problem = sealed.empty() || sealed.size() % 16 != 0 ? CKR_ENCRYPTED_DATA_LEN_RANGE
                                                            : CKR_ENCRYPTED_DATA_INVALID;
      }
      Bytes out(sealed.size() + 16);
      CK_ULONG length = out.size();
      sealed.reserve(1);
      Expect("C_Decrypt", problem,
             P11().C_Decrypt(session, sealed.data(), sealed.size(), out.data(), &length));
      if (problem == CKR_OK) {
        out.resize(length);
        ExpectBytes("C_Decrypt", *plain, out);
        active->reset();
      }
      break;
    }
    case kVerify:
    case kOperationKinds: {
      if (problem == CKR_OK && !key) return Cancel();
      Bytes mac = key ? HmacSha256(*key, data) : Bytes(32);
      CK_RV want = problem;
      if (want == CKR_OK && random_.OneIn(3)) {
        mac[random_.Below(mac.size())] ^= 1;
        want = CKR_SIGNATURE_INVALID;
      } else if (want == CKR_OK && random_.OneIn(5)) {
        mac.pop_back();
        want = CKR_SIGNATURE_LEN_RANGE;
      }
      data.reserve(1);
      Expect("C_Verify", want,
             P11().C_Verify(session, data.data(), data.size(), mac.data(), mac.size()));
      if (problem == CKR_OK) active->reset();
      break;
    }
  }
  // Whatever is wrong with a call, but its session, ends the operation.
  if (problem != CKR_OK && active != nullptr) active->reset();
}

void World::Update() {
  const CK_SESSION_HANDLE session = AnySession();
  const auto kind = static_cast<Kinds>(random_.Below(3));
  Bytes data = random_.Bytes(random_.Below(70));
  data.reserve(1);
  CK_RV want = SessionProblem(session);
  std::optional<Operation>* active =
      want == CKR_OK ? &sessions_.at(session).operations[kind] : nullptr;
  if (want == CKR_OK && !*active) want = CKR_OPERATION_NOT_INITIALIZED;
  const auto update = kind == kDigest ? P11().C_DigestUpdate
                      : kind == kSign ? P11().C_SignUpdate
                                      : P11().C_VerifyUpdate;
  Expect("C_*Update", want, update(session, data.data(), data.size()));
  if (want != CKR_OK) return;
  (*active)->multi_part = true;
  (*active)->data.insert((*active)->data.end(), data.begin(), data.end());
}

void World::Final() {
  const CK_SESSION_HANDLE session = AnySession();
  const auto kind = static_cast<Kinds>(random_.Below(3));
  CK_RV problem = SessionProblem(session);
  std::optional<Operation>* active =
      problem == CKR_OK ? &sessions_.at(session).operations[kind] : nullptr;
  if (problem == CKR_OK && !*active) problem = CKR_OPERATION_NOT_INITIALIZED;
  Bytes data;
  std::optional<Bytes> key;
  if (problem == CKR_OK) {
    data = (*active)->data;
    key = (*active)->key;
  }
  if (kind == kVerify) {
    if (problem == CKR_OK && !key) return Cancel();
    Bytes mac = key ? HmacSha256(*key, data) : Bytes(32);
    Expect("C_VerifyFinal", problem, P11().C_VerifyFinal(session, mac.data(), mac.size()));
    if (problem == CKR_OK) active->reset();
    return;
  }
  const bool digest = kind == kDigest;
  std::optional<Bytes> want;
  if (digest) want = Sha256(data);
  if (!digest && key) want = HmacSha256(*key, data);
  Collect(
      digest ? "C_DigestFinal" : "C_SignFinal",
      digest ? [](CK_SESSION_HANDLE s, Bytes&, CK_BYTE* out,
                  CK_ULONG* length) { return P11().C_DigestFinal(s, out, length); }
             : [](CK_SESSION_HANDLE s, Bytes&, CK_BYTE* out,
                  CK_ULONG* length) { return P11().C_SignFinal(s, out, length); },
      session, kind, {}, 32, want, problem);
}

// Ends an operation the way that any module has: by finishing it.
void World::Cancel() {
  const CK_SESSION_HANDLE session = AnySession();
  if (SessionProblem(session) != CKR_OK) return;
  auto& operations = sessions_.at(session).operations;
  Bytes out(64);
  CK_ULONG length = out.size();
  if (operations[kDigest]) {
    Expect("C_DigestFinal", CKR_OK, P11().C_DigestFinal(session, out.data(), &length));
  }
  length = out.size();
  if (operations[kSign]) {
    Expect("C_SignFinal", CKR_OK, P11().C_SignFinal(session, out.data(), &length));
  }
  if (operations[kVerify]) {
    Expect("C_VerifyFinal", CKR_SIGNATURE_LEN_RANGE, P11().C_VerifyFinal(session, out.data(), 5));
  }
  length = out.size();
  if (operations[kEncrypt]) {
    Expect("C_EncryptFinal", CKR_OK, P11().C_EncryptFinal(session, out.data(), &length));
  }
  if (operations[kDecrypt]) {
    Expect("C_Decrypt", CKR_ARGUMENTS_BAD,
           P11().C_Decrypt(session, out.data(), 16, out.data(), nullptr));
  }
  for (auto& operation : operations) operation.reset();
}

}  // namespace secretmem::model

// Through a module's functions.

#include "client/bench/operations.h"

#include <memory>

namespace secretmem::bench {
namespace {

const Bytes kX25519Params = {0x06, 0x03, 0x2b, 0x65, 0x6e};
const Bytes kEd25519Params = {0x06, 0x03, 0x2b, 0x65, 0x70};
const Bytes kP256Params = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

// ThreadSession is a thread's own session, closed with the thread's Work.
class ThreadSession {
 public:
  explicit ThreadSession(const Module& module) : p11(module.p11()), handle(module.OpenSession()) {}
  ~ThreadSession() { p11.C_CloseSession(handle); }
  ThreadSession(const ThreadSession&) = delete;
  ThreadSession& operator=(const ThreadSession&) = delete;

  const CK_FUNCTION_LIST& p11;
  const CK_SESSION_HANDLE handle;
};
using SessionPtr = std::shared_ptr<ThreadSession>;

// PerThread makes a Worker of |work|(session), which does one operation.
template <class F>
Worker PerThread(const Module& module, F work) {
  return [&module, work]() -> Work {
    return [session = std::make_shared<ThreadSession>(module), work] { work(*session); };
  };
}

Template PrivateKey(CK_ATTRIBUTE_TYPE usage) {
  return Template().With(CKA_TOKEN, false).With(CKA_PRIVATE, true).With(usage, true);
}

// X25519Type is how the module calls X25519: by its own mechanism, or as SoftHSM2 does.
CK_MECHANISM_TYPE X25519Type(const Module& module) {
  if (module.Has(CKM_EC_MONTGOMERY_KEY_PAIR_GEN)) return CKM_EC_MONTGOMERY_KEY_PAIR_GEN;
  module.Need(CKM_EC_EDWARDS_KEY_PAIR_GEN);
  return CKM_EC_EDWARDS_KEY_PAIR_GEN;
}

Worker Derive(const Module& module, CK_MECHANISM_TYPE type, const Bytes& params) {
  module.Need(CKM_ECDH1_DERIVE);
  const auto of_public = Template().With(CKA_TOKEN, false).With(CKA_EC_PARAMS, params);
  const auto base = module.GeneratePair(type, of_public, PrivateKey(CKA_DERIVE)).private_key;
  const auto other = module.GeneratePair(type, of_public, PrivateKey(CKA_DERIVE));
  const Bytes point = module.Value(other.public_key, CKA_EC_POINT);
  return PerThread(module, [base, point](ThreadSession& its) {
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE key_type = CKK_GENERIC_SECRET;
    CK_ULONG length = 32;
    CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &object_class, sizeof(object_class)},
                             {CKA_KEY_TYPE, &key_type, sizeof(key_type)},
                             {CKA_TOKEN, &no, 1},
                             {CKA_SENSITIVE, &no, 1},
                             {CKA_EXTRACTABLE, &yes, 1},
                             {CKA_VALUE_LEN, &length, sizeof(length)}};
    CK_ECDH1_DERIVE_PARAMS parameter = {CKD_NULL, 0, nullptr, point.size(),
                                        const_cast<CK_BYTE*>(point.data())};
    CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &parameter, sizeof(parameter)};
    CK_OBJECT_HANDLE key = 0;
    Check(its.p11.C_DeriveKey(its.handle, &mechanism, base, wanted, std::size(wanted), &key),
          "C_DeriveKey");
    Check(its.p11.C_DestroyObject(its.handle, key), "C_DestroyObject");
  });
}

Worker Generate(const Module& module, CK_MECHANISM_TYPE type, const Bytes& params, bool token) {
  // Whether it can be done at all.
  const auto of_public = Template().With(CKA_TOKEN, false).With(CKA_EC_PARAMS, params);
  (void)module.GeneratePair(type, of_public, PrivateKey(CKA_DERIVE));
  return PerThread(module, [type, params, token](ThreadSession& its) {
    CK_BBOOL where = token ? CK_TRUE : CK_FALSE;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE of_its_public[] = {
        {CKA_TOKEN, &where, 1},
        {CKA_EC_PARAMS, const_cast<CK_BYTE*>(params.data()), params.size()}};
    CK_ATTRIBUTE of_private[] = {
        {CKA_TOKEN, &where, 1}, {CKA_PRIVATE, &yes, 1}, {CKA_DERIVE, &yes, 1}};
    CK_MECHANISM mechanism = {type, nullptr, 0};
    CK_OBJECT_HANDLE public_key = 0, private_key = 0;
    Check(its.p11.C_GenerateKeyPair(its.handle, &mechanism, of_its_public, std::size(of_its_public),
                                    of_private, std::size(of_private), &public_key, &private_key),
          "C_GenerateKeyPair");
    // What is durable stays: deleting would count as a write of its own.
    if (token) return;
    Check(its.p11.C_DestroyObject(its.handle, public_key), "C_DestroyObject");
    Check(its.p11.C_DestroyObject(its.handle, private_key), "C_DestroyObject");
  });
}

Worker Sign(const Module& module, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key, Bytes data) {
  module.Need(type);
  return PerThread(module, [type, key, data](ThreadSession& its) {
    CK_MECHANISM mechanism = {type, nullptr, 0};
    CK_BYTE signature[256];
    CK_ULONG size = sizeof(signature);
    Check(its.p11.C_SignInit(its.handle, &mechanism, key), "C_SignInit");
    Check(its.p11.C_Sign(its.handle, const_cast<CK_BYTE*>(data.data()), data.size(), signature,
                         &size),
          "C_Sign");
  });
}

Worker EcSign(const Module& module, CK_MECHANISM_TYPE generate, const Bytes& params,
              CK_MECHANISM_TYPE type) {
  const auto pair =
      module.GeneratePair(generate, Template().With(CKA_TOKEN, false).With(CKA_EC_PARAMS, params),
                          PrivateKey(CKA_SIGN));
  return Sign(module, type, pair.private_key, Bytes(32, 5));
}

Worker RsaSign(const Module& module) {
  const auto pair = module.GeneratePair(CKM_RSA_PKCS_KEY_PAIR_GEN,
                                        Template()
                                            .With(CKA_TOKEN, false)
                                            .With(CKA_MODULUS_BITS, CK_ULONG{2048})
                                            .With(CKA_PUBLIC_EXPONENT, Bytes{1, 0, 1}),
                                        PrivateKey(CKA_SIGN));
  // The DigestInfo of a SHA-256 digest.
  Bytes data = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
  data.resize(data.size() + 32, 5);
  return Sign(module, CKM_RSA_PKCS, pair.private_key, data);
}

Worker AesGcm(const Module& module, size_t bytes) {
  module.Need(CKM_AES_GCM);
  const auto key = module.Create(module.session(), Template()
                                                       .With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY})
                                                       .With(CKA_KEY_TYPE, CK_ULONG{CKK_AES})
                                                       .With(CKA_TOKEN, false)
                                                       .With(CKA_ENCRYPT, true)
                                                       .With(CKA_VALUE, Bytes(32, 1)));
  return [&module, key, bytes]() -> Work {
    auto session = std::make_shared<ThreadSession>(module);
    auto in = std::make_shared<Bytes>(bytes, CK_BYTE{7});
    auto out = std::make_shared<Bytes>(bytes + 16);
    return [=] {
      CK_BYTE nonce[12] = {3};
      CK_GCM_PARAMS parameter = {nonce, sizeof(nonce), 96, nullptr, 0, 128};
      CK_MECHANISM mechanism = {CKM_AES_GCM, &parameter, sizeof(parameter)};
      Check(session->p11.C_EncryptInit(session->handle, &mechanism, key), "C_EncryptInit");
      CK_ULONG size = out->size();
      Check(session->p11.C_Encrypt(session->handle, in->data(), in->size(), out->data(), &size),
            "C_Encrypt");
    };
  };
}

Worker Random(const Module& module) {
  return PerThread(module, [](ThreadSession& its) {
    CK_BYTE bytes[32];
    Check(its.p11.C_GenerateRandom(its.handle, bytes, sizeof(bytes)), "C_GenerateRandom");
  });
}

Worker Digest(const Module& module) {
  module.Need(CKM_SHA256);
  return PerThread(module, [](ThreadSession& its) {
    CK_MECHANISM mechanism = {CKM_SHA256, nullptr, 0};
    CK_BYTE data[64] = {5};
    CK_BYTE digest[32];
    CK_ULONG size = sizeof(digest);
    Check(its.p11.C_DigestInit(its.handle, &mechanism), "C_DigestInit");
    Check(its.p11.C_Digest(its.handle, data, sizeof(data), digest, &size), "C_Digest");
  });
}

Worker OpenAndClose(const Module& module) {
  return [&module]() -> Work {
    return
        [&module] { Check(module.p11().C_CloseSession(module.OpenSession()), "C_CloseSession"); };
  };
}

Worker X25519Derive(const Module& module) {
  return Derive(module, X25519Type(module), kX25519Params);
}
Worker X25519Generate(const Module& module) {
  return Generate(module, X25519Type(module), kX25519Params, false);
}
Worker X25519GenerateDurable(const Module& module) {
  return Generate(module, X25519Type(module), kX25519Params, true);
}
Worker Ed25519Sign(const Module& module) {
  return EcSign(module, CKM_EC_EDWARDS_KEY_PAIR_GEN, kEd25519Params, CKM_EDDSA);
}
Worker P256Derive(const Module& module) { return Derive(module, CKM_EC_KEY_PAIR_GEN, kP256Params); }
Worker P256Generate(const Module& module) {
  return Generate(module, CKM_EC_KEY_PAIR_GEN, kP256Params, false);
}
Worker P256Sign(const Module& module) {
  return EcSign(module, CKM_EC_KEY_PAIR_GEN, kP256Params, CKM_ECDSA);
}
Worker AesGcm1MiB(const Module& module) { return AesGcm(module, size_t{1} << 20); }
Worker AesGcm16KiB(const Module& module) { return AesGcm(module, size_t{1} << 14); }

constexpr Operation kOperations[] = {
    {.id = "x25519-derive",
     .name = "X25519 C_DeriveKey, C_DestroyObject",
     .of_module = X25519Derive},
    {.id = "x25519-generate",
     .name = "X25519 C_GenerateKeyPair, both destroyed",
     .of_module = X25519Generate},
    {.id = "ed25519-sign", .name = "Ed25519 C_SignInit, C_Sign", .of_module = Ed25519Sign},
    {.id = "p256-derive", .name = "P-256 C_DeriveKey, C_DestroyObject", .of_module = P256Derive},
    {.id = "p256-generate",
     .name = "P-256 C_GenerateKeyPair, both destroyed",
     .of_module = P256Generate},
    {.id = "p256-sign", .name = "ECDSA P-256 C_SignInit, C_Sign", .of_module = P256Sign},
    {.id = "rsa2048-sign", .name = "RSA-2048 C_SignInit, C_Sign", .of_module = RsaSign},
    {.id = "aes256-gcm-1m", .name = "AES-256-GCM of 1 MiB", .of_module = AesGcm1MiB},
    {.id = "aes256-gcm-16k", .name = "AES-256-GCM of 16 KiB", .of_module = AesGcm16KiB},
    {.id = "random-32", .name = "C_GenerateRandom of 32 bytes", .of_module = Random},
    {.id = "sha256-64", .name = "SHA-256 of 64 bytes", .of_module = Digest},
    {.id = "session", .name = "C_OpenSession, C_CloseSession", .of_module = OpenAndClose},
    {.id = "x25519-durable",
     .name = "X25519 C_GenerateKeyPair, token objects",
     .of_module = X25519GenerateDurable,
     .durable = true},
};

}  // namespace

std::span<const Operation> Operations() { return kOperations; }

}  // namespace secretmem::bench

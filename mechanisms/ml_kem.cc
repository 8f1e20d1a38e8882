#ifdef SECRETMEM_ML_KEM

#include "mechanisms/ml_kem.h"

#include <openssl/bytestring.h>
#include <openssl/mlkem.h>

#include <cstring>

#include "mechanisms/ec_params.h"
#include "mechanisms/on_heap.h"
#include "mechanisms/pkcs8.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

static_assert(kMlKemSeedBytes == MLKEM_SEED_BYTES);
static_assert(kMlKemSharedBytes == MLKEM_SHARED_SECRET_BYTES);
static_assert(kMlKem768PublicBytes == MLKEM768_PUBLIC_KEY_BYTES);
static_assert(kMlKem1024PublicBytes == MLKEM1024_PUBLIC_KEY_BYTES);

struct MlKem768 {
  using PublicKey = MLKEM768_public_key;
  using PrivateKey = MLKEM768_private_key;
  static constexpr CK_ULONG kSet = CKP_ML_KEM_768;
  static constexpr size_t kPublicBytes = MLKEM768_PUBLIC_KEY_BYTES;
  static constexpr size_t kCiphertextBytes = MLKEM768_CIPHERTEXT_BYTES;
  // id-alg-ml-kem-768, 2.16.840.1.101.3.4.4.2
  static constexpr uint8_t kOid[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x02};
  static constexpr auto kGenerate = MLKEM768_generate_key;
  static constexpr auto kFromSeed = MLKEM768_private_key_from_seed;
  static constexpr auto kPublicFromPrivate = MLKEM768_public_from_private;
  static constexpr auto kParsePublic = MLKEM768_parse_public_key;
  static constexpr auto kMarshalPublic = MLKEM768_marshal_public_key;
  static constexpr auto kEncapsulate = MLKEM768_encap;
  static constexpr auto kDecapsulate = MLKEM768_decap;
};

struct MlKem1024 {
  using PublicKey = MLKEM1024_public_key;
  using PrivateKey = MLKEM1024_private_key;
  static constexpr CK_ULONG kSet = CKP_ML_KEM_1024;
  static constexpr size_t kPublicBytes = MLKEM1024_PUBLIC_KEY_BYTES;
  static constexpr size_t kCiphertextBytes = MLKEM1024_CIPHERTEXT_BYTES;
  // id-alg-ml-kem-1024, 2.16.840.1.101.3.4.4.3
  static constexpr uint8_t kOid[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x03};
  static constexpr auto kGenerate = MLKEM1024_generate_key;
  static constexpr auto kFromSeed = MLKEM1024_private_key_from_seed;
  static constexpr auto kPublicFromPrivate = MLKEM1024_public_from_private;
  static constexpr auto kParsePublic = MLKEM1024_parse_public_key;
  static constexpr auto kMarshalPublic = MLKEM1024_marshal_public_key;
  static constexpr auto kEncapsulate = MLKEM1024_encap;
  static constexpr auto kDecapsulate = MLKEM1024_decap;
};

// With calls |f| with the parameter set that |attributes| name; its answer is a CkResult.
template <class F>
std::invoke_result_t<F&, MlKem768> With(const AttributeSource& attributes, F&& f) {
  const auto value = attributes.Get(CKA_PARAMETER_SET);
  if (!value) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  CK_ULONG set;
  if (value->size() != sizeof(set)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  memcpy(&set, value->data(), sizeof(set));
  if (set == MlKem768::kSet) return f(MlKem768());
  if (set == MlKem1024::kSet) return f(MlKem1024());
  return Refuse(CKR_PARAMETER_SET_NOT_SUPPORTED);
}

// Expand makes the whole private key of a seed, in a borrow.
template <class Kem>
CK_RV Expand(std::span<const uint8_t> seed, OnHeap<typename Kem::PrivateKey>* key) {
  *key = NewOnHeap<typename Kem::PrivateKey>();
  if (*key == nullptr) return CKR_DEVICE_MEMORY;
  return Kem::kFromSeed(key->get(), seed.data(), seed.size()) ? CKR_OK : CKR_FUNCTION_FAILED;
}

template <class Kem>
CK_RV ParsePublic(std::span<const uint8_t> bytes, OnHeap<typename Kem::PublicKey>* key) {
  *key = NewOnHeap<typename Kem::PublicKey>();
  if (*key == nullptr) return CKR_DEVICE_MEMORY;
  CBS input;
  CBS_init(&input, bytes.data(), bytes.size());
  return Kem::kParsePublic(key->get(), &input) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
}

CkStatus CheckUse(Parameter parameter, const Key& key, CK_OBJECT_CLASS wanted) {
  if (key.object_class != wanted || key.key_type != CKK_ML_KEM) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return {};
}

CkStatus CheckLength(const SecretRequest& request) {
  const auto length = SecretLength(request, kMlKemSharedBytes);
  if (!length) return Refuse(length.error());
  if (*length != kMlKemSharedBytes) return Refuse(CKR_KEY_SIZE_RANGE);
  return {};
}

}  // namespace

CkResult<NewKeyPair> GenerateMlKem(Parameter parameter, const AttributeSource& wanted) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return With(wanted, [&]<class Kem>(Kem) -> CkResult<NewKeyPair> {
    std::vector<uint8_t> public_key(Kem::kPublicBytes);
    auto secret = ToCk(Vault::New(kMlKemSeedBytes));
    if (!secret) return Refuse(secret.error());
    const auto drawn = secret->WriteSecret([&](std::span<uint8_t> seed) -> CK_RV {
      const auto expanded = NewOnHeap<typename Kem::PrivateKey>();
      if (expanded == nullptr) return CKR_DEVICE_MEMORY;
      Kem::kGenerate(public_key.data(), seed.data(), expanded.get());
      return CKR_OK;
    });
    if (const auto done = Flatten(drawn); !done) return Refuse(done.error());
    AttributeValues set = {{CKA_PARAMETER_SET, UlongBytes(Kem::kSet)}};
    AttributeValues both = set;
    both.push_back({CKA_VALUE, std::move(public_key)});
    return NewKeyPair{std::move(*secret), std::move(both), std::move(set)};
  });
}

CkResult<AttributeValues> ImportMlKemPublic(const AttributeSource& given) {
  const auto value = given.Get(CKA_VALUE);
  if (!value) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  return With(given, [&]<class Kem>(Kem) -> CkResult<AttributeValues> {
    const auto parsed = Flatten(OnSecretStack([&] {
      OnHeap<typename Kem::PublicKey> key;
      return ParsePublic<Kem>(*value, &key);
    }));
    if (!parsed) return Refuse(parsed.error());
    return AttributeValues{{CKA_PARAMETER_SET, UlongBytes(Kem::kSet)}, {CKA_VALUE, Bytes(*value)}};
  });
}

CkResult<NewKey> ImportMlKemPrivate(const AttributeSource& given) {
  const auto seed = given.Get(CKA_SEED);
  if (!seed) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  return With(given, [&]<class Kem>(Kem) -> CkResult<NewKey> {
    if (seed->size() != kMlKemSeedBytes) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
    auto secret = ToCk(Vault::CopyOf(*seed));
    if (!secret) return Refuse(secret.error());
    return NewKey{std::move(*secret), {{CKA_PARAMETER_SET, UlongBytes(Kem::kSet)}}};
  });
}

CkResult<Vault> MlKemToPkcs8(const Key& key) {
  return With(key.attributes, [&]<class Kem>(Kem) -> CkResult<Vault> {
    auto written = ToCk(key.secret->WithSecret([&](std::span<const uint8_t> seed) {
      return WritePkcs8(Kem::kOid, {}, [&](CBB* out) {
        CBB inner;
        return CBB_add_asn1(out, &inner, CBS_ASN1_CONTEXT_SPECIFIC | 0) &&
               CBB_add_bytes(&inner, seed.data(), seed.size()) && CBB_flush(out);
      });
    }));
    if (!written) return Refuse(written.error());
    return std::move(*written);
  });
}

CkResult<NewKey> MlKemFromPkcs8(std::span<const uint8_t> der) {
  auto info = ReadPkcs8(der);
  CBS seed;
  if (!info || CBS_len(&info->parameters) != 0 ||
      !CBS_get_asn1(&info->private_key, &seed, CBS_ASN1_CONTEXT_SPECIFIC | 0) ||
      CBS_len(&info->private_key) != 0 || CBS_len(&seed) != kMlKemSeedBytes) {
    return Refuse(CKR_WRAPPED_KEY_INVALID);
  }
  const auto is = [&](std::span<const uint8_t> oid) {
    return CBS_mem_equal(&info->algorithm, oid.data(), oid.size());
  };
  CK_ULONG set;
  if (is(MlKem768::kOid)) {
    set = MlKem768::kSet;
  } else if (is(MlKem1024::kOid)) {
    set = MlKem1024::kSet;
  } else {
    return Refuse(CKR_WRAPPED_KEY_INVALID);
  }
  auto secret = ToCk(Vault::CopyOf({CBS_data(&seed), CBS_len(&seed)}));
  if (!secret) return Refuse(secret.error());
  return NewKey{std::move(*secret), {{CKA_PARAMETER_SET, UlongBytes(set)}}};
}

CkResult<std::vector<uint8_t>> MlKemPublicKeyInfo(const Key& key) {
  return With(key.attributes, [&]<class Kem>(Kem) -> CkResult<std::vector<uint8_t>> {
    if (key.object_class == CKO_PUBLIC_KEY) {
      const auto value = key.attributes.Get(CKA_VALUE);
      if (!value) return Refuse(CKR_FUNCTION_FAILED);
      return PublicKeyInfo(Kem::kOid, {}, *value);
    }
    std::vector<uint8_t> bytes(Kem::kPublicBytes);
    const auto computed =
        Flatten(key.secret->WithSecret([&](std::span<const uint8_t> seed) -> CK_RV {
          OnHeap<typename Kem::PrivateKey> expanded;
          if (const CK_RV rv = Expand<Kem>(seed, &expanded); rv != CKR_OK) return rv;
          const auto public_key = NewOnHeap<typename Kem::PublicKey>();
          if (public_key == nullptr) return CKR_DEVICE_MEMORY;
          Kem::kPublicFromPrivate(public_key.get(), expanded.get());
          CBB out;
          size_t written;
          if (!CBB_init_fixed(&out, bytes.data(), bytes.size()) ||
              !Kem::kMarshalPublic(&out, public_key.get()) ||
              !CBB_finish(&out, nullptr, &written) || written != bytes.size()) {
            return CKR_FUNCTION_FAILED;
          }
          return CKR_OK;
        }));
    if (!computed) return Refuse(computed.error());
    return PublicKeyInfo(Kem::kOid, {}, bytes);
  });
}

std::optional<std::span<const uint8_t>> FindSeed(std::span<const uint8_t> secret,
                                                 CK_ATTRIBUTE_TYPE type) {
  if (type != CKA_SEED) return std::nullopt;
  return secret;
}

CkResult<size_t> MlKemCiphertextSize(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                     const Key& key) {
  if (const auto fit = CheckUse(parameter, key, CKO_PUBLIC_KEY); !fit) return Refuse(fit.error());
  return With(key.attributes,
              []<class Kem>(Kem) -> CkResult<size_t> { return Kem::kCiphertextBytes; });
}

CkResult<Encapsulated> EncapsulateMlKem(CK_MECHANISM_TYPE /*type*/, Parameter parameter,
                                        const Key& key, const SecretRequest& request) {
  if (const auto fit = CheckUse(parameter, key, CKO_PUBLIC_KEY); !fit) return Refuse(fit.error());
  if (const auto fit = CheckLength(request); !fit) return Refuse(fit.error());
  const auto value = key.attributes.Get(CKA_VALUE);
  if (!value) return Refuse(CKR_FUNCTION_FAILED);
  return With(key.attributes, [&]<class Kem>(Kem) -> CkResult<Encapsulated> {
    std::vector<uint8_t> ciphertext(Kem::kCiphertextBytes);
    auto shared = ToCk(Vault::New(kMlKemSharedBytes));
    if (!shared) return Refuse(shared.error());
    const auto made = shared->WriteSecret([&](std::span<uint8_t> out) -> CK_RV {
      OnHeap<typename Kem::PublicKey> public_key;
      if (const CK_RV rv = ParsePublic<Kem>(*value, &public_key); rv != CKR_OK) return rv;
      Kem::kEncapsulate(ciphertext.data(), out.data(), public_key.get());
      return CKR_OK;
    });
    if (const auto done = Flatten(made); !done) return Refuse(done.error());
    return Encapsulated{AsSecretKey(std::move(*shared)), std::move(ciphertext)};
  });
}

CkResult<NewKey> DecapsulateMlKem(CK_MECHANISM_TYPE /*type*/, Parameter parameter, const Key& key,
                                  const SecretRequest& request,
                                  std::span<const uint8_t> ciphertext) {
  if (const auto fit = CheckUse(parameter, key, CKO_PRIVATE_KEY); !fit) return Refuse(fit.error());
  if (const auto fit = CheckLength(request); !fit) return Refuse(fit.error());
  return With(key.attributes, [&]<class Kem>(Kem) -> CkResult<NewKey> {
    if (ciphertext.size() != Kem::kCiphertextBytes) return Refuse(CKR_WRAPPED_KEY_LEN_RANGE);
    auto shared = ToCk(Vault::New(kMlKemSharedBytes));
    if (!shared) return Refuse(shared.error());
    const auto opened = shared->WriteSecret([&](std::span<uint8_t> out) -> VaultResult<CK_RV> {
      return key.secret->WithSecret([&](std::span<const uint8_t> seed) -> CK_RV {
        OnHeap<typename Kem::PrivateKey> expanded;
        if (const CK_RV rv = Expand<Kem>(seed, &expanded); rv != CKR_OK) return rv;
        return Kem::kDecapsulate(out.data(), ciphertext.data(), ciphertext.size(), expanded.get())
                   ? CKR_OK
                   : CKR_WRAPPED_KEY_INVALID;
      });
    });
    if (const auto done = Flatten(opened); !done) return Refuse(done.error());
    return AsSecretKey(std::move(*shared));
  });
}

}  // namespace secretmem

#endif

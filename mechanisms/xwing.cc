#ifdef SECRETMEM_XWING

#include "mechanisms/xwing.h"

#include <openssl/bytestring.h>
#include <openssl/mlkem.h>
#include <openssl/xwing.h>

#include "mechanisms/ec_params.h"
#include "mechanisms/on_heap.h"
#include "mechanisms/pkcs8.h"

namespace secretmem {
namespace {

static_assert(kXWingSeedBytes == XWING_PRIVATE_KEY_BYTES);
static_assert(kXWingPublicBytes == XWING_PUBLIC_KEY_BYTES);
static_assert(kXWingCiphertextBytes == XWING_CIPHERTEXT_BYTES);

// id-XWing, 1.3.6.1.4.1.62253.25722
constexpr uint8_t kOid[] = {0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xe6, 0x2d, 0x81, 0xc8, 0x7a};

// With expands |seed| and calls |use| with the whole private key, in a borrow.
template <class Use>
CK_RV WithExpanded(std::span<const uint8_t> seed, Use&& use) {
  const auto key = NewOnHeap<XWING_private_key>();
  if (key == nullptr) return CKR_DEVICE_MEMORY;
  CBS input;
  CBS_init(&input, seed.data(), seed.size());
  if (!XWING_parse_private_key(key.get(), &input)) return CKR_FUNCTION_FAILED;
  return use(*key);
}

CkResult<NewKey> FromSeed(std::span<const uint8_t> seed) {
  auto secret = ToCk(Vault::CopyOf(seed));
  if (!secret) return Refuse(secret.error());
  return NewKey{std::move(*secret), {}};
}

}  // namespace

CkResult<NewKeyPair> GenerateXWing(Parameter parameter, const AttributeSource& /*wanted*/) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  std::vector<uint8_t> public_key(kXWingPublicBytes);
  auto secret = ToCk(Vault::New(kXWingSeedBytes));
  if (!secret) return Refuse(secret.error());
  const auto drawn = secret->WriteSecret([&](std::span<uint8_t> seed) -> CK_RV {
    const auto key = NewOnHeap<XWING_private_key>();
    if (key == nullptr) return CKR_DEVICE_MEMORY;
    CBB out;
    size_t written;
    if (!XWING_generate_key(public_key.data(), key.get()) ||
        !CBB_init_fixed(&out, seed.data(), seed.size()) ||
        !XWING_marshal_private_key(&out, key.get()) || !CBB_finish(&out, nullptr, &written) ||
        written != seed.size()) {
      return CKR_FUNCTION_FAILED;
    }
    return CKR_OK;
  });
  if (const auto done = Flatten(drawn); !done) return Refuse(done.error());
  return NewKeyPair{std::move(*secret), {{CKA_VALUE, std::move(public_key)}}, {}};
}

CkResult<AttributeValues> ImportXWingPublic(const AttributeSource& given) {
  const auto value = given.Get(CKA_VALUE);
  if (!value) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (value->size() != kXWingPublicBytes) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  const auto parsed = Flatten(OnSecretStack([&]() -> CK_RV {
    const auto key = NewOnHeap<MLKEM768_public_key>();
    if (key == nullptr) return CKR_DEVICE_MEMORY;
    CBS input;
    CBS_init(&input, value->data(), MLKEM768_PUBLIC_KEY_BYTES);
    return MLKEM768_parse_public_key(key.get(), &input) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  }));
  if (!parsed) return Refuse(parsed.error());
  return AttributeValues{{CKA_VALUE, Bytes(*value)}};
}

CkResult<NewKey> ImportXWingPrivate(const AttributeSource& given) {
  const auto seed = given.Get(CKA_SEED);
  if (!seed) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (seed->size() != kXWingSeedBytes) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  return FromSeed(*seed);
}

CkResult<Vault> XWingToPkcs8(const Key& key) {
  auto written = ToCk(key.secret->WithSecret([](std::span<const uint8_t> seed) {
    return WritePkcs8(kOid, {},
                      [&](CBB* out) { return CBB_add_bytes(out, seed.data(), seed.size()); });
  }));
  if (!written) return Refuse(written.error());
  return std::move(*written);
}

CkResult<NewKey> XWingFromPkcs8(std::span<const uint8_t> der) {
  const auto info = ReadPkcs8(der);
  if (!info || CBS_len(&info->parameters) != 0 ||
      !CBS_mem_equal(&info->algorithm, kOid, sizeof(kOid)) ||
      CBS_len(&info->private_key) != kXWingSeedBytes) {
    return Refuse(CKR_WRAPPED_KEY_INVALID);
  }
  return FromSeed({CBS_data(&info->private_key), kXWingSeedBytes});
}

CkResult<std::vector<uint8_t>> XWingPublicKeyInfo(const Key& key) {
  if (key.object_class == CKO_PUBLIC_KEY) {
    const auto value = key.attributes.Get(CKA_VALUE);
    if (!value) return Refuse(CKR_FUNCTION_FAILED);
    return PublicKeyInfo(kOid, {}, *value);
  }
  std::vector<uint8_t> bytes(kXWingPublicBytes);
  const auto computed = Flatten(key.secret->WithSecret([&](std::span<const uint8_t> seed) {
    return WithExpanded(seed, [&](const XWING_private_key& expanded) -> CK_RV {
      return XWING_public_from_private(bytes.data(), &expanded) ? CKR_OK : CKR_FUNCTION_FAILED;
    });
  }));
  if (!computed) return Refuse(computed.error());
  return PublicKeyInfo(kOid, {}, bytes);
}

CK_RV EncapXWing(const Key& public_key, std::span<uint8_t> enc, std::span<uint8_t, 32> shared) {
  const auto value = public_key.attributes.Get(CKA_VALUE);
  if (!value || value->size() != kXWingPublicBytes) return CKR_KEY_TYPE_INCONSISTENT;
  return XWING_encap(enc.data(), shared.data(), value->data()) ? CKR_OK : CKR_PUBLIC_KEY_INVALID;
}

CK_RV DecapXWing(const Key& private_key, std::span<const uint8_t> enc,
                 std::span<uint8_t, 32> shared) {
  const auto done = Flatten(private_key.secret->WithSecret([&](std::span<const uint8_t> seed) {
    return WithExpanded(seed, [&](const XWING_private_key& expanded) -> CK_RV {
      return XWING_decap(shared.data(), enc.data(), &expanded) ? CKR_OK
                                                               : CKR_ENCRYPTED_DATA_INVALID;
    });
  }));
  return done ? CKR_OK : done.error();
}

}  // namespace secretmem

#endif

#include "mechanisms/rsa_key.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/mem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "mechanisms/boringssl_error.h"
#include "mechanisms/pkcs8.h"
#include "mechanisms/rsa_numbers.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

constexpr uint8_t kDefaultExponent[] = {1, 0, 1};

// rsaEncryption, the contents of the OID, and its parameters.
constexpr uint8_t kRsaEncryption[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};
constexpr uint8_t kNull[] = {0x05, 0x00};

// The order of an RSAPrivateKey after its version.
constexpr CK_ATTRIBUTE_TYPE kComponents[] = {
    CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1,
    CKA_PRIME_2, CKA_EXPONENT_1,      CKA_EXPONENT_2,       CKA_COEFFICIENT,
};

std::span<const uint8_t> WithoutZeros(std::span<const uint8_t> number) {
  const auto* first = std::ranges::find_if(number, [](uint8_t byte) { return byte != 0; }).base();
  return number.subspan(static_cast<size_t>(first - number.data()));
}

std::vector<uint8_t> Bytes(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

size_t BitsOf(std::span<const uint8_t> number) {
  const auto digits = WithoutZeros(number);
  if (digits.empty()) return 0;
  return digits.size() * 8 - static_cast<size_t>(std::countl_zero(digits[0]));
}

// IsExponent: what BoringSSL takes of a public exponent of up to |max_bits|.
bool IsExponent(std::span<const uint8_t> exponent, size_t max_bits) {
  const size_t bits = BitsOf(exponent);
  return bits >= 2 && bits <= max_bits && exponent.back() % 2 == 1;
}

bool IsModulus(std::span<const uint8_t> modulus) {
  const size_t bits = BitsOf(modulus);
  return bits >= kRsaMinBits && bits <= kRsaMaxBits && modulus.back() % 2 == 1;
}

bool BeginPrivateKey(std::span<const uint8_t> der, CBS* components) {
  CBS input;
  uint64_t version;
  CBS_init(&input, der.data(), der.size());
  return CBS_get_asn1(&input, components, CBS_ASN1_SEQUENCE) && CBS_len(&input) == 0 &&
         CBS_get_asn1_uint64(components, &version) && version == 0;
}

// Parse fills |key| without BoringSSL's checks, which are slow: the bytes were checked when they
// came in, and come out of a vault.
bool Parse(std::span<const uint8_t> der, RsaKey& key) {
  CBS input;
  if (!BeginPrivateKey(der, &input)) return false;
  RsaNumbers numbers;
  for (bssl::UniquePtr<BIGNUM>* number : numbers.InOrder()) {
    number->reset(BN_new());
    if (*number == nullptr || !BN_parse_asn1_unsigned(&input, number->get())) return false;
  }
  uint8_t exponent[kRsaMaxBytes];
  const size_t size = BN_num_bytes(numbers.n.get());
  if (size > sizeof(exponent) || !BN_bn2bin_padded(exponent, size, numbers.d.get())) return false;
  SHA256(exponent, size, key.rejection_seed.data());
  key.rsa = numbers.Take();
  return key.rsa != nullptr;
}

CkResult<Vault> Marshal(const RSA* rsa) {
  bssl::ScopedCBB cbb;
  uint8_t* der;
  size_t size;
  if (!CBB_init(cbb.get(), 512) || !RSA_marshal_private_key(cbb.get(), rsa) ||
      !CBB_finish(cbb.get(), &der, &size)) {
    return Refuse(FailureOr(CKR_FUNCTION_FAILED));
  }
  const bssl::UniquePtr<uint8_t> owner(der);
  return ToCk(Vault::CopyOf({der, size}));
}

std::vector<uint8_t> BytesOf(const BIGNUM* number) {
  std::vector<uint8_t> bytes(BN_num_bytes(number));
  BN_bn2bin(number, bytes.data());
  return bytes;
}

struct Made {
  Vault secret;
  std::vector<uint8_t> modulus;
  std::vector<uint8_t> exponent;
};

CkResult<Made> Finish(const RSA* rsa) {
  auto secret = Marshal(rsa);
  if (!secret) return Refuse(secret.error());
  return Made{std::move(*secret), BytesOf(RSA_get0_n(rsa)), BytesOf(RSA_get0_e(rsa))};
}

CkResult<Made> Generate(size_t bits, std::span<const uint8_t> exponent) {
  const bssl::UniquePtr<RSA> rsa(RSA_new());
  const bssl::UniquePtr<BIGNUM> e(BN_bin2bn(exponent.data(), exponent.size(), nullptr));
  if (rsa == nullptr || e == nullptr) return Refuse(CKR_DEVICE_MEMORY);
  BN_GENCB callback;
  // BoringSSL calls it between candidates for a prime and between the rounds of its tests, holding
  // none of its locks.
  BN_GENCB_set(
      &callback,
      [](int, int, BN_GENCB*) {
        SafePoint();
        return 1;
      },
      nullptr);
  if (!RSA_generate_key_ex(rsa.get(), static_cast<int>(bits), e.get(), &callback)) {
    return Refuse(FailureOr(CKR_FUNCTION_FAILED));
  }
  SafePoint();
  return Finish(rsa.get());
}

// MarshalPublic is the DER RSAPublicKey of a public or private key's attributes.
CkResult<std::vector<uint8_t>> MarshalPublic(const AttributeSource& attributes) {
  const auto modulus = attributes.Get(CKA_MODULUS);
  const auto exponent = attributes.Get(CKA_PUBLIC_EXPONENT);
  if (!modulus || !exponent) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  std::vector<uint8_t> der;
  const auto done = Flatten(OnSecretStack([&]() -> CK_RV {
    const bssl::UniquePtr<BIGNUM> n(BN_bin2bn(modulus->data(), modulus->size(), nullptr));
    const bssl::UniquePtr<BIGNUM> e(BN_bin2bn(exponent->data(), exponent->size(), nullptr));
    bssl::ScopedCBB cbb;
    CBB sequence;
    if (n == nullptr || e == nullptr || !CBB_init(cbb.get(), 256) ||
        !CBB_add_asn1(cbb.get(), &sequence, CBS_ASN1_SEQUENCE) ||
        !BN_marshal_asn1(&sequence, n.get()) || !BN_marshal_asn1(&sequence, e.get()) ||
        !CBB_flush(cbb.get())) {
      return FailureOr(CKR_FUNCTION_FAILED);
    }
    der.assign(CBB_data(cbb.get()), CBB_data(cbb.get()) + CBB_len(cbb.get()));
    return CKR_OK;
  }));
  if (!done) return Refuse(done.error());
  return der;
}

}  // namespace

CkResult<OpenRsaKey> OpenRsaPrivate(const Key& key) {
  if (key.object_class != CKO_PRIVATE_KEY || key.key_type != CKK_RSA) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  const auto modulus = key.attributes.Get(CKA_MODULUS);
  if (!modulus || !IsModulus(*modulus)) return Refuse(CKR_KEY_SIZE_RANGE);
  const auto parse = [&]() -> CkResult<SecretBox<RsaKey>> {
    auto box = ToCk(SecretBox<RsaKey>::Make());
    if (!box) return box;
    const auto parsed = ToCk(key.secret->WithSecret([&](std::span<const uint8_t> der) {
      return box->With([&](RsaKey& its) { return Parse(der, its); });
    }));
    if (!parsed) return Refuse(parsed.error());
    if (!*parsed) return Refuse(CKR_KEY_SIZE_RANGE);
    return box;
  };
  auto parsed = key.cache->Get<RsaKey>(parse);
  if (!parsed) return Refuse(parsed.error());
  return OpenRsaKey{std::move(*parsed), BitsOf(*modulus)};
}

CkResult<OpenRsaKey> OpenRsaPublic(const Key& key) {
  if (key.object_class != CKO_PUBLIC_KEY || key.key_type != CKK_RSA) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  const auto modulus = key.attributes.Get(CKA_MODULUS);
  const auto exponent = key.attributes.Get(CKA_PUBLIC_EXPONENT);
  if (!modulus || !exponent || !IsModulus(*modulus)) return Refuse(CKR_KEY_SIZE_RANGE);
  auto box = ToCk(SecretBox<RsaKey>::Make());
  if (!box) return Refuse(box.error());
  const auto parsed = ToCk(box->With([&](RsaKey& its) {
    RsaNumbers numbers;
    numbers.n.reset(BN_bin2bn(modulus->data(), modulus->size(), nullptr));
    numbers.e.reset(BN_bin2bn(exponent->data(), exponent->size(), nullptr));
    if (numbers.n == nullptr || numbers.e == nullptr) return false;
    its.rsa = numbers.Take();
    return its.rsa != nullptr;
  }));
  if (!parsed) return Refuse(parsed.error());
  if (!*parsed) return Refuse(CKR_DEVICE_MEMORY);
  return OpenRsaKey{std::make_shared<SecretBox<RsaKey>>(std::move(*box)), BitsOf(*modulus)};
}

CkResult<NewKeyPair> GenerateRsa(Parameter parameter, const AttributeSource& wanted) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto bits_bytes = wanted.Get(CKA_MODULUS_BITS);
  CK_ULONG bits;
  if (!bits_bytes) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (bits_bytes->size() != sizeof(bits)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  memcpy(&bits, bits_bytes->data(), sizeof(bits));
  if (bits < kRsaMinNewBits || bits > kRsaMaxBits || bits % kRsaBitsStep != 0) {
    return Refuse(CKR_KEY_SIZE_RANGE);
  }
  const auto exponent = wanted.Get(CKA_PUBLIC_EXPONENT).value_or(kDefaultExponent);
  if (!IsExponent(exponent, 32)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  auto made = ToCk(OnSecretStack([&] { return Generate(bits, exponent); }));
  if (!made) return Refuse(made.error());
  if (!*made) return Refuse((*made).error());
  Made& key = **made;
  return NewKeyPair{std::move(key.secret),
                    {{CKA_MODULUS, key.modulus},
                     {CKA_MODULUS_BITS, UlongBytes(bits)},
                     {CKA_PUBLIC_EXPONENT, key.exponent}},
                    {{CKA_MODULUS, key.modulus}, {CKA_PUBLIC_EXPONENT, key.exponent}}};
}

CkResult<AttributeValues> ImportRsaPublic(const AttributeSource& given) {
  const auto modulus = given.Get(CKA_MODULUS);
  const auto exponent = given.Get(CKA_PUBLIC_EXPONENT);
  if (!modulus || !exponent) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (!IsModulus(*modulus) || !IsExponent(*exponent, 33)) {
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  return AttributeValues{{CKA_MODULUS, Bytes(WithoutZeros(*modulus))},
                         {CKA_MODULUS_BITS, UlongBytes(BitsOf(*modulus))},
                         {CKA_PUBLIC_EXPONENT, Bytes(WithoutZeros(*exponent))}};
}

CkResult<NewKey> ImportRsaPrivate(const AttributeSource& given) {
  const auto modulus = given.Get(CKA_MODULUS);
  if (!modulus || !given.Get(CKA_PRIVATE_EXPONENT)) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (!IsModulus(*modulus)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  if (const auto exponent = given.Get(CKA_PUBLIC_EXPONENT);
      exponent && !exponent->empty() && !IsExponent(*exponent, 33)) {
    return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  }
  auto made = ToCk(OnSecretStack([&]() -> CkResult<Made> {
    RsaNumbers numbers;
    size_t i = 0;
    for (bssl::UniquePtr<BIGNUM>* number : numbers.InOrder()) {
      const auto value = given.Get(kComponents[i++]);
      // Some clients send what they do not have as an empty value.
      if (!value || value->empty()) continue;
      if (value->size() > kRsaMaxBytes + 1) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
      number->reset(BN_bin2bn(value->data(), value->size(), nullptr));
      if (*number == nullptr) return Refuse(CKR_DEVICE_MEMORY);
    }
    if (!CompleteRsa(numbers)) return Refuse(FailureOr(CKR_ATTRIBUTE_VALUE_INVALID));
    const auto rsa = numbers.Take();
    if (rsa == nullptr || !RSA_check_key(rsa.get())) {
      return Refuse(FailureOr(CKR_ATTRIBUTE_VALUE_INVALID));
    }
    return Finish(rsa.get());
  }));
  if (!made) return Refuse(made.error());
  if (!*made) return Refuse((*made).error());
  Made& key = **made;
  return NewKey{
      std::move(key.secret),
      {{CKA_MODULUS, std::move(key.modulus)}, {CKA_PUBLIC_EXPONENT, std::move(key.exponent)}}};
}

CkResult<Vault> RsaToPkcs8(const Key& key) {
  auto written = ToCk(key.secret->WithSecret([&](std::span<const uint8_t> der) {
    return WritePkcs8(kRsaEncryption, kNull,
                      [&](CBB* out) { return CBB_add_bytes(out, der.data(), der.size()); });
  }));
  if (!written) return Refuse(written.error());
  return std::move(*written);
}

CkResult<NewKey> RsaFromPkcs8(std::span<const uint8_t> der) {
  auto info = ReadPkcs8(der);
  if (!info || !CBS_mem_equal(&info->algorithm, kRsaEncryption, sizeof(kRsaEncryption)) ||
      !CBS_mem_equal(&info->parameters, kNull, sizeof(kNull))) {
    return Refuse(CKR_WRAPPED_KEY_INVALID);
  }
  // Checks that the numbers fit together.
  const bssl::UniquePtr<RSA> rsa(RSA_parse_private_key(&info->private_key));
  if (rsa == nullptr || CBS_len(&info->private_key) != 0) {
    return Refuse(FailureOr(CKR_WRAPPED_KEY_INVALID));
  }
  const size_t bits = BN_num_bits(RSA_get0_n(rsa.get()));
  if (bits < kRsaMinBits || bits > kRsaMaxBits) return Refuse(CKR_WRAPPED_KEY_INVALID);
  auto made = Finish(rsa.get());
  if (!made) return Refuse(made.error());
  return NewKey{
      std::move(made->secret),
      {{CKA_MODULUS, std::move(made->modulus)}, {CKA_PUBLIC_EXPONENT, std::move(made->exponent)}}};
}

CkResult<std::vector<uint8_t>> RsaPublicKeyInfo(const Key& key) {
  const auto der = MarshalPublic(key.attributes);
  if (!der) return Refuse(der.error());
  return PublicKeyInfo(kRsaEncryption, kNull, *der);
}

std::optional<std::span<const uint8_t>> FindRsaComponent(std::span<const uint8_t> secret,
                                                         CK_ATTRIBUTE_TYPE type) {
  CBS input, value;
  if (!BeginPrivateKey(secret, &input)) return {};
  for (const CK_ATTRIBUTE_TYPE component : kComponents) {
    if (!CBS_get_asn1(&input, &value, CBS_ASN1_INTEGER)) return {};
    if (component == type) return WithoutZeros({CBS_data(&value), CBS_len(&value)});
  }
  return {};
}

}  // namespace secretmem

#include "mechanisms/secret_key.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

namespace secretmem {
namespace {

// The lengths in bytes that a key type allows; |min| == |max| where it has one length only.
struct SecretKeyType {
  CK_KEY_TYPE type;
  CK_ULONG min;
  CK_ULONG max;
  CK_ULONG step = 1;

  bool Allows(CK_ULONG length) const {
    return length >= min && length <= max && (length - min) % step == 0;
  }
};

constexpr SecretKeyType kTypes[] = {
    {CKK_GENERIC_SECRET, 1, kMaxSecretBytes}, {CKK_AES, 16, 32, 8},
    {CKK_HKDF, 1, kMaxSecretBytes},           {CKK_CHACHA20, 32, 32},
    {CKK_SHA_1_HMAC, 1, kMaxSecretBytes},     {CKK_SHA224_HMAC, 1, kMaxSecretBytes},
    {CKK_SHA256_HMAC, 1, kMaxSecretBytes},    {CKK_SHA384_HMAC, 1, kMaxSecretBytes},
    {CKK_SHA512_HMAC, 1, kMaxSecretBytes},    {CKK_SHA512_256_HMAC, 1, kMaxSecretBytes},
};

const SecretKeyType* Find(CK_KEY_TYPE type) {
  const auto* found = std::ranges::find(kTypes, type, &SecretKeyType::type);
  return found == std::end(kTypes) ? nullptr : found;
}

}  // namespace

std::vector<uint8_t> UlongBytes(CK_ULONG value) {
  std::vector<uint8_t> bytes(sizeof(value));
  memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

NewKey AsSecretKey(Vault secret) {
  const CK_ULONG length = secret.size();
  return NewKey{std::move(secret), {{CKA_VALUE_LEN, UlongBytes(length)}}};
}

bool IsSecretKeyType(CK_KEY_TYPE type) { return Find(type) != nullptr; }

bool AllowsSecretLength(CK_KEY_TYPE type, CK_ULONG length) {
  const SecretKeyType* found = Find(type);
  return found != nullptr && found->Allows(length);
}

std::vector<size_t> FewSecretLengths(CK_KEY_TYPE type) {
  const SecretKeyType* found = Find(type);
  std::vector<size_t> lengths;
  if (found == nullptr || found->Allows(found->min + 1)) return lengths;
  for (CK_ULONG length = found->min; length <= found->max; length += found->step) {
    lengths.push_back(length);
  }
  return lengths;
}

CkResult<size_t> SecretLength(const SecretRequest& request, std::optional<size_t> available) {
  const SecretKeyType* type = Find(request.key_type);
  if (type == nullptr) return Refuse(CKR_TEMPLATE_INCONSISTENT);
  CK_ULONG length;
  if (request.length) {
    length = *request.length;
    if (length == 0) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  } else if (type->min == type->max) {
    length = type->min;
  } else if (available && type->step == 1) {
    length = *available;
  } else {
    return Refuse(CKR_TEMPLATE_INCOMPLETE);
  }
  if (!type->Allows(length)) return Refuse(CKR_KEY_SIZE_RANGE);
  if (available && length > *available) return Refuse(CKR_TEMPLATE_INCONSISTENT);
  return length;
}

CkResult<NewKey> GenerateGenericSecret(Parameter parameter, const SecretRequest& request) {
  if (!parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const auto length = SecretLength(request, std::nullopt);
  if (!length) return Refuse(length.error());
  auto secret = ToCk(Vault::New(*length));
  if (!secret) return Refuse(secret.error());
  const auto drawn =
      secret->WriteSecret([](std::span<uint8_t> bytes) { RAND_bytes(bytes.data(), bytes.size()); });
  if (!drawn) return Refuse(RvOf(drawn.error()));
  return AsSecretKey(std::move(*secret));
}

CkResult<NewKey> ImportSecret(const AttributeSource& given) {
  const auto value = given.Get(CKA_VALUE);
  const auto type_bytes = given.Get(CKA_KEY_TYPE);
  CK_KEY_TYPE key_type;
  if (!value || !type_bytes) return Refuse(CKR_TEMPLATE_INCOMPLETE);
  if (type_bytes->size() != sizeof(key_type)) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  memcpy(&key_type, type_bytes->data(), sizeof(key_type));
  if (!AllowsSecretLength(key_type, value->size())) return Refuse(CKR_ATTRIBUTE_VALUE_INVALID);
  auto secret = ToCk(Vault::CopyOf(*value));
  if (!secret) return Refuse(secret.error());
  return AsSecretKey(std::move(*secret));
}

}  // namespace secretmem

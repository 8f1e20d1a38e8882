#include "mechanisms/password.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "mechanisms/secret_key.h"
#include "vault/pbkdf2.h"

namespace secretmem {
namespace {

constexpr CK_ULONG kMostIterations = 100'000'000;
constexpr CK_ULONG kLongestPassword = CK_ULONG{1} << 20;
constexpr CK_ULONG kSaltSpecified = 1;  // CKZ_SALT_SPECIFIED

struct Prf {
  CK_ULONG type;
  Pbkdf2Hash hash;
};

constexpr Prf kPrfs[] = {
    {CKP_PKCS5_PBKD2_HMAC_SHA1, Pbkdf2Hash::kSha1},
    {CKP_PKCS5_PBKD2_HMAC_SHA224, Pbkdf2Hash::kSha224},
    {CKP_PKCS5_PBKD2_HMAC_SHA256, Pbkdf2Hash::kSha256},
    {CKP_PKCS5_PBKD2_HMAC_SHA384, Pbkdf2Hash::kSha384},
    {CKP_PKCS5_PBKD2_HMAC_SHA512, Pbkdf2Hash::kSha512},
    {CKP_PKCS5_PBKD2_HMAC_SHA512_256, Pbkdf2Hash::kSha512_256},
};

// PasswordLength is the last member, whichever of the two it is. What looks like a pointer may be
// an absurd length: the kernel reads it for us and says if there is nothing.
CkResult<CK_ULONG> PasswordLength(CK_ULONG member) {
  if (member <= kLongestPassword) return member;
  CK_ULONG length = 0;
  const iovec to{&length, sizeof(length)};
  const iovec from{reinterpret_cast<void*>(member), sizeof(length)};
  if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != sizeof(length)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (length > kLongestPassword) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return length;
}

}  // namespace

CkResult<NewKey> GenerateFromPassword(Parameter parameter, const SecretRequest& request) {
  const auto given = ReadParameter<CK_PKCS5_PBKD2_PARAMS2>(parameter);
  if (!given) return Refuse(given.error());
  const auto* prf = std::ranges::find(kPrfs, given->prf, &Prf::type);
  if (prf == std::end(kPrfs) || given->saltSource != kSaltSpecified || given->iterations == 0 ||
      given->iterations > kMostIterations || given->pPrfData != nullptr ||
      given->ulPrfDataLen != 0) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const auto salt = ParameterBytes(given->pSaltSourceData, given->ulSaltSourceDataLen);
  if (!salt) return Refuse(salt.error());
  const auto password_length = PasswordLength(given->ulPasswordLen);
  if (!password_length) return Refuse(password_length.error());
  const auto password = ParameterBytes(given->pPassword, *password_length);
  if (!password) return Refuse(password.error());
  const auto length = SecretLength(request, std::nullopt);
  if (!length) return Refuse(length.error());
  auto derived =
      ToCk(Pbkdf2(prf->hash, *password, *salt, static_cast<uint32_t>(given->iterations), *length));
  if (!derived) return Refuse(derived.error());
  return SecretOf(std::move(*derived));
}

}  // namespace secretmem

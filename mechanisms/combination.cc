#include "mechanisms/combination.h"

#include <algorithm>

#include "mechanisms/digest.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

using Bytes = std::span<const uint8_t>;

CkResult<Bytes> ReadString(Parameter parameter) {
  const auto given = ReadParameter<CK_KEY_DERIVATION_STRING_DATA>(parameter);
  if (!given) return Refuse(given.error());
  return ParameterBytes(given->pData, given->ulLen);
}

CkStatus CheckBase(const Derivation& derivation, size_t named) {
  if (derivation.base.object_class != CKO_SECRET_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  if (derivation.named.size() != named || derivation.wanted.size() != 1) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  for (const Key& key : derivation.named) {
    if (key.object_class != CKO_SECRET_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return {};
}

// Make makes the one key of |length| bytes: fill(base, out) writes them on a secret stack.
template <class Fill>
CkResult<std::vector<NewKey>> Make(const Derivation& derivation, const CkResult<size_t>& length,
                                   Fill&& fill) {
  if (!length) return Refuse(length.error());
  auto derived = ToCk(Vault::New(*length));
  if (!derived) return Refuse(derived.error());
  const auto done = derivation.base.secret->WithSecret([&](Bytes base) {
    return derived->WriteSecret([&](std::span<uint8_t> out) -> CK_RV { return fill(base, out); });
  });
  if (auto flat = Flatten(done); !flat) return Refuse(flat.error());
  std::vector<NewKey> keys;
  keys.push_back(SecretOf(std::move(*derived)));
  return keys;
}

// Join writes as much of |first| and then |second| as fits.
void Join(Bytes first, Bytes second, std::span<uint8_t> out) {
  const size_t from_first = std::min(first.size(), out.size());
  std::ranges::copy(first.first(from_first), out.begin());
  std::ranges::copy(second.first(out.size() - from_first),
                    out.begin() + static_cast<ptrdiff_t>(from_first));
}

CkResult<std::vector<NewKey>> ConcatenateKey(const Derivation& derivation) {
  const Vault& second = *derivation.named.front().secret;
  const auto length =
      SecretLength(derivation.wanted.front(), derivation.base.secret->size() + second.size());
  return Make(derivation, length, [&](Bytes base, std::span<uint8_t> out) -> CK_RV {
    const auto joined = second.WithSecret([&](Bytes more) { Join(base, more, out); });
    return joined ? CKR_OK : RvOf(joined.error());
  });
}

CkResult<std::vector<NewKey>> ExtractBits(const Derivation& derivation) {
  const auto first = ReadParameter<CK_ULONG>(derivation.parameter);
  if (!first) return Refuse(first.error());
  const size_t size = derivation.base.secret->size();
  if (*first >= size * 8) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  // Which length is wanted must be said, by CKA_VALUE_LEN or by the key type.
  const auto length = SecretLength(derivation.wanted.front(), std::nullopt);
  if (length && *length > size) return Refuse(CKR_TEMPLATE_INCONSISTENT);
  return Make(derivation, length, [&](Bytes base, std::span<uint8_t> out) -> CK_RV {
    const size_t from = *first / 8;
    const unsigned shift = *first % 8;
    for (size_t i = 0; i < out.size(); ++i) {
      const unsigned pair =
          static_cast<unsigned>(base[(from + i) % size]) << 8 | base[(from + i + 1) % size];
      out[i] = static_cast<uint8_t>(pair << shift >> 8);
    }
    return CKR_OK;
  });
}

}  // namespace

CkResult<KeysNamed> ConcatenationNamesKeys(Parameter parameter) {
  const auto handle = ReadParameter<CK_OBJECT_HANDLE>(parameter);
  if (!handle) return Refuse(handle.error());
  return KeysNamed{{*handle}, false, {}};
}

CkResult<std::vector<NewKey>> DeriveCombination(const Derivation& derivation) {
  const bool with_key = derivation.type == CKM_CONCATENATE_BASE_AND_KEY;
  if (auto checked = CheckBase(derivation, with_key ? 1 : 0); !checked) {
    return Refuse(checked.error());
  }
  if (with_key) return ConcatenateKey(derivation);
  if (derivation.type == CKM_EXTRACT_KEY_FROM_KEY) return ExtractBits(derivation);

  const auto data = ReadString(derivation.parameter);
  if (!data) return Refuse(data.error());
  const size_t size = derivation.base.secret->size();
  const bool exclusive = derivation.type == CKM_XOR_BASE_AND_DATA;
  if (exclusive && data->empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const size_t available = exclusive ? std::min(size, data->size()) : size + data->size();
  const auto length = SecretLength(derivation.wanted.front(), available);
  return Make(derivation, length, [&](Bytes base, std::span<uint8_t> out) -> CK_RV {
    switch (derivation.type) {
      case CKM_CONCATENATE_BASE_AND_DATA:
        Join(base, *data, out);
        return CKR_OK;
      case CKM_CONCATENATE_DATA_AND_BASE:
        Join(*data, base, out);
        return CKR_OK;
      case CKM_XOR_BASE_AND_DATA:
        for (size_t i = 0; i < out.size(); ++i) out[i] = base[i] ^ (*data)[i];
        return CKR_OK;
      default:
        return CKR_MECHANISM_INVALID;
    }
  });
}

CkResult<std::vector<NewKey>> DeriveDigest(const Derivation& derivation) {
  if (!derivation.parameter.empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  if (auto checked = CheckBase(derivation, 0); !checked) return Refuse(checked.error());
  const auto hash = std::ranges::find(Hashes(), derivation.type, &Hash::key_derivation);
  if (hash == Hashes().end()) return Refuse(CKR_MECHANISM_INVALID);
  const auto length = SecretLength(derivation.wanted.front(), EVP_MD_size(hash->md()));
  return Make(derivation, length, [&](Bytes base, std::span<uint8_t> out) -> CK_RV {
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(base.data(), base.size(), digest, nullptr, hash->md(), nullptr)) {
      return CKR_FUNCTION_FAILED;
    }
    std::copy_n(digest, out.size(), out.begin());
    return CKR_OK;
  });
}

}  // namespace secretmem

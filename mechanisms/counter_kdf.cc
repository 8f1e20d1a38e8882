#include "mechanisms/counter_kdf.h"

#include <openssl/cipher.h>
#include <openssl/cmac.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "mechanisms/digest.h"
#include "mechanisms/secret_key.h"

namespace secretmem {
namespace {

constexpr size_t kMostFields = 64;
constexpr size_t kMostKeys = 64;
constexpr size_t kCmacBytes = 16;

// Field is a part of the pseudorandom function's input.
struct Field {
  CK_ULONG type;
  std::span<const uint8_t> bytes;  // CK_SP800_108_BYTE_ARRAY
  CK_OBJECT_HANDLE handle = 0;     // CK_SP800_108_KEY_HANDLE
  // CK_SP800_108_ITERATION_VARIABLE and CK_SP800_108_DKM_LENGTH
  size_t width = 0;  // in bytes
  bool little_endian = false;
  bool whole_segments = false;
};

struct CounterKdf {
  const EVP_MD* md = nullptr;  // null: AES-CMAC
  std::vector<Field> fields;
  size_t counter_width = 0;
  std::vector<CK_DERIVED_KEY> others;

  size_t segment() const { return md == nullptr ? kCmacBytes : EVP_MD_size(md); }
};

// ReadArray copies |count| structures, which need not be aligned.
template <class T>
CkResult<std::vector<T>> ReadArray(const void* first, CK_ULONG count, size_t most) {
  if ((first == nullptr && count != 0) || count > most) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  std::vector<T> values(count);
  if (count != 0) memcpy(values.data(), first, count * sizeof(T));
  return values;
}

CkStatus SetWidth(Field& field, CK_ULONG bits, CK_BBOOL little_endian, CK_ULONG most) {
  if (bits == 0 || bits > most || bits % 8 != 0 || little_endian > CK_TRUE) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  field.width = bits / 8;
  field.little_endian = little_endian == CK_TRUE;
  return {};
}

CkResult<Field> ReadField(const CK_PRF_DATA_PARAM& given) {
  const auto bytes = ParameterBytes(given.pValue, given.ulValueLen);
  if (!bytes) return Refuse(bytes.error());
  Field field{given.type, {}};
  switch (given.type) {
    case CK_SP800_108_ITERATION_VARIABLE: {
      const auto format = ReadParameter<CK_SP800_108_COUNTER_FORMAT>(*bytes);
      if (!format) return Refuse(format.error());
      if (auto set = SetWidth(field, format->ulWidthInBits, format->bLittleEndian, 32); !set) {
        return Refuse(set.error());
      }
      return field;
    }
    case CK_SP800_108_DKM_LENGTH: {
      const auto format = ReadParameter<CK_SP800_108_DKM_LENGTH_FORMAT>(*bytes);
      if (!format) return Refuse(format.error());
      if (format->dkmLengthMethod != CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS &&
          format->dkmLengthMethod != CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS) {
        return Refuse(CKR_MECHANISM_PARAM_INVALID);
      }
      field.whole_segments = format->dkmLengthMethod == CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS;
      if (auto set = SetWidth(field, format->ulWidthInBits, format->bLittleEndian, 64); !set) {
        return Refuse(set.error());
      }
      return field;
    }
    case CK_SP800_108_BYTE_ARRAY:
      if (bytes->empty()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
      field.bytes = *bytes;
      return field;
    case CK_SP800_108_KEY_HANDLE: {
      const auto handle = ReadParameter<CK_OBJECT_HANDLE>(*bytes);
      if (!handle) return Refuse(handle.error());
      field.handle = *handle;
      return field;
    }
    default:  // a counter beside the iteration variable belongs to the other modes
      return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
}

CkResult<CounterKdf> Read(Parameter parameter) {
  const auto given = ReadParameter<CK_SP800_108_KDF_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  CounterKdf kdf;
  if (given->prfType != CKM_AES_CMAC) {
    const auto hash = std::ranges::find(Hashes(), given->prfType, &Hash::hmac);
    if (hash == Hashes().end()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
    kdf.md = hash->md();
  }
  const auto fields =
      ReadArray<CK_PRF_DATA_PARAM>(given->pDataParams, given->ulNumberOfDataParams, kMostFields);
  if (!fields) return Refuse(fields.error());
  size_t lengths = 0;
  for (const CK_PRF_DATA_PARAM& one : *fields) {
    const auto field = ReadField(one);
    if (!field) return Refuse(field.error());
    if (field->type == CK_SP800_108_ITERATION_VARIABLE) {
      if (kdf.counter_width != 0) return Refuse(CKR_MECHANISM_PARAM_INVALID);
      kdf.counter_width = field->width;
    }
    lengths += field->type == CK_SP800_108_DKM_LENGTH;
    kdf.fields.push_back(*field);
  }
  if (kdf.counter_width == 0 || lengths > 1) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  auto others = ReadArray<CK_DERIVED_KEY>(given->pAdditionalDerivedKeys,
                                          given->ulAdditionalDerivedKeys, kMostKeys);
  if (!others) return Refuse(others.error());
  for (const CK_DERIVED_KEY& other : *others) {
    if (other.phKey == nullptr) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  kdf.others = std::move(*others);
  return kdf;
}

// Prf is the pseudorandom function with its key. On a secret stack.
class Prf {
 public:
  bool Init(const EVP_MD* md, std::span<const uint8_t> key) {
    md_ = md;
    if (md_ != nullptr) return HMAC_Init_ex(hmac_.get(), key.data(), key.size(), md_, nullptr) == 1;
    const EVP_CIPHER* cipher = key.size() == 16   ? EVP_aes_128_cbc()
                               : key.size() == 24 ? EVP_aes_192_cbc()
                                                  : EVP_aes_256_cbc();
    cmac_.reset(CMAC_CTX_new());
    return cmac_ != nullptr && CMAC_Init(cmac_.get(), key.data(), key.size(), cipher, nullptr) == 1;
  }
  bool Begin() {
    return md_ != nullptr ? HMAC_Init_ex(hmac_.get(), nullptr, 0, nullptr, nullptr) == 1
                          : CMAC_Reset(cmac_.get()) == 1;
  }
  bool Update(std::span<const uint8_t> data) {
    return md_ != nullptr ? HMAC_Update(hmac_.get(), data.data(), data.size()) == 1
                          : CMAC_Update(cmac_.get(), data.data(), data.size()) == 1;
  }
  bool Final(uint8_t* out) {
    size_t size = 0;
    return md_ != nullptr ? HMAC_Final(hmac_.get(), out, nullptr) == 1
                          : CMAC_Final(cmac_.get(), out, &size) == 1;
  }

 private:
  const EVP_MD* md_ = nullptr;
  bssl::ScopedHMAC_CTX hmac_;
  bssl::UniquePtr<CMAC_CTX> cmac_;
};

bool UpdateNumber(Prf& prf, const Field& field, uint64_t number) {
  uint8_t bytes[8];
  for (size_t i = 0; i < field.width; ++i) {
    const size_t at = field.little_endian ? i : field.width - 1 - i;
    bytes[at] = static_cast<uint8_t>(number >> 8 * i);
  }
  return prf.Update({bytes, field.width});
}

bool Fits(uint64_t number, size_t width) { return width == 8 || number >> 8 * width == 0; }

struct Lengths {
  uint64_t keys = 0;      // in bits
  uint64_t segments = 0;  // in bits
};

// MakeSegment computes segment |number|. On a secret stack.
bool MakeSegment(Prf& prf, const CounterKdf& kdf, const Derivation& derivation,
                 const Lengths& lengths, uint64_t number, uint8_t* out) {
  if (!prf.Begin()) return false;
  size_t key = 0;
  for (const Field& field : kdf.fields) {
    bool done = false;
    switch (field.type) {
      case CK_SP800_108_ITERATION_VARIABLE:
        done = UpdateNumber(prf, field, number);
        break;
      case CK_SP800_108_DKM_LENGTH:
        done = UpdateNumber(prf, field, field.whole_segments ? lengths.segments : lengths.keys);
        break;
      case CK_SP800_108_KEY_HANDLE:
        done = derivation.named[key++]
                   .secret
                   ->WithSecret([&](std::span<const uint8_t> bytes) { return prf.Update(bytes); })
                   .value_or(false);
        break;
      default:
        done = prf.Update(field.bytes);
    }
    if (!done) return false;
  }
  return prf.Final(out);
}

CkStatus Check(const CounterKdf& kdf, const Derivation& derivation) {
  const auto handles =
      std::ranges::count(kdf.fields, CK_ULONG{CK_SP800_108_KEY_HANDLE}, &Field::type);
  if (derivation.named.size() != static_cast<size_t>(handles) ||
      derivation.wanted.size() != kdf.others.size() + 1) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (derivation.base.object_class != CKO_SECRET_KEY ||
      (kdf.md == nullptr && derivation.base.key_type != CKK_AES)) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  for (const Key& key : derivation.named) {
    if (key.object_class != CKO_SECRET_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return {};
}

// Fill fills the vaults, segment by segment. On a secret stack.
CK_RV Fill(const CounterKdf& kdf, const Derivation& derivation, const Lengths& lengths,
           std::span<const uint8_t> base, std::span<Vault> vaults) {
  Prf prf;
  if (!prf.Init(kdf.md, base)) return CKR_FUNCTION_FAILED;
  uint64_t number = 0;
  for (Vault& vault : vaults) {
    const auto filled = vault.WriteSecret([&](std::span<uint8_t> out) {
      for (size_t at = 0; at < out.size(); at += kdf.segment()) {
        uint8_t segment[EVP_MAX_MD_SIZE];
        if (!MakeSegment(prf, kdf, derivation, lengths, ++number, segment)) return false;
        const auto rest = out.subspan(at);
        std::copy_n(segment, std::min(rest.size(), kdf.segment()), rest.begin());
      }
      return true;
    });
    if (!filled) return RvOf(filled.error());
    if (!*filled) return CKR_FUNCTION_FAILED;
  }
  return CKR_OK;
}

}  // namespace

CkResult<KeysNamed> CounterKdfNamesKeys(Parameter parameter) {
  auto kdf = Read(parameter);
  if (!kdf) return Refuse(kdf.error());
  KeysNamed named{{}, true, std::move(kdf->others)};
  for (const Field& field : kdf->fields) {
    if (field.type == CK_SP800_108_KEY_HANDLE) named.handles.push_back(field.handle);
  }
  return named;
}

CkResult<std::vector<NewKey>> DeriveCounterKdf(const Derivation& derivation) {
  const auto kdf = Read(derivation.parameter);
  if (!kdf) return Refuse(kdf.error());
  if (auto checked = Check(*kdf, derivation); !checked) return Refuse(checked.error());
  std::vector<Vault> vaults;
  Lengths lengths;
  uint64_t segments = 0;
  for (const SecretRequest& wanted : derivation.wanted) {
    const auto length = SecretLength(wanted, std::nullopt);
    if (!length) return Refuse(length.error());
    auto vault = ToCk(Vault::New(*length));
    if (!vault) return Refuse(vault.error());
    vaults.push_back(std::move(*vault));
    lengths.keys += *length * 8;
    segments += (*length + kdf->segment() - 1) / kdf->segment();
  }
  lengths.segments = segments * kdf->segment() * 8;
  if (!Fits(segments, kdf->counter_width)) return Refuse(CKR_KEY_SIZE_RANGE);
  for (const Field& field : kdf->fields) {
    if (field.type == CK_SP800_108_DKM_LENGTH &&
        !Fits(field.whole_segments ? lengths.segments : lengths.keys, field.width)) {
      return Refuse(CKR_KEY_SIZE_RANGE);
    }
  }
  const auto filled = derivation.base.secret->WithSecret(
      [&](std::span<const uint8_t> base) { return Fill(*kdf, derivation, lengths, base, vaults); });
  if (auto flat = Flatten(filled); !flat) return Refuse(flat.error());
  std::vector<NewKey> keys;
  for (Vault& vault : vaults) keys.push_back(SecretOf(std::move(vault)));
  return keys;
}

}  // namespace secretmem

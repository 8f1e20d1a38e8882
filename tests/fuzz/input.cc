#include "tests/fuzz/input.h"

#include <algorithm>

#include "mechanisms/vendor.h"

namespace secretmem::fuzz {
namespace {

constexpr CK_ATTRIBUTE_TYPE kBools[] = {CKA_TOKEN,
                                        CKA_PRIVATE,
                                        CKA_SENSITIVE,
                                        CKA_ENCRYPT,
                                        CKA_DECRYPT,
                                        CKA_WRAP,
                                        CKA_UNWRAP,
                                        CKA_SIGN,
                                        CKA_VERIFY,
                                        CKA_DERIVE,
                                        CKA_EXTRACTABLE,
                                        CKA_COPYABLE,
                                        CKA_DESTROYABLE,
                                        CKA_MODIFIABLE,
                                        CKA_TRUSTED,
                                        CKA_LOCAL,
                                        CKA_WRAP_WITH_TRUSTED,
                                        CKA_ALWAYS_AUTHENTICATE};
constexpr CK_ATTRIBUTE_TYPE kNumbers[] = {
    CKA_CLASS,        CKA_KEY_TYPE,          CKA_CERTIFICATE_TYPE,    CKA_VALUE_LEN,
    CKA_MODULUS_BITS, CKA_KEY_GEN_MECHANISM, CKA_CERTIFICATE_CATEGORY};
constexpr CK_ATTRIBUTE_TYPE kStrings[] = {CKA_LABEL,           CKA_ID,
                                          CKA_VALUE,           CKA_EC_PARAMS,
                                          CKA_EC_POINT,        CKA_MODULUS,
                                          CKA_SUBJECT,         CKA_APPLICATION,
                                          CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT,
                                          CKA_PRIME_1,         CKA_PRIME_2,
                                          CKA_EXPONENT_1,      CKA_EXPONENT_2,
                                          CKA_COEFFICIENT,     CKA_UNIQUE_ID,
                                          CKA_CHECK_VALUE,     CKA_START_DATE,
                                          CKA_OBJECT_ID,       CKA_ALLOWED_MECHANISMS,
                                          CKA_PUBLIC_KEY_INFO};
constexpr CK_ATTRIBUTE_TYPE kTemplates[] = {CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE,
                                            CKA_DERIVE_TEMPLATE, CKA_DECAPSULATE_TEMPLATE};
constexpr CK_ULONG kClasses[] = {CKO_DATA, CKO_CERTIFICATE, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY,
                                 CKO_SECRET_KEY};
constexpr CK_ULONG kKeyTypes[] = {
    CKK_RSA, CKK_EC,          CKK_EC_EDWARDS, CKK_EC_MONTGOMERY, CKK_GENERIC_SECRET,
    CKK_AES, CKK_SHA256_HMAC, CKK_HKDF,       CKK_CHACHA20};
constexpr uint8_t kCurves[][10] = {{0x06, 0x03, 0x2b, 0x65, 0x6e},
                                   {0x06, 0x03, 0x2b, 0x65, 0x70},
                                   {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07},
                                   {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}};

Bytes Encode(CK_ULONG number) {
  Bytes bytes(sizeof(number));
  memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

CK_ATTRIBUTE Attribute(CK_ATTRIBUTE_TYPE type, std::span<uint8_t> value) {
  return {type, value.empty() ? nullptr : value.data(), value.size()};
}

// A parameter structure with its pointers: |field| by |field| in the order of the structure.
class Shape {
 public:
  Shape(Input& input, Keep& keep) : input_(input), keep_(keep) {}

  // A pointer and the length of what is there, or less.
  template <class P>
  void Buffer(P& pointer, CK_ULONG& length, size_t most = 80) {
    const auto bytes = keep_.Bytes(input_.Some(most));
    pointer = bytes.empty() ? nullptr : reinterpret_cast<P>(bytes.data());
    length = bytes.size();
  }

  template <class T>
  std::span<uint8_t> Done(const T& structure) {
    Bytes bytes(sizeof(structure));
    memcpy(bytes.data(), &structure, sizeof(structure));
    return keep_.Bytes(std::move(bytes));
  }

 private:
  Input& input_;
  Keep& keep_;
};

std::span<uint8_t> PrfParameters(Input& input, Keep& keep, Shape& shape) {
  CK_SP800_108_KDF_PARAMS params{};
  params.prfType = input.Byte() % 2 == 0 ? CKM_SHA256_HMAC : input.Number();
  std::vector<CK_PRF_DATA_PARAM> data(input.Below(5));
  for (CK_PRF_DATA_PARAM& one : data) {
    one.type = input.Below(7);
    shape.Buffer(one.pValue, one.ulValueLen, 40);
  }
  Bytes bytes(data.size() * sizeof(CK_PRF_DATA_PARAM));
  if (!bytes.empty()) memcpy(bytes.data(), data.data(), bytes.size());
  const auto kept = keep.Bytes(std::move(bytes));
  params.ulNumberOfDataParams = data.size();
  params.pDataParams = data.empty() ? nullptr : reinterpret_cast<CK_PRF_DATA_PARAM*>(kept.data());
  return shape.Done(params);
}

std::span<uint8_t> HpkeParameters(Input& input, Keep& keep, Shape& shape,
                                  std::span<const CK_OBJECT_HANDLE> handles) {
  CK_SECRETMEM_HPKE_PARAMS params{};
  constexpr CK_ULONG kKems[] = {CK_SECRETMEM_HPKE_X25519_HKDF_SHA256, CK_SECRETMEM_HPKE_XWING};
  constexpr CK_ULONG kAeads[] = {1, 2, 3, CK_SECRETMEM_HPKE_EXPORT_ONLY};
  params.ulMode = input.Below(8) == 0 ? input.Number() : input.Below(2);
  params.ulKem = input.Below(8) == 0 ? input.Number() : input.Of(kKems);
  params.ulKdf = input.Below(8) == 0 ? input.Number() : CK_SECRETMEM_HPKE_HKDF_SHA256;
  params.ulAead = input.Below(8) == 0 ? input.Number() : input.Of(kAeads);
  const size_t fields = input.Byte();
  if (fields & 1) shape.Buffer(params.pInfo, params.ulInfoLen);
  if (fields & 2) shape.Buffer(params.pAAD, params.ulAADLen);
  if (fields & 4) {
    const auto enc = keep.Bytes(input.Below(2) == 0 ? input.Some() : Bytes(32));
    params.pEncapsulatedKey = enc.empty() ? nullptr : enc.data();
    params.ulEncapsulatedKeyLen = enc.size();
  }
  if (fields & 8) params.hPsk = handles.empty() ? input.Number() : input.Of(handles);
  if (fields & 16) shape.Buffer(params.pPskId, params.ulPskIdLen);
  if (fields & 32) params.ulOutput = input.Below(3);
  if (fields & 64) shape.Buffer(params.pExporterContext, params.ulExporterContextLen);
  return shape.Done(params);
}

std::span<uint8_t> ResealParameters(Input& input, Keep& keep, Shape& shape,
                                    std::span<const CK_OBJECT_HANDLE> handles) {
  constexpr CK_MECHANISM_TYPE kInner[] = {CKM_ECDH1_DERIVE, CKM_SECRETMEM_HPKE,
                                          CKM_ECDH_X_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP};
  const auto inner = [&]() -> CK_MECHANISM* {
    if (input.Below(16) == 0) return nullptr;
    const CK_MECHANISM mechanism = AnyMechanism(input, keep, kInner, handles);
    return reinterpret_cast<CK_MECHANISM*>(shape.Done(mechanism).data());
  };
  CK_SECRETMEM_RESEAL_PARAMS params{};
  params.pDecapsulation = inner();
  shape.Buffer(params.pCiphertext, params.ulCiphertextLen);
  params.ulSecretLen = input.Number();
  params.pWrapping = inner();
  return shape.Done(params);
}

std::span<uint8_t> ParameterOf(CK_MECHANISM_TYPE type, Input& input, Keep& keep,
                               std::span<const CK_OBJECT_HANDLE> handles) {
  Shape shape(input, keep);
  switch (type) {
    case CKM_AES_GCM: {
      CK_GCM_PARAMS params{};
      shape.Buffer(params.pIv, params.ulIvLen);
      params.ulIvBits = input.Number();
      shape.Buffer(params.pAAD, params.ulAADLen);
      params.ulTagBits = input.Byte() % 2 == 0 ? 128 : input.Number();
      return shape.Done(params);
    }
    case CKM_AES_CCM: {
      CK_CCM_PARAMS params{};
      params.ulDataLen = input.Number();
      shape.Buffer(params.pNonce, params.ulNonceLen, 16);
      shape.Buffer(params.pAAD, params.ulAADLen);
      params.ulMACLen = input.Number();
      return shape.Done(params);
    }
    case CKM_AES_CTR: {
      CK_AES_CTR_PARAMS params{};
      params.ulCounterBits = input.Number();
      const Bytes block = input.Some(16);
      std::ranges::copy(block, params.cb);
      return shape.Done(params);
    }
    case CKM_CHACHA20_POLY1305: {
      CK_SALSA20_CHACHA20_POLY1305_PARAMS params{};
      shape.Buffer(params.pNonce, params.ulNonceLen, 16);
      shape.Buffer(params.pAAD, params.ulAADLen);
      return shape.Done(params);
    }
    case CKM_RSA_PKCS_OAEP: {
      CK_RSA_PKCS_OAEP_PARAMS params{};
      params.hashAlg = input.Byte() % 2 == 0 ? CKM_SHA256 : input.Number();
      params.mgf = input.Number() % 8;
      params.source = input.Number() % 3;
      shape.Buffer(params.pSourceData, params.ulSourceDataLen);
      return shape.Done(params);
    }
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA1_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS:
    case CKM_SHA512_RSA_PKCS_PSS: {
      CK_RSA_PKCS_PSS_PARAMS params{};
      params.hashAlg = input.Byte() % 2 == 0 ? CKM_SHA256 : input.Number();
      params.mgf = input.Number() % 8;
      params.sLen = input.Number();
      return shape.Done(params);
    }
    case CKM_ECDH1_DERIVE:
    case CKM_ECDH1_COFACTOR_DERIVE: {
      CK_ECDH1_DERIVE_PARAMS params{};
      params.kdf = static_cast<decltype(params.kdf)>(input.Below(12));
      shape.Buffer(params.pSharedData, params.ulSharedDataLen);
      shape.Buffer(params.pPublicData, params.ulPublicDataLen, 140);
      return shape.Done(params);
    }
    case CKM_HKDF_DERIVE:
    case CKM_HKDF_DATA: {
      CK_HKDF_PARAMS params{};
      params.bExtract = static_cast<CK_BBOOL>(input.Below(3));
      params.bExpand = static_cast<CK_BBOOL>(input.Below(3));
      params.prfHashMechanism = input.Byte() % 2 == 0 ? CKM_SHA256 : input.Number();
      params.ulSaltType = input.Below(6);
      shape.Buffer(params.pSalt, params.ulSaltLen);
      params.hSaltKey = handles.empty() ? input.Number() : input.Of(handles);
      shape.Buffer(params.pInfo, params.ulInfoLen);
      return shape.Done(params);
    }
    case CKM_PKCS5_PBKD2: {
      CK_PKCS5_PBKD2_PARAMS2 params{};
      params.saltSource = input.Below(3);
      shape.Buffer(params.pSaltSourceData, params.ulSaltSourceDataLen);
      // More would be no error, but no end either.
      params.iterations = input.Below(2000);
      params.prf = input.Below(9);
      shape.Buffer(params.pPrfData, params.ulPrfDataLen, 8);
      shape.Buffer(params.pPassword, params.ulPasswordLen);
      return shape.Done(params);
    }
    case CKM_SP800_108_COUNTER_KDF:
      return PrfParameters(input, keep, shape);
    case CKM_CONCATENATE_BASE_AND_DATA:
    case CKM_CONCATENATE_DATA_AND_BASE:
    case CKM_XOR_BASE_AND_DATA: {
      CK_KEY_DERIVATION_STRING_DATA params{};
      shape.Buffer(params.pData, params.ulLen);
      return shape.Done(params);
    }
    case CKM_CONCATENATE_BASE_AND_KEY:
      return shape.Done(handles.empty() ? CK_OBJECT_HANDLE{0} : input.Of(handles));
    case CKM_EXTRACT_KEY_FROM_KEY:
    case CKM_SHA256_HMAC_GENERAL:
    case CKM_AES_CMAC_GENERAL:
      return shape.Done(input.Number());
    case CKM_ECDH_AES_KEY_WRAP:
    case CKM_ECDH_COF_AES_KEY_WRAP:
    case CKM_ECDH_X_AES_KEY_WRAP: {
      CK_ECDH_AES_KEY_WRAP_PARAMS params{};
      params.ulAESKeyBits = input.Below(4) == 0 ? input.Number() : 256;
      params.kdf = static_cast<decltype(params.kdf)>(input.Below(12));
      shape.Buffer(params.pSharedData, params.ulSharedDataLen);
      return shape.Done(params);
    }
    case CKM_SECRETMEM_HPKE:
      return HpkeParameters(input, keep, shape, handles);
    case CKM_SECRETMEM_RESEAL:
      return ResealParameters(input, keep, shape, handles);
    case CKM_EDDSA: {
      if (input.Below(2) == 0) return {};
      CK_EDDSA_PARAMS params{};
      params.phFlag = static_cast<CK_BBOOL>(input.Below(2));
      shape.Buffer(params.pContextData, params.ulContextDataLen);
      return shape.Done(params);
    }
    default:
      // An IV, or nothing; structures that hold pointers are all above.
      return keep.Bytes(input.Below(2) == 0   ? Bytes()
                        : input.Below(2) == 0 ? Bytes(16)
                                              : input.Some(32));
  }
}

}  // namespace

std::span<CK_ATTRIBUTE> AnyTemplate(Input& input, Keep& keep, int depth) {
  std::vector<CK_ATTRIBUTE> attributes(input.Below(depth == 0 ? 14 : 4));
  for (CK_ATTRIBUTE& attribute : attributes) {
    const size_t form = input.Below(12);
    if (form < 4) {
      attribute = Attribute(input.Of(kBools), keep.Bytes({static_cast<uint8_t>(input.Byte() % 2)}));
    } else if (form == 4) {
      attribute = Attribute(CKA_CLASS, keep.Bytes(Encode(input.Of(kClasses))));
    } else if (form == 5) {
      attribute = Attribute(CKA_KEY_TYPE, keep.Bytes(Encode(input.Of(kKeyTypes))));
    } else if (form == 6) {
      attribute = Attribute(input.Of(kNumbers), keep.Bytes(Encode(input.Number())));
    } else if (form == 7) {
      const auto& of = input.Of(kCurves);
      attribute = Attribute(CKA_EC_PARAMS, keep.Bytes(Bytes(of, of + 2 + of[1])));
    } else if (form < 10) {
      attribute = Attribute(input.Of(kStrings), keep.Bytes(input.Some()));
    } else if (form == 10 && depth < 6) {
      const auto nested = AnyTemplate(input, keep, depth + 1);
      attribute = {input.Of(kTemplates), nested.data(), nested.size() * sizeof(CK_ATTRIBUTE)};
    } else {
      attribute = Attribute(input.Number(), keep.Bytes(input.Some()));
      // A template is attributes with pointers, which the branch above has.
      if (std::ranges::find(kTemplates, attribute.type) != std::end(kTemplates)) attribute.type = 0;
      if (attribute.pValue == nullptr) attribute.ulValueLen = input.Number();
    }
  }
  return keep.Attributes(std::move(attributes));
}

void Blank(std::span<CK_ATTRIBUTE> attributes) {
  for (const CK_ATTRIBUTE& attribute : attributes) {
    if (attribute.pValue == nullptr) continue;
    if (std::ranges::find(kTemplates, attribute.type) != std::end(kTemplates)) {
      Blank({static_cast<CK_ATTRIBUTE*>(attribute.pValue),
             attribute.ulValueLen / sizeof(CK_ATTRIBUTE)});
    } else {
      memset(attribute.pValue, 0, attribute.ulValueLen);
    }
  }
}

CK_MECHANISM AnyMechanism(Input& input, Keep& keep, std::span<const CK_MECHANISM_TYPE> types,
                          std::span<const CK_OBJECT_HANDLE> handles) {
  CK_MECHANISM_TYPE type = input.Of(types);
  // By number rather than by index, so that an input means the same when mechanisms are added.
  if (const CK_ULONG said = input.Below(2) == 0 ? 0 : input.Number(); said != 0) {
    for (const CK_MECHANISM_TYPE each : types) {
      if (each == said) type = said;
    }
  }
  const auto parameter = ParameterOf(type, input, keep, handles);
  return {type, parameter.empty() ? nullptr : parameter.data(), parameter.size()};
}

}  // namespace secretmem::fuzz

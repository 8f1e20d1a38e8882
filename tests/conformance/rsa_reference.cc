// RSA by OpenSSL's libcrypto, never by the module under test.
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "tests/conformance/openssl.h"
#include "tests/conformance/rsa.h"

namespace secretmem::conformance {
namespace {

using Key = Owned<EVP_PKEY, EVP_PKEY_free>;
using Context = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using Number = Owned<BIGNUM, BN_free>;

struct Part {
  const char* name;
  Bytes RsaNumbers::*member;
};
constexpr Part kParts[] = {
    {OSSL_PKEY_PARAM_RSA_N, &RsaNumbers::n},
    {OSSL_PKEY_PARAM_RSA_E, &RsaNumbers::e},
    {OSSL_PKEY_PARAM_RSA_D, &RsaNumbers::d},
    {OSSL_PKEY_PARAM_RSA_FACTOR1, &RsaNumbers::p},
    {OSSL_PKEY_PARAM_RSA_FACTOR2, &RsaNumbers::q},
    {OSSL_PKEY_PARAM_RSA_EXPONENT1, &RsaNumbers::exponent1},
    {OSSL_PKEY_PARAM_RSA_EXPONENT2, &RsaNumbers::exponent2},
    {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, &RsaNumbers::coefficient},
};

Key KeyOf(const RsaNumbers& numbers) {
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  std::vector<Number> owner;
  for (const Part& part : kParts) {
    const Bytes& bytes = numbers.*part.member;
    if (bytes.empty()) continue;
    owner.emplace_back(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
    Check(OSSL_PARAM_BLD_push_BN(builder.get(), part.name, owner.back().get()) == 1, "number");
  }
  const Owned<OSSL_PARAM, OSSL_PARAM_free> params(OSSL_PARAM_BLD_to_param(builder.get()));
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  Check(EVP_PKEY_fromdata_init(context.get()) == 1 &&
            EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, params.get()) == 1,
        "RSA key");
  return Key(key);
}

void SetPss(EVP_PKEY_CTX* context, const char* mgf, int salt) {
  if (*mgf == 0) return;
  Check(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, mgf, nullptr) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1,
        "PSS");
}

void SetOaep(EVP_PKEY_CTX* context, const char* hash, const char* mgf, const Bytes& label) {
  if (*mgf == 0) return;
  Check(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_oaep_md_name(context, hash, nullptr) == 1 &&
            EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, mgf, nullptr) == 1,
        "OAEP");
  if (label.empty()) return;
  void* copy = OPENSSL_memdup(label.data(), label.size());
  Check(EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy, static_cast<int>(label.size())) == 1,
        "label");
}

}  // namespace

RsaNumbers RsaNumbersOf(const Bytes& der) {
  const unsigned char* at = der.data();
  const Key key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
  Check(key != nullptr, "private key");
  RsaNumbers numbers;
  for (const Part& part : kParts) {
    BIGNUM* number = nullptr;
    Check(EVP_PKEY_get_bn_param(key.get(), part.name, &number) == 1, part.name);
    const Number owner(number);
    Bytes bytes(static_cast<size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, bytes.data());
    numbers.*part.member = bytes;
  }
  return numbers;
}

Bytes ReferenceHash(const char* hash, const Bytes& data) {
  Bytes result(EVP_MAX_MD_SIZE);
  size_t length = 0;
  Check(EVP_Q_digest(nullptr, hash, nullptr, data.data(), data.size(), result.data(), &length) == 1,
        "hash");
  result.resize(length);
  return result;
}

bool ReferenceRsaVerify(const RsaNumbers& numbers, const char* hash, const char* mgf, int salt,
                        const Bytes& data, const Bytes& signature) {
  const Key key = KeyOf(numbers);
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> md(EVP_MD_CTX_new());
  EVP_PKEY_CTX* context = nullptr;
  Check(
      EVP_DigestVerifyInit_ex(md.get(), &context, hash, nullptr, nullptr, key.get(), nullptr) == 1,
      "verify");
  SetPss(context, mgf, salt);
  return EVP_DigestVerify(md.get(), signature.data(), signature.size(), data.data(), data.size()) ==
         1;
}

Bytes ReferenceRsaSign(const RsaNumbers& numbers, const char* hash, const char* mgf, int salt,
                       const Bytes& data) {
  const Key key = KeyOf(numbers);
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> md(EVP_MD_CTX_new());
  EVP_PKEY_CTX* context = nullptr;
  Bytes signature(1024);
  size_t length = signature.size();
  Check(EVP_DigestSignInit_ex(md.get(), &context, hash, nullptr, nullptr, key.get(), nullptr) == 1,
        "sign");
  SetPss(context, mgf, salt);
  Check(EVP_DigestSign(md.get(), signature.data(), &length, data.data(), data.size()) == 1, "sign");
  signature.resize(length);
  return signature;
}

Bytes ReferenceRsaEncrypt(const RsaNumbers& numbers, const char* hash, const char* mgf,
                          const Bytes& label, const Bytes& data) {
  const Key key = KeyOf(numbers);
  const Context context(EVP_PKEY_CTX_new(key.get(), nullptr));
  Bytes result(1024);
  size_t length = result.size();
  Check(EVP_PKEY_encrypt_init(context.get()) == 1, "encrypt");
  SetOaep(context.get(), hash, mgf, label);
  Check(EVP_PKEY_encrypt(context.get(), result.data(), &length, data.data(), data.size()) == 1,
        "encrypt");
  result.resize(length);
  return result;
}

Bytes ReferenceRsaDecrypt(const RsaNumbers& numbers, const char* hash, const char* mgf,
                          const Bytes& label, const Bytes& data) {
  const Key key = KeyOf(numbers);
  const Context context(EVP_PKEY_CTX_new(key.get(), nullptr));
  Bytes result(1024);
  size_t length = result.size();
  Check(EVP_PKEY_decrypt_init(context.get()) == 1, "decrypt");
  SetOaep(context.get(), hash, mgf, label);
  Check(EVP_PKEY_decrypt(context.get(), result.data(), &length, data.data(), data.size()) == 1,
        "decrypt");
  result.resize(length);
  return result;
}

}  // namespace secretmem::conformance

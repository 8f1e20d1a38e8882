#include "tests/audit/expected.h"

#include <openssl/aes.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "tests/audit/remote.h"

namespace secretmem::audit {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using PKey = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Number = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using Group = std::unique_ptr<EC_GROUP, Deleter<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Deleter<EC_POINT_free>>;
using NumberContext = std::unique_ptr<BN_CTX, Deleter<BN_CTX_free>>;

void Check(bool good, const char* what) {
  if (!good) throw CannotLook(std::string("OpenSSL: ") + what);
}

Number FromBytes(const Bytes& bytes) {
  return Number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
}

Bytes ToBytes(const BIGNUM* number, size_t size) {
  Bytes bytes(size);
  Check(BN_bn2binpad(number, bytes.data(), static_cast<int>(size)) >= 0, "BN_bn2binpad");
  return bytes;
}

KeyPair NewRawKey(int type) {
  KeyPair pair = {RandomBytes(32), Bytes(32)};
  const PKey key(EVP_PKEY_new_raw_private_key(type, nullptr, pair.private_value.data(), 32));
  size_t size = 32;
  Check(key && EVP_PKEY_get_raw_public_key(key.get(), pair.public_value.data(), &size) == 1,
        "raw key");
  return pair;
}

Bytes GetNumber(EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  Check(EVP_PKEY_get_bn_param(key, name, &number) == 1, name);
  const Number owned(number);
  return ToBytes(number, static_cast<size_t>(BN_num_bytes(number)));
}

// The order of NIST P-256.
Number OrderOfP256() {
  BIGNUM* number = nullptr;
  BN_hex2bn(&number, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551");
  return Number(number);
}

Bytes State32(const uint32_t* words, size_t count) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(words);
  return Bytes(bytes, bytes + count * 4);
}

// InitSha512Truncated makes the initial state of SHA-512/t (FIPS 180-4, 5.3.6).
void InitSha512Truncated(SHA512_CTX* state, const std::string& name) {
  SHA512_CTX maker;
  SHA512_Init(&maker);
  for (auto& word : maker.h) word ^= 0xa5a5a5a5a5a5a5a5;
  SHA512_Update(&maker, name.data(), name.size());
  uint8_t digest[SHA512_DIGEST_LENGTH];
  SHA512_Final(digest, &maker);
  for (auto& word : state->h) word = 0;
  for (size_t i = 0; i < sizeof(digest); ++i) {
    state->h[i / 8] = state->h[i / 8] << 8 | digest[i];
  }
}

// ChainingValue is the state of a hash after one block, in the machine's byte order.
Bytes ChainingValue(const std::string& hash, const Bytes& block) {
  if (hash == "SHA1") {
    SHA_CTX state;
    SHA1_Init(&state);
    SHA1_Update(&state, block.data(), block.size());
    const uint32_t words[] = {state.h0, state.h1, state.h2, state.h3, state.h4};
    return State32(words, 5);
  }
  if (hash == "SHA224" || hash == "SHA256") {
    SHA256_CTX state;
    hash == "SHA224" ? SHA224_Init(&state) : SHA256_Init(&state);
    SHA256_Update(&state, block.data(), block.size());
    return State32(state.h, 8);
  }
  SHA512_CTX state;
  hash == "SHA384" ? SHA384_Init(&state) : SHA512_Init(&state);
  if (hash == "SHA512-256") InitSha512Truncated(&state, "SHA-512/256");
  SHA512_Update(&state, block.data(), block.size());
  return BytesOf(state.h);
}

}  // namespace

KeyPair NewX25519() { return NewRawKey(EVP_PKEY_X25519); }

KeyPair NewEd25519() { return NewRawKey(EVP_PKEY_ED25519); }

KeyPair NewP256() {
  const PKey key(EVP_EC_gen("P-256"));
  Check(key != nullptr, "EVP_EC_gen");
  KeyPair pair;
  BIGNUM* number = nullptr;
  Check(EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1, "private key");
  pair.private_value = ToBytes(Number(number).get(), 32);
  Number x(BN_new());
  Number y(BN_new());
  BIGNUM* xp = x.get();
  BIGNUM* yp = y.get();
  Check(EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, &xp) == 1, "x");
  Check(EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, &yp) == 1, "y");
  pair.public_value = Concat({{4}, ToBytes(xp, 32), ToBytes(yp, 32)});
  return pair;
}

RsaKey NewRsa(int bits) {
  const PKey key(EVP_RSA_gen(static_cast<unsigned>(bits)));
  Check(key != nullptr, "EVP_RSA_gen");
  return {GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_N),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_E),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_D),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_FACTOR1),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_FACTOR2),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_EXPONENT1),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_EXPONENT2),
          GetNumber(key.get(), OSSL_PKEY_PARAM_RSA_COEFFICIENT1)};
}

Bytes X25519(const Bytes& private_value, const Bytes& peer) {
  const PKey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_value.data(), 32));
  const PKey other(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.data(), 32));
  const std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>> context(
      EVP_PKEY_CTX_new(key.get(), nullptr));
  Bytes result(32);
  size_t size = result.size();
  Check(EVP_PKEY_derive_init(context.get()) == 1 &&
            EVP_PKEY_derive_set_peer(context.get(), other.get()) == 1 &&
            EVP_PKEY_derive(context.get(), result.data(), &size) == 1,
        "X25519");
  return result;
}

Bytes EcdhP256(const Bytes& private_value, const Bytes& peer) {
  const Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Point point(EC_POINT_new(group.get()));
  const Point shared(EC_POINT_new(group.get()));
  const NumberContext context(BN_CTX_new());
  const Number scalar = FromBytes(private_value);
  const Number x(BN_new());
  Check(EC_POINT_oct2point(group.get(), point.get(), peer.data(), peer.size(), context.get()) == 1,
        "point");
  Check(EC_POINT_mul(group.get(), shared.get(), nullptr, point.get(), scalar.get(),
                     context.get()) == 1 &&
            EC_POINT_get_affine_coordinates(group.get(), shared.get(), x.get(), nullptr,
                                            context.get()) == 1,
        "P-256");
  return ToBytes(x.get(), 32);
}

Bytes Sha(const std::string& name, const Bytes& data) {
  Bytes digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  Check(EVP_Digest(data.data(), data.size(), digest.data(), &size,
                   EVP_get_digestbyname(name.c_str()), nullptr) == 1,
        "digest");
  digest.resize(size);
  return digest;
}

Bytes Shake256(const Bytes& data, size_t size) {
  Bytes output(size);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  Check(EVP_DigestInit_ex(context.get(), EVP_shake256(), nullptr) == 1 &&
            EVP_DigestUpdate(context.get(), data.data(), data.size()) == 1 &&
            EVP_DigestFinalXOF(context.get(), output.data(), size) == 1,
        "SHAKE256");
  return output;
}

Bytes Hmac(const std::string& hash, const Bytes& key, const Bytes& data) {
  Bytes mac(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  Check(HMAC(EVP_get_digestbyname(hash.c_str()), key.data(), static_cast<int>(key.size()),
             data.data(), data.size(), mac.data(), &size) != nullptr,
        "HMAC");
  mac.resize(size);
  return mac;
}

Bytes Concat(const std::vector<Bytes>& parts) {
  Bytes whole;
  for (const Bytes& part : parts) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

std::vector<Secret> SecretsOfX25519(const std::string& name, const Bytes& scalar) {
  Bytes clamped = scalar;
  clamped[0] &= 248;
  clamped[31] = static_cast<uint8_t>((clamped[31] & 127) | 64);
  return {{name, scalar}, {name + " (clamped)", clamped}};
}

std::vector<Secret> SecretsOfField25519(const std::string& name, const Bytes& element) {
  // Also as five limbs of 51 bits, the form in which 64-bit code computes.
  Bytes limbs;
  for (unsigned limb = 0; limb < 5; ++limb) {
    uint64_t value = 0;
    for (unsigned bit = 0; bit < 51; ++bit) {
      const unsigned at = limb * 51 + bit;
      value |= static_cast<uint64_t>(element[at / 8] >> (at % 8) & 1) << bit;
    }
    const Bytes raw = BytesOf(value);
    limbs.insert(limbs.end(), raw.begin(), raw.end());
  }
  return {{name, element}, {name + " (51-bit limbs)", limbs}};
}

std::vector<Secret> SecretsOfEd25519(const std::string& name, const Bytes& seed,
                                     const Bytes& message) {
  const Bytes expanded = Sha("SHA512", seed);
  Bytes scalar(expanded.begin(), expanded.begin() + 32);
  scalar[0] &= 248;
  scalar[31] = static_cast<uint8_t>((scalar[31] & 63) | 64);
  const Bytes prefix(expanded.begin() + 32, expanded.end());
  std::vector<Secret> secrets = {
      {name, seed}, {name + ": SHA-512 of the seed", expanded}, {name + ": scalar", scalar}};
  if (message.empty()) return secrets;
  Bytes hashed = Sha("SHA512", Concat({prefix, message}));
  secrets.push_back({name + ": nonce before reduction", hashed});
  std::reverse(hashed.begin(), hashed.end());
  BIGNUM* order = nullptr;
  BN_hex2bn(&order, "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED");
  const Number order_owner(order);
  const NumberContext context(BN_CTX_new());
  const Number nonce = FromBytes(hashed);
  Check(BN_nnmod(nonce.get(), nonce.get(), order, context.get()) == 1, "reduction");
  secrets.push_back({name + ": nonce", ToBytes(nonce.get(), 32)});
  return secrets;
}

std::vector<Secret> SecretsOfP256(const std::string& name, const Bytes& private_value,
                                  const Bytes& digest, const Bytes& signature) {
  std::vector<Secret> secrets = {{name, private_value}};
  if (signature.size() != 64 || digest.empty()) return secrets;
  // s = k^-1 (h + r d), so k = s^-1 (h + r d).
  const NumberContext context(BN_CTX_new());
  const Number order = OrderOfP256();
  const Number d = FromBytes(private_value);
  const Number h = FromBytes(
      Bytes(digest.begin(),
            digest.begin() + static_cast<ptrdiff_t>(std::min(digest.size(), size_t{32}))));
  const Number r = FromBytes(Bytes(signature.begin(), signature.begin() + 32));
  const Number s = FromBytes(Bytes(signature.begin() + 32, signature.end()));
  const Number k(BN_new());
  const Number inverse(BN_mod_inverse(nullptr, s.get(), order.get(), context.get()));
  Check(inverse && BN_mod_mul(k.get(), r.get(), d.get(), order.get(), context.get()) == 1 &&
            BN_mod_add(k.get(), k.get(), h.get(), order.get(), context.get()) == 1 &&
            BN_mod_mul(k.get(), k.get(), inverse.get(), order.get(), context.get()) == 1,
        "nonce");
  // What is searched for must be the nonce indeed: its point's x is r.
  const Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Point point(EC_POINT_new(group.get()));
  const Number x(BN_new());
  Check(EC_POINT_mul(group.get(), point.get(), k.get(), nullptr, nullptr, context.get()) == 1 &&
            EC_POINT_get_affine_coordinates(group.get(), point.get(), x.get(), nullptr,
                                            context.get()) == 1 &&
            BN_nnmod(x.get(), x.get(), order.get(), context.get()) == 1 &&
            BN_cmp(x.get(), r.get()) == 0,
        "this is not the nonce of the signature");
  const Number k_inverse(BN_mod_inverse(nullptr, k.get(), order.get(), context.get()));
  Check(k_inverse != nullptr, "inverse");
  const std::pair<std::string, const BIGNUM*> scalars[] = {
      {name, d.get()},
      {name + ": nonce", k.get()},
      {name + ": inverse of the nonce", k_inverse.get()}};
  for (const auto& [scalar, value] : scalars) {
    secrets.push_back({scalar, ToBytes(value, 32)});
    // Times 2^256: Montgomery's form, in which scalars are multiplied.
    const Number montgomery(BN_new());
    Check(BN_lshift(montgomery.get(), value, 256) == 1 &&
              BN_nnmod(montgomery.get(), montgomery.get(), order.get(), context.get()) == 1,
          "Montgomery's form");
    secrets.push_back({scalar + " (Montgomery)", ToBytes(montgomery.get(), 32)});
  }
  return secrets;
}

std::vector<Secret> SecretsOfAes(const std::string& name, const Bytes& key) {
  std::vector<Secret> secrets = {{name, key}};
  AES_KEY schedule;
  if (AES_set_encrypt_key(key.data(), static_cast<int>(key.size() * 8), &schedule) == 0) {
    // Each word is big-endian in OpenSSL's table form, plain in AES-NI's: forms.cc swaps words.
    const size_t words = static_cast<size_t>(schedule.rounds + 1) * 4;
    secrets.push_back({name + ": key schedule", State32(schedule.rd_key, words)});
  }
  return secrets;
}

std::vector<Secret> SecretsOfHmac(const std::string& hash, const std::string& name,
                                  const Bytes& key) {
  const size_t block_size = hash == "SHA384" || hash.starts_with("SHA512") ? 128 : 64;
  Bytes inner = key.size() > block_size ? Sha(hash, key) : key;
  const size_t key_size = inner.size();
  inner.resize(block_size);
  Bytes outer = inner;
  for (auto& byte : inner) byte ^= 0x36;
  for (auto& byte : outer) byte ^= 0x5c;
  const auto end = static_cast<ptrdiff_t>(key_size);
  return {{name, key},
          {name + ": inner padded key", Bytes(inner.begin(), inner.begin() + end)},
          {name + ": outer padded key", Bytes(outer.begin(), outer.begin() + end)},
          {name + ": inner chaining value", ChainingValue(hash, inner)},
          {name + ": outer chaining value", ChainingValue(hash, outer)}};
}

std::vector<Secret> SecretsOfRsa(const RsaKey& key) {
  return {{"RSA private exponent", key.private_exponent},
          {"RSA prime 1", key.prime1},
          {"RSA prime 2", key.prime2},
          {"RSA exponent 1", key.exponent1},
          {"RSA exponent 2", key.exponent2},
          {"RSA coefficient", key.coefficient}};
}

}  // namespace secretmem::audit

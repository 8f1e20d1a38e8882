#include "mechanisms/tls_derive.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include "mechanisms/secret_key.h"
#include "mechanisms/symmetric.h"
#include "mechanisms/tls_prf.h"

namespace secretmem {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kRandomBytes = 32;
constexpr size_t kMostLabel = 255;
constexpr size_t kMostContext = 0xffff;  // RFC 5705: its length has two bytes
constexpr size_t kMostExport = 4096;     // each block of it goes through the whole context twice
constexpr size_t kMostKey = 64;
constexpr size_t kMostIv = 16;

Bytes BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct Randoms {
  Bytes client;
  Bytes server;
};

CkResult<Randoms> ReadRandoms(const CK_SSL3_RANDOM_DATA& given) {
  const auto client = ParameterBytes(given.pClientRandom, given.ulClientRandomLen);
  if (!client) return Refuse(client.error());
  const auto server = ParameterBytes(given.pServerRandom, given.ulServerRandomLen);
  if (!server) return Refuse(server.error());
  if (client->size() != kRandomBytes || server->size() != kRandomBytes) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  return Randoms{*client, *server};
}

// Seed is what goes into the PRF beside the secret, the label first.
using Seed = std::vector<Bytes>;

// RunInto fills |out|, on a secret stack, from the base key.
CK_RV RunInto(const EVP_MD* md, const Vault& base, const Seed& seed, std::span<uint8_t> out) {
  const auto run = base.WithSecret([&](Bytes secret) -> CK_RV {
    return TlsPrf(md, secret, seed, out) ? CKR_OK : CKR_FUNCTION_FAILED;
  });
  return run ? *run : RvOf(run.error());
}

CkResult<Vault> Run(const EVP_MD* md, const Vault& base, const Seed& seed, size_t length) {
  auto vault = ToCk(Vault::New(length));
  if (!vault) return Refuse(vault.error());
  const auto done = Flatten(vault->WriteSecret(
      [&](std::span<uint8_t> out) -> CK_RV { return RunInto(md, base, seed, out); }));
  if (!done) return Refuse(done.error());
  return std::move(*vault);
}

CkResult<std::vector<NewKey>> OneKey(CkResult<Vault> vault) {
  if (!vault) return Refuse(vault.error());
  std::vector<NewKey> keys;
  keys.push_back(AsSecretKey(std::move(*vault)));
  return keys;
}

// CheckMaster says whether |request| is for what a (pre)master secret is.
CkStatus CheckMaster(const SecretRequest& request) {
  if (request.key_type != CKK_GENERIC_SECRET ||
      request.length.value_or(kTlsMasterBytes) != kTlsMasterBytes) {
    return Refuse(CKR_TEMPLATE_INCONSISTENT);
  }
  return {};
}

// UsesOfMaster is the CKA_ALLOWED_MECHANISMS of a master secret.
std::vector<uint8_t> UsesOfMaster() {
  std::vector<uint8_t> uses;
  for (const CK_MECHANISM_TYPE use : {CKM_TLS12_KEY_AND_MAC_DERIVE, CKM_TLS12_KEY_SAFE_DERIVE,
                                      CKM_TLS_KDF, CKM_TLS_MAC, CKM_TLS12_KDF, CKM_TLS12_MAC}) {
    const std::vector<uint8_t> bytes = UlongBytes(use);
    uses.insert(uses.end(), bytes.begin(), bytes.end());
  }
  return uses;
}

// Master is the parameter of the master secret's derivations.
struct Master {
  const EVP_MD* md = nullptr;
  CK_VERSION* version = nullptr;
  Seed seed;
};

CkResult<Master> ReadMaster(CK_MECHANISM_TYPE type, Parameter parameter) {
  Master master;
  if (type == CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE ||
      type == CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH) {
    const auto given = ReadParameter<CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS>(parameter);
    if (!given) return Refuse(given.error());
    master.md = FindTlsHash(given->prfHashMechanism);
    const auto hash = ParameterBytes(given->pSessionHash, given->ulSessionHashLen);
    if (!hash) return Refuse(hash.error());
    if (master.md == nullptr || hash->size() != EVP_MD_size(master.md)) {
      return Refuse(CKR_MECHANISM_PARAM_INVALID);
    }
    master.version = given->pVersion;
    master.seed = {BytesOf("extended master secret"), *hash};
  } else {
    const auto given = ReadParameter<CK_TLS12_MASTER_KEY_DERIVE_PARAMS>(parameter);
    if (!given) return Refuse(given.error());
    master.md = FindTlsHash(given->prfHashMechanism);
    const auto randoms = ReadRandoms(given->RandomInfo);
    if (!randoms) return Refuse(randoms.error());
    if (master.md == nullptr) return Refuse(CKR_MECHANISM_PARAM_INVALID);
    master.version = given->pVersion;
    master.seed = {BytesOf("master secret"), randoms->client, randoms->server};
  }
  const bool has_version =
      type == CKM_TLS12_MASTER_KEY_DERIVE || type == CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE;
  if (has_version != (master.version != nullptr)) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return master;
}

// KeyMaterial is the parameter of the key block's derivations. Sizes in bytes.
struct KeyMaterial {
  const EVP_MD* md;
  size_t mac;
  size_t key;
  size_t iv;
  Randoms randoms;
  CK_SSL3_KEY_MAT_OUT* out;  // in the client's memory, not aligned
  std::array<CK_BYTE*, 2> ivs = {};

  size_t size() const { return 2 * (mac + key + iv); }
};

CkResult<size_t> SizeOf(CK_ULONG bits, size_t most) {
  if (bits % 8 != 0 || bits / 8 > most) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  return bits / 8;
}

CkResult<KeyMaterial> ReadKeyMaterial(Parameter parameter, bool with_ivs) {
  const auto given = ReadParameter<CK_TLS12_KEY_MAT_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  KeyMaterial read{};
  read.md = FindTlsHash(given->prfHashMechanism);
  read.out = given->pReturnedKeyMaterial;
  if (read.md == nullptr || read.out == nullptr || given->bIsExport != CK_FALSE) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  const auto mac = SizeOf(given->ulMacSizeInBits, kMostKey);
  const auto key = SizeOf(given->ulKeySizeInBits, kMostKey);
  const auto iv = with_ivs ? SizeOf(given->ulIVSizeInBits, kMostIv) : 0;
  const auto randoms = ReadRandoms(given->RandomInfo);
  if (!randoms) return Refuse(randoms.error());
  // Without keys there is no cipher that the IVs would be for: they would only show the client
  // what is a key in another call.
  if (!mac || !key || !iv || *mac + *key == 0 || (*iv != 0 && *key == 0)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  read.mac = *mac;
  read.key = *key;
  read.iv = *iv;
  read.randoms = *randoms;
  if (read.iv != 0) {
    CK_SSL3_KEY_MAT_OUT out;
    memcpy(&out, read.out, sizeof(out));
    read.ivs = {out.pIVClient, out.pIVServer};
    if (std::ranges::find(read.ivs, nullptr) != read.ivs.end()) {
      return Refuse(CKR_MECHANISM_PARAM_INVALID);
    }
  }
  return read;
}

// LengthsOf are those of the keys in the order of the key block.
std::array<size_t, 4> LengthsOf(const KeyMaterial& material) {
  return {material.mac, material.mac, material.key, material.key};
}

// CutUp divides the key block, on a secret stack.
CK_RV CutUp(const KeyMaterial& material, Bytes block, std::span<Vault> vaults) {
  for (Vault& vault : vaults) {
    const Bytes part = block.first(vault.size());
    block = block.subspan(vault.size());
    const auto copied =
        vault.WriteSecret([&](std::span<uint8_t> out) { std::ranges::copy(part, out.begin()); });
    if (!copied) return RvOf(copied.error());
  }
  for (CK_BYTE* iv : material.ivs) {
    if (material.iv == 0) break;
    memcpy(iv, block.data(), material.iv);
    block = block.subspan(material.iv);
  }
  return CKR_OK;
}

}  // namespace

CkResult<NewKey> GenerateTlsPremaster(Parameter parameter, const SecretRequest& request) {
  const auto version = ReadParameter<CK_VERSION>(parameter);
  if (!version) return Refuse(version.error());
  if (auto right = CheckMaster(request); !right) return Refuse(right.error());
  auto secret = ToCk(Vault::New(kTlsMasterBytes));
  if (!secret) return Refuse(secret.error());
  const auto drawn = secret->WriteSecret([&](std::span<uint8_t> bytes) {
    bytes[0] = version->major;
    bytes[1] = version->minor;
    RAND_bytes(bytes.data() + 2, bytes.size() - 2);
  });
  if (!drawn) return Refuse(RvOf(drawn.error()));
  return AsSecretKey(std::move(*secret));
}

CkResult<std::vector<NewKey>> DeriveTlsMaster(const Derivation& derivation) {
  const auto master = ReadMaster(derivation.type, derivation.parameter);
  if (!master) return Refuse(master.error());
  const Key& base = derivation.base;
  if (auto right = CheckSecretKey(base, CKK_GENERIC_SECRET); !right) return Refuse(right.error());
  if (auto right = CheckMaster(derivation.wanted.front()); !right) return Refuse(right.error());
  if (master->version != nullptr && base.secret->size() != kTlsMasterBytes) {
    return Refuse(CKR_KEY_SIZE_RANGE);
  }
  auto made = Run(master->md, *base.secret, master->seed, kTlsMasterBytes);
  if (made && master->version != nullptr) {
    // The mechanism gives these two bytes away by definition: the server compares them.
    const auto told = Flatten(base.secret->WithSecret([&](Bytes premaster) -> CK_RV {
      const CK_VERSION version = {premaster[0], premaster[1]};
      memcpy(master->version, &version, sizeof(version));
      return CKR_OK;
    }));
    if (!told) return Refuse(told.error());
  }
  auto keys = OneKey(std::move(made));
  if (keys) keys->front().attributes.push_back({CKA_ALLOWED_MECHANISMS, UsesOfMaster()});
  return keys;
}

CkResult<std::vector<NewKey>> DeriveTlsKdf(const Derivation& derivation) {
  const auto given = ReadParameter<CK_TLS_KDF_PARAMS>(derivation.parameter);
  if (!given) return Refuse(given.error());
  const EVP_MD* md = FindTlsHash(given->prfMechanism);
  const auto label = ParameterBytes(given->pLabel, given->ulLabelLength);
  if (!label) return Refuse(label.error());
  const auto context = ParameterBytes(given->pContextData, given->ulContextDataLength);
  if (!context) return Refuse(context.error());
  const auto randoms = ReadRandoms(given->RandomInfo);
  if (!randoms) return Refuse(randoms.error());
  if (md == nullptr || label->empty() || label->size() > kMostLabel ||
      context->size() > kMostContext) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (auto right = CheckSecretKey(derivation.base, CKK_GENERIC_SECRET); !right) {
    return Refuse(right.error());
  }
  const auto length = SecretLength(derivation.wanted.front(), std::nullopt);
  if (!length) return Refuse(length.error());
  if (*length > kMostExport) return Refuse(CKR_KEY_SIZE_RANGE);
  Seed seed = {*label, randoms->client, randoms->server};
  const std::array context_length = {static_cast<uint8_t>(context->size() >> 8),
                                     static_cast<uint8_t>(context->size())};
  if (given->pContextData != nullptr) {
    seed.emplace_back(context_length);
    seed.push_back(*context);
  }
  return OneKey(Run(md, *derivation.base.secret, seed, *length));
}

CkResult<std::vector<KeyOfSet>> TlsKeySet(Parameter parameter) {
  // IVs are no keys: whether there are any is looked at when they are made.
  const auto material = ReadKeyMaterial(parameter, false);
  if (!material) return Refuse(material.error());
  const std::array<size_t, 4> places = {offsetof(CK_SSL3_KEY_MAT_OUT, hClientMacSecret),
                                        offsetof(CK_SSL3_KEY_MAT_OUT, hServerMacSecret),
                                        offsetof(CK_SSL3_KEY_MAT_OUT, hClientKey),
                                        offsetof(CK_SSL3_KEY_MAT_OUT, hServerKey)};
  const auto lengths = LengthsOf(*material);
  auto* first = reinterpret_cast<uint8_t*>(material->out);
  std::vector<KeyOfSet> set;
  for (size_t i = 0; i < places.size(); ++i) {
    set.push_back({.is_mac = i < 2, .length = lengths[i], .handle = first + places[i]});
  }
  return set;
}

CkResult<std::vector<NewKey>> DeriveTlsKeys(const Derivation& derivation) {
  const auto material =
      ReadKeyMaterial(derivation.parameter, derivation.type == CKM_TLS12_KEY_AND_MAC_DERIVE);
  if (!material) return Refuse(material.error());
  if (auto right = CheckSecretKey(derivation.base, CKK_GENERIC_SECRET); !right) {
    return Refuse(right.error());
  }
  if (derivation.base.secret->size() != kTlsMasterBytes) return Refuse(CKR_KEY_SIZE_RANGE);
  std::vector<Vault> vaults;
  size_t next = 0;
  for (const size_t length : LengthsOf(*material)) {
    if (length == 0) continue;
    if (next == derivation.wanted.size()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
    const auto allowed = SecretLength(derivation.wanted[next++], length);
    if (!allowed) return Refuse(allowed.error());
    if (*allowed != length) return Refuse(CKR_MECHANISM_PARAM_INVALID);
    auto vault = ToCk(Vault::New(length));
    if (!vault) return Refuse(vault.error());
    vaults.push_back(std::move(*vault));
  }
  if (next != derivation.wanted.size()) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const Seed seed = {BytesOf("key expansion"), material->randoms.server, material->randoms.client};
  const auto block = Run(material->md, *derivation.base.secret, seed, material->size());
  if (!block) return Refuse(block.error());
  const auto cut = Flatten(
      block->WithSecret([&](Bytes bytes) -> CK_RV { return CutUp(*material, bytes, vaults); }));
  if (!cut) return Refuse(cut.error());
  std::vector<NewKey> keys;
  for (Vault& vault : vaults) keys.push_back(AsSecretKey(std::move(vault)));
  return keys;
}

}  // namespace secretmem

#include "mechanisms/hpke_schedule.h"

#include <openssl/curve25519.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

namespace secretmem {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kHash = 32;
constexpr uint8_t kKemSuite[] = {'K', 'E', 'M', 0x00, 0x20};

Bytes Text(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// SuiteId is "HPKE" and the three numbers (section 5.1).
std::array<uint8_t, 10> SuiteId(const HpkeSuite& suite) {
  const auto high = [](uint16_t number) { return static_cast<uint8_t>(number >> 8); };
  const auto low = [](uint16_t number) { return static_cast<uint8_t>(number); };
  return {'H',
          'P',
          'K',
          'E',
          high(suite.kem),
          low(suite.kem),
          0x00,
          0x01,
          high(suite.aead),
          low(suite.aead)};
}

// HMAC-SHA256 of all |parts|, which are gone through as they lie: none is put together.
bool Hmac(Bytes key, std::initializer_list<Bytes> parts, uint8_t* out) {
  bssl::ScopedHMAC_CTX context;
  unsigned size = 0;
  if (!HMAC_Init_ex(context.get(), key.data(), key.size(), EVP_sha256(), nullptr)) return false;
  for (const Bytes part : parts) {
    if (!HMAC_Update(context.get(), part.data(), part.size())) return false;
  }
  return HMAC_Final(context.get(), out, &size) && size == kHash;
}

// RFC 9180, 4: LabeledExtract and LabeledExpand.
bool LabeledExtract(Bytes suite, Bytes salt, std::string_view label, Bytes ikm, uint8_t* out) {
  // An absent salt is as many zeros (RFC 5869, 2.2), which HMAC pads its keys with anyway.
  constexpr uint8_t kNoSalt[kHash] = {};
  return Hmac(salt.empty() ? Bytes(kNoSalt) : salt, {Text("HPKE-v1"), suite, Text(label), ikm},
              out);
}

bool LabeledExpand(Bytes suite, Bytes prk, std::string_view label, Bytes info,
                   std::span<uint8_t> out) {
  if (out.size() > 255 * kHash) return false;
  const uint8_t length[] = {static_cast<uint8_t>(out.size() >> 8),
                            static_cast<uint8_t>(out.size())};
  uint8_t block[kHash];
  Bytes previous;
  for (uint8_t counter = 1; !out.empty(); ++counter) {
    if (!Hmac(prk,
              {previous, length, Text("HPKE-v1"), suite, Text(label), info, Bytes(&counter, 1)},
              block)) {
      return false;
    }
    previous = block;
    const size_t take = std::min(out.size(), kHash);
    std::copy_n(block, take, out.begin());
    out = out.subspan(take);
  }
  return true;
}

// ExtractAndExpand is section 4.1's. |context| is enc and the recipient's public key.
bool ExtractAndExpand(Bytes dh, Bytes context, std::span<uint8_t> shared) {
  uint8_t prk[kHash];
  return LabeledExtract(kKemSuite, {}, "eae_prk", dh, prk) &&
         LabeledExpand(kKemSuite, prk, "shared_secret", context, shared);
}

}  // namespace

bool HpkeEncap(std::span<const uint8_t, 32> public_key, std::span<uint8_t, 32> enc,
               std::span<uint8_t, 32> shared) {
  uint8_t ephemeral[32], dh[32], context[64];
  X25519_keypair(enc.data(), ephemeral);
  if (!X25519(dh, ephemeral, public_key.data())) return false;
  std::ranges::copy(public_key, std::ranges::copy(enc, context).out);
  return ExtractAndExpand(dh, context, shared);
}

bool HpkeDecap(std::span<const uint8_t, 32> private_key, std::span<const uint8_t, 32> enc,
               std::span<uint8_t, 32> shared) {
  uint8_t dh[32], context[64];
  if (!X25519(dh, private_key.data(), enc.data())) return false;
  std::ranges::copy(enc, context);
  X25519_public_from_private(context + 32, private_key.data());
  return ExtractAndExpand(dh, context, shared);
}

bool RunHpkeSchedule(const HpkeSchedule& schedule, std::span<const uint8_t> shared,
                     const HpkeKeys& keys) {
  const auto suite = SuiteId(schedule.suite);
  uint8_t context[1 + 2 * kHash];
  uint8_t secret[kHash];
  context[0] = schedule.psk.empty() ? 0 : 1;
  return LabeledExtract(suite, {}, "psk_id_hash", schedule.psk_id, context + 1) &&
         LabeledExtract(suite, {}, "info_hash", schedule.info, context + 1 + kHash) &&
         LabeledExtract(suite, shared, "secret", schedule.psk, secret) &&
         LabeledExpand(suite, secret, "key", context, keys.key) &&
         LabeledExpand(suite, secret, "base_nonce", context, keys.nonce) &&
         LabeledExpand(suite, secret, "exp", context, keys.exporter);
}

bool HpkeExport(const HpkeSuite& suite, std::span<const uint8_t> exporter,
                std::span<const uint8_t> context, std::span<uint8_t> out) {
  return LabeledExpand(SuiteId(suite), exporter, "sec", context, out);
}

}  // namespace secretmem

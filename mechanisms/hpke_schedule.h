#pragma once

#include <cstdint>
#include <span>

namespace secretmem {

// The computations of RFC 9180: DHKEM(X25519, HKDF-SHA256), and HKDF-SHA256 after any KEM. All run
// on secret stacks; what they write that is secret is to be secret memory. False if BoringSSL
// cannot, or for a peer that gives an X25519 result of zeros.

inline constexpr size_t kX25519EncBytes = 32;
inline constexpr size_t kHpkeSecretBytes = 32;  // Nsecret and Nh
inline constexpr size_t kHpkeNonceBytes = 12;

// HpkeEncap makes an ephemeral key and the secret shared with |public_key| (section 4.1).
bool HpkeEncap(std::span<const uint8_t, 32> public_key, std::span<uint8_t, 32> enc,
               std::span<uint8_t, 32> shared);
bool HpkeDecap(std::span<const uint8_t, 32> private_key, std::span<const uint8_t, 32> enc,
               std::span<uint8_t, 32> shared);

// HpkeSuite has the numbers of RFC 9180, 7; the KDF is HKDF-SHA256.
struct HpkeSuite {
  uint16_t kem;
  uint16_t aead;
};

// HpkeSchedule is what the key schedule takes (section 5.1): the mode is PSK if there is a psk.
struct HpkeSchedule {
  HpkeSuite suite;
  std::span<const uint8_t> info;
  std::span<const uint8_t> psk = {};
  std::span<const uint8_t> psk_id = {};
};

// HpkeKeys is what it gives: spans to write to. |key| and |nonce| are empty for export only.
struct HpkeKeys {
  std::span<uint8_t> key;
  std::span<uint8_t> nonce;
  std::span<uint8_t> exporter;
};
bool RunHpkeSchedule(const HpkeSchedule& schedule, std::span<const uint8_t> shared,
                     const HpkeKeys& keys);

// HpkeExport is section 5.3; |out| has at most 255 * 32 bytes.
bool HpkeExport(const HpkeSuite& suite, std::span<const uint8_t> exporter,
                std::span<const uint8_t> context, std::span<uint8_t> out);

}  // namespace secretmem

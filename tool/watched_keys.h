// A token's keys as whoever looks for them in memory must know them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pkcs11/config.h"
#include "pkcs11/token.h"
#include "tool/pin.h"
#include "vault/vault.h"

namespace secretmem::tool {

// WatchedKey names a key for people.
struct WatchedKey {
  std::string label;
  std::string kind;  // "RSA private key"
};

// WatchedKeys has every run of eight bytes of every key of a token: as it is stored, backwards, and
// with its words of four and eight bytes swapped, as big numbers, ciphers and hash functions load
// it. Runs of fewer than five different bytes are left out, since memory holds such by chance.
// All of that lies in a vault.
class WatchedKeys {
 public:
  // Open logs in to the token at |path| as the user, and closes it again. Throws ToolError:
  // kNoSecretMemory, kPinRefused, kFailed.
  static WatchedKeys Open(const Config& config, const std::string& path, const PinText& pin);

  // Of bytes stands for one key with these bytes, which are no secret: to see whether looking
  // works.
  static WatchedKeys Of(std::span<const uint8_t> bytes);

  const std::vector<WatchedKey>& keys() const { return keys_; }

  // open_keys are those whose value any client may read out (CKA_SENSITIVE false, CKA_EXTRACTABLE
  // true), or which are too short to be told from chance: nobody looks for them.
  const std::vector<WatchedKey>& open_keys() const { return open_keys_; }

  // Hit is a run of eight bytes of a key.
  struct Hit {
    size_t offset;    // in what was searched
    uint32_t key;     // index into keys()
    const char* how;  // "as it is stored", "backwards"...
  };

  // Search returns the first hits in |data|, a few dozen at most.
  std::vector<Hit> Search(std::span<const uint8_t> data) const;

 private:
  class Table;

  // AddValue puts the runs of |value|, called in a borrow, into the vault's bytes.
  static void AddValue(std::span<uint8_t> table, std::span<const uint8_t> value, uint32_t key);

  WatchedKeys(Vault table, std::vector<WatchedKey> keys, std::vector<WatchedKey> open_keys)
      : table_(std::move(table)), keys_(std::move(keys)), open_keys_(std::move(open_keys)) {}

  Vault table_;
  std::vector<WatchedKey> keys_;
  std::vector<WatchedKey> open_keys_;
};

}  // namespace secretmem::tool

#include "tool/watched_keys.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>

#include "mechanisms/key_family.h"
#include "tool/key_forms.h"
#include "tool/module.h"
#include "tool/page.h"

namespace secretmem::tool {

namespace {

constexpr size_t kMostHits = 32;

// MemoryFor is what a vault's failure means to who watches.
template <class T>
T MemoryFor(VaultResult<T> result) {
  if (!result) {
    throw ToolError(kNoSecretMemory, Describe(result.error().code),
                    "The keys that are looked for must lie in secret memory themselves: "
                    "secretmem-pkcs11 status says whether there is enough.");
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// The parts of a private RSA key that are secret; its modulus is in every certificate.
constexpr CK_ATTRIBUTE_TYPE kParts[] = {CKA_PRIVATE_EXPONENT, CKA_PRIME_1,    CKA_PRIME_2,
                                        CKA_EXPONENT_1,       CKA_EXPONENT_2, CKA_COEFFICIENT};

// ForEachPart calls |visit(part)|, in a borrow, for each value of |object| that must not be seen.
void ForEachPart(const Object& object, const std::function<void(std::span<const uint8_t>)>& visit) {
  const auto vault = object.secret->Open();
  if (!vault) Check(vault.error(), "opening a key");
  const KeyFamily* family = FindKeyFamily(object.key_type());
  MemoryFor((*vault)->WithSecret([&](std::span<const uint8_t> secret) {
    if (object.key_type() != CKK_RSA || family == nullptr || family->find_secret == nullptr) {
      visit(secret);
      return;
    }
    for (const CK_ATTRIBUTE_TYPE type : kParts) {
      if (const auto part = family->find_secret(secret, type)) visit(*part);
    }
  }));
}

std::string KindOf(const Object& object) {
  const char* type = "";
  switch (object.key_type()) {
    case CKK_RSA:
      type = "RSA ";
      break;
    case CKK_EC:
      type = "EC ";
      break;
    case CKK_EC_EDWARDS:
      type = "Ed25519 ";
      break;
    case CKK_EC_MONTGOMERY:
      type = "X25519 ";
      break;
    case CKK_AES:
      type = "AES ";
      break;
    case CKK_CHACHA20:
      type = "ChaCha20 ";
      break;
    default:
      break;
  }
  return std::string(type) +
         (object.object_class() == CKO_PRIVATE_KEY ? "private key" : "secret key");
}

WatchedKey NameOf(const Object& object) {
  const auto label = object.Get(CKA_LABEL);
  return {label ? Printable(std::string(label->begin(), label->end())) : "", KindOf(object)};
}

bool AnyClientMayRead(const Object& object) {
  return !object.attributes.GetBool(CKA_SENSITIVE).value_or(true) &&
         object.attributes.GetBool(CKA_EXTRACTABLE).value_or(false);
}

}  // namespace

// Table is the vault's layout: bits that say quickly that a window is not there, then an open hash
// table whose empty entries have a window of zeros.
class WatchedKeys::Table {
 public:
  struct Entry {
    uint64_t window;
    uint32_t key;
    uint32_t form;
  };

  static VaultResult<Vault> New(size_t windows) {
    return Vault::New(kFilterBytes + std::bit_ceil(2 * windows + 1) * sizeof(Entry));
  }

  template <class Byte>
  static std::span<Byte> Filter(std::span<Byte> vault) {
    return vault.first(kFilterBytes);
  }

  static void Add(std::span<uint8_t> vault, const Entry& entry) {
    const uint64_t hash = Hash(entry.window);
    Filter(vault)[hash % kFilterBits / 8] |= static_cast<uint8_t>(1 << (hash % 8));
    const size_t entries = Entries(vault.size());
    for (size_t at = hash % entries;; at = (at + 1) % entries) {
      const Entry there = At(vault, at);
      if (there.window == entry.window) return;
      if (there.window != 0) continue;
      std::memcpy(vault.data() + kFilterBytes + at * sizeof(Entry), &entry, sizeof(entry));
      return;
    }
  }

  // Find returns an entry of the window, or one of zeros.
  static Entry Find(std::span<const uint8_t> vault, uint64_t window) {
    const uint64_t hash = Hash(window);
    if ((Filter(vault)[hash % kFilterBits / 8] >> (hash % 8) & 1) == 0) return {};
    const size_t entries = Entries(vault.size());
    for (size_t at = hash % entries;; at = (at + 1) % entries) {
      const Entry there = At(vault, at);
      if (there.window == window || there.window == 0) return there;
    }
  }

 private:
  static constexpr size_t kFilterBits = 1 << 18;
  static constexpr size_t kFilterBytes = kFilterBits / 8;

  static uint64_t Hash(uint64_t window) {
    const uint64_t product = window * 0x9e37'79b9'7f4a'7c15;
    return product >> 32 ^ product;
  }
  static size_t Entries(size_t vault_size) { return (vault_size - kFilterBytes) / sizeof(Entry); }
  static Entry At(std::span<const uint8_t> vault, size_t at) {
    Entry entry;
    std::memcpy(&entry, vault.data() + kFilterBytes + at * sizeof(Entry), sizeof(entry));
    return entry;
  }
};

namespace {

size_t WindowsOf(size_t size) {
  return size < kKeyWindow ? 0 : (size - kKeyWindow + 1) * std::size(kKeyForms);
}

}  // namespace

WatchedKeys WatchedKeys::Of(std::span<const uint8_t> bytes) {
  Vault table = MemoryFor(Table::New(WindowsOf(bytes.size())));
  MemoryFor(table.WriteSecret([&](std::span<uint8_t> to) { AddValue(to, bytes, 0); }));
  return WatchedKeys(std::move(table), {{"", "test value"}}, {});
}

void WatchedKeys::AddValue(std::span<uint8_t> table, std::span<const uint8_t> value, uint32_t key) {
  for (uint32_t form = 0; form < std::size(kKeyForms); ++form) {
    for (size_t start = 0; start + kKeyWindow <= value.size(); ++start) {
      std::array<uint8_t, kKeyWindow> bytes;
      for (size_t i = 0; i < kKeyWindow; ++i) bytes[i] = ByteOfForm(value, form, start + i);
      if (!IsTelling(bytes)) continue;
      Table::Add(table, {std::bit_cast<uint64_t>(bytes), key, form});
    }
  }
}

WatchedKeys WatchedKeys::Open(const Config& config, const std::string& path, const PinText& pin) {
  MemoryFor(InitialiseVault());
  const auto token = Token::Open(config, path);
  if (!token) Check(token.error(), "opening the token");
  const auto opened = (*token)->SessionOpened(false);
  if (!opened) Check(opened.error(), "opening a session");
  const auto in = (*token)->LogIn(CKU_USER, Pin(pin.data(), pin.size()));
  if (!in) Check(in.error(), "logging in to the token");
  const auto loaded = (*token)->Load();
  if (!loaded) Check(loaded.error(), "reading the token");

  std::vector<ObjectPtr> objects;
  std::vector<WatchedKey> keys;
  std::vector<WatchedKey> open_keys;
  size_t windows = 0;
  const auto is_key = [](const Object& object) { return object.secret != nullptr; };
  for (const CK_OBJECT_HANDLE handle :
       (*token)->Select({}, (*token)->Present(), SIZE_MAX, is_key)) {
    const ObjectPtr object = (*token)->Find(handle);
    if (object == nullptr || object->session != 0) continue;
    size_t own = 0;
    if (!AnyClientMayRead(*object)) {
      ForEachPart(*object, [&](std::span<const uint8_t> part) { own += WindowsOf(part.size()); });
    }
    if (own == 0) {
      open_keys.push_back(NameOf(*object));
      continue;
    }
    windows += own;
    objects.push_back(object);
    keys.push_back(NameOf(*object));
  }

  Vault table = MemoryFor(Table::New(windows));
  for (uint32_t key = 0; key < objects.size(); ++key) {
    ForEachPart(*objects[key], [&](std::span<const uint8_t> part) {
      MemoryFor(table.WriteSecret([&](std::span<uint8_t> to) { AddValue(to, part, key); }));
    });
  }
  (*token)->SessionClosed(false);
  return WatchedKeys(std::move(table), std::move(keys), std::move(open_keys));
}

std::vector<WatchedKeys::Hit> WatchedKeys::Search(std::span<const uint8_t> data) const {
  using Found = std::array<uint64_t, 3>;
  const auto found = MemoryFor(table_.WithSecret([&](std::span<const uint8_t> table) {
    std::pair<size_t, std::array<Found, kMostHits>> hits{};
    for (size_t i = 0; i + kKeyWindow <= data.size() && hits.first < kMostHits; ++i) {
      uint64_t window;
      std::memcpy(&window, data.data() + i, sizeof(window));
      if (window == 0) continue;
      const Table::Entry entry = Table::Find(table, window);
      if (entry.window != 0) hits.second[hits.first++] = {i, entry.key, entry.form};
    }
    return hits;
  }));
  std::vector<Hit> hits;
  for (const auto& [offset, key, form] : std::span(found.second).first(found.first)) {
    hits.push_back({offset, static_cast<uint32_t>(key), kKeyForms[form]});
  }
  return hits;
}

}  // namespace secretmem::tool

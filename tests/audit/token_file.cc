#include "tests/audit/token_file.h"

#include <openssl/evp.h>
#include <sqlite3.h>

#include <array>
#include <cstring>
#include <memory>

#include "tests/audit/expected.h"
#include "tests/audit/remote.h"

namespace secretmem::audit {
namespace {

constexpr int kApplicationId = 0x536d546b;
constexpr size_t kNonce = 24;
constexpr size_t kTag = 16;
constexpr size_t kKey = 32;

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Database = std::unique_ptr<sqlite3, Close>;
using Statement = std::unique_ptr<sqlite3_stmt, Close>;
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, Close>;

void Check(bool good, const std::string& what) {
  if (!good) throw CannotLook("the token file: " + what);
}

Statement Prepare(sqlite3* database, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  Check(sqlite3_prepare_v2(database, sql, -1, &statement, nullptr) == SQLITE_OK,
        sqlite3_errmsg(database));
  return Statement(statement);
}

Bytes Blob(sqlite3_stmt* row, int column) {
  const auto* begin = static_cast<const uint8_t*>(sqlite3_column_blob(row, column));
  const int size = sqlite3_column_bytes(row, column);
  return size == 0 ? Bytes() : Bytes(begin, begin + size);
}

uint32_t Load(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 |
         static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24;
}

// HChaCha20 takes the key of XChaCha20 from the key and 16 bytes of the nonce. It is a block of
// ChaCha20 without the last addition of the input, which is therefore taken off again.
Bytes HChaCha20(const Bytes& key, const uint8_t* nonce) {
  const Cipher cipher(EVP_CIPHER_CTX_new());
  std::array<uint8_t, 64> block = {};
  int size = 0;
  Check(EVP_EncryptInit_ex(cipher.get(), EVP_chacha20(), nullptr, key.data(), nonce) == 1 &&
            EVP_EncryptUpdate(cipher.get(), block.data(), &size, block.data(), 64) == 1,
        "ChaCha20");
  static constexpr char kConstants[] = "expand 32-byte k";
  Bytes subkey;
  const auto take = [&](size_t at, const uint8_t* input) {
    for (size_t i = 0; i < 16; i += 4) {
      const Bytes word = BytesOf(Load(block.data() + at + i) - Load(input + i));
      subkey.insert(subkey.end(), word.begin(), word.end());
    }
  };
  take(0, reinterpret_cast<const uint8_t*>(kConstants));
  take(48, nonce);
  return subkey;
}

// Open returns nothing when the tag is not right.
std::optional<Bytes> Open(const Bytes& key, const Bytes& associated, const Bytes& sealed) {
  Check(sealed.size() > kNonce + kTag, "a wrapped key is too short");
  const Bytes subkey = HChaCha20(key, sealed.data());
  Bytes nonce(4, 0);
  nonce.insert(nonce.end(), sealed.begin() + 16, sealed.begin() + kNonce);
  Bytes plain(sealed.size() - kNonce - kTag);
  Bytes tag(sealed.end() - kTag, sealed.end());
  const Cipher cipher(EVP_CIPHER_CTX_new());
  int size = 0;
  const bool good =
      EVP_DecryptInit_ex(cipher.get(), EVP_chacha20_poly1305(), nullptr, subkey.data(),
                         nonce.data()) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &size, associated.data(),
                        static_cast<int>(associated.size())) == 1 &&
      EVP_DecryptUpdate(cipher.get(), plain.data(), &size, sealed.data() + kNonce,
                        static_cast<int>(plain.size())) == 1 &&
      EVP_DecryptFinal_ex(cipher.get(), plain.data() + size, &size) == 1;
  return good ? std::optional(plain) : std::nullopt;
}

}  // namespace

std::optional<TokenFile> TokenFile::Find(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> paths;
  if (!std::filesystem::exists(directory)) return std::nullopt;
  bool empty = true;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    empty = false;
    if (entry.path().extension() == ".token") paths.push_back(entry.path());
  }
  if (empty) return std::nullopt;
  Check(paths.size() == 1, std::to_string(paths.size()) + " in " + directory.string());
  return Read(paths[0]);
}

TokenFile TokenFile::Read(const std::filesystem::path& path) {
  sqlite3* opened = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READONLY, nullptr);
  const Database database(opened);
  Check(rc == SQLITE_OK, "cannot be opened");
  sqlite3_busy_timeout(opened, 10'000);
  const Statement id = Prepare(opened, "PRAGMA application_id");
  Check(sqlite3_step(id.get()) == SQLITE_ROW && sqlite3_column_int(id.get(), 0) == kApplicationId,
        "is of another kind");

  TokenFile file;
  const Statement token = Prepare(opened, "SELECT serial FROM token");
  Check(sqlite3_step(token.get()) == SQLITE_ROW, "has no serial number");
  file.serial_ = Blob(token.get(), 0);
  const Statement pins = Prepare(opened, "SELECT role, salt, iterations, wrapped_key FROM pin");
  while (sqlite3_step(pins.get()) == SQLITE_ROW) {
    PinRow row = {Blob(pins.get(), 1), Blob(pins.get(), 3),
                  static_cast<uint32_t>(sqlite3_column_int64(pins.get(), 2))};
    if (row.wrapped_key.empty()) continue;
    file.pins_[static_cast<CK_USER_TYPE>(sqlite3_column_int(pins.get(), 0))] = std::move(row);
  }
  Check(!file.pins_.empty(), "has no PIN");
  return file;
}

Bytes TokenFile::Stretch(const PinRow& row, const Bytes& pin) const {
  // The PIN's length is part of the salt.
  Bytes salt = row.salt;
  salt.push_back(static_cast<uint8_t>(pin.size()));
  salt.push_back(static_cast<uint8_t>(pin.size() >> 8));
  Bytes key(kKey);
  Check(PKCS5_PBKDF2_HMAC(reinterpret_cast<const char*>(pin.data()), static_cast<int>(pin.size()),
                          salt.data(), static_cast<int>(salt.size()),
                          static_cast<int>(row.iterations), EVP_sha256(), kKey, key.data()) == 1,
        "PBKDF2");
  return key;
}

std::vector<Secret> TokenFile::SecretsOfPin(CK_USER_TYPE role, const std::string& name,
                                            const Bytes& pin) const {
  std::vector<Secret> secrets = SecretsOfHmac("SHA256", name, pin);
  const auto row = pins_.find(role);
  if (row == pins_.end()) return secrets;
  const Bytes key = Stretch(row->second, pin);
  secrets.push_back({name + ": stretched key", key});
  secrets.push_back(
      {name + ": cipher key of the stretched key", HChaCha20(key, row->second.wrapped_key.data())});
  return secrets;
}

std::vector<Secret> TokenFile::SecretsOfToken(CK_USER_TYPE role, const Bytes& pin) const {
  const auto row = pins_.find(role);
  Check(row != pins_.end(), "has no such PIN");
  const Bytes associated = Concat({{'p', 'i', 'n', static_cast<uint8_t>(role)},
                                   BytesOf(row->second.iterations),
                                   row->second.salt,
                                   serial_});
  const auto token_key = Open(Stretch(row->second, pin), associated, row->second.wrapped_key);
  Check(token_key && token_key->size() == kKey, "its key does not open");
  // HKDF without a salt (RFC 5869), one block each.
  const Bytes prk = Hmac("SHA256", Bytes(32, 0), *token_key);
  std::vector<Secret> secrets = {{"token key", *token_key}, {"token key, extracted", prk}};
  for (const std::string label : {"attributes", "secrets", "index"}) {
    secrets.push_back({"token's key for " + label,
                       Hmac("SHA256", prk, Concat({Bytes(label.begin(), label.end()), {1}}))});
  }
  return secrets;
}

}  // namespace secretmem::audit

// One token, one SQLite file: opaque blobs in, opaque blobs out.
//
// The store knows no cryptography and nothing of PKCS#11. What it is given to keep must already be
// ciphertext or public; it gives back the same bytes or an error. Nothing is acknowledged before it
// is durable, and what was deleted or replaced is gone from the file's bytes too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace secretmem {

// StoreError says what went wrong (`kind`, for deciding) and how (`reason`, for the log: it names
// the file and SQLite's own words, never stored bytes).
struct StoreError {
  enum class Kind : uint8_t {
    kNotFound,    // The token file is gone, or another file took its place.
    kStale,       // The token was initialised again: the caller's incarnation is over.
    kNoObject,    // No object with that id or uid.
    kConflict,    // The row or PIN changed since the caller read it, or the uid is taken.
    kExists,      // Create: the file is there already.
    kBusy,        // Other processes held the file for longer than kStoreBusyMs.
    kFull,        // Disk, quota or file size limit.
    kReadOnly,    // The file can be read but not written.
    kPermission,  // The file or its directory cannot be opened.
    kCorrupt,     // Damaged.
    kForeign,     // Not a token file, or one of a newer format.
    kInvalid,     // The caller's arguments cannot be stored (sizes, serial number, path).
    kIo,          // Anything else.
  };
  Kind kind;
  std::string reason;
};

template <typename T>
using StoreResult = std::expected<T, StoreError>;

// kStoreBusyMs bounds, in milliseconds, how long one call waits for other processes.
inline constexpr int kStoreBusyMs = 5000;

// StorePatience bounds what this thread's calls of any store wait for other processes while it
// lives: |milliseconds| from its construction, all calls together; then they fail with kBusy. It
// does not nest, and does not lengthen kStoreBusyMs.
class StorePatience {
 public:
  explicit StorePatience(int milliseconds);
  ~StorePatience();
  StorePatience(const StorePatience&) = delete;
  StorePatience& operator=(const StorePatience&) = delete;

  // log_left says whether a change destroyed something that readers elsewhere kept in the log, so
  // that EmptyLog is due.
  bool log_left() const;
};

// kEmptyLogMs is how long emptying the log may wait for readers when something was destroyed; after
// that it is tried again with later calls.
inline constexpr int kEmptyLogMs = 200;

// kMaxBlobBytes bounds each blob of a record or row.
inline constexpr size_t kMaxBlobBytes = size_t{8} << 20;

// kMaxIndexHashes bounds ObjectRow::index.
inline constexpr size_t kMaxIndexHashes = 64;

enum class PinRole : uint8_t { kSecurityOfficer = 0, kUser = 1 };

// PinRecord is what is kept of one PIN. An empty `wrapped_key` means that the PIN is not set.
struct PinRecord {
  std::vector<uint8_t> salt;
  uint32_t iterations = 0;
  std::vector<uint8_t> wrapped_key;
  uint32_t failures = 0;             // Wrong PINs since the last right one.
  int64_t last_failure_unix_ms = 0;  // 0: none since the last right one.
  uint64_t version = 0;              // Set by the store; UpdatePin compares it.

  bool operator==(const PinRecord&) const = default;
};

// TokenRecord is what the file holds beside its objects. `incarnation` is chosen by the caller, at
// random, at every C_InitToken; every change of the store names the incarnation it was made for.
struct TokenRecord {
  std::array<uint8_t, 32> label{};  // As PKCS#11 shows it: padded with blanks.
  std::string serial;               // 1 to 16 characters of [0-9A-Za-z].
  PinRecord so;
  PinRecord user;
  std::vector<uint8_t> store_key_blob;
  uint64_t incarnation = 0;

  bool operator==(const TokenRecord&) const = default;
};

using ObjectUid = std::array<uint8_t, 16>;
using IndexHash = std::array<uint8_t, 16>;

struct ObjectRow {
  int64_t id = 0;        // Set by Insert; never used again in this file after Delete.
  ObjectUid uid{};       // Chosen by the caller; unique in the token.
  uint8_t kind = 0;      // The caller's.
  uint64_t version = 0;  // Set by the store: the sequence number of the row's last change.
  std::vector<uint8_t> attributes;
  std::vector<uint8_t> secret;
  std::vector<IndexHash> index;

  bool operator==(const ObjectRow&) const = default;
};

// StoreState names a state of the objects: two equal values, nothing changed between. Changes of
// PIN records leave it as it is.
struct StoreState {
  uint64_t incarnation = 0;
  uint64_t sequence = 0;

  bool operator==(const StoreState&) const = default;
};

// Snapshot is what one read transaction saw.
//
// `complete`: `rows` and `damaged` are all there is, and the caller forgets everything it knew;
// otherwise they and `deleted` are changes. `damaged` are ids whose row is there but is not what
// was written, and `missing` of a complete snapshot counts those that should be there and cannot be
// read: these objects are lost, the others are not. `object_count` is how many there should be.
// `index_damaged` of a complete snapshot: LoadByIndex does not tell the truth about its rows.
struct Snapshot {
  StoreState state;
  bool complete = false;
  bool index_damaged = false;
  uint64_t object_count = 0;
  uint64_t missing = 0;
  std::vector<ObjectRow> rows;  // By ascending id.
  std::vector<int64_t> deleted;
  std::vector<int64_t> damaged;
};

// Committed is a durable change: the state right after it, and for Insert the new ids in order.
// Other processes may have changed the store just before, so that `state.sequence` is no proof that
// the caller has seen everything up to it: LoadChangedSince the last state *loaded* is.
struct Committed {
  StoreState state;
  std::vector<int64_t> ids;
};

// PinFailures is the count after RecordPinFailure.
struct PinFailures {
  uint32_t failures = 0;
  int64_t last_failure_unix_ms = 0;
};

// TokenStore is one open token file. Movable; a moved-from store may only be destroyed or assigned.
// All members may be called from any thread: one mutex serialises them, and several processes may
// use the same file. Changes of objects that wait for it together become durable together, by one
// flush of the disk; each has an answer and a sequence number of its own. Every call can fail with
// kNotFound, kBusy, kPermission, kCorrupt and kIo; every change with kStale, kFull and kReadOnly
// too. A change that fails has changed nothing.
class TokenStore {
 public:
  // Create makes the file at `path` (mode 0600, whatever the umask) from `record` and opens it. The
  // file appears whole or not at all, and is durable when Create returns. kExists if there is
  // anything of that name; kInvalid; kNotFound if the directory is missing.
  static StoreResult<TokenStore> Create(const std::string& path, const TokenRecord& record);

  // Make is Create without opening.
  static StoreResult<void> Make(const std::string& path, const TokenRecord& record);

  // Open opens an existing token file and checks that it is one, without reading all of it. Follows
  // no symbolic link in the last component; never waits on a FIFO or device.
  static StoreResult<TokenStore> Open(const std::string& path);

  TokenStore(TokenStore&&) noexcept;
  TokenStore& operator=(TokenStore&&) noexcept;
  ~TokenStore();

  // path returns the canonical path of the file.
  const std::string& path() const;

  StoreResult<TokenRecord> Read();

  // Reinitialise replaces the record and drops all objects in one transaction (C_InitToken on an
  // initialised token). `record.incarnation` must differ from the present one (kInvalid);
  // `record.serial` must be the file's (kInvalid).
  StoreResult<Committed> Reinitialise(uint64_t incarnation, const TokenRecord& record);

  // UpdatePin replaces one PIN record, its failure count included, if `pin.version` is still the
  // stored one (else kConflict). Returns the new version.
  StoreResult<uint64_t> UpdatePin(uint64_t incarnation, PinRole role, const PinRecord& pin);

  // RecordPinFailure counts one wrong PIN, durably before it returns. Call it *before* the PIN is
  // tried, and ResetPinFailures when it was right: then neither a kill nor parallel attempts in
  // other processes can buy a guess that is not counted.
  StoreResult<PinFailures> RecordPinFailure(uint64_t incarnation, PinRole role, int64_t unix_ms);

  // ResetPinFailures sets the count to 0. No write if it is 0 already.
  StoreResult<void> ResetPinFailures(uint64_t incarnation, PinRole role);

  // Insert adds all rows or none; `id` and `version` of the rows are ignored. kConflict: a uid is
  // taken.
  StoreResult<Committed> Insert(uint64_t incarnation, std::span<const ObjectRow> rows);

  // Update replaces the row with `row.id` if it still has `row.version` (else kConflict) and
  // `row.uid` (else kInvalid). The new version is the returned state's sequence.
  StoreResult<Committed> Update(uint64_t incarnation, const ObjectRow& row);

  // Delete removes all rows with these ids or, with kNoObject, none.
  StoreResult<Committed> Delete(uint64_t incarnation, std::span<const int64_t> ids);

  // Discard removes those of the rows that are still there; kNoObject if none is.
  StoreResult<Committed> Discard(uint64_t incarnation, std::span<const int64_t> ids);

  // ChangeCounter is the cheap question whether anything changed, by whomever: microseconds.
  StoreResult<StoreState> ChangeCounter();

  StoreResult<Snapshot> LoadAll();

  // LoadChangedSince returns what changed after `since`; a complete snapshot if that cannot be told
  // (another incarnation, too many deletions since, a state never seen).
  StoreResult<Snapshot> LoadChangedSince(const StoreState& since);

  // LoadByIndex returns the rows that have any of `hashes` in their index; rows that the index
  // names and that are not there count as damaged. A complete snapshot if the index cannot be read.
  // Damage of the file's indexes can hide rows from it and from LoadRow, not from LoadAll.
  StoreResult<Snapshot> LoadByIndex(std::span<const IndexHash> hashes);

  StoreResult<ObjectRow> LoadRow(const ObjectUid& uid);

  // EmptyLog tries once more to empty the write-ahead log, if that is due.
  StoreResult<void> EmptyLog();

  // CloseConnectionForFork closes the idle connection, leaving the file as it is; the next call
  // opens it anew, in parent and child alike. For pthread_atfork's prepare handler, while no other
  // call of any store runs: no SQLite connection may cross a fork.
  void CloseConnectionForFork() noexcept;

 private:
  class Impl;
  explicit TokenStore(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

// TokenFilePath returns "<directory>/<serial>.token".
std::string TokenFilePath(const std::string& directory, const std::string& serial);

// EnsureTokenDirectory makes `directory` (0700) and what is missing above it (0700). An existing
// one is left as it is. kPermission, kInvalid if it is something else or the path is not absolute,
// kIo.
StoreResult<void> EnsureTokenDirectory(const std::string& directory);

// ListTokenFiles returns the paths of everything in `directory` whose name ends in ".token" and
// starts with no dot, sorted by name bytes: what is none of ours too, so that it can be shown as
// damaged. A missing directory is an empty list.
StoreResult<std::vector<std::string>> ListTokenFiles(const std::string& directory);

}  // namespace secretmem

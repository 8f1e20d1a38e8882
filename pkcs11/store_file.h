// The token file as a file: names, directories, appearing whole.
#pragma once

#include <string>

#include "pkcs11/token_store.h"

namespace secretmem::store {

// CanonicalPath resolves the directory of `path` (its symbolic links too) and keeps the last
// component as it is. Throws kInvalid, kNotFound, kPermission, kIo.
std::string CanonicalPath(const std::string& path);

// TemporaryFile is a new, empty file (0600) beside the file it is to become. Its end removes it and
// what SQLite left beside it, unless published.
class TemporaryFile {
 public:
  // `path` is canonical: the name to publish under. Also removes what creations that were killed
  // left in the directory an hour ago or more.
  explicit TemporaryFile(const std::string& path);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& name() const { return name_; }

  // Publish makes the contents durable and gives them their name: all or nothing, and nothing is
  // replaced (kExists).
  void Publish();

 private:
  std::string path_;
  std::string name_;
  bool published_ = false;
};

}  // namespace secretmem::store

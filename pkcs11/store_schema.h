// The file format: what a token file must look like, and making a new one.
#pragma once

#include "pkcs11/store_connection.h"

namespace secretmem::store {

// kApplicationId marks token files ("SmTk"); kFormatVersion is the format this code writes.
inline constexpr int64_t kApplicationId = 0x536d546b;
inline constexpr int64_t kFormatVersion = 1;

// WriteSchema makes the tables in an empty file and, last of all, its marks. In a transaction.
void WriteSchema(Connection& connection);

// CheckSchema throws kForeign if the file is not a token file or of a newer format, kCorrupt if its
// tables are not exactly ours; brings older formats up to date; makes sure of write-ahead logging.
void CheckSchema(Connection& connection, const std::string& path);

}  // namespace secretmem::store

// The module as its clients see it: loaded by its path, used through C_*.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tool/exit_codes.h"

namespace secretmem::tool {

// DefaultModule returns the module that belongs to this tool: in the folder above it in a build
// tree, else in the pkcs11 directory under the same prefix.
std::string DefaultModule();

// Slot is a slot with the token that is in it.
struct Slot {
  CK_SLOT_ID id = 0;
  bool initialised = false;
  CK_FLAGS flags = 0;
  std::string label;   // without the padding
  std::string serial;  // likewise
};

// Module is a loaded and initialised PKCS#11 module; its end finalises it.
class Module {
 public:
  // Load opens and initialises the module at |path|. Throws ToolError.
  explicit Module(const std::string& path);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  CK_FUNCTION_LIST& functions() const { return *functions_; }
  const std::string& path() const { return path_; }

  // Description returns C_GetInfo's library description.
  std::string Description() const;

  std::vector<Slot> Slots() const;

  // Find returns the initialised token whose label or serial number is |name|. Throws kNoToken.
  Slot Find(const std::string& name) const;

 private:
  std::string path_;
  CK_FUNCTION_LIST* functions_ = nullptr;
};

// Session is an open session, closed at its end.
class Session {
 public:
  Session(const Module& module, CK_SLOT_ID slot, bool read_write);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  CK_SESSION_HANDLE handle() const { return handle_; }

 private:
  const Module& module_;
  CK_SESSION_HANDLE handle_ = 0;
};

// Check throws a ToolError that says what |doing| met, and what to do, unless |rv| is CKR_OK.
void Check(CK_RV rv, const std::string& doing);

// IsOurs says whether the file is a secretmem-pkcs11 module, by its path.
bool IsOurs(const std::string& path);

// Trimmed returns a blank-padded field without its padding.
std::string Trimmed(const unsigned char* text, size_t size);

}  // namespace secretmem::tool

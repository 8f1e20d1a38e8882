// A PKCS#11 module opened by its path, and a place for its tokens.
#pragma once

#include <string>
#include <string_view>

#include "client/functions.h"

namespace secretmem::blackbox {

// LoadModule opens the module and takes its 2.40 function list. It stays loaded until the process
// ends. Throws std::runtime_error.
void LoadModule(const std::string& path);

// SetFunctions makes P11 return |functions|, for programs that the module is linked into.
void SetFunctions(CK_FUNCTION_LIST* functions);

// P11 returns the module's functions.
const CK_FUNCTION_LIST& P11();

// Scratch is a directory with an empty token directory in it and a configuration file that names
// it, which the environment names. Removed in the end, by the process that made it.
class Scratch {
 public:
  // |settings| are further lines of the configuration. |base| is where the directory is made;
  // empty: the place for temporary files.
  explicit Scratch(std::string_view settings = kQuickPins, const std::string& base = {});
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& directory() const { return directory_; }
  std::string tokens() const { return directory_ + "/tokens"; }
  // EmptyTokens removes every token.
  void EmptyTokens() const;

  static constexpr std::string_view kQuickPins = "[pin]\niterations = 1000\ndelay_ms = 0\n";

 private:
  std::string directory_;
  int owner_;
};

// Initialise calls C_Initialize for use by several threads.
CK_RV Initialise();

// MakeToken and FindToken are those of the client library, of P11().
inline CK_SLOT_ID MakeToken(std::string_view label, std::string_view so_pin,
                            std::string_view user_pin) {
  return client::MakeToken(P11(), label, so_pin, user_pin);
}
inline CK_SLOT_ID FindToken(std::string_view label) { return client::FindToken(P11(), label); }

using client::Utf8;

// Must throws std::runtime_error, with |what|, unless |rv| is CKR_OK.
inline void Must(CK_RV rv, const char* what) { client::Check(rv, what); }

}  // namespace secretmem::blackbox

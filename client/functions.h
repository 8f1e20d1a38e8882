// A PKCS#11 module opened by its path, and what its calls take and answer.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "mechanisms/cryptoki.h"

namespace secretmem::client {

// LoadFunctions opens the module and returns its 2.40 function list; it stays loaded until the
// process ends. Throws std::runtime_error.
CK_FUNCTION_LIST* LoadFunctions(const std::string& path);

// RvName returns the specification's name, "CKR_PIN_INCORRECT", or "CKR 0x80000001" where it has
// none.
std::string RvName(CK_RV rv);

// CallFailed is a call that did not answer CKR_OK.
class CallFailed : public std::runtime_error {
 public:
  CallFailed(CK_RV rv, const char* what);
  CK_RV rv() const { return rv_; }

 private:
  CK_RV rv_;
};

// Check throws CallFailed, with |what|, unless |rv| is CKR_OK. Quick where it is.
[[noreturn]] void Failed(CK_RV rv, const char* what);
inline void Check(CK_RV rv, const char* what) {
  if (rv != CKR_OK) [[unlikely]] {
    Failed(rv, what);
  }
}

// Utf8 is |text| as the calls take it; they do not write to it.
inline CK_UTF8CHAR* Utf8(std::string_view text) {
  return reinterpret_cast<CK_UTF8CHAR*>(const_cast<char*>(text.data()));
}

// MakeToken initialises the first slot without a token: both PINs are set, nobody is logged in and
// no session is open. Returns the slot; throws CallFailed, std::runtime_error where there is none.
CK_SLOT_ID MakeToken(const CK_FUNCTION_LIST& p11, std::string_view label, std::string_view so_pin,
                     std::string_view user_pin);

// FindToken returns the slot of the initialised token |label|; throws std::runtime_error.
CK_SLOT_ID FindToken(const CK_FUNCTION_LIST& p11, std::string_view label);

}  // namespace secretmem::client

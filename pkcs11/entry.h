#pragma once

#include <exception>
#include <memory>
#include <new>

#include "mechanisms/result.h"
#include "pkcs11/module.h"

namespace secretmem {

// The barrier that every C_* function stands behind: nothing of the host's, of a template's or of
// a library's making gets past it but a CK_RV.

// CallGuard keeps pthread_cancel away while a call of ours is under way.
class CallGuard {
 public:
  CallGuard();
  // A thread that is to be cancelled at once, because it asked for that, unwinds from here.
  ~CallGuard() noexcept(false);
  CallGuard(const CallGuard&) = delete;
  CallGuard& operator=(const CallGuard&) = delete;

 private:
  int old_state_;
};

// CurrentModule returns what C_Initialize made in this process, or null.
std::shared_ptr<Module> CurrentModule();

// Answer logs a refusal of |function| and returns it.
CK_RV Answer(const char* function, CK_RV code);

// Barrier runs |f|, which returns a CkStatus, for C_* functions that work without C_Initialize.
template <class F>
CK_RV Barrier(const char* function, F&& f) {
  const CallGuard guard;
  try {
    const CkStatus status = f();
    return Answer(function, status ? CKR_OK : status.error());
  } catch (const std::bad_alloc&) {
    return Answer(function, CKR_HOST_MEMORY);
  } catch (...) {
    return Answer(function, CKR_GENERAL_ERROR);
  }
}

// Enter runs |f(Module&)| for all others. CKR_CRYPTOKI_NOT_INITIALIZED before C_Initialize, and in
// a child of fork before its own.
template <class F>
CK_RV Enter(const char* function, F&& f) {
  return Barrier(function, [&]() -> CkStatus {
    const std::shared_ptr<Module> module = CurrentModule();
    if (module == nullptr) return Refuse(CKR_CRYPTOKI_NOT_INITIALIZED);
    const Tended tended(*module);
    return f(*module);
  });
}

// EnterSession runs |f(Session&)| for functions that take a session: CKR_SESSION_HANDLE_INVALID,
// and CKR_DEVICE_REMOVED soon after its token was removed or initialised again.
template <class F>
CK_RV EnterSession(const char* function, CK_SESSION_HANDLE handle, F&& f) {
  return Enter(function, [&](Module& module) -> CkStatus {
    const auto session = module.FindSession(handle);
    if (!session) return Refuse(session.error());
    if (auto there = (*session)->token->StillThere(); !there) return there;
    return f(**session);
  });
}

// CopyOut is the output convention of lists: a null |out| asks for the count, a |count| too small
// is CKR_BUFFER_TOO_SMALL with the one needed, PKCS#11 3.2, 5.2.
template <class T>
CkStatus CopyOut(const std::vector<T>& values, T* out, CK_ULONG* count) {
  if (count == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
  const CK_ULONG room = *count;
  *count = values.size();
  if (out == nullptr) return {};
  if (room < values.size()) return Refuse(CKR_BUFFER_TOO_SMALL);
  std::copy(values.begin(), values.end(), out);
  return {};
}

// Pad fills a fixed-size field with |text| and blanks.
template <size_t N>
void Pad(CK_UTF8CHAR (&field)[N], std::string_view text) {
  for (size_t i = 0; i < N; ++i)
    field[i] = i < text.size() ? static_cast<CK_UTF8CHAR>(text[i]) : ' ';
}

}  // namespace secretmem

// Keys, encryption, MACs and wrapping in one call each, for the tests of symmetric mechanisms.
#pragma once

#include <optional>
#include <ostream>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

// Result is an output, or the return code of the call that refused (Init, size query or the call).
struct Result {
  CK_RV rv = CKR_OK;
  Bytes value;
  bool operator==(const Result&) const = default;
  friend void PrintTo(const Result& result, std::ostream* out);
};

// Mechanism owns a mechanism's parameter bytes.
class OwnedMechanism {
 public:
  explicit OwnedMechanism(CK_MECHANISM_TYPE type, Bytes parameter = {})
      : type_(type), parameter_(std::move(parameter)) {}

  template <class T>
  static OwnedMechanism Of(CK_MECHANISM_TYPE type, const T& structure) {
    const auto* bytes = reinterpret_cast<const CK_BYTE*>(&structure);
    return OwnedMechanism(type, Bytes(bytes, bytes + sizeof structure));
  }

  // get() points into this object.
  CK_MECHANISM* get() {
    mechanism_ = {type_, parameter_.empty() ? nullptr : parameter_.data(), parameter_.size()};
    return &mechanism_;
  }

 private:
  CK_MECHANISM_TYPE type_;
  Bytes parameter_;
  CK_MECHANISM mechanism_{};
};

// The parameters point to |iv| and |aad|, which the caller keeps.
OwnedMechanism Gcm(const Bytes& iv, const Bytes& aad, CK_ULONG tag_bits);
OwnedMechanism Ccm(const Bytes& iv, const Bytes& aad, CK_ULONG tag_size, CK_ULONG data_size);
OwnedMechanism ChaCha(const Bytes& iv, const Bytes& aad);
OwnedMechanism Ctr(CK_ULONG bits, const Bytes& block);

// HasMechanism says whether the token has a mechanism with all of these flags.
bool HasMechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_FLAGS flags);

// SecretKeyTemplate is a session key of this value that may be used for everything and be wrapped.
Template SecretKeyTemplate(CK_KEY_TYPE type, const Bytes& value);

// ImportKey makes one; 0 if the module refuses.
CK_OBJECT_HANDLE ImportKey(CK_SESSION_HANDLE session, CK_KEY_TYPE type, const Bytes& value);

Result Encrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
               Bytes data);
Result Decrypt(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
               Bytes data);

// The same in parts of |part| bytes. Plain text that an Update gives out is part of the value even
// when a later call refuses.
Result EncryptInParts(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
                      Bytes data, size_t part);
Result DecryptInParts(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism,
                      Bytes data, size_t part);

Result Sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism, Bytes data);
CK_RV Verify(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, OwnedMechanism mechanism, Bytes data,
             Bytes signature);

Result Wrap(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE wrapping, OwnedMechanism mechanism,
            CK_OBJECT_HANDLE key);
CK_RV Unwrap(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE unwrapping, OwnedMechanism mechanism,
             Bytes wrapped, Template key, CK_OBJECT_HANDLE& handle);

// UnwrappedTemplate is a readable secret key of this type.
Template UnwrappedTemplate(CK_KEY_TYPE type);

}  // namespace secretmem::conformance

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "mechanisms/result.h"
#include "vault/secret_stack.h"
#include "vault/vault.h"

namespace secretmem {

// What is between an Init and a Final. An operation keeps its secrets in vaults and SecretBoxes;
// the key that it was made from outlives it. One thread at a time uses it. After an error it is
// only destroyed.

// Slices are of so many bytes, which take a few milliseconds.
inline constexpr size_t kSliceBytes = size_t{1} << 22;

// InSlices calls |f(slice)|, which returns a CkStatus, for slices of |data|, so that signals and
// forks get through in between. At least once.
template <class F>
CkStatus InSlices(std::span<const uint8_t> data, F&& f) {
  do {
    const auto slice = data.first(std::min(kSliceBytes, data.size()));
    if (CkStatus done = f(slice); !done) return done;
    data = data.subspan(slice.size());
  } while (!data.empty());
  return {};
}

// InSafeSlices does so in the middle of a borrow, with safe points between slices. |f| returns
// whether to go on; so does it.
template <class F>
bool InSafeSlices(std::span<const uint8_t> data, F&& f) {
  for (;;) {
    const auto slice = data.first(std::min(kSliceBytes, data.size()));
    if (!f(slice)) return false;
    data = data.subspan(slice.size());
    if (data.empty()) return true;
    SafePoint();
  }
}

// DigestOperation computes a digest.
class DigestOperation {
 public:
  virtual ~DigestOperation() = default;

  // size returns the length of the digest in bytes.
  virtual size_t size() const = 0;
  virtual CkStatus Update(std::span<const uint8_t> data) = 0;
  // UpdateSecret digests the bytes of a key, C_DigestKey.
  virtual CkStatus UpdateSecret(const Vault& secret) = 0;
  // Final writes size() bytes.
  virtual CkStatus Final(std::span<uint8_t> out) = 0;

  // Whole is the single-part form.
  virtual CkStatus Whole(std::span<const uint8_t> data, std::span<uint8_t> out) = 0;
};

// SignOperation makes a signature or a MAC.
class SignOperation {
 public:
  virtual ~SignOperation() = default;

  // max_size returns the most bytes that the signature can have.
  virtual size_t max_size() const = 0;

  // Update takes in data. CKR_FUNCTION_NOT_SUPPORTED where the mechanism signs in one part only.
  virtual CkStatus Update(std::span<const uint8_t> data) = 0;

  // Final writes the signature into |out|, which holds max_size() bytes, and returns its length.
  virtual CkResult<size_t> Final(std::span<uint8_t> out) = 0;

  // Sign is the single-part form: by default Update and Final.
  virtual CkResult<size_t> Sign(std::span<const uint8_t> data, std::span<uint8_t> out);
};

// VerifyOperation checks a signature or a MAC. CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE.
class VerifyOperation {
 public:
  virtual ~VerifyOperation() = default;

  virtual CkStatus Update(std::span<const uint8_t> data) = 0;
  virtual CkStatus Final(std::span<const uint8_t> signature) = 0;

  // Verify is the single-part form: by default Update and Final.
  virtual CkStatus Verify(std::span<const uint8_t> data, std::span<const uint8_t> signature);
};

// RecoverOperation gives back what a signature was made of. CKR_SIGNATURE_INVALID,
// CKR_SIGNATURE_LEN_RANGE.
class RecoverOperation {
 public:
  virtual ~RecoverOperation() = default;

  // max_size returns the most bytes that the data can have.
  virtual size_t max_size() const = 0;
  virtual CkResult<std::vector<uint8_t>> Recover(std::span<const uint8_t> signature) = 0;
};

// CipherOperation encrypts or decrypts.
class CipherOperation {
 public:
  enum class Part : uint8_t { kWhole, kUpdate, kFinal };

  virtual ~CipherOperation() = default;

  // Check says whether |input| more bytes are acceptable at all, before sizes are asked for and
  // anything is done: CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE. With kFinal |input| is 0.
  virtual CkStatus Check(Part /*part*/, size_t /*input*/) const { return {}; }

  // update_size returns the most bytes that Update of |input| bytes can write now, final_size what
  // Final can, and whole_size what Whole of |input| bytes can.
  virtual size_t update_size(size_t input) const = 0;
  virtual size_t final_size() const = 0;
  virtual size_t whole_size(size_t input) const { return update_size(input) + final_size(); }

  // Update and Final write into |out|, which holds what the size functions said, and return how
  // much. |out| may be the input itself. CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID,
  // CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_FUNCTION_NOT_SUPPORTED for mechanisms in one part only.
  // Decryption with an authentication tag writes nothing before the tag is checked.
  virtual CkResult<size_t> Update(std::span<const uint8_t> in, std::span<uint8_t> out) = 0;
  virtual CkResult<size_t> Final(std::span<uint8_t> out) = 0;

  // Whole is the single-part form: by default Update and Final.
  virtual CkResult<size_t> Whole(std::span<const uint8_t> in, std::span<uint8_t> out);
};

}  // namespace secretmem

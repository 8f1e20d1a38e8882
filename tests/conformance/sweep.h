// Every mechanism with a parameter and a key with which it works, for tests that spoil one of them.
#pragma once

#include <set>
#include <vector>

#include "mechanisms/cryptoki.h"
#include "tests/conformance/template.h"

namespace secretmem::conformance {

// KeyKind is what a mechanism works with. kApart: in calls of another kind, which have tests of
// their own.
enum class KeyKind {
  kNone,
  kGeneric,
  kHkdf,
  kAes,
  kChaCha,
  kRsa,
  kEc,
  kEdwards,
  kMontgomery,
  kApart
};

// SweepRow is one mechanism. `parameter` may hold pointers, to data that live as long as the
// program; `lengths` are those that a parameter may have.
struct SweepRow {
  CK_MECHANISM_TYPE type;
  KeyKind kind;
  Bytes parameter{};
  std::set<size_t> lengths{0};
  bool ignores_parameter = false;  // takes any, since clients leave something there
};

// SweepRows has every mechanism of the module in this tree.
const std::vector<SweepRow>& SweepRows();

// GeneratesWith is the template that generation by this mechanism needs: the secret key's, or the
// public key's.
Template GeneratesWith(CK_MECHANISM_TYPE type);

// DerivesWith is the template that derivation by this mechanism needs.
Template DerivesWith(CK_MECHANISM_TYPE type);

// SweepMaterial is where the mechanisms that make several keys put their handles.
CK_SSL3_KEY_MAT_OUT& SweepMaterial();

}  // namespace secretmem::conformance

#pragma once

#include <span>
#include <vector>

#include "mechanisms/mechanism.h"
#include "pkcs11/config.h"

namespace secretmem {

// OfferedMechanisms are the rows of the table, and of each row the uses, that the configuration
// leaves. What it takes away is as if it had never been there.
class OfferedMechanisms {
 public:
  explicit OfferedMechanisms(const MechanismConfig& config);

  // rows are ascending by type.
  std::span<const Mechanism> rows() const { return rows_; }

  // Find returns the row of |type|, or null.
  const Mechanism* Find(CK_MECHANISM_TYPE type) const;

 private:
  std::vector<Mechanism> rows_;
};

}  // namespace secretmem

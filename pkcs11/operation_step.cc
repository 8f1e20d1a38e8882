#include "pkcs11/operation_step.h"

#include <cstring>

namespace secretmem {

CkResult<Chosen> Choose(const Session& session, const CK_MECHANISM* given) {
  if (given == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
  CK_MECHANISM mechanism;
  memcpy(&mechanism, given, sizeof(mechanism));
  const Mechanism* row = session.mechanisms.Find(mechanism.mechanism);
  if (row == nullptr) return Refuse(CKR_MECHANISM_INVALID);
  const auto parameter = ParameterBytes(mechanism.pParameter, mechanism.ulParameterLen);
  if (!parameter) return Refuse(parameter.error());
  return Chosen{*row, *parameter};
}

}  // namespace secretmem

#include "tests/blackbox/template.h"

#include "tests/blackbox/module.h"

namespace secretmem::blackbox {

Attribute Read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  CK_RV rv = P11().C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) return {rv, {}};
  Bytes value(attribute.ulValueLen + 1);
  attribute.pValue = value.data();
  rv = P11().C_GetAttributeValue(session, object, &attribute, 1);
  if (rv != CKR_OK) return {rv, {}};
  value.resize(attribute.ulValueLen);
  return {CKR_OK, std::move(value)};
}

Found Find(CK_SESSION_HANDLE session, Template wanted) {
  Found found;
  found.rv = P11().C_FindObjectsInit(session, wanted.data(), wanted.size());
  if (found.rv != CKR_OK) return found;
  CK_OBJECT_HANDLE batch[64];
  for (CK_ULONG count = 1; count != 0;) {
    found.rv = P11().C_FindObjects(session, batch, std::size(batch), &count);
    if (found.rv != CKR_OK) break;
    found.handles.insert(found.handles.end(), batch, batch + count);
  }
  const CK_RV rv = P11().C_FindObjectsFinal(session);
  if (found.rv == CKR_OK) found.rv = rv;
  if (wanted.values().contains(CKA_CLASS)) return found;
  std::erase_if(found.handles, [&](CK_OBJECT_HANDLE handle) {
    return Read(session, handle, CKA_CLASS).value == Encode(CKO_PROFILE);
  });
  return found;
}

Bytes X25519Params() { return {0x06, 0x03, 0x2b, 0x65, 0x6e}; }

}  // namespace secretmem::blackbox

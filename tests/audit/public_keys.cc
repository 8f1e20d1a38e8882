#include "tests/audit/public_keys.h"

#include "tests/audit/expected.h"

namespace secretmem::audit {

CK_OBJECT_HANDLE CreatePublic(Client& client, const Template& attributes) {
  client.Must(PreparedCall("C_CreateObject", AUDIT_SLOT(C_CreateObject))
                  .Number(client.session())
                  .Attributes(attributes)
                  .Handle());
  client.Track(client.remote().Word(3));
  return client.remote().Word(3);
}

CK_OBJECT_HANDLE CreatePublicPoint(Client& client, KeyKind kind, const Bytes& point,
                                   CK_ATTRIBUTE_TYPE use) {
  const bool x25519 = kind == KeyKind::kX25519;
  const Bytes der = Concat({{0x04, static_cast<uint8_t>(point.size())}, point});
  return CreatePublic(client, {Ulong(CKA_CLASS, CKO_PUBLIC_KEY),
                               Ulong(CKA_KEY_TYPE, x25519 ? ck::kKeyMontgomery : CKK_EC),
                               Flag(CKA_TOKEN, false),
                               Flag(use, true),
                               {CKA_EC_PARAMS, EcParamsOf(kind)},
                               {CKA_EC_POINT, x25519 ? point : der}});
}

}  // namespace secretmem::audit

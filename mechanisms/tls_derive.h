#pragma once

#include "mechanisms/mechanism.h"

namespace secretmem {

// The key derivations of TLS 1.2 (PKCS#11 3.2, TLS 1.2 mechanisms; RFC 5246), all from
// CKK_GENERIC_SECRET keys, with the hashes of FindTlsHash.

// CKM_TLS_PRE_MASTER_KEY_GEN with CK_VERSION: an RSA premaster secret, 48 bytes of which the first
// two are the version.
CkResult<NewKey> GenerateTlsPremaster(Parameter parameter, const SecretRequest& request);

// CKM_TLS12_MASTER_KEY_DERIVE and CKM_TLS12_MASTER_KEY_DERIVE_DH with
// CK_TLS12_MASTER_KEY_DERIVE_PARAMS, CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE and its _DH with
// CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS (RFC 7627): a master secret of 48 bytes. From an RSA
// premaster secret, which has 48 bytes too (CKR_KEY_SIZE_RANGE), the version in it is written to
// pVersion; for the _DH forms pVersion is null. The new key is for the mechanisms below and the
// TLS MACs alone (CKA_ALLOWED_MECHANISMS).
CkResult<std::vector<NewKey>> DeriveTlsMaster(const Derivation& derivation);

// CKM_TLS_KDF and CKM_TLS12_KDF with CK_TLS_KDF_PARAMS: the exporter of RFC 5705. A null
// pContextData is no context, which is another thing than an empty one. CKA_VALUE_LEN is needed,
// and 4,096 at most: CKR_KEY_SIZE_RANGE.
CkResult<std::vector<NewKey>> DeriveTlsKdf(const Derivation& derivation);

// CKM_TLS12_KEY_AND_MAC_DERIVE and CKM_TLS12_KEY_SAFE_DERIVE with CK_TLS12_KEY_MAT_PARAMS: the MAC
// secrets and write keys of RFC 5246, 6.3, each kind only if its size is not 0. The first writes
// the IVs, 16 bytes each at most and only beside keys, to the client's memory; the second has none.
CkResult<std::vector<KeyOfSet>> TlsKeySet(Parameter parameter);
CkResult<std::vector<NewKey>> DeriveTlsKeys(const Derivation& derivation);

}  // namespace secretmem

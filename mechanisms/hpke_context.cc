#include "mechanisms/hpke_context.h"

#include <algorithm>

#include "mechanisms/ec_params.h"

namespace secretmem {
namespace {

constexpr size_t kTag = 16;
constexpr size_t kMinPsk = 32;

constexpr HpkeAead kAeads[] = {
    {CK_SECRETMEM_HPKE_AES_128_GCM, CKM_AES_GCM, CKK_AES, 16},
    {CK_SECRETMEM_HPKE_AES_256_GCM, CKM_AES_GCM, CKK_AES, 32},
    {CK_SECRETMEM_HPKE_CHACHA20_POLY1305, CKM_CHACHA20_POLY1305, CKK_CHACHA20, 32},
    {CK_SECRETMEM_HPKE_EXPORT_ONLY, CK_UNAVAILABLE_INFORMATION, CKK_GENERIC_SECRET, 0},
};

class NoAttributes : public AttributeSource {
 public:
  std::optional<std::span<const uint8_t>> Get(CK_ATTRIBUTE_TYPE) const override { return {}; }
};

// NewContext makes the vaults that |request| needs. On a secret stack, where they are cheaper.
CkResult<HpkeContext> NewContext(const HpkeRequest& request) {
  auto secret = ToCk(Vault::New(kHpkeSecretBytes));
  if (!secret) return Refuse(secret.error());
  HpkeContext context{{}, {}, std::move(*secret)};
  if (request.bare_kem || request.aead->key_bytes == 0) return context;
  auto key = ToCk(Vault::New(request.aead->key_bytes));
  if (!key) return Refuse(key.error());
  auto nonce = ToCk(Vault::New(kHpkeNonceBytes));
  if (!nonce) return Refuse(nonce.error());
  context.key.emplace(std::move(*key));
  context.nonce.emplace(std::move(*nonce));
  return context;
}

// Fill runs the key schedule on |shared|.
CkStatus Fill(HpkeContext& context, const HpkeRequest& request, const Vault* psk,
              std::span<const uint8_t> shared) {
  uint8_t key[32], nonce[kHpkeNonceBytes], exporter[kHpkeSecretBytes];
  HpkeKeys keys{
      {key, request.aead->key_bytes}, {nonce, context.nonce ? kHpkeNonceBytes : 0}, exporter};
  HpkeSchedule schedule{request.suite(), request.info};
  schedule.psk_id = request.psk_id;
  const auto run = [&](std::span<const uint8_t> its) {
    schedule.psk = its;
    return RunHpkeSchedule(schedule, shared, keys);
  };
  const auto done = Succeeded(psk != nullptr ? psk->WithSecret(run) : VaultResult<bool>(run({})));
  if (!done) return done;
  const auto store = [](Vault& vault, std::span<const uint8_t> bytes) {
    return ToCk(
        vault.WriteSecret([&](std::span<uint8_t> to) { std::ranges::copy(bytes, to.begin()); }));
  };
  if (context.key) {
    if (auto stored = store(*context.key, keys.key); !stored) return stored;
    if (auto stored = store(*context.nonce, keys.nonce); !stored) return stored;
  }
  return store(context.secret, keys.exporter);
}

// Begin has |agree(span of 32 bytes)|, a CK_RV, find the shared secret and goes on from there.
template <class Agree>
CkResult<HpkeContext> Begin(const HpkeRequest& request, const Vault* psk, Agree&& agree) {
  auto result = ToCk(OnSecretStack([&]() -> CkResult<HpkeContext> {
    auto context = NewContext(request);
    if (!context) return context;
    uint8_t shared[kHpkeSecretBytes];
    if (const CK_RV agreed = agree(std::span(shared)); agreed != CKR_OK) return Refuse(agreed);
    if (request.bare_kem) {
      const auto stored = ToCk(context->secret.WriteSecret(
          [&](std::span<uint8_t> to) { std::ranges::copy(shared, to.begin()); }));
      if (!stored) return Refuse(stored.error());
    } else if (const auto filled = Fill(*context, request, psk, shared); !filled) {
      return Refuse(filled.error());
    }
    return context;
  }));
  if (!result) return Refuse(result.error());
  return std::move(*result);
}

}  // namespace

CkResult<HpkeRequest> ReadHpke(Parameter parameter) {
  const auto given = ReadParameter<CK_SECRETMEM_HPKE_PARAMS>(parameter);
  if (!given) return Refuse(given.error());
  const HpkeKem* kem = FindHpkeKem(given->ulKem);
  const auto* aead = std::ranges::find(kAeads, given->ulAead, &HpkeAead::id);
  const auto info = ParameterBytes(given->pInfo, given->ulInfoLen);
  const auto aad = ParameterBytes(given->pAAD, given->ulAADLen);
  const auto enc = ParameterBytes(given->pEncapsulatedKey, given->ulEncapsulatedKeyLen);
  const auto psk_id = ParameterBytes(given->pPskId, given->ulPskIdLen);
  const auto context = ParameterBytes(given->pExporterContext, given->ulExporterContextLen);
  const bool with_psk = given->ulMode == CK_SECRETMEM_HPKE_MODE_PSK;
  const bool bare = given->ulOutput == CK_SECRETMEM_HPKE_OUTPUT_KEM;
  if ((!with_psk && given->ulMode != CK_SECRETMEM_HPKE_MODE_BASE) || kem == nullptr ||
      given->ulKdf != CK_SECRETMEM_HPKE_HKDF_SHA256 || aead == std::end(kAeads) ||
      (!bare && given->ulOutput != CK_SECRETMEM_HPKE_OUTPUT_EXPORT) || !info || !aad || !enc ||
      !psk_id || !context || (!enc->empty() && enc->size() != kem->enc_bytes)) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  // RFC 9180, 5.1: a PSK and its identity come together. The bare KEM knows nothing of them.
  if (with_psk ? psk_id->empty() : !psk_id->empty() || given->hPsk != CK_INVALID_HANDLE) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  if (bare && (with_psk || !info->empty() || !context->empty())) {
    return Refuse(CKR_MECHANISM_PARAM_INVALID);
  }
  HpkeRequest request{kem, aead,           Bytes(*info), Bytes(*aad),    {},
                      {},  Bytes(*psk_id), bare,         Bytes(*context)};
  if (!enc->empty()) request.enc = {given->pEncapsulatedKey, kem->enc_bytes};
  if (with_psk) request.psk = given->hPsk;
  return request;
}

CkResult<const Vault*> FindPsk(const HpkeRequest& request, const Key& key) {
  if (!request.psk) return nullptr;
  if (key.named.size() != 1) return Refuse(CKR_MECHANISM_PARAM_INVALID);
  const Key& psk = key.named.front();
  if (psk.object_class != CKO_SECRET_KEY) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  if (psk.secret->size() < kMinPsk) return Refuse(CKR_KEY_SIZE_RANGE);
  return psk.secret;
}

CkResult<Aead> HpkeContext::MakeAead(const HpkeAead& aead) const {
  const NoAttributes none;
  return Aead::Make(aead.mechanism, {CKO_SECRET_KEY, aead.key_type, none, &*key});
}

CkStatus HpkeContext::Start(Aead& aead, std::span<const uint8_t> aad, size_t size,
                            Direction direction) const {
  return Flatten(nonce->WithSecret([&](std::span<const uint8_t> bytes) -> CK_RV {
    const auto started = aead.Start(bytes, aad, {size, kTag}, direction);
    return started ? CKR_OK : started.error();
  }));
}

CkResult<HpkeContext> BeginHpkeSender(const HpkeRequest& request, const Key& public_key,
                                      const Vault* psk, std::span<uint8_t> enc) {
  if (public_key.key_type != request.kem->key_type) return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  return Begin(request, psk, [&](std::span<uint8_t, kHpkeSecretBytes> shared) {
    return request.kem->encap(public_key, enc, shared);
  });
}

CkResult<HpkeContext> BeginHpkeRecipient(const HpkeRequest& request, const Key& private_key,
                                         const Vault* psk, std::span<const uint8_t> enc) {
  if (private_key.key_type != request.kem->key_type ||
      private_key.object_class != CKO_PRIVATE_KEY) {
    return Refuse(CKR_KEY_TYPE_INCONSISTENT);
  }
  return Begin(request, psk, [&](std::span<uint8_t, kHpkeSecretBytes> shared) {
    return request.kem->decap(private_key, enc, shared);
  });
}

}  // namespace secretmem

// Random number generation functions, PKCS#11 3.2, 5.17.

#include "vault/random.h"

#include "pkcs11/entry.h"

using namespace secretmem;

CK_RV C_SeedRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen) {
  return EnterSession(__func__, hSession, [&](Session&) -> CkStatus {
    if (pSeed == nullptr && ulSeedLen != 0) return Refuse(CKR_ARGUMENTS_BAD);
    // The generator is seeded by the kernel. More would not hurt it, but BoringSSL takes none.
    return {};
  });
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR RandomData, CK_ULONG ulRandomLen) {
  return EnterSession(__func__, hSession, [&](Session&) -> CkStatus {
    if (ulRandomLen == 0) return {};
    if (RandomData == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    // In pieces, so that signals and forks never wait for long.
    constexpr size_t kPiece = size_t{1} << 20;
    std::span<uint8_t> left(RandomData, ulRandomLen);
    while (!left.empty()) {
      const auto piece = left.first(std::min(kPiece, left.size()));
      if (auto drawn = ToCk(RandomBytes(piece)); !drawn) return drawn;
      left = left.subspan(piece.size());
    }
    return {};
  });
}

// Slot and token management functions, PKCS#11 3.2, 5.5.

#include <time.h>

#include <cstring>

#include "mechanisms/mechanism.h"
#include "pkcs11/entry.h"
#include "vault/secret_memory.h"

using namespace secretmem;

namespace {

// PinOf is a PIN argument. There is no protected authentication path, so a null one is an error.
CkResult<Pin> PinOf(const CK_UTF8CHAR* pin, CK_ULONG length) {
  // No PIN is longer than the configuration can allow; how wrong it is shows in the answer.
  constexpr CK_ULONG kMost = 255;
  if (pin == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
  if (length > kMost) return Refuse(CKR_PIN_LEN_RANGE);
  return Pin(pin, length);
}

}  // namespace

CK_RV C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (pulCount == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    // Every slot holds a token, initialised or not, as a slot of a card reader would.
    (void)tokenPresent;
    const auto slots = module.Slots(/*refresh=*/pSlotList == nullptr);
    if (!slots) return Refuse(slots.error());
    return CopyOut(*slots, pSlotList, pulCount);
  });
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (pInfo == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    if (const auto known = module.HasToken(slotID); !known) return Refuse(known.error());
    CK_SLOT_INFO info{};
    char description[64];
    snprintf(description, sizeof(description), "secretmem-pkcs11 slot %lu", slotID);
    Pad(info.slotDescription, description);
    Pad(info.manufacturerID, "secretmem-pkcs11");
    info.flags = CKF_TOKEN_PRESENT;
    info.hardwareVersion =
        info.firmwareVersion = {SECRETMEM_VERSION_MAJOR, SECRETMEM_VERSION_MINOR};
    memcpy(pInfo, &info, sizeof(info));
    return {};
  });
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (pInfo == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto token = module.TokenAt(slotID, /*may_be_missing=*/true);
    if (!token) return Refuse(token.error());
    CK_TOKEN_INFO info{};
    memset(info.label, ' ', sizeof(info.label));
    memset(info.serialNumber, ' ', sizeof(info.serialNumber));
    Pad(info.manufacturerID, "secretmem-pkcs11");
    Pad(info.model, CurrentProtection() == Protection::kMemfdSecret ? "memfd_secret" : "mlock");
    info.flags = CKF_RNG | CKF_LOGIN_REQUIRED;
    info.ulMaxSessionCount = info.ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
    info.ulMinPinLen = module.config().pin.min_length;
    info.ulMaxPinLen = module.config().pin.max_length;
    info.ulTotalPublicMemory = info.ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
    info.ulTotalPrivateMemory = info.ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
    info.hardwareVersion =
        info.firmwareVersion = {SECRETMEM_VERSION_MAJOR, SECRETMEM_VERSION_MINOR};
    memset(info.utcTime, ' ', sizeof(info.utcTime));
    if (*token != nullptr) {
      if (auto filled = (*token)->Info(info); !filled) return filled;
    }
    memcpy(pInfo, &info, sizeof(info));
    return {};
  });
}

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved) {
  return Enter(__func__, [&](Module&) -> CkStatus {
    if (pSlot == nullptr || pReserved != nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    // Tokens never leave, so the event that a blocking call waits for never comes.
    return Refuse((flags & CKF_DONT_BLOCK) != 0 ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED);
  });
}

CK_RV C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList,
                         CK_ULONG_PTR pulCount) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (pulCount == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    if (const auto known = module.HasToken(slotID); !known) return Refuse(known.error());
    std::vector<CK_MECHANISM_TYPE> types;
    for (const Mechanism& mechanism : module.mechanisms().rows()) types.push_back(mechanism.type);
    return CopyOut(types, pMechanismList, pulCount);
  });
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (pInfo == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    if (const auto known = module.HasToken(slotID); !known) return Refuse(known.error());
    const Mechanism* mechanism = module.mechanisms().Find(type);
    if (mechanism == nullptr) return Refuse(CKR_MECHANISM_INVALID);
    memcpy(pInfo, &mechanism->info, sizeof(*pInfo));
    return {};
  });
}

CK_RV C_InitToken(CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
                  CK_UTF8CHAR_PTR pLabel) {
  return Enter(__func__, [&](Module& module) -> CkStatus {
    if (pLabel == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto pin = PinOf(pPin, ulPinLen);
    if (!pin) return Refuse(pin.error());
    std::array<uint8_t, 32> label;
    memcpy(label.data(), pLabel, label.size());
    return module.InitToken(slotID, *pin, label);
  });
}

CK_RV C_InitPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const auto pin = PinOf(pPin, ulPinLen);
    if (!pin) return Refuse(pin.error());
    return session.token->InitPin(*pin);
  });
}

CK_RV C_SetPIN(CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
               CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const auto old_pin = PinOf(pOldPin, ulOldLen);
    const auto new_pin = PinOf(pNewPin, ulNewLen);
    if (!new_pin) return Refuse(new_pin.error());
    // An old PIN that is too long is just a wrong one.
    if (!old_pin && old_pin.error() == CKR_ARGUMENTS_BAD) return Refuse(CKR_ARGUMENTS_BAD);
    if (!session.read_write()) return Refuse(CKR_SESSION_READ_ONLY);
    if (!old_pin) return Refuse(CKR_PIN_INCORRECT);
    return session.token->SetPin(*old_pin, *new_pin);
  });
}

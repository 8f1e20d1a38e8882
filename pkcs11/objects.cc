// Object management functions, PKCS#11 3.2, 5.7.

#include <algorithm>

#include "mechanisms/vendor.h"
#include "pkcs11/attribute_access.h"
#include "pkcs11/entry.h"
#include "pkcs11/object_factory.h"

using namespace secretmem;

namespace {

CkResult<ObjectPtr> FindObject(const Session& session, CK_OBJECT_HANDLE handle) {
  ObjectPtr object = session.token->Find(handle);
  if (object == nullptr) return Refuse(CKR_OBJECT_HANDLE_INVALID);
  return object;
}

// OutlivesSource says whether the lifetime that a copy was given ends after its source's deadline.
bool OutlivesSource(const Object& copy) {
  const auto seconds = copy.attributes.GetUlong(CKA_SECRETMEM_LIFETIME);
  return copy.deadline != kNoDeadline && seconds &&
         static_cast<int64_t>(*seconds) > (copy.deadline - BoottimeMs()) / 1000;
}

}  // namespace

CK_RV C_CreateObject(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount,
                     CK_OBJECT_HANDLE_PTR phObject) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pTemplate == nullptr || phObject == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    auto plan = Plan(session, pTemplate, ulCount, {.origin = Origin::kCreate});
    if (!plan) return Refuse(plan.error());
    if (auto taken = TakeIn(*plan); !taken) return taken;
    const auto handles = Enrol(session, {plan->object});
    if (!handles) return Refuse(handles.error());
    *phObject = handles->front();
    return {};
  });
}

CK_RV C_CopyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ATTRIBUTE_PTR pTemplate,
                   CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phNewObject) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (phNewObject == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto source = FindObject(session, hObject);
    if (!source) return Refuse(source.error());
    const auto given = TemplateReader::Read(pTemplate, ulCount);
    if (!given) return Refuse(given.error());
    const auto uid = session.token->NewUid();
    if (!uid) return Refuse(uid.error());
    const auto id = UniqueId(*uid);
    auto attributes =
        BuildCopy((*source)->attributes, *given, session.caller(), {id.data(), id.size()});
    if (!attributes) return Refuse(attributes.error());
    auto copy = std::make_shared<Object>();
    copy->attributes = std::move(*attributes);
    copy->secret = (*source)->secret;
    copy->deadline = (*source)->deadline;
    if (given->Has(CKA_SECRETMEM_LIFETIME) && OutlivesSource(*copy)) {
      return Refuse(CKR_TEMPLATE_INCONSISTENT);
    }
    copy->uid = *uid;
    const auto handles = Enrol(session, {std::move(copy)});
    if (!handles) return Refuse(handles.error());
    *phNewObject = handles->front();
    return {};
  });
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const auto object = FindObject(session, hObject);
    if (!object) return Refuse(object.error());
    if ((*object)->Is(CKA_TOKEN) && !session.read_write()) return Refuse(CKR_SESSION_READ_ONLY);
    if (!(*object)->attributes.GetBool(CKA_DESTROYABLE).value_or(true)) {
      return Refuse(CKR_ACTION_PROHIBITED);
    }
    return session.token->Destroy(hObject, *object);
  });
}

CK_RV C_GetObjectSize(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject, CK_ULONG_PTR pulSize) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pulSize == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto object = FindObject(session, hObject);
    if (!object) return Refuse(object.error());
    CK_ULONG size = (*object)->attributes.Serialize().size();
    if ((*object)->secret != nullptr) {
      const auto vault = (*object)->secret->Open();
      if (!vault) return Refuse(vault.error());
      size += (*vault)->size();
    }
    *pulSize = size;
    return {};
  });
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                          CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pTemplate == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto object = FindObject(session, hObject);
    if (!object) return Refuse(object.error());
    return ReadAttributes(**object, pTemplate, ulCount);
  });
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE hObject,
                          CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pTemplate == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    const auto given = TemplateReader::Read(pTemplate, ulCount);
    if (!given) return Refuse(given.error());
    // Each round that fails here is one in which somebody else succeeded.
    for (;;) {
      const auto before = FindObject(session, hObject);
      if (!before) return Refuse(before.error());
      auto attributes = CheckSet((*before)->attributes, *given, session.caller());
      if (!attributes) return Refuse(attributes.error());
      auto changed = std::make_shared<Object>();
      changed->attributes = std::move(*attributes);
      changed->secret = (*before)->secret;
      const auto replaced = session.token->Replace(hObject, *before, std::move(changed));
      if (!replaced) return Refuse(replaced.error());
      if (*replaced) return {};
      if (auto refreshed = session.token->Refresh(); !refreshed) return refreshed;
      // The file has another version and yet none that verifies: it was changed from outside.
      if (session.token->Find(hObject) == *before) return Refuse(CKR_DEVICE_ERROR);
    }
  });
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE hSession, CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const auto wanted = TemplateReader::Read(pTemplate, ulCount);
    if (!wanted) return Refuse(wanted.error());
    const auto active = [&] {
      const std::lock_guard lock(session.mutex);
      return session.search != nullptr;
    };
    if (active()) return Refuse(CKR_OPERATION_ACTIVE);
    if (auto loaded = session.token->Load(*wanted); !loaded) return loaded;
    auto search = std::make_shared<Search>(*session.token, *wanted);
    const std::lock_guard lock(session.mutex);
    if (session.search != nullptr) return Refuse(CKR_OPERATION_ACTIVE);
    session.search = std::move(search);
    return {};
  });
}

CK_RV C_FindObjects(CK_SESSION_HANDLE hSession, CK_OBJECT_HANDLE_PTR phObject,
                    CK_ULONG ulMaxObjectCount, CK_ULONG_PTR pulObjectCount) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    if (pulObjectCount == nullptr || (phObject == nullptr && ulMaxObjectCount != 0)) {
      return Refuse(CKR_ARGUMENTS_BAD);
    }
    std::shared_ptr<Search> search;
    {
      const std::lock_guard lock(session.mutex);
      search = session.search;
    }
    if (search == nullptr) return Refuse(CKR_OPERATION_NOT_INITIALIZED);
    const auto found = search->Next(*session.token, ulMaxObjectCount);
    std::ranges::copy(found, phObject);
    *pulObjectCount = found.size();
    return {};
  });
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE hSession) {
  return EnterSession(__func__, hSession, [&](Session& session) -> CkStatus {
    const std::lock_guard lock(session.mutex);
    if (session.search == nullptr) return Refuse(CKR_OPERATION_NOT_INITIALIZED);
    session.search.reset();
    return {};
  });
}

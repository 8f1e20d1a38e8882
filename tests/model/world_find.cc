// Searches, and comparing everything.
#include <algorithm>

#include "tests/blackbox/module.h"
#include "tests/model/world.h"

namespace secretmem::model {

using blackbox::P11;
using blackbox::Template;

bool World::Matches(const Object& object, const Template& wanted) const {
  if (object.is_private() && login_ != LoggedIn::kUser) return false;
  return std::ranges::all_of(wanted.values(), [&](const auto& entry) {
    const auto found = object.attributes.find(entry.first);
    return found != object.attributes.end() && found->second == entry.second;
  });
}

std::vector<CK_OBJECT_HANDLE> World::Profiles(CK_SESSION_HANDLE session, const Template& wanted) {
  Template also = wanted;
  if (also.values().contains(CKA_CLASS)) return {};
  auto found = blackbox::Find(session, also.With(CKA_CLASS, CKO_PROFILE));
  Expect("C_FindObjects (profiles)", CKR_OK, found.rv);
  return std::move(found.handles);
}

void World::Meet(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, std::vector<Hit>& among) {
  const auto here = [&](const Hit& hit) {
    const auto object = objects_.find(hit.object);
    return object != objects_.end() && object->second.departures == hit.departures ? &object->second
                                                                                   : nullptr;
  };
  auto at = among.end();
  if (const auto known = handles_.find(handle); known != handles_.end()) {
    at = std::ranges::find_if(
        among, [&](const Hit& hit) { return hit.object == known->second && here(hit) != nullptr; });
    if (at == among.end()) Fail("an object was found that does not match, or twice");
  } else {
    const auto id = blackbox::Read(session, handle, CKA_UNIQUE_ID);
    const bool gone = id.rv == CKR_OBJECT_HANDLE_INVALID;
    if (!gone) Expect("C_GetAttributeValue (found)", CKR_OK, id.rv);
    at = std::ranges::find_if(among, [&](const Hit& hit) {
      Object* object = here(hit);
      if (gone || object == nullptr) return gone && object == nullptr;
      return object->handle == 0 && object->attributes.at(CKA_UNIQUE_ID) == id.value;
    });
    if (at == among.end()) Fail("an object was found that there is not");
    if (Object* object = here(*at); object != nullptr) {
      object->handle = handle;
      handles_[handle] = at->object;
    }
  }
  among.erase(at);
}

void World::FindInit() {
  const CK_SESSION_HANDLE session = AnySession();
  Template wanted;
  if (!objects_.empty() && !random_.OneIn(4)) {
    // Of an object that there is, so that something is found.
    const Object& like = random_.Of(objects_).second;
    for (const auto& [type, value] : like.attributes) {
      if (random_.OneIn(12)) wanted.With(type, value);
    }
  }
  if (random_.OneIn(10)) wanted.With(CKA_LABEL, "label 3");
  if (IsBeside()) wanted.With(CKA_LABEL, label_);
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && sessions_.at(session).search) want = CKR_OPERATION_ACTIVE;
  std::vector<CK_OBJECT_HANDLE> profiles;
  if (want == CKR_OK) profiles = Profiles(session, wanted);
  const CK_RV rv = P11().C_FindObjectsInit(session, wanted.data(), wanted.size());
  Expect("C_FindObjectsInit", want, rv);
  if (want != CKR_OK) return;
  // The token's own objects are older than all others, and so come first.
  for (const CK_OBJECT_HANDLE profile : profiles) {
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;
    Expect("C_FindObjects (profile)", CKR_OK, P11().C_FindObjects(session, &found, 1, &count));
    if (count != 1 || found != profile) Fail("a profile object was not found");
  }
  std::vector<Hit> matching;
  for (const auto& [index, object] : objects_) {
    if (Matches(object, wanted)) matching.push_back({index, object.departures});
  }
  sessions_.at(session).search = std::move(matching);
}

void World::FindNext() {
  const CK_SESSION_HANDLE session = AnySession();
  // All at once beside others: which come first depends on them.
  std::vector<CK_OBJECT_HANDLE> found(IsBeside() ? 100 : random_.Below(6));
  found.reserve(1);
  CK_ULONG count = 99;
  const CK_RV rv = P11().C_FindObjects(session, found.data(), found.size(), &count);
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && !sessions_.at(session).search) want = CKR_OPERATION_NOT_INITIALIZED;
  Expect("C_FindObjects", want, rv);
  if (want != CKR_OK) return;
  std::vector<Hit>& left = *sessions_.at(session).search;
  if (count != std::min(found.size(), left.size())) {
    Fail("C_FindObjects found " + std::to_string(count) + " of " + std::to_string(left.size()));
  }
  for (CK_ULONG i = 0; i < count; ++i) Meet(session, found[i], left);
}

void World::FindFinal() {
  const CK_SESSION_HANDLE session = AnySession();
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && !sessions_.at(session).search) want = CKR_OPERATION_NOT_INITIALIZED;
  Expect("C_FindObjectsFinal", want, P11().C_FindObjectsFinal(session));
  if (want == CKR_OK) sessions_.at(session).search.reset();
}

void World::CompareObject(CK_SESSION_HANDLE session, int index) {
  for (const auto& [type, value] : Attributes(objects_.at(index).attributes)) {
    ExpectBytes("an attribute", value, ReadOk(session, index, type));
  }
  Object& object = objects_.at(index);
  if (object.kind == Kind::kData || object.kind == Kind::kX25519Public) return;
  const auto value = blackbox::Read(session, object.handle, CKA_VALUE);
  const bool readable =
      !ReadBool(object.attributes, CKA_SENSITIVE) && ReadBool(object.attributes, CKA_EXTRACTABLE);
  Expect("C_GetAttributeValue (secret)", readable ? CKR_OK : CKR_ATTRIBUTE_SENSITIVE, value.rv);
  if (!readable) return;
  if (!object.secret) object.secret = value.value;
  ExpectBytes("a secret value", *object.secret, value.value);
}

// Finds everything that is to be seen, and reads all of it.
void World::CheckEverything() {
  const CK_SESSION_HANDLE session = AnySession();
  if (SessionProblem(session) != CKR_OK || sessions_.at(session).search) return;
  Template wanted;
  if (IsBeside()) wanted.With(CKA_LABEL, label_);
  std::vector<Hit> visible;
  for (const auto& [index, object] : objects_) {
    if (Matches(object, wanted)) visible.push_back({index, object.departures});
  }
  const auto found = blackbox::Find(session, wanted);
  Expect("C_FindObjects (all)", CKR_OK, found.rv);
  std::vector<Hit> left = visible;
  for (const CK_OBJECT_HANDLE handle : found.handles) Meet(session, handle, left);
  if (!left.empty()) Fail(std::to_string(left.size()) + " objects were not found");
  for (const Hit& hit : visible) CompareObject(session, hit.object);
}

}  // namespace secretmem::model

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

std::vector<World::Hit> World::AllHits(const Template& wanted) const {
  std::vector<Hit> all;
  for (const auto& [index, object] : objects_) {
    const bool matches = Matches(object, wanted);
    all.push_back({index, object.departures, matches, matches});
  }
  return all;
}

void World::Meet(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, std::vector<Hit>& among) {
  const auto known = handles_.find(handle);
  const Bytes id = known != handles_.end() ? Bytes() : [&] {
    const auto read = blackbox::Read(session, handle, CKA_UNIQUE_ID);
    Expect("C_GetAttributeValue (found)", CKR_OK, read.rv);
    return read.value;
  }();
  const auto at = std::ranges::find_if(among, [&](const Hit& hit) {
    const Object& object = objects_.at(hit.object);
    return known != handles_.end()
               ? hit.object == known->second
               : object.handle == 0 && object.attributes.at(CKA_UNIQUE_ID) == id;
  });
  if (at == among.end()) Fail("an object was found that does not match, or twice");
  objects_.at(at->object).handle = handle;
  handles_[handle] = at->object;
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
  sessions_.at(session).search = {wanted, AllHits(wanted)};
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
  Search& search = *sessions_.at(session).search;
  // Found is what matched at the beginning or matches now, and is there; what matched all the time
  // has to be.
  std::vector<Hit> may, may_not;
  for (Hit hit : search.left) {
    const auto object = objects_.find(hit.object);
    if (object == objects_.end() || object->second.departures != hit.departures) continue;
    const bool matches = Matches(object->second, search.wanted);
    hit.sure = hit.sure && matches;
    (hit.matched || matches ? may : may_not).push_back(hit);
  }
  for (CK_ULONG i = 0; i < count; ++i) Meet(session, found[i], may);
  const auto missed = std::ranges::count(may, true, &Hit::sure);
  if (count > found.size() || (count < found.size() && missed > 0)) {
    Fail("C_FindObjects found " + std::to_string(count) + " of " + std::to_string(found.size()) +
         ", and not " + std::to_string(missed));
  }
  search.left = std::move(may_not);
  search.left.insert(search.left.end(), may.begin(), may.end());
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
  std::vector<Hit> visible = AllHits(wanted);
  std::erase_if(visible, [](const Hit& hit) { return !hit.matched; });
  const auto found = blackbox::Find(session, wanted);
  Expect("C_FindObjects (all)", CKR_OK, found.rv);
  std::vector<Hit> left = visible;
  for (const CK_OBJECT_HANDLE handle : found.handles) Meet(session, handle, left);
  if (!left.empty()) Fail(std::to_string(left.size()) + " objects were not found");
  for (const Hit& hit : visible) CompareObject(session, hit.object);
}

}  // namespace secretmem::model

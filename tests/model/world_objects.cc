// Objects: made, read, changed, found and destroyed.
#include <algorithm>
#include <cstring>

#include "tests/blackbox/module.h"
#include "tests/model/reference.h"
#include "tests/model/world.h"

namespace secretmem::model {

using blackbox::P11;
using blackbox::Template;

namespace {

constexpr size_t kMaxObjects = 40;
constexpr Kind kKinds[] = {Kind::kData, Kind::kGeneric, Kind::kAes, Kind::kX25519Public,
                           Kind::kX25519Private};

Template& Describe(Template& given, Kind kind) {
  switch (kind) {
    case Kind::kData:
      return given.With(CKA_CLASS, CKO_DATA);
    case Kind::kGeneric:
      return given.With(CKA_CLASS, CKO_SECRET_KEY).With(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    case Kind::kAes:
      return given.With(CKA_CLASS, CKO_SECRET_KEY).With(CKA_KEY_TYPE, CKK_AES);
    case Kind::kX25519Public:
      return given.With(CKA_CLASS, CKO_PUBLIC_KEY).With(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
    case Kind::kX25519Private:
      return given.With(CKA_CLASS, CKO_PRIVATE_KEY).With(CKA_KEY_TYPE, CKK_EC_MONTGOMERY);
  }
  return given;
}

}  // namespace

// In the order in which they were made: that of handles depends on other threads.
int World::AnyObject() {
  std::vector<int> known;
  for (const auto& [index, object] : objects_) {
    if (object.handle != 0) known.push_back(index);
  }
  return known.empty() ? -1 : random_.Of(known);
}

CK_OBJECT_HANDLE World::HandleOf(int object) {
  if (object >= 0) return objects_.at(object).handle;
  return stale_handles_.empty() ? CK_INVALID_HANDLE : random_.Of(stale_handles_);
}

// Some attributes that a client might give, and now and then one that is wrong.
Template World::AnyTemplate(Kind kind, bool may_be_wrong) {
  Template given;
  if (random_.Coin()) given.With(CKA_LABEL, "label " + std::to_string(random_.Below(5)));
  if (IsBeside()) given.With(CKA_LABEL, label_);
  if (IsKey(kind) && random_.Coin()) given.With(CKA_ID, random_.Bytes(random_.Below(6)));
  for (const CK_ATTRIBUTE_TYPE type : BoolsOf(kind)) {
    // What cannot be destroyed again would fill the token.
    if (type == CKA_DESTROYABLE && IsBeside()) continue;
    const bool rare = type == CKA_DESTROYABLE || type == CKA_MODIFIABLE || type == CKA_COPYABLE;
    if (random_.OneIn(rare ? 12 : 4)) given.With(type, type != CKA_DESTROYABLE && random_.Coin());
  }
  if (!may_be_wrong || !random_.OneIn(8)) return given;
  switch (random_.Below(4)) {
    case 0:
      return given.With(CKA_PRIME_1, random_.Bytes(4));
    case 1:
      return given.With(CKA_UNIQUE_ID, "mine");
    case 2:
      return given.With(CKA_LOCAL, true);
    default:
      return given.With(random_.Of(BoolsOf(kind)), random_.Bytes(2));
  }
}

int World::Add(Kind kind, Made made, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
               std::optional<Bytes> secret) {
  if (handles_.contains(handle) || stale_handles_.contains(handle) || handle == CK_INVALID_HANDLE) {
    Fail("an object handle again");
  }
  const int index = next_object_++;
  Object& object = objects_[index];
  object = {kind, std::move(made.attributes), std::move(secret), session, handle};
  object.attributes.erase(CKA_VALUE);
  if (kind == Kind::kData) object.attributes[CKA_VALUE] = object.secret.value_or(Bytes());
  handles_[handle] = index;
  LearnIds(index, session);
  return index;
}

Bytes World::ReadOk(CK_SESSION_HANDLE session, int object, CK_ATTRIBUTE_TYPE type) {
  auto got = blackbox::Read(session, objects_.at(object).handle, type);
  Expect("C_GetAttributeValue (one)", CKR_OK, got.rv);
  return std::move(got.value);
}

// What the module chooses: the unique identifier.
void World::LearnIds(int index, CK_SESSION_HANDLE session) {
  const Bytes id = ReadOk(session, index, CKA_UNIQUE_ID);
  if (id.empty()) Fail("an empty CKA_UNIQUE_ID");
  for (const auto& [other, object] : objects_) {
    const auto known = object.attributes.find(CKA_UNIQUE_ID);
    if (known != object.attributes.end() && known->second == id && other != index) {
      Fail("a CKA_UNIQUE_ID twice");
    }
  }
  objects_.at(index).attributes[CKA_UNIQUE_ID] = id;
}

void World::CreateObject() {
  if (objects_.size() >= kMaxObjects) return DestroyObject();
  const CK_SESSION_HANDLE session = AnySession();
  const Kind kind = random_.Of(kKinds);
  Template given = AnyTemplate(kind, true);
  Describe(given, kind);
  Bytes secret =
      random_.Bytes(kind == Kind::kAes ? 16 + 8 * random_.Below(3) : 16 + random_.Below(30));
  std::vector<CK_ATTRIBUTE_TYPE> needed = {CKA_CLASS};
  if (kind == Kind::kX25519Public || kind == Kind::kX25519Private) {
    secret = random_.Bytes(32);
    given.With(CKA_EC_PARAMS, blackbox::X25519Params());
    needed.push_back(CKA_EC_PARAMS);
  }
  if (kind == Kind::kX25519Public) {
    given.With(CKA_EC_POINT, X25519PublicKey(secret));
    needed.push_back(CKA_EC_POINT);
  } else {
    given.With(CKA_VALUE, secret);
    if (kind != Kind::kData) needed.push_back(CKA_VALUE);
  }
  // What is missing is noticed last.
  CK_ATTRIBUTE_TYPE missing = CK_UNAVAILABLE_INFORMATION;
  if (random_.OneIn(15)) missing = random_.Of(needed);
  Template sent;
  for (const auto& [type, value] : given.values()) {
    if (type != missing) sent.With(type, value);
  }
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv = P11().C_CreateObject(session, sent.data(), sent.size(), &handle);
  CK_RV want = SessionProblem(session);
  Made made;
  if (want == CKR_OK && missing == CKA_CLASS) want = CKR_TEMPLATE_INCOMPLETE;
  if (want == CKR_OK) {
    made = Make(kind, Origin::kCreate, given, CallerOf(session), 0);
    want = made.rv;
  }
  if (want == CKR_OK && missing != CK_UNAVAILABLE_INFORMATION) want = CKR_TEMPLATE_INCOMPLETE;
  Expect("C_CreateObject", want, rv);
  if (want != CKR_OK) return;
  if (IsSecretKey(kind)) made.attributes[CKA_VALUE_LEN] = blackbox::Encode(secret.size());
  const bool has_secret = kind != Kind::kX25519Public;
  Add(kind, std::move(made), session, handle,
      has_secret ? std::optional(std::move(secret)) : std::nullopt);
}

void World::GenerateKey() {
  if (objects_.size() >= kMaxObjects) return DestroyObject();
  const CK_SESSION_HANDLE session = AnySession();
  const Kind kind = random_.Coin() ? Kind::kAes : Kind::kGeneric;
  const CK_ULONG length = kind == Kind::kAes ? 16 + 8 * random_.Below(3) : 16 + random_.Below(30);
  Template given = AnyTemplate(kind, true);
  given.With(CKA_VALUE_LEN, length);
  CK_MECHANISM mechanism{kind == Kind::kAes ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN, nullptr,
                         0};
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv = P11().C_GenerateKey(session, &mechanism, given.data(), given.size(), &handle);
  CK_RV want = SessionProblem(session);
  Made made;
  if (want == CKR_OK) {
    made = Make(kind, Origin::kGenerate, given, CallerOf(session), mechanism.mechanism);
    want = made.rv;
  }
  Expect("C_GenerateKey", want, rv);
  if (want == CKR_OK) Add(kind, std::move(made), session, handle, std::nullopt);
}

void World::GenerateKeyPair() {
  if (objects_.size() >= kMaxObjects) return DestroyObject();
  const CK_SESSION_HANDLE session = AnySession();
  Template of_public = AnyTemplate(Kind::kX25519Public, true);
  of_public.With(CKA_EC_PARAMS, blackbox::X25519Params());
  Template of_private = AnyTemplate(Kind::kX25519Private, true);
  CK_MECHANISM mechanism{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE handles[2] = {0, 0};
  const CK_RV rv =
      P11().C_GenerateKeyPair(session, &mechanism, of_public.data(), of_public.size(),
                              of_private.data(), of_private.size(), &handles[0], &handles[1]);
  CK_RV want = SessionProblem(session);
  Made made[2];
  if (want == CKR_OK) {
    made[0] = Make(Kind::kX25519Public, Origin::kGenerate, of_public, CallerOf(session),
                   mechanism.mechanism);
    made[1] = Make(Kind::kX25519Private, Origin::kGenerate, of_private, CallerOf(session),
                   mechanism.mechanism);
    want = made[0].rv != CKR_OK ? made[0].rv : made[1].rv;
  }
  Expect("C_GenerateKeyPair", want, rv);
  if (want != CKR_OK) return;
  made[1].attributes[CKA_EC_PARAMS] = blackbox::X25519Params();
  const int public_key = Add(Kind::kX25519Public, std::move(made[0]), session, handles[0], {});
  const int private_key = Add(Kind::kX25519Private, std::move(made[1]), session, handles[1], {});
  const Bytes point = ReadOk(session, public_key, CKA_EC_POINT);
  objects_.at(public_key).attributes[CKA_EC_POINT] = point;
  const auto value = blackbox::Read(session, objects_.at(private_key).handle, CKA_VALUE);
  if (value.rv == CKR_OK) {
    objects_.at(private_key).secret = value.value;
    ExpectBytes("the pair's public key", X25519PublicKey(value.value), point);
  }
}

void World::DeriveKey() {
  if (objects_.size() >= kMaxObjects) return DestroyObject();
  const CK_SESSION_HANDLE session = AnySession();
  int base = AnyObject();
  for (int i = 0; i < 3 && base >= 0 && objects_.at(base).kind != Kind::kX25519Private; ++i) {
    base = AnyObject();
  }
  const Kind kind = random_.Coin() ? Kind::kAes : Kind::kGeneric;
  const CK_ULONG length = kind == Kind::kAes ? 16 : 1 + random_.Below(32);
  Template given = AnyTemplate(kind, true);
  Describe(given, kind);
  given.With(CKA_VALUE_LEN, length);
  Bytes peer = X25519PublicKey(random_.Bytes(32));
  CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, peer.size(), peer.data()};
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv =
      P11().C_DeriveKey(session, &mechanism, HandleOf(base), given.data(), given.size(), &handle);
  CK_RV want = SessionProblem(session);
  Made made;
  const auto base_of = [&] { return objects_.at(base); };
  if (want == CKR_OK && (base < 0 || base_of().kind == Kind::kData)) want = CKR_KEY_HANDLE_INVALID;
  if (want == CKR_OK && !ReadBool(base_of().attributes, CKA_DERIVE)) {
    want = CKR_KEY_FUNCTION_NOT_PERMITTED;
  }
  if (want == CKR_OK) {
    const Attributes& its = base_of().attributes;
    // A key that is not sensitive and says nothing of it is one that is readable.
    const Base traits{.sensitive = ReadBool(its, CKA_SENSITIVE) || !its.contains(CKA_SENSITIVE),
                      .extractable = ReadBool(its, CKA_EXTRACTABLE),
                      .always_sensitive = ReadBool(its, CKA_ALWAYS_SENSITIVE),
                      .never_extractable = ReadBool(its, CKA_NEVER_EXTRACTABLE)};
    made = Make(kind, Origin::kDerive, given, CallerOf(session), 0, traits);
    want = made.rv;
  }
  if (want == CKR_OK && base_of().kind != Kind::kX25519Private) want = CKR_KEY_TYPE_INCONSISTENT;
  Expect("C_DeriveKey", want, rv);
  if (want != CKR_OK) return;
  std::optional<Bytes> secret;
  if (base_of().secret) {
    secret = X25519(*base_of().secret, peer);
    // Truncation removes bytes from the leading end, PKCS#11 3.2, 6.3.17.
    secret->erase(secret->begin(), secret->end() - static_cast<std::ptrdiff_t>(length));
  }
  Add(kind, std::move(made), session, handle, std::move(secret));
}

void World::CopyObject() {
  if (objects_.size() >= kMaxObjects) return DestroyObject();
  const CK_SESSION_HANDLE session = AnySession();
  const int source = AnyObject();
  const Kind kind = source < 0 ? Kind::kData : objects_.at(source).kind;
  Template given = AnyTemplate(kind, true);
  CK_OBJECT_HANDLE handle = 0;
  const CK_RV rv =
      P11().C_CopyObject(session, HandleOf(source), given.data(), given.size(), &handle);
  CK_RV want = SessionProblem(session);
  Made made;
  if (want == CKR_OK && source < 0) want = CKR_OBJECT_HANDLE_INVALID;
  if (want == CKR_OK) {
    made = Copy(kind, objects_.at(source).attributes, given, CallerOf(session));
    want = made.rv;
  }
  Expect("C_CopyObject", want, rv);
  if (want != CKR_OK) return;
  auto secret = objects_.at(source).secret;
  Add(kind, std::move(made), session, handle, std::move(secret));
}

void World::DestroyObject() {
  const CK_SESSION_HANDLE session = AnySession();
  const int index = AnyObject();
  const CK_OBJECT_HANDLE handle = HandleOf(index);
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && index < 0) want = CKR_OBJECT_HANDLE_INVALID;
  if (want == CKR_OK && objects_.at(index).token() && !sessions_.at(session).read_write) {
    want = CKR_SESSION_READ_ONLY;
  }
  if (want == CKR_OK && !ReadBool(objects_.at(index).attributes, CKA_DESTROYABLE)) {
    want = CKR_ACTION_PROHIBITED;
  }
  Expect("C_DestroyObject", want, P11().C_DestroyObject(session, handle));
  if (want == CKR_OK) Forget(index);
  // Those that nothing destroys leave with the token's initialisation only.
  if (want == CKR_ACTION_PROHIBITED && objects_.size() >= kMaxObjects && random_.OneIn(20)) {
    CloseAllSessions();
    InitToken();
  }
}

void World::ReadAttributes() {
  const CK_SESSION_HANDLE session = AnySession();
  const int index = AnyObject();
  const CK_OBJECT_HANDLE handle = HandleOf(index);
  struct Asked {
    CK_RV rv = CKR_OK;
    CK_ULONG length = 0;
    Bytes value;
    Bytes buffer;
    bool reads = false;
  };
  std::vector<Asked> asked(1 + random_.Below(5));
  std::vector<CK_ATTRIBUTE> attributes(asked.size());
  const Object* object = index < 0 ? nullptr : &objects_.at(index);
  CK_RV first = CKR_OK;
  for (size_t i = 0; i < asked.size(); ++i) {
    Asked& one = asked[i];
    CK_ATTRIBUTE_TYPE type = CKA_LABEL;
    if (object != nullptr) {
      const size_t which = random_.Below(10);
      type = which == 0   ? CKA_PRIME_1
             : which == 1 ? CKA_VALUE
                          : random_.Of(object->attributes).first;
      if (const auto stored = object->attributes.find(type); stored != object->attributes.end()) {
        one.value = stored->second;
      } else if (type != CKA_VALUE || object->kind == Kind::kX25519Public) {
        one.rv = CKR_ATTRIBUTE_TYPE_INVALID;
      } else if (ReadBool(object->attributes, CKA_SENSITIVE) ||
                 !ReadBool(object->attributes, CKA_EXTRACTABLE)) {
        one.rv = CKR_ATTRIBUTE_SENSITIVE;
      } else if (object->secret) {
        one.value = *object->secret;
      } else {
        type = CKA_LABEL;  // readable, but not known to the model yet: CheckEverything learns it
        one.value = object->attributes.at(CKA_LABEL);
      }
    }
    attributes[i] = {type, nullptr, 0};
    one.length = one.value.size();
    if (random_.Coin()) {
      const bool fits = one.value.empty() || !random_.OneIn(5);
      one.buffer.resize(fits ? one.value.size() + random_.Below(3)
                             : random_.Below(one.value.size()));
      // A vector without elements has no address, and that would ask for the length.
      one.buffer.reserve(1);
      attributes[i].pValue = one.buffer.data();
      attributes[i].ulValueLen = one.buffer.size();
      one.reads = fits && one.rv == CKR_OK;
      if (!fits && one.rv == CKR_OK) one.rv = CKR_BUFFER_TOO_SMALL;
    }
    if (one.rv != CKR_OK) one.length = CK_UNAVAILABLE_INFORMATION;
    if (first == CKR_OK) first = one.rv;
  }
  const CK_RV rv = P11().C_GetAttributeValue(session, handle, attributes.data(), attributes.size());
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && index < 0) want = CKR_OBJECT_HANDLE_INVALID;
  const bool answered = want == CKR_OK;
  if (want == CKR_OK) want = first;
  Expect("C_GetAttributeValue", want, rv);
  if (!answered) return;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (attributes[i].ulValueLen != asked[i].length) {
      Fail("attribute " + std::to_string(attributes[i].type) + " has the length " +
           std::to_string(attributes[i].ulValueLen) + ", not " + std::to_string(asked[i].length));
    }
    if (!asked[i].reads) continue;
    asked[i].buffer.resize(asked[i].value.size());
    ExpectBytes("an attribute's value", asked[i].value, asked[i].buffer);
  }
}

void World::SetAttributes() {
  const CK_SESSION_HANDLE session = AnySession();
  const int index = AnyObject();
  const Kind kind = index < 0 ? Kind::kData : objects_.at(index).kind;
  Template given;
  const Template any = AnyTemplate(kind, true);
  for (const auto& [type, value] : any.values()) {
    const bool of_making = type == CKA_TOKEN || type == CKA_PRIVATE || type == CKA_MODIFIABLE ||
                           type == CKA_DESTROYABLE;
    if (!of_making || random_.OneIn(10)) given.With(type, value);
  }
  if (given.size() == 0) given.With(CKA_LABEL, IsBeside() ? label_ : "set");
  const CK_RV rv = P11().C_SetAttributeValue(session, HandleOf(index), given.data(), given.size());
  CK_RV want = SessionProblem(session);
  if (want == CKR_OK && index < 0) want = CKR_OBJECT_HANDLE_INVALID;
  Made made;
  if (want == CKR_OK) {
    made = Set(kind, objects_.at(index).attributes, given, CallerOf(session));
    want = made.rv;
  }
  Expect("C_SetAttributeValue", want, rv);
  if (want == CKR_OK) objects_.at(index).attributes = std::move(made.attributes);
}

}  // namespace secretmem::model

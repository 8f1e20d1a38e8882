#include "tests/model/rules.h"

#include <algorithm>

namespace secretmem::model {
namespace {

constexpr CK_ATTRIBUTE_TYPE kDataBools[] = {CKA_TOKEN, CKA_PRIVATE, CKA_MODIFIABLE, CKA_COPYABLE,
                                            CKA_DESTROYABLE};
constexpr CK_ATTRIBUTE_TYPE kSecretBools[] = {
    CKA_TOKEN,     CKA_PRIVATE, CKA_MODIFIABLE, CKA_COPYABLE,    CKA_DESTROYABLE,
    CKA_SENSITIVE, CKA_ENCRYPT, CKA_DECRYPT,    CKA_WRAP,        CKA_UNWRAP,
    CKA_SIGN,      CKA_VERIFY,  CKA_DERIVE,     CKA_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED};
constexpr CK_ATTRIBUTE_TYPE kPrivateBools[] = {
    CKA_TOKEN,     CKA_PRIVATE,     CKA_MODIFIABLE,       CKA_COPYABLE, CKA_DESTROYABLE,
    CKA_SENSITIVE, CKA_DECRYPT,     CKA_UNWRAP,           CKA_SIGN,     CKA_SIGN_RECOVER,
    CKA_DERIVE,    CKA_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED};
constexpr CK_ATTRIBUTE_TYPE kPublicBools[] = {
    CKA_TOKEN,   CKA_PRIVATE, CKA_MODIFIABLE, CKA_COPYABLE,       CKA_DESTROYABLE,
    CKA_ENCRYPT, CKA_WRAP,    CKA_VERIFY,     CKA_VERIFY_RECOVER, CKA_DERIVE};

bool IsIn(std::span<const CK_ATTRIBUTE_TYPE> types, CK_ATTRIBUTE_TYPE type) {
  return std::ranges::find(types, type) != types.end();
}

Bytes Bool(bool value) { return {static_cast<CK_BYTE>(value ? CK_TRUE : CK_FALSE)}; }

CK_OBJECT_CLASS ClassOf(Kind kind) {
  switch (kind) {
    case Kind::kData:
      return CKO_DATA;
    case Kind::kGeneric:
    case Kind::kAes:
      return CKO_SECRET_KEY;
    case Kind::kX25519Public:
      return CKO_PUBLIC_KEY;
    case Kind::kX25519Private:
      break;
  }
  return CKO_PRIVATE_KEY;
}

CK_KEY_TYPE TypeOf(Kind kind) {
  return kind == Kind::kAes       ? CKK_AES
         : kind == Kind::kGeneric ? CKK_GENERIC_SECRET
                                  : CKK_EC_MONTGOMERY;
}

bool DefaultBool(Kind kind, CK_ATTRIBUTE_TYPE type) {
  switch (type) {
    case CKA_MODIFIABLE:
    case CKA_COPYABLE:
    case CKA_DESTROYABLE:
      return true;
    case CKA_SIGN:
      return true;
    case CKA_VERIFY:
      return IsSecretKey(kind);
    case CKA_ENCRYPT:
    case CKA_DECRYPT:
    case CKA_WRAP:
    case CKA_UNWRAP:
      return kind == Kind::kAes;
    case CKA_DERIVE:
      return kind == Kind::kX25519Private;
    default:
      return false;
  }
}

enum class Use { kMake, kSet, kCopy };

// Attributes that are not boolean, and what may be done with them.
bool Known(Kind kind, CK_ATTRIBUTE_TYPE type) {
  if (IsIn(BoolsOf(kind), type)) return true;
  switch (type) {
    case CKA_CLASS:
    case CKA_LABEL:
    case CKA_UNIQUE_ID:
      return true;
    case CKA_VALUE:
      return kind != Kind::kX25519Public;
    case CKA_APPLICATION:
    case CKA_OBJECT_ID:
      return kind == Kind::kData;
    case CKA_KEY_TYPE:
    case CKA_ID:
    case CKA_LOCAL:
    case CKA_KEY_GEN_MECHANISM:
      return IsKey(kind);
    case CKA_ALWAYS_SENSITIVE:
    case CKA_NEVER_EXTRACTABLE:
      return IsSecretKey(kind) || kind == Kind::kX25519Private;
    case CKA_VALUE_LEN:
      return IsSecretKey(kind);
    case CKA_EC_PARAMS:
      return kind == Kind::kX25519Private || kind == Kind::kX25519Public;
    case CKA_EC_POINT:
      return kind == Kind::kX25519Public;
    default:
      return false;
  }
}

bool Settable(Kind kind, Origin origin, Use use, CK_ATTRIBUTE_TYPE type) {
  if (use == Use::kMake) {
    switch (type) {
      case CKA_UNIQUE_ID:
      case CKA_LOCAL:
      case CKA_KEY_GEN_MECHANISM:
      case CKA_ALWAYS_SENSITIVE:
      case CKA_NEVER_EXTRACTABLE:
        return false;
      case CKA_VALUE:
      case CKA_EC_POINT:
        return origin == Origin::kCreate;
      case CKA_APPLICATION:
      case CKA_OBJECT_ID:
        return true;
      case CKA_EC_PARAMS:
        return origin == Origin::kCreate || kind == Kind::kX25519Public;
      case CKA_VALUE_LEN:
        return origin != Origin::kCreate;
      default:
        return true;
    }
  }
  switch (type) {
    case CKA_LABEL:
    case CKA_ID:
    case CKA_COPYABLE:
      return true;
    case CKA_TOKEN:
    case CKA_PRIVATE:
    case CKA_MODIFIABLE:
    case CKA_DESTROYABLE:
      return use == Use::kCopy;
    default:
      return IsIn(BoolsOf(kind), type);
  }
}

// The code for one attribute of a template; |before| has the value that it changes, if any.
CK_RV CheckOne(Kind kind, Origin origin, Use use, CK_ATTRIBUTE_TYPE type, const Bytes& value,
               const Attributes* before) {
  if (!Known(kind, type)) return CKR_ATTRIBUTE_TYPE_INVALID;
  if (!Settable(kind, origin, use, type)) return CKR_ATTRIBUTE_READ_ONLY;
  if (!IsIn(BoolsOf(kind), type)) return CKR_OK;
  if (value.size() != 1 || value[0] > 1) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (before == nullptr) return CKR_OK;
  const bool was = ReadBool(*before, type);
  const bool becomes = value[0] != 0;
  const bool only_true = type == CKA_SENSITIVE || type == CKA_WRAP_WITH_TRUSTED;
  const bool only_false = type == CKA_EXTRACTABLE || type == CKA_COPYABLE;
  // At its end it is read-only; a copy may say what its source is.
  if (use == Use::kSet && ((only_true && was) || (only_false && !was))) {
    return CKR_ATTRIBUTE_READ_ONLY;
  }
  if (was == becomes) return CKR_OK;
  return (only_true && !becomes) || (only_false && becomes) ? CKR_ATTRIBUTE_READ_ONLY : CKR_OK;
}

CK_RV CheckAccess(const Caller& caller, bool token, bool is_private) {
  if (token && !caller.read_write) return CKR_SESSION_READ_ONLY;
  if (is_private && caller.login != LoggedIn::kUser) return CKR_USER_NOT_LOGGED_IN;
  return CKR_OK;
}

CK_RV Change(Kind kind, Use use, Attributes& attributes, const blackbox::Template& given) {
  for (const auto& [type, value] : given.values()) {
    if (const CK_RV rv = CheckOne(kind, Origin::kCreate, use, type, value, &attributes);
        rv != CKR_OK) {
      return rv;
    }
    attributes[type] = value;
  }
  return CKR_OK;
}

}  // namespace

bool IsSecretKey(Kind kind) { return kind == Kind::kGeneric || kind == Kind::kAes; }
bool IsKey(Kind kind) { return kind != Kind::kData; }

bool ReadBool(const Attributes& attributes, CK_ATTRIBUTE_TYPE type) {
  const auto found = attributes.find(type);
  return found != attributes.end() && found->second == Bool(true);
}

std::span<const CK_ATTRIBUTE_TYPE> BoolsOf(Kind kind) {
  switch (kind) {
    case Kind::kData:
      return kDataBools;
    case Kind::kGeneric:
    case Kind::kAes:
      return kSecretBools;
    case Kind::kX25519Public:
      return kPublicBools;
    case Kind::kX25519Private:
      break;
  }
  return kPrivateBools;
}

Made Make(Kind kind, Origin origin, const blackbox::Template& given, const Caller& caller,
          CK_MECHANISM_TYPE mechanism, const std::optional<Base>& base) {
  for (const auto& [type, value] : given.values()) {
    if (const CK_RV rv = CheckOne(kind, origin, Use::kMake, type, value, nullptr); rv != CKR_OK) {
      return {rv, {}};
    }
  }
  const auto said = [&](CK_ATTRIBUTE_TYPE type, bool otherwise) {
    const auto found = given.values().find(type);
    return found == given.values().end() ? otherwise : found->second[0] != 0;
  };
  const bool token = said(CKA_TOKEN, false);
  // Private by default: what only the user can make, and secrets that stay.
  const bool user = caller.login == LoggedIn::kUser;
  const bool default_private = kind == Kind::kData           ? user
                               : kind == Kind::kX25519Public ? false
                                                             : user || token;
  const bool is_private = said(CKA_PRIVATE, default_private);
  if (const CK_RV rv = CheckAccess(caller, token, is_private); rv != CKR_OK) return {rv, {}};

  Made made;
  Attributes& all = made.attributes;
  for (const CK_ATTRIBUTE_TYPE type : BoolsOf(kind)) all[type] = Bool(DefaultBool(kind, type));
  all[CKA_CLASS] = blackbox::Encode(ClassOf(kind));
  all[CKA_LABEL] = {};
  all[CKA_PRIVATE] = Bool(is_private);
  if (kind == Kind::kData) {
    all[CKA_APPLICATION] = all[CKA_OBJECT_ID] = all[CKA_VALUE] = {};
  } else {
    all[CKA_KEY_TYPE] = blackbox::Encode(TypeOf(kind));
    all[CKA_ID] = {};
    all[CKA_LOCAL] = Bool(origin == Origin::kGenerate);
    all[CKA_KEY_GEN_MECHANISM] =
        blackbox::Encode(origin == Origin::kGenerate ? mechanism : CK_UNAVAILABLE_INFORMATION);
  }
  if (kind != Kind::kData && kind != Kind::kX25519Public) {
    all[CKA_SENSITIVE] = Bool(base ? base->sensitive : kind == Kind::kX25519Private);
    all[CKA_EXTRACTABLE] = Bool(base && base->extractable);
  }
  for (const auto& [type, value] : given.values()) all[type] = value;
  if (kind != Kind::kData && kind != Kind::kX25519Public) {
    const bool made_here = origin == Origin::kGenerate;
    all[CKA_ALWAYS_SENSITIVE] =
        Bool((made_here || (base && base->always_sensitive)) && ReadBool(all, CKA_SENSITIVE));
    all[CKA_NEVER_EXTRACTABLE] =
        Bool((made_here || (base && base->never_extractable)) && !ReadBool(all, CKA_EXTRACTABLE));
  }
  return made;
}

Made Copy(Kind kind, const Attributes& source, const blackbox::Template& given,
          const Caller& caller) {
  if (!ReadBool(source, CKA_COPYABLE)) return {CKR_ACTION_PROHIBITED, {}};
  Made made{CKR_OK, source};
  made.rv = Change(kind, Use::kCopy, made.attributes, given);
  if (made.rv != CKR_OK) return made;
  if (ReadBool(source, CKA_PRIVATE) && !ReadBool(made.attributes, CKA_PRIVATE)) {
    return {CKR_TEMPLATE_INCONSISTENT, {}};
  }
  made.rv = CheckAccess(caller, ReadBool(made.attributes, CKA_TOKEN),
                        ReadBool(made.attributes, CKA_PRIVATE));
  return made;
}

Made Set(Kind kind, const Attributes& object, const blackbox::Template& given,
         const Caller& caller) {
  Made made{CheckAccess(caller, ReadBool(object, CKA_TOKEN), ReadBool(object, CKA_PRIVATE)),
            object};
  if (made.rv != CKR_OK) return made;
  if (!ReadBool(object, CKA_MODIFIABLE)) return {CKR_ACTION_PROHIBITED, {}};
  made.rv = Change(kind, Use::kSet, made.attributes, given);
  return made;
}

}  // namespace secretmem::model

// token import: brings keys over from another PKCS #11 module, each wrapped by the one and
// unwrapped by the other, so that no key is ever in this process's own memory.
#include <array>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "client/functions.h"
#include "client/template.h"
#include "tool/commands.h"
#include "tool/module.h"
#include "tool/page.h"

namespace secretmem::tool {

namespace {

using client::Bytes;
using client::RvName;
using client::Template;
using nlohmann::ordered_json;

constexpr CK_ULONG kTransportKeyBytes = 32;

// What is copied of each kind of object, beside class, label and ID. Of keys everything else comes
// with the wrapped value, or is the module's own business.
constexpr CK_ATTRIBUTE_TYPE kOfPrivateKey[] = {CKA_KEY_TYPE, CKA_PRIVATE, CKA_SENSITIVE,
                                               CKA_DECRYPT,  CKA_SIGN,    CKA_SIGN_RECOVER,
                                               CKA_UNWRAP,   CKA_DERIVE,  CKA_SUBJECT};
constexpr CK_ATTRIBUTE_TYPE kOfSecretKey[] = {CKA_KEY_TYPE, CKA_PRIVATE, CKA_SENSITIVE, CKA_ENCRYPT,
                                              CKA_DECRYPT,  CKA_SIGN,    CKA_VERIFY,    CKA_WRAP,
                                              CKA_UNWRAP,   CKA_DERIVE};
constexpr CK_ATTRIBUTE_TYPE kOfPublicKey[] = {
    CKA_KEY_TYPE, CKA_PRIVATE, CKA_ENCRYPT,         CKA_VERIFY,    CKA_WRAP,    CKA_DERIVE,
    CKA_SUBJECT,  CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT};
constexpr CK_ATTRIBUTE_TYPE kOfCertificate[] = {
    CKA_CERTIFICATE_TYPE, CKA_PRIVATE, CKA_SUBJECT, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_VALUE};
constexpr CK_ATTRIBUTE_TYPE kOfData[] = {CKA_PRIVATE, CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE};

// Moved is what became of one object.
struct Moved {
  std::string kind;
  std::string label;
  std::string left;  // why it stayed behind; empty: it did not
};

// Side is one of the two modules, with a session in which the user is logged in.
class Side {
 public:
  Side(const std::string& path, const std::string& token)
      : module_(path), slot_(module_.Find(token)), session_(module_, slot_.id, true) {}

  const CK_FUNCTION_LIST& f() const { return module_.functions(); }
  CK_SESSION_HANDLE session() const { return session_.handle(); }
  const Slot& slot() const { return slot_; }

  void LogIn(const PinText& pin, const std::string& doing) {
    Check(f().C_Login(session(), CKU_USER, pin.data(), pin.size()), doing);
  }

  // TakeTransportKey makes a session key of these bytes that may only do |usage|.
  CK_OBJECT_HANDLE TakeTransportKey(unsigned char* bytes, CK_ATTRIBUTE_TYPE usage) const {
    CK_OBJECT_CLASS object_class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE attributes[] = {{CKA_CLASS, &object_class, sizeof(object_class)},
                                 {CKA_KEY_TYPE, &type, sizeof(type)},
                                 {CKA_VALUE, bytes, kTransportKeyBytes},
                                 {CKA_TOKEN, &no, sizeof(no)},
                                 {CKA_PRIVATE, &yes, sizeof(yes)},
                                 {CKA_SENSITIVE, &yes, sizeof(yes)},
                                 {CKA_EXTRACTABLE, &no, sizeof(no)},
                                 {usage, &yes, sizeof(yes)}};
    CK_OBJECT_HANDLE handle = 0;
    Check(f().C_CreateObject(session(), attributes, std::size(attributes), &handle),
          "making the transport key");
    return handle;
  }

  bool Has(CK_MECHANISM_TYPE type, CK_FLAGS use) const {
    CK_MECHANISM_INFO info;
    return f().C_GetMechanismInfo(slot_.id, type, &info) == CKR_OK && (info.flags & use) != 0;
  }

  std::vector<CK_OBJECT_HANDLE> Find(Template wanted) const {
    Check(f().C_FindObjectsInit(session(), wanted.data(), wanted.size()), "looking for objects");
    std::vector<CK_OBJECT_HANDLE> found;
    CK_OBJECT_HANDLE handle = 0;
    CK_ULONG count = 0;
    while (f().C_FindObjects(session(), &handle, 1, &count) == CKR_OK && count == 1) {
      found.push_back(handle);
    }
    f().C_FindObjectsFinal(session());
    return found;
  }

  std::optional<Bytes> Get(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
    CK_ATTRIBUTE attribute = {type, nullptr, 0};
    if (f().C_GetAttributeValue(session(), object, &attribute, 1) != CKR_OK) return std::nullopt;
    if (attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION) return std::nullopt;
    Bytes value(attribute.ulValueLen);
    attribute.pValue = value.data();
    if (f().C_GetAttributeValue(session(), object, &attribute, 1) != CKR_OK) return std::nullopt;
    value.resize(attribute.ulValueLen);
    return value;
  }

  std::optional<CK_ULONG> GetNumber(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
    const auto value = Get(object, type);
    CK_ULONG number = 0;
    if (!value || value->size() != sizeof(number)) return std::nullopt;
    memcpy(&number, value->data(), sizeof(number));
    return number;
  }

  bool IsTrue(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
    const auto value = Get(object, type);
    return value && value->size() == 1 && (*value)[0] == CK_TRUE;
  }

 private:
  Module module_;
  Slot slot_;
  Session session_;
};

class Importer {
 public:
  Importer(const Side& from, const Side& to) : from_(from), to_(to) {
    for (const CK_MECHANISM_TYPE type :
         {CK_MECHANISM_TYPE{CKM_AES_KEY_WRAP_KWP}, CK_MECHANISM_TYPE{CKM_AES_KEY_WRAP_PAD}}) {
      if (mechanism_ == 0 && from.Has(type, CKF_WRAP) && to.Has(type, CKF_UNWRAP)) {
        mechanism_ = type;
      }
    }
    if (mechanism_ == 0) {
      throw ToolError(kFailed, "the other module cannot wrap keys as this one unwraps them",
                      "It would need CKM_AES_KEY_WRAP_KWP or CKM_AES_KEY_WRAP_PAD.");
    }
    PinText key;  // a page of secret memory, wiped at its end
    Check(to.f().C_GenerateRandom(to.session(), key.data(), kTransportKeyBytes),
          "making the transport key");
    wrapping_ = from.TakeTransportKey(key.data(), CKA_WRAP);
    unwrapping_ = to.TakeTransportKey(key.data(), CKA_UNWRAP);
  }

  Moved Move(CK_OBJECT_HANDLE object) {
    Moved moved;
    const auto label = from_.Get(object, CKA_LABEL).value_or(Bytes());
    moved.label.assign(label.begin(), label.end());
    const CK_OBJECT_CLASS object_class =
        from_.GetNumber(object, CKA_CLASS).value_or(CK_UNAVAILABLE_INFORMATION);
    const bool key = object_class == CKO_PRIVATE_KEY || object_class == CKO_SECRET_KEY;
    Template attributes;
    attributes.With(CKA_CLASS, object_class);
    attributes.With(CKA_LABEL, label);
    if (object_class != CKO_DATA) {
      attributes.With(CKA_ID, from_.Get(object, CKA_ID).value_or(Bytes()));
    }
    if (!to_.Find(attributes).empty()) moved.left = "there is one of that label and ID";
    attributes.With(CKA_TOKEN, true);
    const auto copy = [&](const char* kind, auto&... types) {
      moved.kind = kind;
      const auto list = [&](const auto& its) {
        for (const CK_ATTRIBUTE_TYPE type : its) {
          const auto value = from_.Get(object, type);
          if (value && !value->empty()) attributes.With(type, *value);
        }
      };
      (list(types), ...);
    };
    switch (object_class) {
      case CKO_PRIVATE_KEY:
        copy("private key", kOfPrivateKey);
        break;
      case CKO_SECRET_KEY:
        copy("secret key", kOfSecretKey);
        break;
      case CKO_PUBLIC_KEY:
        copy("public key", kOfPublicKey);
        break;
      case CKO_CERTIFICATE:
        copy("certificate", kOfCertificate);
        break;
      case CKO_DATA:
        copy("data object", kOfData);
        break;
      default:
        moved.kind = "object";
        moved.left = "this module knows no objects of its class";
    }
    if (!moved.left.empty()) return moved;
    if (key) {
      attributes.With(CKA_EXTRACTABLE, true);
      moved.left = MoveKey(object, attributes);
    } else {
      CK_OBJECT_HANDLE made = 0;
      const CK_RV rv =
          to_.f().C_CreateObject(to_.session(), attributes.data(), attributes.size(), &made);
      if (rv != CKR_OK) moved.left = "this module does not take it: " + RvName(rv);
    }
    return moved;
  }

 private:
  // MoveKey returns why the key stayed behind.
  std::string MoveKey(CK_OBJECT_HANDLE object, Template attributes) {
    if (!from_.IsTrue(object, CKA_EXTRACTABLE)) return "it is not extractable";
    CK_MECHANISM mechanism = {mechanism_, nullptr, 0};
    CK_ULONG size = 0;
    CK_RV rv = from_.f().C_WrapKey(from_.session(), &mechanism, wrapping_, object, nullptr, &size);
    Bytes wrapped(size);
    if (rv == CKR_OK) {
      rv = from_.f().C_WrapKey(from_.session(), &mechanism, wrapping_, object, wrapped.data(),
                               &size);
    }
    if (rv != CKR_OK) return "the other module does not wrap it: " + RvName(rv);
    CK_OBJECT_HANDLE made = 0;
    rv = to_.f().C_UnwrapKey(to_.session(), &mechanism, unwrapping_, wrapped.data(), size,
                             attributes.data(), attributes.size(), &made);
    if (rv != CKR_OK) return "this module does not take it: " + RvName(rv);
    return {};
  }

  const Side& from_;
  const Side& to_;
  CK_MECHANISM_TYPE mechanism_ = 0;
  CK_OBJECT_HANDLE wrapping_ = 0;
  CK_OBJECT_HANDLE unwrapping_ = 0;
};

ExitCode Show(const Common& common, const std::vector<Moved>& all, const std::string& token) {
  size_t left = 0;
  for (const Moved& moved : all) left += moved.left.empty() ? 0 : 1;
  if (common.json) {
    ordered_json out = ordered_json::array();
    for (const Moved& moved : all) {
      out.push_back({{"kind", moved.kind},
                     {"label", moved.label},
                     {"moved", moved.left.empty()},
                     {"reason", moved.left}});
    }
    std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
  } else {
    Page page;
    for (const Moved& moved : all) {
      const std::string name = "\"" + Printable(moved.label) + "\"";
      page.Line(moved.left.empty() ? Mark::kGood : Mark::kBad, moved.kind,
                moved.left.empty() ? name : name + " stayed behind: " + moved.left);
    }
    page.Text("Brought " + Plural(all.size() - left, "object") + " over to \"" + Printable(token) +
              "\"" + (left == 0 ? "." : "; " + Plural(left, "object") + " stayed behind."));
  }
  return left == 0 ? kDone : kFailed;
}

}  // namespace

ExitCode TokenImport(const Common& common, const TokenImportOptions& options) {
  Side from(options.from_module, options.from_token);
  Side to(common.module, options.token);
  from.LogIn(ReadPin(options.from_pin,
                     "user PIN of \"" + from.slot().label +
                         "\", where they come "
                         "from",
                     false, "--from-pin-file or --from-pin-fd"),
             "logging in to \"" + from.slot().label + "\"");
  to.LogIn(ReadPin(options.pin, "user PIN of \"" + to.slot().label + "\"", false,
                   "--pin-file or --pin-fd"),
           "logging in to \"" + to.slot().label + "\"");
  const auto objects = from.Find(Template().With(CKA_TOKEN, true));
  Importer importer(from, to);
  std::vector<Moved> all;
  for (const CK_OBJECT_HANDLE object : objects) all.push_back(importer.Move(object));
  return Show(common, all, to.slot().label);
}

}  // namespace secretmem::tool

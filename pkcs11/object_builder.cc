#include "pkcs11/object_builder.h"

#include <algorithm>

#include "mechanisms/secret_key.h"
#include "pkcs11/attribute_rules.h"
#include "pkcs11/bound_key.h"
#include "pkcs11/template_value.h"

namespace secretmem {
namespace {

using namespace rules;

std::span<const uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

uint16_t FlagOf(Origin origin) {
  switch (origin) {
    case Origin::kCreate:
      return kCreate;
    case Origin::kGenerateSecret:
    case Origin::kGeneratePublic:
    case Origin::kGeneratePrivate:
      return kGenerate;
    case Origin::kUnwrap:
      return kUnwrap;
    case Origin::kDerive:
    case Origin::kEncapsulate:
    case Origin::kDecapsulate:
      return kDerive;
  }
  return 0;
}

// MakesTlsSecret says whether a mechanism makes a premaster or master secret of TLS, which is for
// deriving others.
bool MakesTlsSecret(CK_MECHANISM_TYPE mechanism) {
  switch (mechanism) {
    case CKM_TLS_PRE_MASTER_KEY_GEN:
    case CKM_TLS12_MASTER_KEY_DERIVE:
    case CKM_TLS12_MASTER_KEY_DERIVE_DH:
    case CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE:
    case CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH:
      return true;
    default:
      return false;
  }
}

// Builder makes one object; its members are the steps of BuildObject.
class Builder {
 public:
  Builder(const TemplateReader& given, const BuildRequest& request)
      : given_(given),
        request_(request),
        imposed_(request.imposed != nullptr && !request.imposed->empty() ? request.imposed
                                                                         : nullptr),
        origin_flag_(FlagOf(request.origin)) {}

  std::expected<BuiltObject, CK_RV> Build() {
    for (CK_RV (Builder::*step)() :
         {&Builder::FindClass, &Builder::FindKey, &Builder::CheckGiven, &Builder::CheckImposed,
          &Builder::CheckCaller, &Builder::Store, &Builder::Finish}) {
      if (const CK_RV rv = (this->*step)(); rv != CKR_OK) return std::unexpected(rv);
    }
    return std::move(built_);
  }

 private:
  // The number that the request forces, or the template or the imposed template gives.
  CK_RV FindNumber(CK_ATTRIBUTE_TYPE type, std::optional<CK_ULONG> forced,
                   std::optional<CK_ULONG> fallback, CK_ULONG* number) const {
    const auto given = given_.GetUlong(type);
    if (!given) return given.error();
    std::optional<CK_ULONG> imposed;
    if (imposed_ != nullptr) imposed = imposed_->GetUlong(type);
    const std::optional<CK_ULONG> found = forced ? forced : *given ? *given : imposed;
    for (const std::optional<CK_ULONG>& other : {*given, imposed}) {
      if (other && *other != *found) return CKR_TEMPLATE_INCONSISTENT;
    }
    if (!found && !fallback) return CKR_TEMPLATE_INCOMPLETE;
    *number = found.value_or(fallback.value_or(0));
    return CKR_OK;
  }

  CK_RV FindClass() {
    if (const CK_RV rv = FindNumber(CKA_CLASS, request_.object_class, std::nullopt, &class_);
        rv != CKR_OK) {
      return rv;
    }
    class_bit_ = ClassBitOf(class_);
    // Profile objects are the token's own.
    return class_bit_ == 0 || class_bit_ == kProfileClass ? CKR_ATTRIBUTE_VALUE_INVALID : CKR_OK;
  }

  CK_RV FindKey() {
    if (!IsKeyClass(class_bit_)) return CKR_OK;
    if (const CK_RV rv = FindNumber(CKA_KEY_TYPE, request_.key_type, request_.default_key_type,
                                    &key_type_number_);
        rv != CKR_OK) {
      return rv;
    }
    key_type_ = FindKeyType(key_type_number_);
    if (key_type_ == nullptr) return CKR_ATTRIBUTE_VALUE_INVALID;
    family_ = key_type_->family;
    return (key_type_->classes & class_bit_) == 0 ? CKR_TEMPLATE_INCONSISTENT : CKR_OK;
  }

  // Both templates and rules are sorted by type, so going through them is one walk.
  CK_RV CheckGiven() {
    rules_ = RulesFor(class_bit_, family_);
    size_t at = 0;
    for (const TemplateEntry& entry : given_.entries()) {
      while (at < rules_.size() && rules_[at].type < entry.type) ++at;
      if (at == rules_.size() || rules_[at].type != entry.type) return CKR_ATTRIBUTE_TYPE_INVALID;
      const AttributeRule& rule = rules_[at];
      if ((rule.flags & origin_flag_) == 0) return CKR_ATTRIBUTE_READ_ONLY;
      if (rule.flags & kSecret) continue;
      StoredValue value;
      if (const CK_RV rv = value.Read(given_, rule, entry.value); rv != CKR_OK) return rv;
      if (const CK_RV rv = CheckTransition(rule, value.bytes(), nullptr, request_.caller.login);
          rv != CKR_OK) {
        return rv;
      }
    }
    return CKR_OK;
  }

  // Whatever is wrong with the imposed template, the caller's template is inconsistent with it.
  CK_RV CheckImposed() {
    if (imposed_ == nullptr) return CKR_OK;
    bool consistent = true;
    imposed_->ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> imposed) {
      const AttributeRule* rule = FindRule(class_bit_, family_, type);
      if (rule == nullptr || (rule->flags & origin_flag_) == 0 || (rule->flags & kSecret) != 0 ||
          CheckTransition(*rule, imposed, nullptr, request_.caller.login) != CKR_OK) {
        consistent = false;
        return;
      }
      if (!given_.Has(type)) return;
      StoredValue value;
      consistent &=
          value.Read(given_, *rule) == CKR_OK && std::ranges::equal(value.bytes(), imposed);
    });
    return consistent ? CKR_OK : CKR_TEMPLATE_INCONSISTENT;
  }

  // The value of a boolean that was given or imposed; both were checked before.
  std::optional<bool> Said(CK_ATTRIBUTE_TYPE type) const {
    if (const auto given = given_.Get(type)) return ParseBool(*given);
    return imposed_ == nullptr ? std::nullopt : imposed_->GetBool(type);
  }

  CK_RV CheckCaller() {
    token_ = Said(CKA_TOKEN).value_or(false);
    private_ = Said(CKA_PRIVATE).value_or(DefaultPrivate());
    return CheckAccess(request_.caller, token_, private_);
  }

  bool DefaultPrivate() const {
    const bool user = request_.caller.login == Login::kUser;
    switch (class_bit_) {
      case kPrivateKeyClass:
      case kSecretKeyClass:
        return user || token_;
      case kDataClass:
        return user;
      default:
        return false;
    }
  }

  bool IsGenerated() const { return origin_flag_ == kGenerate; }

  // Clients make a TLS premaster secret to wrap it to the server's key, and say nothing of it.
  bool IsMadeToBeSent() const {
    return IsGenerated() && request_.mechanism == CKM_TLS_PRE_MASTER_KEY_GEN;
  }

  CK_RV Store() {
    // Enough for the keys of most clients: one allocation, cut to size when the object is complete.
    built_.attributes.Reserve(512);
    AttributeSet::Appender attributes(built_.attributes, class_, key_type_number_);
    const std::span<const TemplateEntry> entries = given_.entries();
    size_t next = 0;
    for (size_t i = 0; i < rules_.size(); ++i) {
      const AttributeRule& rule = rules_[i];
      while (next < entries.size() && entries[next].type < rule.type) ++next;
      const bool given = next < entries.size() && entries[next].type == rule.type;
      if (const CK_RV rv = StoreOne(attributes, rule, given ? &entries[next] : nullptr);
          rv != CKR_OK) {
        return rv;
      }
    }
    return CKR_OK;
  }

  CK_RV StoreOne(AttributeSet::Appender& attributes, const AttributeRule& rule,
                 const TemplateEntry* given) {
    if (rule.type == CKA_CLASS) {
      attributes.SetUlong(CKA_CLASS, class_);
    } else if (rule.type == CKA_KEY_TYPE) {
      attributes.SetUlong(CKA_KEY_TYPE, key_type_number_);
    } else if (IsBound(rule.type)) {
      attributes.SetBool(rule.type, rule.type == CKA_SENSITIVE);
    } else if (given != nullptr) {
      return StoreGiven(attributes, rule, *given);
    } else if (imposed_ != nullptr && imposed_->Has(rule.type)) {
      attributes.SetBytes(rule.type, *imposed_->Get(rule.type));
    } else if ((request_.origin == Origin::kCreate && (rule.flags & kRequired) != 0) ||
               (IsGenerated() && (rule.flags & kGenerateRequired) != 0)) {
      return CKR_TEMPLATE_INCOMPLETE;
    } else {
      StoreDefault(attributes, rule);
    }
    return CKR_OK;
  }

  // Whether the base key decides, over the template.
  bool IsBound(CK_ATTRIBUTE_TYPE type) const {
    if (request_.origin != Origin::kDerive || !request_.base || !request_.base->binds) return false;
    return (type == CKA_SENSITIVE && request_.base->sensitive) ||
           (type == CKA_EXTRACTABLE && !request_.base->extractable);
  }

  CK_RV StoreGiven(AttributeSet::Appender& attributes, const AttributeRule& rule,
                   const TemplateEntry& given) {
    if (rule.flags & kSecret) {
      built_.secrets.push_back({rule.type, given.value});
      return CKR_OK;
    }
    StoredValue value;
    if (const CK_RV rv = value.Read(given_, rule, given.value); rv != CKR_OK) return rv;
    attributes.SetBytes(rule.type, value.bytes());
    return CKR_OK;
  }

  void StoreDefault(AttributeSet::Appender& attributes, const AttributeRule& rule) {
    switch (rule.default_value) {
      case DefaultValue::kAbsent:
        break;
      case DefaultValue::kFalse:
        attributes.SetBool(rule.type, false);
        break;
      case DefaultValue::kTrue:
        attributes.SetBool(rule.type, true);
        break;
      case DefaultValue::kZero:
        attributes.SetUlong(rule.type, 0);
        break;
      case DefaultValue::kEmpty:
        attributes.SetBytes(rule.type, {});
        break;
      case DefaultValue::kUsage:
        attributes.SetBool(rule.type,
                           DefaultUsage(*key_type_, class_bit_, rule.type) ||
                               (rule.type == CKA_DERIVE && MakesTlsSecret(request_.mechanism)));
        break;
      case DefaultValue::kBuilder:
        StoreByOrigin(attributes, rule.type);
        break;
    }
  }

  // Attributes that follow from how the object is made. SENSITIVE and EXTRACTABLE have lower
  // numbers than the attributes that follow from them, and so are there already.
  void StoreByOrigin(AttributeSet::Appender& attributes, CK_ATTRIBUTE_TYPE type) {
    const AttributeSet& so_far = built_.attributes;
    const std::optional<BaseKey>& base = request_.base;
    const bool derived = request_.origin == Origin::kDerive && base.has_value();
    switch (type) {
      case CKA_PRIVATE:
        attributes.SetBool(type, private_);
        break;
      case CKA_UNIQUE_ID:
        attributes.SetBytes(type, BytesOf(request_.unique_id));
        break;
      case CKA_SENSITIVE:
        attributes.SetBool(type, derived ? base->sensitive
                                         : class_bit_ == kPrivateKeyClass || request_.bound_to ||
                                               IsMadeToBeSent());
        break;
      case CKA_EXTRACTABLE:
        attributes.SetBool(
            type, derived ? base->extractable
                          : request_.origin == Origin::kUnwrap ||
                                request_.origin == Origin::kEncapsulate ||
                                (request_.origin == Origin::kDecapsulate && !request_.bound_to) ||
                                IsMadeToBeSent());
        break;
      case CKA_SECRETMEM_BOUND_TO:
        if (request_.bound_to) attributes.SetBytes(type, *request_.bound_to);
        break;
      case CKA_LOCAL:
        attributes.SetBool(type, IsGenerated());
        break;
      case CKA_KEY_GEN_MECHANISM:
        attributes.SetUlong(type, IsGenerated() ? request_.mechanism : CK_UNAVAILABLE_INFORMATION);
        break;
      case CKA_ALWAYS_SENSITIVE:
        attributes.SetBool(type, (IsGenerated() || (derived && base->always_sensitive)) &&
                                     so_far.GetBool(CKA_SENSITIVE).value());
        break;
      case CKA_NAME_HASH_ALGORITHM:
        // Section 4.6.3: what is meant where it is absent.
        attributes.SetUlong(type, CKM_SHA_1);
        break;
      case CKA_NEVER_EXTRACTABLE:
        attributes.SetBool(type, (IsGenerated() || (derived && base->never_extractable)) &&
                                     !so_far.GetBool(CKA_EXTRACTABLE).value());
        break;
      default:
        break;
    }
  }

  // What one attribute alone cannot tell.
  CK_RV Finish() {
    AttributeSet& attributes = built_.attributes;
    if (class_bit_ == kCertificateClass) {
      if (attributes.GetUlong(CKA_CERTIFICATE_TYPE) != CKC_X_509) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
      }
      // Section 4.6.3: the value, or where it is found.
      if (attributes.Get(CKA_VALUE)->empty() && attributes.Get(CKA_URL)->empty()) {
        return CKR_TEMPLATE_INCOMPLETE;
      }
    }
    for (const SecretValue& secret : built_.secrets) {
      if (secret.value.empty()) return CKR_ATTRIBUTE_VALUE_INVALID;
      if (class_bit_ == kSecretKeyClass) {
        if (!AllowsSecretLength(key_type_number_, secret.value.size())) {
          return CKR_ATTRIBUTE_VALUE_INVALID;
        }
        attributes.SetUlong(CKA_VALUE_LEN, secret.value.size());
      }
    }
    if (attributes.GetBool(CKA_ALWAYS_AUTHENTICATE).value_or(false) && !private_) {
      return CKR_TEMPLATE_INCONSISTENT;
    }
    if (const CK_RV rv = SettleBoundKey(attributes, given_, imposed_); rv != CKR_OK) {
      return rv;
    }
    return CKR_OK;
  }

  const TemplateReader& given_;
  const BuildRequest& request_;
  const AttributeSet* const imposed_;  // null if it says nothing
  const uint16_t origin_flag_;
  CK_OBJECT_CLASS class_ = CK_UNAVAILABLE_INFORMATION;
  uint8_t class_bit_ = 0;
  CK_KEY_TYPE key_type_number_ = CK_UNAVAILABLE_INFORMATION;
  const KeyTypeRule* key_type_ = nullptr;  // nullptr if not a key
  uint8_t family_ = kAnyFamily;
  RuleList rules_;
  bool token_ = false;
  bool private_ = false;
  BuiltObject built_;
};

}  // namespace

BaseKey BaseKey::Of(const AttributeSet& attributes) {
  return {.sensitive = attributes.GetBool(CKA_SENSITIVE).value_or(true),
          .extractable = attributes.GetBool(CKA_EXTRACTABLE).value_or(false),
          .always_sensitive = attributes.GetBool(CKA_ALWAYS_SENSITIVE).value_or(false),
          .never_extractable = attributes.GetBool(CKA_NEVER_EXTRACTABLE).value_or(false)};
}

void BaseKey::Add(const BaseKey& other) {
  sensitive |= other.sensitive;
  extractable &= other.extractable;
  always_sensitive &= other.always_sensitive;
  never_extractable &= other.never_extractable;
}

CK_RV CheckAccess(const Caller& caller, bool token, bool is_private) {
  // Where both are wrong, logging in would not help.
  if (token && !caller.read_write) return CKR_SESSION_READ_ONLY;
  if (is_private && caller.login != Login::kUser) return CKR_USER_NOT_LOGGED_IN;
  return CKR_OK;
}

std::expected<BuiltObject, CK_RV> BuildObject(const TemplateReader& given,
                                              const BuildRequest& request) {
  return Builder(given, request).Build();
}

}  // namespace secretmem

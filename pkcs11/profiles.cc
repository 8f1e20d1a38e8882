#include "pkcs11/profiles.h"

#include <charconv>

namespace secretmem {
namespace {

struct Profile {
  CK_ULONG id;
  std::string_view label;
};

// CKP_PUBLIC_CERTIFICATES_TOKEN promises that certificates are public and CKP_HKDF_TLS_TOKEN what
// keys there are: that is up to who fills the token.
constexpr Profile kProfiles[] = {
    {CKP_BASELINE_PROVIDER, "Baseline Provider"},
    {CKP_EXTENDED_PROVIDER, "Extended Provider"},
    {CKP_AUTHENTICATION_TOKEN, "Authentication Token"},
};

// UidOf makes one that stays the same: of the serial number, which is 16 hexadecimal digits.
ObjectUid UidOf(std::string_view serial, const Profile& profile) {
  uint64_t number = 0;
  std::from_chars(serial.data(), serial.data() + serial.size(), number, 16);
  ObjectUid uid{};
  for (size_t i = 0; i < sizeof(number); ++i) uid[i] = static_cast<uint8_t>(number >> (56 - 8 * i));
  // RFC 9562, 5.8: version 8.
  uid[6] = static_cast<uint8_t>((uid[6] & 0x0f) | 0x80);
  uid[8] = 0x80;
  uid[15] = static_cast<uint8_t>(profile.id);
  return uid;
}

std::span<const uint8_t> Text(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

std::vector<ObjectPtr> ProfileObjects(std::string_view serial) {
  std::vector<ObjectPtr> objects;
  for (const Profile& profile : kProfiles) {
    auto object = std::make_shared<Object>();
    object->uid = UidOf(serial, profile);
    const auto id = UniqueId(object->uid);
    AttributeSet& attributes = object->attributes;
    attributes.SetUlong(CKA_CLASS, CKO_PROFILE);
    attributes.SetUlong(CKA_PROFILE_ID, profile.id);
    attributes.SetBytes(CKA_LABEL, Text(profile.label));
    attributes.SetBytes(CKA_UNIQUE_ID, Text({id.data(), id.size()}));
    attributes.SetBool(CKA_TOKEN, true);
    attributes.SetBool(CKA_PRIVATE, false);
    attributes.SetBool(CKA_MODIFIABLE, false);
    attributes.SetBool(CKA_COPYABLE, false);
    attributes.SetBool(CKA_DESTROYABLE, false);
    attributes.ShrinkToFit();
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace secretmem

// C_WrapKey and C_UnwrapKey, what they permit: PKCS#11 3.2 §4.9, §4.10, §5.18.4 and §5.18.5.
#include "tests/conformance/cipher.h"
#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

class WrapPolicyTest : public UserTest {
 protected:
  static constexpr CK_MECHANISM_TYPE kWrap = CKM_AES_KEY_WRAP;

  // A wrapping key and a key to be wrapped, both as |change| makes them.
  CK_OBJECT_HANDLE Wrapping(Template change = {}) {
    return Make(SecretKeyTemplate(CKK_AES, wrapping_value_), change);
  }
  CK_OBJECT_HANDLE Target(Template change = {}) {
    return Make(SecretKeyTemplate(CKK_GENERIC_SECRET, Bytes(32, 2)), change);
  }
  CK_OBJECT_HANDLE Make(Template key, Template& change) {
    for (CK_ULONG i = 0; i < change.size(); ++i) {
      const CK_ATTRIBUTE& attribute = change.data()[i];
      const auto* value = static_cast<const CK_BYTE*>(attribute.pValue);
      key.With(attribute.type, Bytes(value, value + attribute.ulValueLen));
    }
    return Create(session_, key);
  }

  CK_RV WrapRv(CK_OBJECT_HANDLE wrapping, CK_OBJECT_HANDLE key) {
    return Wrap(session_, wrapping, OwnedMechanism(kWrap), key).rv;
  }

  const Bytes wrapping_value_ = ReferenceRandom(32);
};

TEST_F(WrapPolicyTest, Extractable) {
  EXPECT_RV(CKR_OK, WrapRv(Wrapping(), Target(Template().With(CKA_SENSITIVE, true))));
  EXPECT_RV(CKR_KEY_UNEXTRACTABLE,
            WrapRv(Wrapping(), Target(Template().With(CKA_EXTRACTABLE, false))));
}

TEST_F(WrapPolicyTest, UsageFlags) {
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            WrapRv(Wrapping(Template().With(CKA_WRAP, false)), Target()));
  const Result wrapped = Wrap(session_, Wrapping(), OwnedMechanism(kWrap), Target());
  CK_OBJECT_HANDLE key;
  EXPECT_RV(CKR_KEY_FUNCTION_NOT_PERMITTED,
            Unwrap(session_, Wrapping(Template().With(CKA_UNWRAP, false)), OwnedMechanism(kWrap),
                   wrapped.value, UnwrappedTemplate(CKK_GENERIC_SECRET), key));
}

TEST_F(WrapPolicyTest, HandlesAndTypes) {
  const CK_OBJECT_HANDLE wrapping = Wrapping();
  const CK_OBJECT_HANDLE target = Target();
  EXPECT_RV(CKR_WRAPPING_KEY_HANDLE_INVALID, WrapRv(0xffff, target));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, WrapRv(wrapping, 0xffff));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, WrapRv(wrapping, Create(session_, DataObject("no key"))));
  EXPECT_RV(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, WrapRv(target, target));
  const Bytes wrapped = Wrap(session_, wrapping, OwnedMechanism(kWrap), target).value;
  CK_OBJECT_HANDLE key;
  EXPECT_RV(CKR_UNWRAPPING_KEY_HANDLE_INVALID,
            Unwrap(session_, 0xffff, OwnedMechanism(kWrap), wrapped,
                   UnwrappedTemplate(CKK_GENERIC_SECRET), key));
  EXPECT_RV(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
            Unwrap(session_, target, OwnedMechanism(kWrap), wrapped,
                   UnwrappedTemplate(CKK_GENERIC_SECRET), key));
  EXPECT_RV(CKR_MECHANISM_INVALID, Unwrap(session_, wrapping, OwnedMechanism(CKM_AES_CTR), wrapped,
                                          UnwrappedTemplate(CKK_GENERIC_SECRET), key));
  const CK_OBJECT_HANDLE public_key =
      Create(session_, X25519PublicKey(ReferencePublicKey(Bytes(32, 1))));
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, WrapRv(wrapping, public_key));
}

// CKA_TRUSTED is the security officer's to give.
TEST_F(WrapPolicyTest, Trusted) {
  const CK_OBJECT_HANDLE target = Target(Template().With(CKA_WRAP_WITH_TRUSTED, true));
  EXPECT_RV(CKR_KEY_NOT_WRAPPABLE, WrapRv(Wrapping(), target));
  Template trusted = SecretKeyTemplate(CKK_AES, wrapping_value_).With(CKA_TRUSTED, true);
  CK_OBJECT_HANDLE handle;
  EXPECT_RV(CKR_ATTRIBUTE_READ_ONLY,
            P11().C_CreateObject(session_, trusted.data(), trusted.size(), &handle));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_SO, SoPin()));
  trusted.With(CKA_PRIVATE, false).With(CKA_TOKEN, true);
  ASSERT_RV(CKR_OK, P11().C_CreateObject(session_, trusted.data(), trusted.size(), &handle));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  ASSERT_RV(CKR_OK, Login(session_, CKU_USER, UserPin()));
  EXPECT_RV(CKR_OK, WrapRv(handle, Target(Template().With(CKA_WRAP_WITH_TRUSTED, true))));
}

TEST_F(WrapPolicyTest, WrapTemplate) {
  CK_BBOOL yes = CK_TRUE;
  CK_BYTE label[] = {'m', 'i', 'n', 'e'};
  CK_ATTRIBUTE inner[] = {{CKA_SENSITIVE, &yes, 1}, {CKA_LABEL, label, sizeof label}};
  const auto* bytes = reinterpret_cast<const CK_BYTE*>(inner);
  const CK_OBJECT_HANDLE wrapping =
      Wrapping(Template().With(CKA_WRAP_TEMPLATE, Bytes(bytes, bytes + sizeof inner)));
  EXPECT_RV(CKR_OK,
            WrapRv(wrapping, Target(Template().With(CKA_SENSITIVE, true).With(CKA_LABEL, "mine"))));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, WrapRv(wrapping, Target(Template().With(CKA_SENSITIVE, true))));
  EXPECT_RV(CKR_KEY_HANDLE_INVALID, WrapRv(wrapping, Target(Template().With(CKA_LABEL, "mine"))));
}

TEST_F(WrapPolicyTest, UnwrapTemplate) {
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE inner[] = {{CKA_EXTRACTABLE, &no, 1}};
  const auto* bytes = reinterpret_cast<const CK_BYTE*>(inner);
  const CK_OBJECT_HANDLE unwrapping =
      Wrapping(Template().With(CKA_UNWRAP_TEMPLATE, Bytes(bytes, bytes + sizeof inner)));
  const Bytes wrapped = Wrap(session_, unwrapping, OwnedMechanism(kWrap), Target()).value;
  CK_OBJECT_HANDLE key;
  ASSERT_RV(CKR_OK, Unwrap(session_, unwrapping, OwnedMechanism(kWrap), wrapped,
                           UnwrappedTemplate(CKK_GENERIC_SECRET).Without(CKA_EXTRACTABLE), key));
  EXPECT_FALSE(ReadBool(session_, key, CKA_EXTRACTABLE));
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT, Unwrap(session_, unwrapping, OwnedMechanism(kWrap), wrapped,
                                              UnwrappedTemplate(CKK_GENERIC_SECRET), key));
}

TEST_F(WrapPolicyTest, AttributesOfUnwrapped) {
  const CK_OBJECT_HANDLE wrapping = Wrapping();
  const Bytes wrapped = Wrap(session_, wrapping, OwnedMechanism(kWrap), Target()).value;
  Template wanted;
  wanted.With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY});
  CK_OBJECT_HANDLE key;
  EXPECT_RV(CKR_TEMPLATE_INCOMPLETE,
            Unwrap(session_, wrapping, OwnedMechanism(kWrap), wrapped, wanted, key));
  wanted.With(CKA_KEY_TYPE, CK_ULONG{CKK_GENERIC_SECRET}).With(CKA_TOKEN, false);
  wanted.With(CKA_SENSITIVE, true);
  ASSERT_RV(CKR_OK, Unwrap(session_, wrapping, OwnedMechanism(kWrap), wrapped, wanted, key));
  EXPECT_FALSE(ReadBool(session_, key, CKA_LOCAL));
  EXPECT_FALSE(ReadBool(session_, key, CKA_ALWAYS_SENSITIVE));
  EXPECT_FALSE(ReadBool(session_, key, CKA_NEVER_EXTRACTABLE));
  EXPECT_TRUE(ReadBool(session_, key, CKA_SENSITIVE));
  EXPECT_TRUE(ReadBool(session_, key, CKA_EXTRACTABLE));
  EXPECT_EQ(ReadUlong(session_, key, CKA_VALUE_LEN), 32U);
  EXPECT_EQ(ReadUlong(session_, key, CKA_KEY_GEN_MECHANISM), CK_UNAVAILABLE_INFORMATION);
  EXPECT_EQ(ReadAttribute(session_, key, CKA_VALUE).rv, CK_RV{CKR_ATTRIBUTE_SENSITIVE});
  // Whatever class it is, it is a key.
  wanted = {};
  wanted.With(CKA_CLASS, CK_ULONG{CKO_DATA});
  EXPECT_RV(CKR_TEMPLATE_INCONSISTENT,
            Unwrap(session_, wrapping, OwnedMechanism(kWrap), wrapped, wanted, key));
}

TEST_F(WrapPolicyTest, Arguments) {
  const CK_OBJECT_HANDLE wrapping = Wrapping();
  const CK_OBJECT_HANDLE target = Target();
  CK_MECHANISM mechanism{kWrap, nullptr, 0};
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            P11().C_WrapKey(session_, &mechanism, wrapping, target, nullptr, nullptr));
  CK_BYTE buffer[64];
  CK_ULONG size = 39;
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_WrapKey(session_, nullptr, wrapping, target, buffer, &size));
  EXPECT_RV(CKR_BUFFER_TOO_SMALL,
            P11().C_WrapKey(session_, &mechanism, wrapping, target, buffer, &size));
  EXPECT_EQ(size, 40U);
  Template wanted = UnwrappedTemplate(CKK_GENERIC_SECRET);
  CK_OBJECT_HANDLE key;
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_UnwrapKey(session_, &mechanism, wrapping, nullptr, 40,
                                                 wanted.data(), wanted.size(), &key));
  EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_UnwrapKey(session_, &mechanism, wrapping, buffer, 40,
                                                 wanted.data(), wanted.size(), nullptr));
}

}  // namespace
}  // namespace secretmem::conformance

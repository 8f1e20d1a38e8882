// C_GetInterfaceList and C_GetInterface: PKCS#11 3.1 §5.4.5, §5.4.6.
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

using GetInterfaceListFunction = CK_RV (*)(CK_INTERFACE*, CK_ULONG*);
using GetInterfaceFunction = CK_RV (*)(CK_UTF8CHAR*, CK_VERSION*, CK_INTERFACE**, CK_FLAGS);

constexpr std::string_view kName = "PKCS 11";

// These functions need no C_Initialize (§5.4).
class InterfaceTest : public ModuleTest {
 protected:
  void SetUp() override {
    list_ = reinterpret_cast<GetInterfaceListFunction>(ModuleSymbol("C_GetInterfaceList"));
    get_ = reinterpret_cast<GetInterfaceFunction>(ModuleSymbol("C_GetInterface"));
    EXPECT_EQ(list_ == nullptr, get_ == nullptr) << "one of the two alone";
    if (get_ == nullptr || list_ == nullptr) {
      GTEST_SKIP() << "a 2.40 module: no C_GetInterface";
    }
  }
  std::vector<CK_INTERFACE> All() const {
    CK_ULONG count = 0;
    EXPECT_RV(CKR_OK, list_(nullptr, &count));
    std::vector<CK_INTERFACE> interfaces(count);
    EXPECT_RV(CKR_OK, list_(interfaces.data(), &count));
    EXPECT_EQ(count, interfaces.size());
    return interfaces;
  }
  // Get asks for "PKCS 11" (or any name) of a version (or any); nullptr if the code was not CKR_OK.
  const CK_INTERFACE* Get(std::string_view name, const CK_VERSION* version,
                          CK_FLAGS flags = 0) const {
    std::string text(name);
    CK_VERSION copy = version == nullptr ? CK_VERSION{0, 0} : *version;
    CK_INTERFACE* found = nullptr;
    const CK_RV rv = get_(name.empty() ? nullptr : reinterpret_cast<CK_UTF8CHAR*>(text.data()),
                          version == nullptr ? nullptr : &copy, &found, flags);
    EXPECT_EQ(rv == CKR_OK, found != nullptr);
    if (rv != CKR_OK) {
      EXPECT_RV_IN(rv, CKR_ARGUMENTS_BAD, CKR_FUNCTION_FAILED);
    }
    return found;
  }
  static CK_VERSION VersionOf(const CK_INTERFACE& interface) {
    return *static_cast<const CK_VERSION*>(interface.pFunctionList);
  }
  static std::string_view NameOf(const CK_INTERFACE& interface) {
    return reinterpret_cast<const char*>(interface.pInterfaceName);
  }
  // Entries returns the function pointers that a list of this version has.
  static std::vector<void*> Entries(const CK_INTERFACE& interface) {
    const CK_VERSION version = VersionOf(interface);
    size_t count = 68;
    if (version.major == 3) count = version.minor < 2 ? 92 : 104;
    std::vector<void*> entries(count);
    std::memcpy(entries.data(),
                static_cast<const CK_BYTE*>(interface.pFunctionList) + sizeof(void*),
                count * sizeof(void*));
    return entries;
  }

  GetInterfaceListFunction list_ = nullptr;
  GetInterfaceFunction get_ = nullptr;
};

TEST_F(InterfaceTest, ListSizes) {
  const std::vector<CK_INTERFACE> all = All();
  ASSERT_GE(all.size(), 2U) << "2.40 and 3.0";
  for (CK_ULONG room = 0; room < all.size(); ++room) {
    std::vector<CK_INTERFACE> interfaces(all.size(), CK_INTERFACE{nullptr, nullptr, 77});
    CK_ULONG count = room;
    EXPECT_RV(CKR_BUFFER_TOO_SMALL, list_(interfaces.data(), &count));
    EXPECT_EQ(count, all.size());
    EXPECT_EQ(interfaces.back().flags, 77U);
  }
  std::vector<CK_INTERFACE> interfaces(all.size() + 1, CK_INTERFACE{nullptr, nullptr, 77});
  CK_ULONG count = interfaces.size();
  EXPECT_RV(CKR_OK, list_(interfaces.data(), &count));
  EXPECT_EQ(count, all.size());
  EXPECT_EQ(interfaces.back().flags, 77U);
  EXPECT_RV(CKR_ARGUMENTS_BAD, list_(nullptr, nullptr));
}

TEST_F(InterfaceTest, EveryInterface) {
  bool has_240 = false;
  bool has_30 = false;
  for (const CK_INTERFACE& interface : All()) {
    ASSERT_NE(interface.pInterfaceName, nullptr);
    ASSERT_NE(interface.pFunctionList, nullptr);
    EXPECT_EQ(interface.flags & ~CK_FLAGS{CKF_INTERFACE_FORK_SAFE}, 0U);
    if (NameOf(interface) != kName) continue;
    const CK_VERSION version = VersionOf(interface);
    SCOPED_TRACE(version.major * 100 + version.minor);
    has_240 |= version.major == 2 && version.minor == 40;
    has_30 |= version.major == 3 && version.minor == 0;
    const std::vector<void*> entries = Entries(interface);
    for (size_t i = 0; i < entries.size(); ++i) EXPECT_NE(entries[i], nullptr) << i + 1;
  }
  EXPECT_TRUE(has_240);
  EXPECT_TRUE(has_30);
}

// §5.4.6: each interface of the list can be had by its name and version, NULL matching any.
TEST_F(InterfaceTest, GetByNameAndVersion) {
  for (const CK_INTERFACE& interface : All()) {
    const CK_VERSION version = VersionOf(interface);
    const CK_INTERFACE* found = Get(NameOf(interface), &version);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(NameOf(*found), NameOf(interface));
    EXPECT_EQ(found->pFunctionList, interface.pFunctionList);
    EXPECT_EQ(found->flags, interface.flags);
    found = Get({}, &version);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(VersionOf(*found).major, version.major);
    EXPECT_EQ(VersionOf(*found).minor, version.minor);
  }
  const CK_INTERFACE* any = Get({}, nullptr);
  ASSERT_NE(any, nullptr);
  EXPECT_EQ(NameOf(*any), kName);
  const CK_INTERFACE* named = Get(kName, nullptr);
  ASSERT_NE(named, nullptr);
  EXPECT_EQ(named->pFunctionList, any->pFunctionList) << "the default both times";
  EXPECT_GE(VersionOf(*named).major, 3) << "the newest is the default";
}

TEST_F(InterfaceTest, GetUnknown) {
  EXPECT_EQ(Get("PKCS 12", nullptr), nullptr);
  EXPECT_EQ(Get("PKCS 1", nullptr), nullptr);
  EXPECT_EQ(Get("PKCS 11 ", nullptr), nullptr);
  EXPECT_EQ(Get("Vendor NSS FIPS Interface", nullptr), nullptr);
  for (const CK_VERSION version : {CK_VERSION{0, 0}, CK_VERSION{2, 39}, CK_VERSION{2, 41},
                                   CK_VERSION{3, 99}, CK_VERSION{4, 0}, CK_VERSION{255, 255}}) {
    EXPECT_EQ(Get(kName, &version), nullptr) << int{version.major} << '.' << int{version.minor};
  }
}

// §5.4.6: the flags asked for must all be there.
TEST_F(InterfaceTest, GetWithFlags) {
  bool fork_safe = false;
  for (const CK_INTERFACE& interface : All()) fork_safe |= (interface.flags & 1) != 0;
  EXPECT_EQ(Get(kName, nullptr, CKF_INTERFACE_FORK_SAFE) != nullptr, fork_safe);
  EXPECT_EQ(Get(kName, nullptr, 0x8000), nullptr);
}

TEST_F(InterfaceTest, GetNull) { EXPECT_RV(CKR_ARGUMENTS_BAD, get_(nullptr, nullptr, nullptr, 0)); }

// The function list of C_GetFunctionList is the 2.40 interface; and all lists share functions.
TEST_F(InterfaceTest, ListsAgree) {
  const CK_VERSION v240{2, 40};
  const CK_INTERFACE* old = Get(kName, &v240);
  ASSERT_NE(old, nullptr);
  EXPECT_EQ(old->pFunctionList, &P11());
  const std::vector<void*> first = Entries(*old);
  for (const CK_INTERFACE& interface : All()) {
    if (NameOf(interface) != kName) continue;
    std::vector<void*> entries = Entries(interface);
    if (entries.size() > 68) {
      EXPECT_EQ(entries[68], reinterpret_cast<void*>(list_));
      EXPECT_EQ(entries[69], reinterpret_cast<void*>(get_));
    }
    entries.resize(68);
    EXPECT_EQ(entries, first);
  }
}

// The functions that 3.0 added, called through its list: C_LoginUser and C_SessionCancel do their
// work or say that they are not supported, and nothing else happens.
class Functions30Test : public SessionTest {
 protected:
  using LoginUser = CK_RV (*)(CK_SESSION_HANDLE, CK_USER_TYPE, CK_UTF8CHAR*, CK_ULONG, CK_UTF8CHAR*,
                              CK_ULONG);
  using SessionCancel = CK_RV (*)(CK_SESSION_HANDLE, CK_FLAGS);
  using MessageFinal = CK_RV (*)(CK_SESSION_HANDLE);

  void SetUp() override {
    const auto get = reinterpret_cast<GetInterfaceFunction>(ModuleSymbol("C_GetInterface"));
    if (get == nullptr) GTEST_SKIP() << "a 2.40 module: no C_GetInterface";
    SessionTest::SetUp();
    CK_VERSION version{3, 0};
    CK_INTERFACE* interface = nullptr;
    ASSERT_RV(CKR_OK, get(nullptr, &version, &interface, 0));
    std::memcpy(entries_.data(),
                static_cast<const CK_BYTE*>(interface->pFunctionList) + sizeof(void*),
                sizeof entries_);
  }
  // Function `position` of functions as the specification counts them, from 1.
  template <typename F>
  F At(size_t position) const {
    return reinterpret_cast<F>(entries_[position - 1]);
  }
  std::array<void*, 92> entries_{};
};

// §5.6.9: C_Login with a name. A token whose users have none knows nobody by one.
TEST_F(Functions30Test, LoginUser) {
  const auto login = [&](CK_USER_TYPE user, std::string pin, std::string name) {
    return At<LoginUser>(71)(session_, user, reinterpret_cast<CK_UTF8CHAR*>(pin.data()), pin.size(),
                             reinterpret_cast<CK_UTF8CHAR*>(name.data()), name.size());
  };
  std::string pin = UserPin();
  auto* chars = reinterpret_cast<CK_UTF8CHAR*>(pin.data());
  EXPECT_RV(CKR_PIN_INCORRECT, login(CKU_USER, "not the PIN", ""));
  EXPECT_RV(CKR_USER_TYPE_INVALID, login(77, UserPin(), ""));
  EXPECT_RV(CKR_USER_TYPE_INVALID, login(CKU_USER, UserPin(), "somebody"));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, login(CKU_CONTEXT_SPECIFIC, UserPin(), ""));
  EXPECT_RV(CKR_ARGUMENTS_BAD,
            At<LoginUser>(71)(session_, CKU_USER, chars, pin.size(), nullptr, 5));
  EXPECT_EQ(State(session_), CKS_RW_PUBLIC_SESSION);
  EXPECT_RV(CKR_OK, At<LoginUser>(71)(session_, CKU_USER, chars, pin.size(), nullptr, 0));
  EXPECT_EQ(State(session_), CKS_RW_USER_FUNCTIONS);
  EXPECT_RV(CKR_USER_ALREADY_LOGGED_IN, login(CKU_USER, UserPin(), ""));
  EXPECT_RV(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, login(CKU_SO, SoPin(), ""));
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_RV(CKR_OK, login(CKU_SO, SoPin(), ""));
  EXPECT_EQ(State(session_), CKS_RW_SO_FUNCTIONS);
}

TEST_F(Functions30Test, SessionCancel) {
  constexpr CK_FLAGS kFindObjects = 0x40;
  ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, nullptr, 0));
  EXPECT_RV(CKR_OK, At<SessionCancel>(72)(session_, kFindObjects));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_FindObjectsFinal(session_));
}

// C_MessageEncryptFinal and C_MessageDecryptFinal; C_MessageSignFinal and C_MessageVerifyFinal,
// which no mechanism may have.
TEST_F(Functions30Test, MessageFinal) {
  for (const size_t position : {77U, 82U}) {
    EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, At<MessageFinal>(position)(session_)) << position;
  }
  for (const size_t position : {87U, 92U}) {
    EXPECT_RV_IN(At<MessageFinal>(position)(session_), CKR_FUNCTION_NOT_SUPPORTED,
                 CKR_OPERATION_NOT_INITIALIZED)
        << position;
  }
}

}  // namespace
}  // namespace secretmem::conformance

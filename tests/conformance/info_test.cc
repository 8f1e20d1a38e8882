// C_GetInfo: PKCS#11 3.1 §5.4.3 and §3.1.
#include <cstring>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

class InfoTest : public InitialisedTest {};

TEST_F(InfoTest, Fields) {
  CK_INFO info;
  std::memset(&info, 0xff, sizeof info);
  ASSERT_RV(CKR_OK, P11().C_GetInfo(&info));
  const int version = info.cryptokiVersion.major * 100 + info.cryptokiVersion.minor;
  EXPECT_TRUE(version == 240 || version == 300 || version == 301 || version == 302) << version;
  CheckPadded(info.manufacturerID, sizeof info.manufacturerID, "manufacturerID");
  CheckPadded(info.libraryDescription, sizeof info.libraryDescription, "libraryDescription");
  EXPECT_EQ(info.flags, 0U) << "§3.1: no flags are defined";
  EXPECT_FALSE(info.libraryVersion.major == 0xff && info.libraryVersion.minor == 0xff)
      << "libraryVersion was not filled in";
}

TEST_F(InfoTest, SameEachTime) {
  CK_INFO first;
  CK_INFO second;
  std::memset(&first, 0, sizeof first);
  std::memset(&second, 0, sizeof second);
  ASSERT_RV(CKR_OK, P11().C_GetInfo(&first));
  ASSERT_RV(CKR_OK, P11().C_GetInfo(&second));
  EXPECT_EQ(std::memcmp(&first, &second, sizeof first), 0);
}

TEST_F(InfoTest, Null) { EXPECT_RV(CKR_ARGUMENTS_BAD, P11().C_GetInfo(nullptr)); }

}  // namespace
}  // namespace secretmem::conformance

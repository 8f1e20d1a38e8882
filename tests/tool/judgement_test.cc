#include <gtest/gtest.h>

#include <cerrno>

#include "tool/clients.h"
#include "tool/system.h"

namespace secretmem::tool {
namespace {

std::string Reason(const Circumstances& at) {
  const SecretMemory answer = Diagnose(at);
  EXPECT_FALSE(answer.works);
  EXPECT_FALSE(answer.remedy.empty());
  return answer.reason;
}

Circumstances Missing(const std::string& release, const std::string& command_line = "quiet\n",
                      bool filtered = false) {
  return {ENOSYS, false, release, command_line, filtered};
}

TEST(DiagnoseTest, OldKernels) {
  EXPECT_EQ(Reason(Missing("5.10.0-28-amd64")),
            "Linux 5.10.0-28-amd64 is too old: memfd_secret(2) came with 5.14");
  EXPECT_EQ(Reason(Missing("4.19.0")), "Linux 4.19.0 is too old: memfd_secret(2) came with 5.14");
}

TEST(DiagnoseTest, KernelsThatNeedTheBootParameter) {
  for (const char* release : {"5.14.0", "6.1.0-18-amd64", "6.4.16"}) {
    EXPECT_EQ(Reason(Missing(release)),
              std::string("Linux ") + release +
                  " offers memfd_secret(2) only if it is booted with secretmem.enable=1");
    EXPECT_TRUE(Diagnose(Missing(release)).remedy.starts_with("Add secretmem.enable=1 to GRUB_"));
  }
}

TEST(DiagnoseTest, SwitchedOffAtBoot) {
  for (const char* line :
       {"ro secretmem.enable=0 quiet", "secretmem.enable=n", "x secretmem.enable=0\n"}) {
    EXPECT_EQ(Reason(Missing("6.12.0", line)),
              "this kernel was booted with memfd_secret(2) switched off");
  }
}

TEST(DiagnoseTest, HiddenByAFilter) {
  constexpr char kFilter[] = "a seccomp filter of this container or service hides memfd_secret(2)";
  EXPECT_EQ(Reason(Missing("6.12.0", "quiet", true)), kFilter);
  EXPECT_EQ(Reason(Missing("6.1.0", "secretmem.enable=1", true)), kFilter);
  EXPECT_EQ(Reason(Missing("6.1.0", "a secretmem.enable=1\n", true)), kFilter);
}

TEST(DiagnoseTest, NotInThisKernel) {
  EXPECT_EQ(Reason(Missing("6.12.0")),
            "Linux 6.12.0 was built without memfd_secret(2) (CONFIG_SECRETMEM)");
  EXPECT_EQ(Reason(Missing("6.1.0", "secretmem.enable=y")),
            "Linux 6.1.0 was built without memfd_secret(2) (CONFIG_SECRETMEM)");
}

TEST(DiagnoseTest, OtherErrors) {
  EXPECT_EQ(Reason({EPERM, false, "6.12.0", "", true}),
            "a seccomp filter of this container or service forbids memfd_secret(2)");
  EXPECT_EQ(Reason({EPERM, false, "6.12.0", "", false}),
            "memfd_secret(2) is forbidden to this process");
  EXPECT_EQ(Reason({EAGAIN, true, "6.12.0", "", false}),
            "the memory-lock limit leaves no room for a single page");
  EXPECT_EQ(Reason({EMFILE, false, "6.12.0", "", false}), "no file descriptor is left");
  EXPECT_EQ(Reason({ENOMEM, true, "6.12.0", "", false}),
            "mapping secret memory failed: Cannot allocate memory");
  EXPECT_EQ(Reason({ENOMEM, false, "6.12.0", "", false}),
            "memfd_secret(2) failed: Cannot allocate memory");
}

TEST(KeysWithinTest, CountsWhatIsLeftBesideTheModulesOwn) {
  EXPECT_EQ(KeysWithin(0, false), 0u);
  EXPECT_EQ(KeysWithin(1 << 20, false), 0u);
  EXPECT_EQ(KeysWithin(8 << 20, false), 229'376u);
  EXPECT_EQ(KeysWithin(8 << 20, true), 1'792u);
}

TEST(UpstreamAtLeastTest, ComparesNumbers) {
  EXPECT_FALSE(UpstreamAtLeast("0.4.12-0.1", 0, 4, 17));
  EXPECT_TRUE(UpstreamAtLeast("0.4.17-1", 0, 4, 17));
  EXPECT_TRUE(UpstreamAtLeast("1:0.4.19", 0, 4, 19));
  EXPECT_TRUE(UpstreamAtLeast("0.5", 0, 4, 19));
  EXPECT_FALSE(UpstreamAtLeast("1:0.4", 0, 4, 1));
}

TEST(AgentAllowsTest, KnowsTheDefaultList) {
  EXPECT_TRUE(AgentAllows("/usr/lib/x86_64-linux-gnu/pkcs11/secretmem-pkcs11.so"));
  EXPECT_TRUE(AgentAllows("/usr/lib64/pkcs11/secretmem-pkcs11.so"));
  EXPECT_TRUE(AgentAllows("/usr/local/lib/secretmem-pkcs11.so"));
  EXPECT_FALSE(AgentAllows("/home/user/build/secretmem-pkcs11.so"));
  EXPECT_FALSE(AgentAllows("/opt/usr/lib/secretmem-pkcs11.so"));
}

}  // namespace
}  // namespace secretmem::tool

// Every mechanism in every use while the memory for keys has run out, at one point after the other:
// the process may lock no more, and what it has locked is full but for a few pieces. PKCS#11 3.1
// §5.1: CKR_DEVICE_MEMORY or CKR_HOST_MEMORY, and afterwards all is as it was.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/conformance/sweep_fixture.h"

namespace secretmem::conformance {
namespace {

// NoMoreLocking: while it lives this thread, root's too, can lock no memory beyond what is locked.
class NoMoreLocking {
 public:
  NoMoreLocking() {
    getrlimit(RLIMIT_MEMLOCK, &limit_);
    syscall(SYS_capget, &header_, data_);
    __user_cap_data_struct without[2] = {data_[0], data_[1]};
    without[0].effective &= ~(1U << CAP_IPC_LOCK);
    const rlimit none{0, limit_.rlim_max};
    good_ = syscall(SYS_capset, &header_, without) == 0 && setrlimit(RLIMIT_MEMLOCK, &none) == 0;
  }
  ~NoMoreLocking() {
    setrlimit(RLIMIT_MEMLOCK, &limit_);
    syscall(SYS_capset, &header_, data_);
  }
  NoMoreLocking(const NoMoreLocking&) = delete;
  NoMoreLocking& operator=(const NoMoreLocking&) = delete;
  bool good() const { return good_; }

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data_[2] = {};
  rlimit limit_{};
  bool good_ = false;
};

class MemoryLockTest : public SweepTest {
 protected:
  static bool IsShort(CK_RV rv) { return rv == CKR_DEVICE_MEMORY || rv == CKR_HOST_MEMORY; }

  // Whole makes the whole operation, and leaves none behind.
  CK_RV Whole(const SweepRow& row, CK_FLAGS use) {
    const Init init = InitOf(use);
    if (std::ranges::find(kBegun, use) == std::end(kBegun)) {
      return Run(use, row.type, KeyFor(row.kind, use), ParameterFor(row, use));
    }
    Bytes parameter = ParameterFor(row, use);
    CK_MECHANISM mechanism{row.type, parameter.empty() ? nullptr : parameter.data(),
                           parameter.size()};
    CK_RV rv = init(session_, &mechanism, KeyFor(row.kind, use));
    if (rv == CKR_OK) rv = Step(use);
    // Most have ended by themselves.
    EXPECT_RV_IN(init(session_, nullptr, 0), CKR_OK, CKR_ARGUMENTS_BAD);
    return rv;
  }

  // All runs every operation and calls check(row, use, answer).
  template <class F>
  void All(F check) {
    const auto each = [&](const SweepRow& row, CK_FLAGS use) { check(row, use, Whole(row, use)); };
    ForEach(kBegun, each);
    ForEach(kCalled, each);
  }

  // Fill makes keys until there is room for none: big ones first, the rest with ever smaller ones.
  // Returns false where there is no end to it.
  bool Fill() {
    for (const size_t size : {65536, 16384, 4096, 1024, 256, 64, 32, 16, 1}) {
      std::vector<CK_OBJECT_HANDLE>& keys = ballast_.emplace_back();
      Template key = SecretObject(Bytes(size, 1));
      for (;;) {
        CK_OBJECT_HANDLE made = 0;
        const CK_RV rv = P11().C_CreateObject(session_, key.data(), key.size(), &made);
        if (IsShort(rv)) break;
        EXPECT_RV(CKR_OK, rv);
        if (rv == CKR_OK) keys.push_back(made);
        if (rv != CKR_OK || keys.size() >= 20'000) return false;
      }
    }
    return true;
  }

  // Release destroys a few keys of one size: the smallest first, then the next, and so on.
  void Release() {
    for (size_t tries = 0; tries < ballast_.size(); ++tries) {
      auto& keys = ballast_[ballast_.size() - 1 - released_++ % ballast_.size()];
      if (keys.empty()) continue;
      for (int i = 0; i < 3 && !keys.empty(); ++i) {
        EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, keys.back()));
        keys.pop_back();
      }
      return;
    }
  }
  void ReleaseAll() {
    for (const auto& keys : ballast_) {
      for (const CK_OBJECT_HANDLE key : keys) P11().C_DestroyObject(session_, key);
    }
    ballast_.clear();
  }

 private:
  CK_RV Step(CK_FLAGS use) {
    Bytes data(32, 1);
    Bytes garbage(64, 2);
    Bytes out(2048);
    CK_ULONG length = out.size();
    switch (use) {
      case CKF_DIGEST: {
        const CK_RV rv = P11().C_DigestUpdate(session_, data.data(), data.size());
        return rv == CKR_OK ? P11().C_DigestFinal(session_, out.data(), &length) : rv;
      }
      case CKF_SIGN:
        return P11().C_Sign(session_, data.data(), data.size(), out.data(), &length);
      case CKF_VERIFY:
        return P11().C_Verify(session_, data.data(), data.size(), garbage.data(), garbage.size());
      case CKF_SIGN_RECOVER:
        return P11().C_SignRecover(session_, data.data(), data.size(), out.data(), &length);
      case CKF_VERIFY_RECOVER:
        return P11().C_VerifyRecover(session_, garbage.data(), garbage.size(), out.data(), &length);
      case CKF_ENCRYPT:
        return P11().C_Encrypt(session_, data.data(), 16, out.data(), &length);
      case CKF_DECRYPT:
        return P11().C_Decrypt(session_, garbage.data(), garbage.size(), out.data(), &length);
      default:
        return CKR_OK;
    }
  }

  std::vector<std::vector<CK_OBJECT_HANDLE>> ballast_;
  size_t released_ = 0;
};

TEST_F(MemoryLockTest, EveryOperation) {
  constexpr int kLevels = 16;
  std::map<std::pair<CK_MECHANISM_TYPE, CK_FLAGS>, CK_RV> usual;
  All([&](const SweepRow& row, CK_FLAGS use, CK_RV rv) { usual[{row.type, use}] = rv; });
  ASSERT_FALSE(usual.empty());
  std::map<int, size_t> refused;
  {
    const NoMoreLocking locked;
    ASSERT_TRUE(locked.good());
    if (!Fill()) {
      ReleaseAll();
      GTEST_SKIP() << "the module does not run out of locked memory";
    }
    for (int level = 0; level < kLevels; ++level, Release()) {
      SCOPED_TRACE(testing::Message() << "after " << level << " releases");
      All([&](const SweepRow& row, CK_FLAGS use, CK_RV rv) {
        if (IsShort(rv)) {
          ++refused[level];
        } else {
          EXPECT_EQ(RvName(usual.at({row.type, use})), RvName(rv));
        }
      });
    }
    ReleaseAll();
    // With the keys gone there is room again, without a new lock.
    All([&](const SweepRow& row, CK_FLAGS use, CK_RV rv) {
      EXPECT_EQ(RvName(usual.at({row.type, use})), RvName(rv));
    });
  }
  EXPECT_GT(refused[0], usual.size() / 4) << "memory was not full";
  EXPECT_LT(refused[kLevels - 1], refused[0]) << "none had its memory back";
  RecordProperty("operations", static_cast<int>(usual.size()));
  for (const auto& [level, count] : refused) {
    RecordProperty("refused" + std::to_string(level), static_cast<int>(count));
  }
}

}  // namespace
}  // namespace secretmem::conformance

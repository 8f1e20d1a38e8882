// The functions of PKCS#11 with arguments that are right, and calls of them with one that is not.
#pragma once

#include <optional>
#include <vector>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {

// What an argument is, which says what is wrong for it.
enum class As {
  kSession,
  kSlot,
  kKey,      // a handle of an object
  kMust,     // a pointer that may not be NULL
  kCounted,  // a pointer with a length or count behind it, which may be NULL only where that is 0
  kOther     // anything else: flags, lengths, pointers that may be NULL
};

struct Argument {
  As as;
  uintptr_t value = 0;
};

// Under way, for functions that go on with something.
enum Begun : unsigned {
  kNothing = 0,
  kFind = 1,
  kDigest = 2,
  kSign = 4,
  kVerify = 8,
  kEncrypt = 16,
  kDecrypt = 32,
  kSignRecover = 64,
  kVerifyRecover = 128,
  kMessageEncrypt = 256,
  kMessageDecrypt = 512,
  kMessageParts = 1024,
  kVerifySignature = 2048
};

struct Row {
  const char* name;
  unsigned begun;
  std::vector<Argument> arguments;
};

// ArgumentsTest has a row for every function but C_Initialize, C_Finalize and C_GetFunctionList,
// and checks that no call with something wrong has made or destroyed an object.
class ArgumentsTest : public UserTest {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Call calls a function with `arguments`, in a new session in which begins what it needs.
  // All arguments are integers or pointers, which are passed alike.
  CK_RV Call(const Row& row, const std::vector<Argument>& arguments);
  CK_RV CallIn(const Row& row, const std::vector<Argument>& arguments, CK_SESSION_HANDLE session);

  // ForEach calls check(row, i, usual) for every function that the module has, and every argument
  // of it that is `as`; `usual` is what the call answers without anything wrong.
  template <class F>
  void ForEach(As as, F check) {
    for (const Row& row : rows_) {
      if (ModuleSymbol(row.name) == nullptr) continue;  // of a later version than the module
      SCOPED_TRACE(row.name);
      const CK_RV usual = Call(row, row.arguments);
      EXPECT_NE(RvName(usual), RvName(CKR_ARGUMENTS_BAD)) << "with nothing wrong";
      for (size_t i = 0; i < row.arguments.size(); ++i) {
        if (row.arguments[i].as != as) continue;
        SCOPED_TRACE(testing::Message() << "argument " << i + 1);
        check(row, i, usual);
      }
    }
  }
  // With is what `row` answers with another value for argument i.
  CK_RV With(const Row& row, size_t i, uintptr_t value);

  std::vector<Row> rows_;
  // What would undo what the others build on: called with something wrong only.
  std::vector<Row> undoing_;
  std::optional<std::vector<CK_OBJECT_HANDLE>> objects_;

 private:
  void Begin(CK_SESSION_HANDLE s, unsigned begun);
  void AddRows();

  CK_OBJECT_HANDLE object_ = 0, aes_ = 0, secret_ = 0, target_ = 0;
  KeyPair rsa_{}, ec_{};
};

}  // namespace secretmem::conformance

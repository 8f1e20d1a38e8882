// Every argument of every function: what each answers where one of them is wrong and all others are
// right. PKCS#11 3.2 §5.1 to §5.22.
#include "tests/conformance/arguments.h"

#include <map>
#include <set>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

// ExpectAnswer: a function that the module has not got answers that, whatever else is wrong.
void ExpectAnswer(CK_RV want, CK_RV got, CK_RV usual) {
  if (usual == CKR_FUNCTION_NOT_SUPPORTED || usual == CKR_FUNCTION_NOT_PARALLEL) {
    EXPECT_RV_IN(got, want, usual);
  } else {
    EXPECT_RV(want, got);
  }
}

// Nothing is left out: all functions of PKCS#11 3.2.
TEST_F(ArgumentsTest, EveryFunctionIsHere) {
  std::set<std::string> names = {"C_Initialize", "C_Finalize", "C_GetFunctionList"};
  for (const auto* rows : {&rows_, &undoing_}) {
    for (const Row& row : *rows) EXPECT_TRUE(names.insert(row.name).second) << row.name;
  }
  EXPECT_EQ(names.size(), 104U);
}

TEST_F(ArgumentsTest, Sessions) {
  const CK_SESSION_HANDLE closed = Open(kReadWrite);
  ASSERT_RV(CKR_OK, P11().C_CloseSession(closed));
  for (const CK_SESSION_HANDLE bad : {closed, CK_SESSION_HANDLE{0xffffff}, ~CK_SESSION_HANDLE{0}}) {
    ForEach(As::kSession, [&](const Row& row, size_t i, CK_RV usual) {
      ExpectAnswer(CKR_SESSION_HANDLE_INVALID, With(row, i, bad), usual);
    });
    for (const Row& row : undoing_) {
      if (row.arguments[0].as != As::kSession) continue;
      SCOPED_TRACE(row.name);
      EXPECT_RV(CKR_SESSION_HANDLE_INVALID, With(row, 0, bad));
    }
  }
}

TEST_F(ArgumentsTest, Slots) {
  for (const CK_SLOT_ID bad : {CK_SLOT_ID{0xfffffe}, ~CK_SLOT_ID{0}}) {
    ForEach(As::kSlot, [&](const Row& row, size_t i, CK_RV usual) {
      ExpectAnswer(CKR_SLOT_ID_INVALID, With(row, i, bad), usual);
    });
    for (const Row& row : undoing_) {
      if (row.arguments[0].as != As::kSlot) continue;
      SCOPED_TRACE(row.name);
      EXPECT_RV(CKR_SLOT_ID_INVALID, With(row, 0, bad));
    }
  }
}

TEST_F(ArgumentsTest, Objects) {
  const std::set<std::string> of_objects = {"C_CopyObject", "C_GetObjectSize",
                                            "C_GetAttributeValue", "C_SetAttributeValue"};
  for (const CK_OBJECT_HANDLE bad :
       {CK_OBJECT_HANDLE{0}, CK_OBJECT_HANDLE{0xffffff}, ~CK_OBJECT_HANDLE{0}}) {
    ForEach(As::kKey, [&](const Row& row, size_t i, CK_RV usual) {
      const std::string name = row.name;
      CK_RV want = CKR_KEY_HANDLE_INVALID;
      if (of_objects.contains(name)) want = CKR_OBJECT_HANDLE_INVALID;
      if (name.starts_with("C_WrapKey") && i == 2) want = CKR_WRAPPING_KEY_HANDLE_INVALID;
      if (name.starts_with("C_UnwrapKey")) want = CKR_UNWRAPPING_KEY_HANDLE_INVALID;
      ExpectAnswer(want, With(row, i, bad), usual);
    });
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_DestroyObject(session_, bad));
  }
}

TEST_F(ArgumentsTest, Null) {
  ForEach(As::kMust, [&](const Row& row, size_t i, CK_RV usual) {
    ExpectAnswer(CKR_ARGUMENTS_BAD, With(row, i, 0), usual);
  });
}

TEST_F(ArgumentsTest, NullWithACount) {
  ForEach(As::kCounted, [&](const Row& row, size_t i, CK_RV usual) {
    ExpectAnswer(CKR_ARGUMENTS_BAD, With(row, i, 0), usual);
  });
}

TEST_F(ArgumentsTest, NotInitialised) {
  std::map<std::string, CK_RV> usual;
  ForEach(As::kSession, [&](const Row& row, size_t, CK_RV its) { usual.emplace(row.name, its); });
  ASSERT_RV(CKR_OK, P11().C_Finalize(nullptr));
  for (const auto* rows : {&rows_, &undoing_}) {
    for (const Row& row : *rows) {
      if (ModuleSymbol(row.name) == nullptr) continue;
      SCOPED_TRACE(row.name);
      const CK_RV rv = CallIn(row, row.arguments, session_);
      const bool of_interfaces = std::string_view(row.name).starts_with("C_GetInterface");
      ExpectAnswer(of_interfaces ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED, rv,
                   usual.contains(row.name) ? usual.at(row.name) : CKR_OK);
    }
  }
  ASSERT_RV(CKR_OK, Initialise());
  const auto found = FindToken(kLabel);
  ASSERT_TRUE(found);
  slot_ = *found;
  session_ = Open(kReadWrite);
  objects_.reset();
}

}  // namespace
}  // namespace secretmem::conformance

// C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal: PKCS#11 3.1 §5.7.7 to §5.7.9.
#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/conformance/fixtures.h"

namespace secretmem::conformance {
namespace {

using Handles = std::vector<CK_OBJECT_HANDLE>;

class FindTest : public UserTest {
 protected:
  static CK_RV Init(CK_SESSION_HANDLE session, Template search) {
    return P11().C_FindObjectsInit(session, search.data(), search.size());
  }
  // Next returns up to `room` handles of the running search.
  static Handles Next(CK_SESSION_HANDLE session, CK_ULONG room) {
    Handles found(room + 1, 0xdeadbeef);
    CK_ULONG count = 0xdead;
    EXPECT_RV(CKR_OK, P11().C_FindObjects(session, found.data(), room, &count));
    EXPECT_LE(count, room);
    found.resize(std::min(count, room));
    return found;
  }
};

TEST_F(FindTest, Templates) {
  const CK_OBJECT_HANDLE a = Create(session_, DataObject("a").With(CKA_APPLICATION, "one"));
  const CK_OBJECT_HANDLE b = Create(session_, DataObject("b").With(CKA_APPLICATION, "one"));
  const CK_OBJECT_HANDLE c = Create(session_, DataObject("a").With(CKA_TOKEN, true));
  const CK_OBJECT_HANDLE d = Create(session_, SecretObject(Bytes(16, 3)).With(CKA_LABEL, "a"));
  const auto expect = [&](Template search, Handles want) {
    std::ranges::sort(want);
    EXPECT_EQ(FindAll(session_, std::move(search)), want);
  };
  expect(Template().With(CKA_CLASS, CKO_DATA), {a, b, c});
  expect(Template().With(CKA_LABEL, "a"), {a, c, d});
  expect(Template().With(CKA_LABEL, "a").With(CKA_CLASS, CKO_DATA), {a, c});
  expect(Template().With(CKA_CLASS, CKO_DATA).With(CKA_TOKEN, true), {c});
  expect(Template().With(CKA_CLASS, CKO_DATA).With(CKA_TOKEN, false), {a, b});
  expect(Template().With(CKA_APPLICATION, "one").With(CKA_LABEL, "b"), {b});
  expect(Template().With(CKA_APPLICATION, "on"), {});
  expect(Template().With(CKA_LABEL, "A"), {});
  expect(Template().With(CKA_CLASS, CKO_SECRET_KEY).With(CKA_KEY_TYPE, CKK_GENERIC_SECRET), {d});
  expect(Template().With(CKA_KEY_TYPE, CKK_AES), {});
  expect(Template().With(CKA_VALUE, "the value"), {a, b, c});
  expect(Template().With(CKA_VALUE, Bytes(16, 3)), {d});
}

// §5.7.7: an empty template matches every object but hardware features.
TEST_F(FindTest, EmptyTemplate) {
  const Handles before = FindAll(session_);
  Handles want = before;
  for (int i = 0; i < 5; ++i) {
    want.push_back(Create(session_, DataObject("x").With(CKA_PRIVATE, i % 2 == 0)));
  }
  std::ranges::sort(want);
  EXPECT_EQ(FindAll(session_), want);
  CK_ATTRIBUTE unused{CKA_LABEL, nullptr, 0};
  ASSERT_RV(CKR_OK, P11().C_FindObjectsInit(session_, &unused, 0));
  EXPECT_EQ(Next(session_, 100).size(), want.size());
}

// A sensitive value cannot be searched for: a match would answer guesses at what
// C_GetAttributeValue refuses to tell (§5.7.5).
TEST_F(FindTest, SensitiveValueDoesNotMatch) {
  Create(session_, SecretObject(Bytes(16, 3)).With(CKA_SENSITIVE, true));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_VALUE, Bytes(16, 3))), Handles());
}

// §5.7.7 lists CKR_ATTRIBUTE_TYPE_INVALID; a search that finds nothing says the same.
TEST_F(FindTest, UnknownAttributeMatchesNothing) {
  Create(session_, DataObject("x"));
  const CK_RV rv = Init(session_, Template().With(CKA_VENDOR_DEFINED | 5UL, "x"));
  EXPECT_RV_IN(rv, CKR_OK, CKR_ATTRIBUTE_TYPE_INVALID);
  if (rv != CKR_OK) return;
  EXPECT_EQ(Next(session_, 10), Handles());
}

// §5.7.8: pieces of any size, each object once, then none, again and again.
TEST_F(FindTest, Exhaustion) {
  Handles want;
  for (int i = 0; i < 23; ++i) want.push_back(Create(session_, DataObject("many")));
  std::ranges::sort(want);
  for (const CK_ULONG room :
       {CK_ULONG{1}, CK_ULONG{5}, CK_ULONG{23}, CK_ULONG{24}, CK_ULONG{500}}) {
    ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "many")));
    Handles got;
    for (Handles piece = Next(session_, room); !piece.empty(); piece = Next(session_, room)) {
      EXPECT_EQ(piece.size(), std::min<size_t>(room, want.size() - got.size()));
      got.insert(got.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(Next(session_, room), Handles());
    EXPECT_EQ(Next(session_, room), Handles());
    EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
    std::ranges::sort(got);
    EXPECT_EQ(got, want);
  }
}

TEST_F(FindTest, NothingFound) {
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "none")));
  EXPECT_EQ(Next(session_, 10), Handles());
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
}

TEST_F(FindTest, StateMachine) {
  CK_OBJECT_HANDLE handle = 0;
  CK_ULONG count = 0;
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_FindObjects(session_, &handle, 1, &count));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_FindObjectsFinal(session_));
  ASSERT_RV(CKR_OK, Init(session_, {}));
  EXPECT_RV(CKR_OPERATION_ACTIVE, Init(session_, {}));
  EXPECT_RV(CKR_OK, P11().C_FindObjects(session_, &handle, 1, &count));
  EXPECT_RV(CKR_OPERATION_ACTIVE, Init(session_, {}));
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_FindObjectsFinal(session_));
  EXPECT_RV(CKR_OPERATION_NOT_INITIALIZED, P11().C_FindObjects(session_, &handle, 1, &count));
}

// Each session has its own search.
TEST_F(FindTest, TwoSearches) {
  const CK_SESSION_HANDLE other = Open(kReadOnly);
  const CK_OBJECT_HANDLE a = Create(session_, DataObject("a"));
  const CK_OBJECT_HANDLE b = Create(session_, DataObject("b"));
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "a")));
  ASSERT_RV(CKR_OK, Init(other, Template().With(CKA_LABEL, "b")));
  EXPECT_EQ(Next(other, 10), Handles{b});
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(other));
  EXPECT_EQ(Next(session_, 10), Handles{a});
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
}

// Objects that go while a search is under way are not told, or their handles are invalid: the
// search itself goes on. Objects made meanwhile may be found or not.
TEST_F(FindTest, ObjectsGoMeanwhile) {
  Handles objects;
  for (int i = 0; i < 6; ++i) objects.push_back(Create(session_, DataObject("going")));
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "going")));
  const Handles first = Next(session_, 2);
  ASSERT_EQ(first.size(), 2U);
  for (const CK_OBJECT_HANDLE object : objects) {
    if (std::ranges::count(first, object) == 0) {
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, object));
    }
  }
  for (const CK_OBJECT_HANDLE object : Next(session_, 10)) {
    CK_ULONG size = 0;
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_GetObjectSize(session_, object, &size));
  }
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "going")).size(), 2U);
}

// What comes or changes while a search is under way: it shows what it began with, each once, or
// with what has come since; not what it never matched.
TEST_F(FindTest, ObjectsComeMeanwhile) {
  Handles before;
  for (int i = 0; i < 3; ++i) before.push_back(Create(session_, DataObject("coming")));
  const CK_OBJECT_HANDLE other = Create(session_, DataObject("other"));
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "coming")));
  Handles found = Next(session_, 1);
  EXPECT_EQ(found.size(), 1U);
  Handles after = before;
  for (const bool token : {false, true}) {
    after.push_back(Create(session_, DataObject("coming").With(CKA_TOKEN, token)));
  }
  const Handles rest = Next(session_, 10);
  EXPECT_EQ(Next(session_, 10), Handles());
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
  found.insert(found.end(), rest.begin(), rest.end());
  std::ranges::sort(found);
  EXPECT_EQ(std::ranges::adjacent_find(found), found.end()) << "an object twice";
  EXPECT_TRUE(std::ranges::includes(found, before));
  EXPECT_TRUE(std::ranges::includes(after, found));
  EXPECT_FALSE(std::ranges::binary_search(found, other));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "coming")), after);
}

TEST_F(FindTest, AttributesChangeMeanwhile) {
  const CK_OBJECT_HANDLE one = Create(session_, DataObject("changing"));
  const CK_OBJECT_HANDLE two = Create(session_, DataObject("changing"));
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "changing")));
  for (const CK_OBJECT_HANDLE object : {one, two}) {
    Template label = Template().With(CKA_LABEL, "changed");
    ASSERT_RV(CKR_OK, P11().C_SetAttributeValue(session_, object, label.data(), label.size()));
  }
  // Either what matched at the beginning or what matches now.
  const Handles found = Next(session_, 10);
  EXPECT_TRUE(found == (Handles{one, two}) || found.empty()) << found.size();
  EXPECT_RV(CKR_OK, P11().C_FindObjectsFinal(session_));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "changing")), Handles());
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "changed")), (Handles{one, two}));
}

// By an attribute that has changed, an object is found by what it is now; a copy by its own.
TEST_F(FindTest, ChangedObjectsAndCopies) {
  for (const bool token : {false, true}) {
    const auto find = [&](CK_ATTRIBUTE_TYPE type, const char* value) {
      return FindAll(session_, Template().With(type, value).With(CKA_TOKEN, token));
    };
    const auto set = [&](CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const char* value) {
      Template change = Template().With(type, value);
      EXPECT_RV(CKR_OK, P11().C_SetAttributeValue(session_, object, change.data(), change.size()));
    };
    const CK_OBJECT_HANDLE one = Create(
        session_,
        SecretObject(Bytes(16, 3)).With(CKA_TOKEN, token).With(CKA_ID, "a").With(CKA_LABEL, "x"));
    EXPECT_EQ(find(CKA_ID, "a"), Handles{one});
    set(one, CKA_ID, "b");
    EXPECT_EQ(find(CKA_ID, "a"), Handles());
    EXPECT_EQ(find(CKA_ID, "b"), Handles{one});
    EXPECT_EQ(find(CKA_LABEL, "x"), Handles{one});
    Template other = Template().With(CKA_LABEL, "y");
    CK_OBJECT_HANDLE copy = 0;
    ASSERT_RV(CKR_OK, P11().C_CopyObject(session_, one, other.data(), other.size(), &copy));
    EXPECT_EQ(find(CKA_LABEL, "x"), Handles{one});
    EXPECT_EQ(find(CKA_LABEL, "y"), Handles{copy});
    EXPECT_EQ(find(CKA_ID, "b"), (Handles{one, copy}));
    set(one, CKA_ID, "");
    set(copy, CKA_LABEL, "x");
    EXPECT_EQ(find(CKA_ID, "b"), Handles{copy});
    EXPECT_EQ(find(CKA_ID, ""), Handles{one});
    EXPECT_EQ(find(CKA_LABEL, "x"), (Handles{one, copy}));
    EXPECT_EQ(FindAll(session_, Template().With(CKA_ID, "b").With(CKA_LABEL, "y")), Handles());
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, one));
    EXPECT_EQ(find(CKA_LABEL, "x"), Handles{copy});
    EXPECT_EQ(find(CKA_ID, ""), Handles());
    EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, copy));
    EXPECT_EQ(find(CKA_ID, "b"), Handles());
  }
}

// Another thread makes and destroys objects all the while: whatever stays is found, each time.
TEST_F(FindTest, OtherThreadChangesObjects) {
  Handles staying;
  for (int i = 0; i < 20; ++i) {
    staying.push_back(Create(session_, DataObject("staying").With(CKA_TOKEN, i % 2 == 0)));
  }
  std::ranges::sort(staying);
  const CK_SESSION_HANDLE theirs = Open(kReadWrite);
  std::atomic<bool> end = false;
  std::thread other([&] {
    for (int i = 0; !end; ++i) {
      Template object = DataObject("staying not").With(CKA_TOKEN, i % 8 == 0);
      CK_OBJECT_HANDLE made = 0;
      EXPECT_RV(CKR_OK, P11().C_CreateObject(theirs, object.data(), object.size(), &made));
      EXPECT_RV(CKR_OK, P11().C_DestroyObject(theirs, made));
    }
  });
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "staying")), staying);
  }
  end = true;
  other.join();
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CKO_DATA)), staying);
}

// A search begun by the user must not show private objects after the logout.
TEST_F(FindTest, LogoutMeanwhile) {
  for (int i = 0; i < 4; ++i) Create(session_, DataObject("p").With(CKA_PRIVATE, true));
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "p")));
  EXPECT_EQ(Next(session_, 1).size(), 1U);
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  Handles found(10);
  CK_ULONG count = 0;
  const CK_RV rv = P11().C_FindObjects(session_, found.data(), 10, &count);
  EXPECT_RV_IN(rv, CKR_OK, CKR_OPERATION_NOT_INITIALIZED);
  for (CK_ULONG i = 0; rv == CKR_OK && i < count; ++i) {
    CK_ULONG size = 0;
    EXPECT_RV(CKR_OBJECT_HANDLE_INVALID, P11().C_GetObjectSize(session_, found[i], &size));
  }
}

// §5.7.7: matching objects are those the session can see.
TEST_F(FindTest, PrivateObjectsNeedLogin) {
  const CK_OBJECT_HANDLE open = Create(session_, DataObject("x").With(CKA_TOKEN, true));
  Create(session_, DataObject("x").With(CKA_TOKEN, true).With(CKA_PRIVATE, true));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "x")).size(), 2U);
  ASSERT_RV(CKR_OK, P11().C_Logout(session_));
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "x")), Handles{open});
  EXPECT_EQ(FindAll(session_, Template().With(CKA_PRIVATE, true)), Handles());
}

TEST_F(FindTest, ZeroRoom) {
  Create(session_, DataObject("x"));
  ASSERT_RV(CKR_OK, Init(session_, Template().With(CKA_LABEL, "x")));
  CK_OBJECT_HANDLE handle = 0xdeadbeef;
  CK_ULONG count = 0xdead;
  const CK_RV rv = P11().C_FindObjects(session_, &handle, 0, &count);
  EXPECT_RV_IN(rv, CKR_OK, CKR_ARGUMENTS_BAD);
  EXPECT_EQ(rv == CKR_OK ? count : 0, 0U);
  EXPECT_EQ(handle, 0xdeadbeef);
}

TEST_F(FindTest, ManyTokenObjects) {
  for (int i = 0; i < 300; ++i) {
    Create(session_, DataObject("o" + std::to_string(i)).With(CKA_TOKEN, true));
  }
  EXPECT_EQ(FindAll(session_, Template().With(CKA_CLASS, CKO_DATA)).size(), 300U);
  EXPECT_EQ(FindAll(session_, Template().With(CKA_LABEL, "o137")).size(), 1U);
}

}  // namespace
}  // namespace secretmem::conformance

#include "pkcs11/object_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "mechanisms/vendor.h"

namespace secretmem {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Handles = std::vector<CK_OBJECT_HANDLE>;

struct Traits {
  std::string id = {};
  std::string label = {};
  CK_OBJECT_CLASS object_class = CKO_DATA;
  CK_SESSION_HANDLE session = 1;
  int64_t row = 0;
  uint64_t version = 0;
  int64_t deadline = kNoDeadline;
};

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

AttributeSet AttributesOf(const Traits& traits) {
  AttributeSet attributes;
  attributes.SetUlong(CKA_CLASS, traits.object_class);
  attributes.SetBytes(CKA_LABEL, BytesOf(traits.label));
  attributes.SetBytes(CKA_ID, BytesOf(traits.id));
  return attributes;
}

ObjectPtr ObjectOf(const Traits& traits) {
  auto object = std::make_shared<Object>();
  object->attributes = AttributesOf(traits);
  object->session = traits.row == 0 ? traits.session : 0;
  object->row = traits.row;
  object->version = traits.version;
  object->deadline = traits.deadline;
  return object;
}

class ObjectTableTest : public testing::Test {
 protected:
  CK_OBJECT_HANDLE Add(const Traits& traits) { return table_.Add(ObjectOf(traits)); }

  // What the index finds for these attributes, and how many objects it looked at.
  Handles Find(const AttributeSet& wanted, size_t most = 1000) {
    looked_at_ = 0;
    return table_.Select(IndexKeys::Of(wanted), table_.Present(), most, [&](const Object& object) {
      ++looked_at_;
      bool all = true;
      wanted.ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
        const auto its = object.attributes.Get(type);
        all = all && its && std::ranges::equal(*its, value);
      });
      return all;
    });
  }
  Handles FindId(const std::string& id) {
    AttributeSet wanted;
    wanted.SetBytes(CKA_ID, BytesOf(id));
    return Find(wanted);
  }
  Handles FindLabel(const std::string& label) {
    AttributeSet wanted;
    wanted.SetBytes(CKA_LABEL, BytesOf(label));
    return Find(wanted);
  }
  Handles FindClass(CK_OBJECT_CLASS object_class) {
    AttributeSet wanted;
    wanted.SetUlong(CKA_CLASS, object_class);
    return Find(wanted);
  }
  Handles All() { return Find({}); }

  ObjectTable table_;
  size_t looked_at_ = 0;
};

TEST_F(ObjectTableTest, LooksOnlyAtWhatHasAllKeys) {
  Handles made;
  for (int i = 0; i < 900; ++i) {
    made.push_back(Add({.id = "id " + std::to_string(i % 300),
                        .label = "label " + std::to_string(i % 7),
                        .object_class = i == 100 ? CKO_CERTIFICATE : CKO_DATA}));
  }
  EXPECT_THAT(FindId("id 100"), ElementsAre(made[100], made[400], made[700]));
  EXPECT_EQ(looked_at_, 3U);
  EXPECT_THAT(FindClass(CKO_CERTIFICATE), ElementsAre(made[100]));
  EXPECT_EQ(looked_at_, 1U);
  EXPECT_THAT(Find(AttributesOf({.id = "id 100", .label = "label 1"})), ElementsAre(made[400]));
  EXPECT_EQ(looked_at_, 1U);
  EXPECT_THAT(Find(AttributesOf({.id = "id 100", .label = "label 4"})), IsEmpty());
  EXPECT_EQ(looked_at_, 0U);
  EXPECT_EQ(FindLabel("label 6").size(), 128U);
  EXPECT_EQ(looked_at_, 128U);
  EXPECT_EQ(All(), made);
}

// Two attributes that most objects have one of, and few have both.
TEST_F(ObjectTableTest, LooksAtFewWhereFewHaveBothOfManyEach) {
  Handles both;
  for (int i = 0; i < 5000; ++i) {
    const bool has_both = i % 1000 == 500;
    const CK_OBJECT_HANDLE handle =
        Add({.id = has_both || i % 2 == 0 ? "id" : "", .label = has_both || i % 2 == 1 ? "l" : ""});
    if (has_both) both.push_back(handle);
  }
  AttributeSet wanted = AttributesOf({.id = "id", .label = "l"});
  EXPECT_EQ(Find(wanted), both);
  EXPECT_EQ(looked_at_, 5U);
}

// An empty value is in no index, and yet found.
TEST_F(ObjectTableTest, EmptyValuesAreFound) {
  const auto without = Add({.label = "a"});
  Add({.id = "id", .label = "a"});
  EXPECT_THAT(FindId(""), ElementsAre(without));
  EXPECT_THAT(Find(AttributesOf({.label = "a"})), ElementsAre(without));
}

TEST_F(ObjectTableTest, PortionsHaveEachObjectOnceAndNoneThatCameLater) {
  Handles made;
  for (int i = 0; i < 500; ++i) made.push_back(Add({.label = i % 2 == 0 ? "even" : "odd"}));
  AttributeSet wanted;
  wanted.SetBytes(CKA_LABEL, BytesOf("odd"));
  for (const size_t most : {size_t{1}, size_t{3}, size_t{64}, size_t{65}, size_t{249}}) {
    HandleRange rest = table_.Present();
    const auto late = Add({.label = "odd"});
    Handles found;
    for (;;) {
      const Handles portion =
          table_.Select(IndexKeys::Of(wanted), rest, most, [](const Object&) { return true; });
      found.insert(found.end(), portion.begin(), portion.end());
      if (portion.size() < most) break;
      ASSERT_EQ(portion.size(), most);
      rest.next = portion.back() + 1;
    }
    Handles want;
    for (size_t i = 1; i < made.size(); i += 2) want.push_back(made[i]);
    EXPECT_EQ(found, want) << most;
    table_.Remove(late);
  }
}

TEST_F(ObjectTableTest, ReplaceChangesWhereItIsFound) {
  const ObjectPtr before = ObjectOf({.id = "a", .label = "same"});
  const auto handle = table_.Add(before);
  const auto other = Add({.id = "a"});
  const ObjectPtr after = ObjectOf({.id = "b", .label = "same"});
  EXPECT_TRUE(table_.Replace(handle, before, after));
  EXPECT_THAT(FindId("a"), ElementsAre(other));
  EXPECT_EQ(looked_at_, 1U);
  EXPECT_THAT(FindId("b"), ElementsAre(handle));
  EXPECT_THAT(FindLabel("same"), ElementsAre(handle));
  EXPECT_FALSE(table_.Replace(handle, before, ObjectOf({.id = "c"})));
  EXPECT_THAT(FindId("b"), ElementsAre(handle));
  EXPECT_THAT(FindId("c"), IsEmpty());
  EXPECT_EQ(table_.Remove(handle), after);
  EXPECT_THAT(FindId("b"), IsEmpty());
  EXPECT_THAT(FindLabel("same"), IsEmpty());
  EXPECT_TRUE(table_.Replace(other, table_.Find(other), ObjectOf({.id = "b"})));
  EXPECT_THAT(FindId("b"), ElementsAre(other));
  EXPECT_EQ(looked_at_, 1U);
}

TEST_F(ObjectTableTest, NewerVersionsOfATokenObjectReplaceOlder) {
  const auto handle = Add({.id = "a", .row = 7, .version = 2, .deadline = 50});
  EXPECT_EQ(Add({.id = "old", .row = 7, .version = 1}), handle);
  EXPECT_THAT(FindId("a"), ElementsAre(handle));
  EXPECT_EQ(Add({.id = "b", .row = 7, .version = 3, .deadline = 40}), handle);
  EXPECT_THAT(FindId("a"), IsEmpty());
  EXPECT_THAT(FindId("b"), ElementsAre(handle));
  EXPECT_EQ(table_.EarliestDeadline(), 40);
  EXPECT_EQ(table_.TakeExpired(40, 10).size(), 1U);
  EXPECT_EQ(table_.EarliestDeadline(), kNoDeadline);
  EXPECT_THAT(All(), IsEmpty());
  EXPECT_NE(Add({.id = "b", .row = 7, .version = 3}), handle);
}

TEST_F(ObjectTableTest, WhatExpiresOrLosesItsSessionIsFoundNoMore) {
  Handles of_first, of_second;
  for (int i = 0; i < 300; ++i) {
    of_first.push_back(Add({.id = "id", .session = 11, .deadline = i < 10 ? i : kNoDeadline}));
    of_second.push_back(Add({.id = "id", .session = 12}));
  }
  Handles expired;
  for (const auto& [handle, object] : table_.TakeExpired(7, 5)) expired.push_back(handle);
  for (const auto& [handle, object] : table_.TakeExpired(7, 5)) expired.push_back(handle);
  EXPECT_EQ(expired, Handles(of_first.begin(), of_first.begin() + 8));
  EXPECT_EQ(table_.EarliestDeadline(), 8);
  EXPECT_EQ(FindId("id").size(), 592U);
  table_.RemoveSession(11);
  EXPECT_EQ(FindId("id"), of_second);
  EXPECT_EQ(table_.EarliestDeadline(), kNoDeadline);
  table_.RemoveIf([&](const Object& object) { return object.session == 12; });
  EXPECT_THAT(FindId("id"), IsEmpty());
  EXPECT_THAT(All(), IsEmpty());
}

TEST_F(ObjectTableTest, RemoveIfLeavesTheOthers) {
  Handles staying;
  for (int i = 0; i < 1000; ++i) {
    const auto handle = Add({.label = i % 3 == 0 ? "going" : "staying"});
    if (i % 3 != 0) staying.push_back(handle);
  }
  const AttributeSet going = AttributesOf({.label = "going"});
  table_.RemoveIf([&](const Object& object) { return object.attributes == going; });
  EXPECT_EQ(All(), staying);
  EXPECT_EQ(FindLabel("staying"), staying);
}

// A complete load takes out what the file has no more.
TEST_F(ObjectTableTest, ApplyBringsTheIndexAlong) {
  const auto of_session = Add({.id = "a"});
  std::vector<ObjectTable::Change> rows;
  for (int64_t row = 1; row <= 5; ++row) {
    rows.push_back({row, 0, ObjectOf({.id = "a", .row = row})});
  }
  ASSERT_TRUE(table_.Apply(table_.state(), 1, true, rows, {}));
  const Handles first = FindId("a");
  ASSERT_EQ(first.size(), 6U);
  EXPECT_EQ(first[0], of_session);
  const std::vector<ObjectTable::Change> changed = {
      {2, 1, ObjectOf({.id = "b", .row = 2, .version = 1})}};
  const std::vector<int64_t> deleted = {4};
  ASSERT_TRUE(table_.Apply(table_.state(), 2, false, changed, deleted));
  EXPECT_EQ(FindId("a"), (Handles{first[0], first[1], first[3], first[5]}));
  EXPECT_THAT(FindId("b"), ElementsAre(first[2]));
  ASSERT_TRUE(table_.Apply(table_.state(), 3, true, changed, {}));
  EXPECT_THAT(FindId("a"), ElementsAre(of_session));
  EXPECT_THAT(All(), ElementsAre(of_session, first[2]));
}

// Random changes, compared with looking at everything.
TEST_F(ObjectTableTest, AgreesWithLookingAtEverything) {
  std::mt19937 random(2);
  const auto any = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  std::map<CK_OBJECT_HANDLE, ObjectPtr> model;
  const auto make = [&] {
    return ObjectOf({.id = any(3) == 0 ? "" : "id " + std::to_string(any(20)),
                     .label = any(3) == 0 ? "" : "label " + std::to_string(any(5)),
                     .object_class = any(2) == 0 ? CKO_DATA : CKO_CERTIFICATE,
                     .session = 1 + any(4)});
  };
  for (int i = 0; i < 20'000; ++i) {
    const auto chosen = model.empty()
                            ? model.end()
                            : std::next(model.begin(), any(static_cast<unsigned>(model.size())));
    const unsigned what = any(100);
    if (what < 45) {
      const ObjectPtr object = make();
      model[table_.Add(object)] = object;
    } else if (what < 60 && chosen != model.end()) {
      auto changed = std::make_shared<Object>(*make());
      changed->session = chosen->second->session;
      ASSERT_TRUE(table_.Replace(chosen->first, chosen->second, changed));
      chosen->second = changed;
    } else if (what < 90 && chosen != model.end()) {
      ASSERT_EQ(table_.Remove(chosen->first), chosen->second);
      model.erase(chosen);
    } else if (what == 99 && any(3) == 0) {
      const CK_SESSION_HANDLE session = 1 + any(4);
      table_.RemoveSession(session);
      std::erase_if(model, [&](const auto& each) { return each.second->session == session; });
    }
    if (i % 10 != 0) continue;
    const AttributeSet like = make()->attributes;
    AttributeSet wanted;
    Handles want;
    for (const CK_ATTRIBUTE_TYPE type : {CKA_CLASS, CKA_LABEL, CKA_ID}) {
      if (any(2) == 0) wanted.SetBytes(type, *like.Get(type));
    }
    for (const auto& [handle, object] : model) {
      bool all = true;
      wanted.ForEach([&](CK_ATTRIBUTE_TYPE type, std::span<const uint8_t> value) {
        all = all && std::ranges::equal(*object->attributes.Get(type), value);
      });
      if (all) want.push_back(handle);
    }
    ASSERT_EQ(Find(wanted, SIZE_MAX), want);
  }
}

TEST_F(ObjectTableTest, ManyThreads) {
  Handles staying;
  for (int i = 0; i < 100; ++i) staying.push_back(Add({.id = "staying", .session = 9}));
  std::atomic<bool> end = false;
  std::vector<std::thread> others;
  for (CK_SESSION_HANDLE session = 1; session <= 3; ++session) {
    others.emplace_back([&, session] {
      for (unsigned i = 0; !end; ++i) {
        const ObjectPtr object = ObjectOf({.id = "coming", .session = session});
        const auto handle = table_.Add(object);
        EXPECT_TRUE(table_.Replace(handle, object, ObjectOf({.id = "going", .session = session})));
        if (i % 100 == 0) {
          table_.RemoveSession(session);
        } else if (i % 100 == 50) {
          table_.RemoveIf([&](const Object& its) { return its.session == session; });
        } else if (i % 2 == 0) {
          table_.Remove(handle);
        }
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(FindId("staying"), staying);
    (void)FindId("going");
  }
  end = true;
  for (std::thread& other : others) other.join();
  for (CK_SESSION_HANDLE session = 1; session <= 3; ++session) table_.RemoveSession(session);
  EXPECT_EQ(All(), staying);
}

}  // namespace
}  // namespace secretmem

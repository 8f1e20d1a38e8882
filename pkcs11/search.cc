#include "pkcs11/search.h"

#include <algorithm>
#include <limits>

#include "pkcs11/attribute_access.h"
#include "pkcs11/attribute_rules.h"

namespace secretmem {
namespace {

// MayBeKept says whether the values may lie in ordinary memory, and are worth it.
bool MayBeKept(const TemplateReader& wanted) {
  constexpr size_t kMostBytes = 4096;
  size_t bytes = 0;
  for (const TemplateEntry& entry : wanted.entries()) {
    if (MayBeSecretAttribute(entry.type)) return false;
    bytes += entry.value.size();
  }
  return bytes <= kMostBytes;
}

}  // namespace

Search::Search(const Token& token, const TemplateReader& wanted)
    : keys_(IndexKeys::Of(wanted)), rest_(token.Present()) {
  if (MayBeKept(wanted)) {
    wanted_ = wanted.KeepIn(values_);
    return;
  }
  found_ = token.Select(keys_, rest_, std::numeric_limits<size_t>::max(),
                        [&](const Object& object) { return Matches(object, wanted); });
  rest_.next = rest_.end;
}

std::vector<CK_OBJECT_HANDLE> Search::Next(const Token& token, size_t most) {
  const std::lock_guard lock(mutex_);
  std::vector<CK_OBJECT_HANDLE> handles;
  if (rest_.next < rest_.end && most > 0) {
    handles = token.Select(keys_, rest_, most,
                           [&](const Object& object) { return Matches(object, wanted_); });
    rest_.next = handles.size() < most ? rest_.end : handles.back() + 1;
    return handles;
  }
  size_t looked_at = looked_at_;
  for (; looked_at < found_.size() && handles.size() < most; ++looked_at) {
    if (token.Find(found_[looked_at]) != nullptr) handles.push_back(found_[looked_at]);
  }
  looked_at_ = looked_at;
  return handles;
}

}  // namespace secretmem

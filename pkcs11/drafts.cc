#include "pkcs11/drafts.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "pkcs11/attribute_rules.h"

namespace secretmem {
namespace {

// Question is a template and a request as bytes: equal ones have equal answers. Empty if they are
// too long, or not told by their bytes.
class Question {
 public:
  Question(const TemplateReader& given, const BuildRequest& request) {
    if ((request.imposed != nullptr && !request.imposed->empty()) || request.bound_to) return;
    uint64_t flags = static_cast<uint64_t>(request.origin) |
                     static_cast<uint64_t>(request.caller.login) << 8 |
                     uint64_t{request.caller.read_write} << 16;
    if (const auto& base = request.base) {
      flags |= uint64_t{1} << 17 | uint64_t{base->sensitive} << 18 |
               uint64_t{base->extractable} << 19 | uint64_t{base->always_sensitive} << 20 |
               uint64_t{base->never_extractable} << 21 | uint64_t{base->binds} << 22;
    }
    const uint64_t numbers[] = {flags, request.object_class.value_or(CK_UNAVAILABLE_INFORMATION),
                                request.key_type.value_or(CK_UNAVAILABLE_INFORMATION),
                                request.default_key_type.value_or(CK_UNAVAILABLE_INFORMATION),
                                request.mechanism};
    bool fits = Append(numbers, sizeof(numbers));
    for (const TemplateEntry& entry : given.entries()) {
      // What lies behind the pointers of a template attribute could change.
      const bool has_pointers = (entry.type & CKF_ARRAY_ATTRIBUTE) != 0;
      const uint64_t header[] = {entry.type, entry.value.size()};
      fits = fits && !has_pointers && !MayBeSecretAttribute(entry.type) &&
             Append(header, sizeof(header)) && Append(entry.value.data(), entry.value.size());
    }
    if (!fits) size_ = 0;
  }

  std::span<const uint8_t> bytes() const { return {bytes_.data(), size_}; }

 private:
  bool Append(const void* from, size_t size) {
    if (size > bytes_.size() - size_) return false;
    if (size > 0) memcpy(bytes_.data() + size_, from, size);
    size_ += size;
    return true;
  }

  std::array<uint8_t, 512> bytes_;
  size_t size_ = 0;
};

}  // namespace

std::expected<BuiltObject, CK_RV> Drafts::Build(const TemplateReader& given,
                                                const BuildRequest& request) {
  const Question question(given, request);
  if (question.bytes().empty()) return BuildObject(given, request);
  if (auto found = Find(question.bytes())) {
    const std::string_view id = request.unique_id;
    found->SetBytes(CKA_UNIQUE_ID, {reinterpret_cast<const uint8_t*>(id.data()), id.size()});
    return BuiltObject{std::move(*found), {}};
  }
  auto built = BuildObject(given, request);
  if (built) Keep(question.bytes(), built->attributes);
  return built;
}

std::optional<AttributeSet> Drafts::Find(std::span<const uint8_t> question) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(
      drafts_, [&](const Draft& draft) { return std::ranges::equal(draft.question, question); });
  if (found == drafts_.end()) return std::nullopt;
  return found->answer;
}

void Drafts::Keep(std::span<const uint8_t> question, const AttributeSet& answer) {
  Draft draft{{question.begin(), question.end()}, answer};
  const std::lock_guard lock(mutex_);
  std::swap(drafts_[next_], draft);
  next_ = (next_ + 1) % kDrafts;
}

}  // namespace secretmem

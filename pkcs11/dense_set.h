#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace secretmem {

// DenseSet is an ordered set of small values, by their |key()|, of which there are many: they lie
// in leaves of about a kilobyte, so that a value takes little more memory than its own bytes, where
// std::set adds 48. Finding, inserting and erasing take logarithmic time. Values move without
// throwing, and what they hold when default-constructed is nothing.
template <class T>
class DenseSet {
 public:
  using Key = std::decay_t<decltype(std::declval<const T&>().key())>;

 private:
  static constexpr size_t kMost = 960 / sizeof(T);

  struct Leaf {
    uint32_t size = 0;
    uint32_t last = 0;  // where the last value was inserted
    std::array<T, kMost> values{};

    size_t Position(const Key& key) const {
      const auto end = values.begin() + size;
      return static_cast<size_t>(
          std::lower_bound(values.begin(), end, key,
                           [](const T& value, const Key& wanted) { return value.key() < wanted; }) -
          values.begin());
    }
    bool Has(size_t at, const Key& key) const { return at < size && values[at].key() == key; }
  };
  // By keys that are not above the leaf's values, and above those of the leaf before.
  using Leaves = std::map<Key, Leaf>;

 public:
  // Cursor goes through a set that nobody changes meanwhile.
  class Cursor {
   public:
    explicit operator bool() const { return leaf_ != leaves_->end(); }
    const T& operator*() const { return leaf_->second.values[at_]; }
    const T* operator->() const { return &**this; }
    Cursor& operator++() {
      ++at_;
      Settle();
      return *this;
    }

   private:
    friend class DenseSet;
    explicit Cursor(const Leaves& leaves) : leaves_(&leaves), leaf_(leaves.begin()) {
      if (*this) Settle();
    }
    Cursor(const Leaves& leaves, const Key& key) : leaves_(&leaves), leaf_(LeafOf(leaves, key)) {
      if (!*this) return;
      at_ = leaf_->second.Position(key);
      Settle();
    }
    // Behind the last value of a leaf is the first of the next one. One leaf may be empty: the
    // only.
    void Settle() {
      if (at_ < leaf_->second.size) return;
      ++leaf_;
      at_ = 0;
    }

    const Leaves* leaves_;
    typename Leaves::const_iterator leaf_;
    size_t at_ = 0;
  };

  // First returns a cursor at the first value, From at the first that is not below |key|.
  Cursor First() const { return Cursor(leaves_); }
  Cursor From(const Key& key) const { return Cursor(leaves_, key); }

  // Find returns the value, or null. Its key must not be changed.
  const T* Find(const Key& key) const {
    const auto leaf = LeafOf(leaves_, key);
    if (leaf == leaves_.end()) return nullptr;
    const size_t at = leaf->second.Position(key);
    return leaf->second.Has(at, key) ? &leaf->second.values[at] : nullptr;
  }
  T* Find(const Key& key) { return const_cast<T*>(std::as_const(*this).Find(key)); }

  // Insert puts |value| in where none has its key. Throws std::bad_alloc, and nothing is changed.
  void Insert(T value) {
    const Key key = value.key();
    if (leaves_.empty()) leaves_.try_emplace(key);
    auto leaf = LeafOf(leaves_, key);
    if (key < leaf->first) {
      auto first = leaves_.extract(leaf);
      first.key() = key;
      leaf = leaves_.insert(leaves_.begin(), std::move(first));
    }
    size_t at = leaf->second.Position(key);
    if (leaf->second.Has(at, key)) return;
    if (leaf->second.size == kMost) {
      const auto right = Split(leaf, at, key);
      if (const size_t left = leaf->second.size; at > left || left == kMost) {
        leaf = right;
        at -= left;
      }
    }
    Leaf& to = leaf->second;
    std::move_backward(to.values.begin() + at, to.values.begin() + to.size,
                       to.values.begin() + to.size + 1);
    to.values[at] = std::move(value);
    to.last = static_cast<uint32_t>(at);
    ++to.size;
  }

  // Erase takes the value out, if it is there. It allocates nothing.
  void Erase(const Key& key) {
    const auto leaf = LeafOf(leaves_, key);
    if (leaf == leaves_.end()) return;
    Leaf& from = leaf->second;
    const size_t at = from.Position(key);
    if (!from.Has(at, key)) return;
    std::move(from.values.begin() + at + 1, from.values.begin() + from.size,
              from.values.begin() + at);
    from.values[--from.size] = T{};
    if (from.size >= kMost / 4) return;
    if (std::next(leaf) != leaves_.end()) {
      JoinNext(leaf);
    } else if (leaf != leaves_.begin()) {
      JoinNext(std::prev(leaf));
    }
  }

 private:
  // LeafOf is where |key| is if it is anywhere; or the end, if there are no leaves.
  template <class L>
  static auto LeafOf(L& leaves, const Key& key) {
    auto leaf = leaves.upper_bound(key);
    return leaf == leaves.begin() ? leaf : std::prev(leaf);
  }

  // Split makes a leaf behind a full one, into which |key| is to come at |at|. Values that come in
  // ascending order leave full leaves behind.
  typename Leaves::iterator Split(typename Leaves::iterator leaf, size_t at, const Key& key) {
    Leaf& left = leaf->second;
    const size_t cut = at == left.last + 1 ? at : kMost / 2;
    const auto right =
        leaves_.try_emplace(std::next(leaf), cut == kMost ? key : left.values[cut].key());
    const auto end = left.values.begin() + kMost;
    std::move(left.values.begin() + cut, end, right->second.values.begin());
    std::fill(left.values.begin() + cut, end, T{});
    right->second.size = static_cast<uint32_t>(kMost - cut);
    right->second.last = kMost;  // nowhere
    left.size = static_cast<uint32_t>(cut);
    return right;
  }

  // JoinNext empties the leaf behind |leaf| into it where both are small or one is empty.
  void JoinNext(typename Leaves::iterator leaf) {
    const auto next = std::next(leaf);
    Leaf& to = leaf->second;
    Leaf& from = next->second;
    if (to.size != 0 && from.size != 0 && to.size + from.size > kMost / 2) return;
    std::move(from.values.begin(), from.values.begin() + from.size, to.values.begin() + to.size);
    to.size += from.size;
    leaves_.erase(next);
  }

  Leaves leaves_;
};

}  // namespace secretmem

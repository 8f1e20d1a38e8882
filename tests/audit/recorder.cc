#include "tests/audit/recorder.h"

#include <algorithm>
#include <cstring>

#include "tests/audit/wire.h"

namespace secretmem::audit {
namespace {

constexpr uint64_t kChunk = 1024 * 1024;
constexpr size_t kOverlap = 7;  // a window may begin in one page and end in the next

bool IsArena(const Mapping& mapping) {
  return mapping.start < kArenaAddress + kArenaSize && kArenaAddress < mapping.end;
}

bool IsKernelOwned(const Mapping& mapping) {
  return mapping.name.starts_with("[vvar") || mapping.name == "[vsyscall]";
}

void Merge(std::map<std::string, Finding>* found, const Finding& finding) {
  auto [at, fresh] = found->try_emplace(finding.form + '\0' + finding.place, finding);
  if (!fresh) at->second.windows += finding.windows;
}

}  // namespace

Recorder::Recorder(pid_t pid) : memory_(pid), buffer_(kChunk) {}

uint32_t Recorder::PlaceOf(const Mapping& mapping) {
  auto [at, fresh] = place_of_mapping_.try_emplace(mapping.start, 0);
  if (fresh || !places_[at->second].starts_with(mapping.name)) {
    at->second = static_cast<uint32_t>(places_.size());
    places_.push_back(mapping.name + " " + mapping.permissions);
  }
  return at->second;
}

bool Recorder::Look(const std::string& when, Scope scope) {
  if (!memory_.usable()) return false;
  mappings_ = ReadMappings(memory_.pid());
  if (mappings_.empty()) return false;
  const auto look = static_cast<uint32_t>(looks_.size());
  looks_.push_back(when);
  for (const Mapping& mapping : mappings_) {
    if (IsArena(mapping) || IsKernelOwned(mapping)) continue;
    if (scope == Scope::kEverything || mapping.writable()) LookAt(mapping, look);
  }
  if (scope != Scope::kEverything) return true;
  // A page that is gone holds nothing any more.
  for (auto at = shadow_.begin(); at != shadow_.end();) {
    if (visited_[at->first] != look) {
      history_[at->first].push_back(look);
      at = shadow_.erase(at);
    } else {
      ++at;
    }
  }
  return true;
}

void Recorder::LookAt(const Mapping& mapping, uint32_t look) {
  // Large mappings are mostly empty (thread stacks, malloc's reserves): ask which pages exist.
  const bool sparse = mapping.size() > 64 * kPage && !mapping.name.starts_with("/");
  const bool forced = !mapping.readable();
  std::vector<bool> populated;
  if (sparse || forced) populated = memory_.PopulatedPages(mapping.start, mapping.end);
  unreadable_.erase(mapping.start);
  for (uint64_t at = mapping.start; at < mapping.end;) {
    uint64_t end = std::min(mapping.end, at + kChunk);
    if (!populated.empty()) {
      auto is_populated = [&](uint64_t page) { return populated[(page - mapping.start) / kPage]; };
      while (at < mapping.end && !is_populated(at)) at += kPage;
      if (at >= mapping.end) break;
      end = at + kPage;
      while (end < mapping.end && end - at < kChunk && is_populated(end)) end += kPage;
    }
    const std::span<uint8_t> to(buffer_.data(), end - at);
    ssize_t got = forced ? memory_.ReadForced(at, to) : memory_.Read(at, to);
    if (got <= 0 && !forced) got = memory_.ReadForced(at, to);
    if (got <= 0) {
      unreadable_[mapping.start] += kPage;
      at += kPage;
      continue;
    }
    const auto whole = static_cast<uint64_t>(got) / kPage * kPage;
    bytes_read_ += static_cast<uint64_t>(got);
    Record(mapping, look, at, to.first(whole));
    at += std::max(whole, kPage);
  }
}

void Recorder::Record(const Mapping& mapping, uint32_t look, uint64_t start,
                      std::span<const uint8_t> run) {
  static constexpr Page kZero = {};
  for (size_t offset = 0; offset < run.size(); offset += kPage) {
    const uint64_t address = start + offset;
    std::unique_ptr<Page>& known = shadow_[address];
    visited_[address] = look;
    const uint8_t* now = run.data() + offset;
    if (known != nullptr && std::memcmp(known->data(), now, kPage) == 0) continue;
    const bool fresh = known == nullptr;
    if (fresh) known = std::make_unique<Page>();
    std::memcpy(known->data(), now, kPage);
    if (fresh && std::memcmp(now, kZero.data(), kPage) == 0) continue;
    history_[address].push_back(look);
    const size_t before = std::min(offset, kOverlap);
    const size_t after = std::min(run.size() - offset - kPage, kOverlap);
    observations_.push_back(
        {look, PlaceOf(mapping), address - before, Bytes(now - before, now + kPage + after)});
  }
}

std::string Recorder::LastSeen(const Observation& observation) const {
  const uint64_t page = (observation.address + kOverlap) / kPage * kPage;
  const auto history = history_.find(page);
  if (history == history_.end()) return looks_.back();
  const auto& changes = history->second;
  const auto next = std::upper_bound(changes.begin(), changes.end(), observation.look);
  return next == changes.end() ? looks_.back() : looks_[*next - 1];
}

std::vector<Finding> Recorder::Search(const WindowSet& secrets) const {
  std::map<std::string, Finding> found;
  for (const Observation& observation : observations_) {
    secrets.Search(observation.bytes, [&](size_t offset, const WindowSet::Origin& origin) {
      Finding finding;
      finding.form = secrets.forms()[origin.form];
      finding.place = places_[observation.place];
      finding.first = looks_[observation.look];
      finding.last = LastSeen(observation);
      finding.address = observation.address + offset;
      finding.windows = 1;
      auto [at, fresh] = found.try_emplace(finding.form + '\0' + finding.place, finding);
      if (!fresh) {
        at->second.windows += 1;
        at->second.last = finding.last;
      }
    });
  }
  SearchWrites(secrets, &found);
  std::vector<Finding> findings;
  for (auto& [key, finding] : found) findings.push_back(std::move(finding));
  return findings;
}

void Recorder::SearchWrites(const WindowSet& secrets, std::map<std::string, Finding>* found) const {
  // The stack is played again, write by write; after each step every window that one of the
  // step's words takes part in is looked up.
  std::unordered_map<uint64_t, uint64_t> stack;
  auto word_at = [&](uint64_t address) {
    const auto at = stack.find(address);
    return at == stack.end() ? 0 : at->second;
  };
  for (size_t i = 0; i < writes_.size();) {
    size_t end = i;
    while (end < writes_.size() && writes_[end].step == writes_[i].step) {
      stack[writes_[end].address] = writes_[end].word;
      ++end;
    }
    for (; i < end; ++i) {
      const Write& write = writes_[i];
      std::array<uint64_t, 3> around = {word_at(write.address - 8), write.word,
                                        word_at(write.address + 8)};
      std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(around.data()), 24);
      secrets.Search(bytes.subspan(1, 22), [&](size_t offset, const WindowSet::Origin& origin) {
        Finding finding;
        finding.form = secrets.forms()[origin.form];
        finding.place = "[stack] while stepping";
        finding.first = finding.last = "step " + std::to_string(write.step);
        finding.address = write.address - 7 + offset;
        finding.step = write.step;
        finding.instruction = write.instruction;
        finding.windows = 1;
        Merge(found, finding);
      });
    }
  }
}

}  // namespace secretmem::audit

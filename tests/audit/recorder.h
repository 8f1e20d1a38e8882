// A record of everything readable in a process, taken first and searched afterwards, so that
// secrets which become known only later (generated keys, nonces) are searched for as well.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/audit/forms.h"
#include "tool/process_memory.h"

namespace secretmem::audit {

// Finding is one form of one secret in one mapping.
struct Finding {
  std::string form;
  std::string place;          // the mapping's name
  std::string first;          // the look, or the step, that saw it first
  std::string last;           // the last look at which it was still there
  uint64_t address = 0;       // of the first window seen
  uint64_t step = 0;          // of a stepped call, counted from 1; 0 outside one
  uint64_t instruction = 0;   // address of the instruction that wrote it, when stepped
  uint64_t windows = 0;       // how often a window of this form was seen in this mapping
  std::string writer;         // `instruction` by name
  uint64_t below_caller = 0;  // distance of `address` below the stack pointer of the caller
};

class Recorder {
 public:
  enum class Scope { kWritable, kEverything };

  // `excluded` is the arena; it belongs to the caller, not to the module.
  explicit Recorder(pid_t pid);

  // Look records what changed since the last look. False when the process cannot be read at all.
  bool Look(const std::string& when, Scope scope);

  // StackWrite records that `word` stood at `address` after `step`, written by `instruction`.
  void StackWrite(uint64_t step, uint64_t instruction, uint64_t address, uint64_t word) {
    writes_.push_back({step, instruction, address, word});
  }

  // Search finds every window of `secrets` in everything recorded.
  std::vector<Finding> Search(const WindowSet& secrets) const;

  uint64_t looks() const { return looks_.size(); }
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t stack_writes() const { return writes_.size(); }
  // The mappings of the latest look, and which of them could not be read.
  const std::vector<Mapping>& mappings() const { return mappings_; }
  const std::map<uint64_t, uint64_t>& unreadable() const { return unreadable_; }

 private:
  static constexpr uint64_t kPage = 4096;
  using Page = std::array<uint8_t, kPage>;
  struct Observation {
    uint32_t look;
    uint32_t place;
    uint64_t address;
    Bytes bytes;
  };
  struct Write {
    uint64_t step, instruction, address, word;
  };

  void LookAt(const Mapping& mapping, uint32_t look);
  void Record(const Mapping& mapping, uint32_t look, uint64_t start, std::span<const uint8_t> run);
  void SearchWrites(const WindowSet& secrets, std::map<std::string, Finding>* found) const;
  uint32_t PlaceOf(const Mapping& mapping);
  std::string LastSeen(const Observation& observation) const;

  ProcessMemory memory_;
  std::vector<std::string> looks_;
  std::vector<std::string> places_;
  std::unordered_map<uint64_t, uint32_t> place_of_mapping_;
  std::vector<Mapping> mappings_;
  std::map<uint64_t, uint64_t> unreadable_;  // start of a mapping, bytes
  std::unordered_map<uint64_t, std::unique_ptr<Page>> shadow_;
  std::unordered_map<uint64_t, uint32_t> visited_;               // page, look
  std::unordered_map<uint64_t, std::vector<uint32_t>> history_;  // page, looks that saw it change
  std::vector<Observation> observations_;
  std::vector<Write> writes_;
  Bytes buffer_;
  uint64_t bytes_read_ = 0;
};

}  // namespace secretmem::audit

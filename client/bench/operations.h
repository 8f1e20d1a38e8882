// The operations that are measured.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "client/bench/subject.h"

namespace secretmem::bench {

// Work does one operation; one thread calls it again and again. It throws where it fails.
using Work = std::function<void()>;

// Worker makes the Work of one thread; all that it makes share their keys.
using Worker = std::function<Work()>;

// Operation is one row of the table.
struct Operation {
  std::string_view id;    // for options and JSON
  std::string_view name;  // for people
  // Throws Lacking where the module has it not.
  Worker (*of_module)(const Module& module);
  // durable: it leaves token objects behind, and waits for the disk.
  bool durable = false;
};

std::span<const Operation> Operations();

}  // namespace secretmem::bench

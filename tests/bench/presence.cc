// Modules with many objects in them.

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "client/bench/measure.h"
#include "tests/bench/children.h"
#include "tests/bench/demands.h"

namespace secretmem::bench {
namespace {

std::string IdOf(size_t number) { return "id " + std::to_string(number); }
std::string LabelOf(size_t number) { return "label " + std::to_string(number); }

// Filling makes X25519 private keys, each with an ID and a label of its own.
class Filling {
 public:
  Filling(const Module& module, bool token)
      : module_(module),
        key_type_(module.Has(CKM_EC_MONTGOMERY_KEY_PAIR_GEN) ? CKK_EC_MONTGOMERY : CKK_EC_EDWARDS),
        token_(token) {}

  void Add() {
    const size_t number = handles_.size();
    Bytes value(32, 7);
    memcpy(value.data(), &number, sizeof(number));
    const Bytes params = {0x06, 0x03, 0x2b, 0x65, 0x6e};
    handles_.push_back(
        module_.Create(module_.session(), Template()
                                              .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                                              .With(CKA_KEY_TYPE, key_type_)
                                              .With(CKA_TOKEN, token_)
                                              .With(CKA_PRIVATE, true)
                                              .With(CKA_DERIVE, true)
                                              .With(CKA_EC_PARAMS, params)
                                              .With(CKA_VALUE, value)
                                              .With(CKA_ID, IdOf(number))
                                              .With(CKA_LABEL, LabelOf(number))));
  }

  // To adds until there are |count|; throws Lacking once that would take longer than |budget| from
  // |began|.
  void To(size_t count, double began, double budget) {
    const size_t before = handles_.size();
    const double start = WallSeconds();
    handles_.reserve(count);
    while (handles_.size() < count) {
      Add();
      const size_t made = handles_.size() - before;
      if (made % 64 != 0) continue;
      const double each = (WallSeconds() - start) / static_cast<double>(made);
      if (start - began + each * static_cast<double>(count - before) > budget) {
        throw Lacking("making them would take " +
                      std::to_string(static_cast<int>(each * static_cast<double>(count))) + " s");
      }
    }
  }

  void DestroyAll() {
    for (const CK_OBJECT_HANDLE handle : handles_) {
      Check(module_.p11().C_DestroyObject(module_.session(), handle), "C_DestroyObject");
    }
    handles_.clear();
  }

 private:
  const Module& module_;
  const CK_KEY_TYPE key_type_;
  const bool token_;
  std::vector<CK_OBJECT_HANDLE> handles_;
};

// Memory is what this process has, in bytes.
struct Memory {
  double resident = 0;
  double secret = 0;

  static Memory Now() {
    Memory now;
    std::ifstream statm("/proc/self/statm");
    size_t pages = 0;
    statm >> pages >> pages;
    now.resident = static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find("secretmem") == std::string::npos) continue;
      unsigned long low = 0, high = 0;
      if (sscanf(line.c_str(), "%lx-%lx", &low, &high) == 2) {
        now.secret += static_cast<double>(high - low);
      }
    }
    return now;
  }
};

// Search makes a Work that finds one object by |wanted|.
Work Search(const Module& module, Template wanted) {
  return [&module, session = module.session(), wanted]() mutable {
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;
    const CK_FUNCTION_LIST& p11 = module.p11();
    Check(p11.C_FindObjectsInit(session, wanted.data(), wanted.size()), "C_FindObjectsInit");
    Check(p11.C_FindObjects(session, &found, 1, &count), "C_FindObjects");
    Check(p11.C_FindObjectsFinal(session), "C_FindObjectsFinal");
    if (count != 1) throw std::runtime_error("an object is not found");
  };
}

const Operation& OperationOf(std::string_view id) {
  for (const Operation& operation : Operations()) {
    if (operation.id == id) return operation;
  }
  throw std::logic_error("no such operation");
}

Json MeasureWith(const Module& module, size_t count) {
  const size_t middle = count / 2;
  const struct {
    const char* name;
    Work work;
  } works[] = {
      {"raw", DemandOf(OperationOf("x25519-derive")).raw()()},
      {"derive", OperationOf("x25519-derive").of_module(module)()},
      {"session", OperationOf("session").of_module(module)()},
      {"find_id", Search(module, Template().With(CKA_ID, IdOf(middle)))},
      {"find_label", Search(module, Template().With(CKA_LABEL, LabelOf(middle)))},
      {"find_both",
       Search(module,
              Template().With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}).With(CKA_ID, IdOf(middle)))},
      {"find_rare_class", Search(module, Template().With(CKA_CLASS, CK_ULONG{CKO_DATA}))},
      {"find_first_of_class",
       Search(module, Template().With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY}))},
  };
  std::vector<Work> all;
  for (const auto& each : works) all.push_back(each.work);
  const auto seconds = Alone(all, 9, 0.003, Clock::kThread);
  Json answer = {{"objects", count}};
  for (size_t i = 0; i < all.size(); ++i) {
    answer[std::string(works[i].name) + "_us"] = Median(seconds[i]) * 1e6;
  }
  return answer;
}

}  // namespace

Json MeasurePresent(const Json& request) {
  const Module module(ModuleName(request.at("path"), request.at("label")));
  (void)module.Create(module.session(), Template()
                                            .With(CKA_CLASS, CK_ULONG{CKO_DATA})
                                            .With(CKA_TOKEN, false)
                                            .With(CKA_PRIVATE, false)
                                            .With(CKA_LABEL, "the one data object"));
  Filling filling(module, false);
  // What is there once is there before the first look.
  filling.Add();
  Json answer = Json::array();
  const double began = WallSeconds();
  const Memory before = Memory::Now();
  for (const size_t count : request.at("counts").get<std::vector<size_t>>()) {
    try {
      filling.To(count, began, request.at("budget"));
    } catch (const Lacking& lacking) {
      answer.push_back({{"objects", count}, {"lacking", lacking.what()}});
      break;
    }
    const Memory full = Memory::Now();
    Json row = MeasureWith(module, count);
    // Among fewer, what the first use of things takes would be told as theirs.
    if (count >= 100'000) {
      const auto more = static_cast<double>(count - 1);
      row["bytes_each"] = (full.resident - before.resident) / more;
      row["secret_bytes_each"] = (full.secret - before.secret) / more;
    }
    answer.push_back(row);
  }
  filling.DestroyAll();
  answer.push_back({{"secret_left", Memory::Now().secret - before.secret}});
  return answer;
}

Json FillToken(const Json& request) {
  // Never destroyed: the directory is the caller's from here on.
  const auto* module = new Module(ModuleName(request.at("path"), request.at("label")));
  Filling filling(*module, true);
  const size_t count = request.at("count");
  filling.To(count, WallSeconds(), request.at("budget"));
  module->p11().C_Finalize(nullptr);
  return {{"directory", module->directory()}, {"id", IdOf(count / 2)}};
}

}  // namespace secretmem::bench

#include "tests/bench/report.h"

#include <cstdio>
#include <map>

#include "client/bench/measure.h"

namespace secretmem::bench {
namespace {

constexpr const char* kLacking = "n/a";

std::string Number(const Json& value, const char* format) {
  if (!value.is_number()) return kLacking;
  char text[32];
  snprintf(text, sizeof(text), format, value.get<double>());
  return text;
}

std::string Rate(const Json& us) {
  return us.is_number() ? RateText(us.get<double>() * 1e-6) : kLacking;
}

// Bounds checks figures against what is asked for, and counts.
class Bounds {
 public:
  explicit Bounds(double slack) : slack_(slack) {}

  std::string AtMost(const Json& value, double most, const char* format) {
    return Say(value, most, format, "≤", [&](double v) { return v <= most * slack_; });
  }
  std::string AtLeast(const Json& value, double least, const char* format) {
    return Say(value, least, format, "≥", [&](double v) { return v >= least / slack_; });
  }
  int missed() const { return missed_; }

 private:
  template <class Holds>
  std::string Say(const Json& value, double bound, const char* format, const char* sign,
                  Holds&& holds) {
    std::string text = Number(value, format);
    if (bound == 0 || !value.is_number()) return text;
    const bool well = holds(value.get<double>());
    if (!well) ++missed_;
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "%g", bound);
    return text + " (" + sign + " " + wanted + (well ? ")" : ", **missed**)");
  }

  const double slack_;
  int missed_ = 0;
};

void PrintRow(const std::vector<std::string>& cells) {
  for (const std::string& cell : cells) printf("| %s ", cell.c_str());
  puts("|");
}

void PrintHead(const std::vector<std::string>& cells) {
  PrintRow(cells);
  PrintRow(std::vector<std::string>(cells.size(), "---"));
}

const Json& Get(const Json& object, const std::string& key) {
  static const Json kNone;
  const auto found = object.find(key);
  return found == object.end() ? kNone : *found;
}

void PrintAlone(const Json& results, Bounds& bounds) {
  const Json& rows = Get(results, "alone");
  if (rows.empty()) return;
  const Json& modules = results.at("modules");
  puts("\nOne thread, session objects: operations in a second, and how they compare.\n");
  std::vector<std::string> head = {"operation", "BoringSSL"};
  for (const Json& module : modules) head.push_back(module);
  head.push_back(modules[0].get<std::string>() + ", time of BoringSSL");
  for (size_t i = 1; i < modules.size(); ++i) {
    head.push_back(modules[0].get<std::string>() + ", speed of " + modules[i].get<std::string>());
  }
  PrintHead(head);
  for (const Json& row : rows) {
    const Json& us = row.at("us");
    std::vector<std::string> cells = {row.at("name"), Rate(Get(us, "BoringSSL"))};
    for (const Json& module : modules) cells.push_back(Rate(Get(us, module)));
    std::string raw = bounds.AtMost(Get(row, "to_raw"), row.at("most_raw"), "%.3f");
    if (row.at("most_raw_us") != 0) {
      raw += ", " + bounds.AtMost(Get(row, "more_us"), row.at("most_raw_us"), "%.2f") + " µs more";
    }
    if (row.at("most_us") != 0) {
      raw = bounds.AtMost(Get(us, modules[0]), row.at("most_us"), "%.2f") + " µs";
    }
    cells.push_back(raw);
    for (size_t i = 1; i < modules.size(); ++i) {
      const bool softhsm2 = modules[i].get<std::string>().find("softhsm") != std::string::npos;
      cells.push_back(bounds.AtLeast(Get(row.at("speed_of"), modules[i]),
                                     softhsm2 ? row.at("least_softhsm2").get<double>() : 0,
                                     "%.2f"));
    }
    PrintRow(cells);
  }
}

void PrintThreads(const Json& results, Bounds& bounds) {
  const Json& rows = Get(results, "threads");
  if (rows.empty()) return;
  puts("\nThreads: operations in a second, and how many times those of one thread.\n");
  std::vector<std::string> head = {"operation", "keys", "of"};
  for (const Json& count : results.at("thread_counts")) {
    head.push_back(std::to_string(count.get<int>()));
  }
  head.push_back("two threads, scaling of BoringSSL");
  PrintHead(head);
  for (const Json& row : rows) {
    std::vector<std::string> cells = {row.at("name"), row.at("keys"), row.at("of")};
    const Json& rates = row.at("rates");
    for (size_t i = 0; i < rates.size(); ++i) {
      const Json us = rates[i].is_number() ? Json(1e6 / rates[i].get<double>()) : Json();
      cells.push_back(Rate(us) + (i > 0 ? " ×" + Number(row.at("scaling")[i], "%.2f") : ""));
    }
    const bool bound = row.at("of") == results.at("modules")[0];
    cells.push_back(row.at("of") == "BoringSSL"
                        ? ""
                        : bounds.AtLeast(Get(row, "two_to_raw"), bound ? 0.95 : 0, "%.3f"));
    PrintRow(cells);
  }
}

void PrintPresent(const Json& results, Bounds& bounds) {
  const Json& all = Get(results, "present");
  if (all.empty()) return;
  puts("\nWith so many session objects present, X25519 private keys: microseconds.\n");
  PrintHead({"module", "objects", "find by CKA_ID", "by CKA_LABEL", "by class and CKA_ID",
             "the one of a class", "the first of all of a class", "C_OpenSession, C_CloseSession",
             "derive, time of BoringSSL", "bytes an object", "of them secret memory"});
  for (const auto& [module, rows] : all.items()) {
    const bool bound = module == results.at("modules")[0];
    if (!rows.is_array()) {
      PrintRow({module, Number({}, "") + ": " + Get(rows, "lacking").dump()});
      continue;
    }
    for (const Json& row : rows) {
      if (!row.contains("objects")) continue;
      const std::string count = std::to_string(row.at("objects").get<size_t>());
      if (row.contains("lacking")) {
        PrintRow(
            {module, count, std::string(kLacking) + ": " + row.at("lacking").get<std::string>()});
        continue;
      }
      const auto find = [&](const char* name) {
        return bounds.AtMost(Get(row, name), bound ? 5 : 0, "%.2f");
      };
      const Json ratio = row.at("derive_us").get<double>() / row.at("raw_us").get<double>();
      PrintRow({module, count, find("find_id_us"), find("find_label_us"), find("find_both_us"),
                find("find_rare_class_us"), find("find_first_of_class_us"),
                bounds.AtMost(Get(row, "session_us"), bound ? 1 : 0, "%.2f"),
                bounds.AtMost(ratio, bound ? 1.05 : 0, "%.3f"),
                bounds.AtMost(Get(row, "bytes_each"), bound ? 600 : 0, "%.0f"),
                bounds.AtMost(Get(row, "secret_bytes_each"), bound ? 64 : 0, "%.1f")});
    }
    printf("\n%s, after all were destroyed: %s bytes of secret memory more than before.\n\n",
           module.c_str(), Number(Get(rows.back(), "secret_left"), "%.0f").c_str());
  }
}

void PrintStart(const Json& results, Bounds& bounds) {
  const Json& rows = Get(results, "start");
  if (rows.empty()) return;
  puts("\nA process that begins, in milliseconds: with PINs of 1,000 iterations.\n");
  PrintHead({"module", "token objects", "dlopen, C_Initialize, C_GetSlotList", "C_Login",
             "first search", "times that with one object", "first derivation"});
  std::map<std::string, double> with_one;
  for (const Json& row : rows) {
    const bool bound = row.at("of") == results.at("modules")[0];
    const Json& objects = row.at("objects");
    const std::string count =
        objects.is_number() ? std::to_string(objects.get<size_t>()) : "no token";
    if (row.contains("lacking")) {
      PrintRow({row.at("of"), count,
                std::string(kLacking) + ": " + row.at("lacking").get<std::string>()});
      continue;
    }
    // What is there only to be stored costs nothing to look past.
    const Json find = Get(row, "find_ms");
    Json times;
    if (count == "1" && find.is_number()) {
      with_one[row.at("of")] = find.get<double>();
    } else if (find.is_number() && with_one.contains(row.at("of"))) {
      times = find.get<double>() / with_one.at(row.at("of"));
    }
    PrintRow({row.at("of"), count, bounds.AtMost(Get(row, "start_ms"), bound ? 5 : 0, "%.2f"),
              Number(Get(row, "login_ms"), "%.2f"), Number(find, "%.2f"),
              bounds.AtMost(times, bound ? 2 : 0, "%.2f"), Number(Get(row, "use_ms"), "%.2f")});
  }
}

}  // namespace

int PrintTables(const Json& results, double slack) {
  Bounds bounds(slack);
  PrintAlone(results, bounds);
  PrintThreads(results, bounds);
  PrintPresent(results, bounds);
  PrintStart(results, bounds);
  if (bounds.missed() > 0) printf("\n%d bounds are missed.\n", bounds.missed());
  return bounds.missed();
}

}  // namespace secretmem::bench

#include "tool/config_words.h"

#include <nlohmann/json.hpp>

namespace secretmem::tool {

const char* WordOf(MemoryProtection protection) {
  return protection == MemoryProtection::kRequire ? "require" : "allow-mlock";
}

const char* WordOf(MemoryIsolation isolation) {
  return isolation == MemoryIsolation::kSlot ? "slot" : "page";
}

const char* WordOf(MemoryAtRest at_rest) {
  switch (at_rest) {
    case MemoryAtRest::kAuto:
      return "auto";
    case MemoryAtRest::kNone:
      return "none";
    case MemoryAtRest::kPkey:
      return "pkey";
    case MemoryAtRest::kMprotect:
      return "mprotect";
  }
  return "";
}

nlohmann::ordered_json TokenJson(const TokenFacts& token) {
  nlohmann::ordered_json out;
  out["file"] = token.path;
  if (!token.problem.empty()) {
    out["problem"] = token.problem;
    return out;
  }
  out["label"] = token.label;
  out["serial"] = token.serial;
  out["user_pin_set"] = token.user_pin_set;
  out["user_pin_failures"] = token.user_failures;
  out["so_pin_failures"] = token.so_failures;
  out["pin_iterations"] = token.iterations;
  out["keys"] = token.keys;
  out["open_keys"] = token.open_keys;
  out["other_objects"] = token.others;
  out["damaged_objects"] = token.damaged;
  return out;
}

void ShowTokens(Page& page, const std::vector<TokenFacts>& tokens) {
  if (tokens.empty()) {
    page.Line(Mark::kNote, "none yet", "the first slot waits for one");
    page.Remedy("Make one: secretmem-pkcs11 token init --label NAME");
  }
  for (const TokenFacts& token : tokens) {
    if (!token.problem.empty()) {
      page.Line(Mark::kBad, "damaged", Printable(token.problem));
      page.Remedy(
          "Put back a backup (secretmem-pkcs11 token restore FILE), or move the file away.");
      continue;
    }
    std::string text = Plural(token.keys + token.open_keys, "key") + ", " +
                       Plural(token.others, "other object") + ", serial number " + token.serial;
    if (!token.user_pin_set) text += ", no user PIN yet";
    if (token.user_failures != 0) {
      text += ", " + Plural(token.user_failures, "wrong user PIN") + " since the last right one";
    }
    page.Line(token.damaged == 0 ? Mark::kGood : Mark::kBad, Printable(token.label), text);
    if (token.damaged != 0) {
      page.Line(Mark::kBad, "", Plural(token.damaged, "object") + " damaged");
      page.Remedy("Put back a backup: secretmem-pkcs11 token restore --replace FILE");
    }
    if (token.open_keys != 0) {
      page.Line(Mark::kNote, "",
                Plural(token.open_keys, "key") +
                    " with CKA_PRIVATE false: who reads the file "
                    "reads them");
    }
  }
}

}  // namespace secretmem::tool

// token list, init, delete, backup, restore.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "tool/commands.h"
#include "tool/config_words.h"
#include "tool/module.h"
#include "tool/page.h"
#include "tool/token_files.h"

namespace secretmem::tool {

namespace {

using nlohmann::ordered_json;

Config MustConfig() {
  std::expected<Config, ConfigError> config = LoadConfig();
  if (!config) {
    throw ToolError(kFailed, "configuration: " + config.error().reason,
                    "Mend that line: secretmem-pkcs11.toml(5) lists every setting.");
  }
  return *std::move(config);
}

void PrintJson(const ordered_json& out) {
  std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

// Report says what became of a token.
ExitCode Report(const Common& common, const TokenFacts& token, const std::string& done) {
  if (common.json) {
    PrintJson(TokenJson(token));
  } else {
    Page().Text(done);
  }
  return kDone;
}

std::string Named(const TokenFacts& token) {
  return "token \"" + Printable(token.label) + "\" (" + token.serial + ")";
}

}  // namespace

ExitCode TokenList(const Common& common) {
  const std::vector<TokenFacts> tokens = AllTokens(MustConfig());
  bool whole = true;
  for (const TokenFacts& token : tokens) whole &= token.problem.empty() && token.damaged == 0;
  if (common.json) {
    ordered_json out = ordered_json::array();
    for (const TokenFacts& token : tokens) out.push_back(TokenJson(token));
    PrintJson(out);
  } else {
    Page page;
    ShowTokens(page, tokens);
  }
  return whole ? kDone : kFailed;
}

ExitCode TokenInit(const Common& common, const TokenInitOptions& options) {
  unsigned char label[32];
  if (options.label.empty() || options.label.size() > sizeof(label)) {
    throw ToolError(kUsage, "a label has 1 to 32 bytes", "Choose another: --label NAME.");
  }
  memset(label, ' ', sizeof(label));
  memcpy(label, options.label.data(), options.label.size());
  const Module module(common.module);
  const CK_FUNCTION_LIST& f = module.functions();
  const Slot* free_slot = nullptr;
  const std::vector<Slot> slots = module.Slots();
  for (const Slot& slot : slots) {
    if (!slot.initialised) {
      if (free_slot == nullptr) free_slot = &slot;
    } else if (slot.label == options.label) {
      throw ToolError(kFailed, "there is a token \"" + options.label + "\" already",
                      "Choose another label, or remove that one: secretmem-pkcs11 token delete " +
                          slot.serial + ".");
    }
  }
  if (free_slot == nullptr) throw ToolError(kFailed, "the module offers no free slot");
  const std::string name = "token \"" + options.label + "\"";
  const PinText so_pin = ReadPin(options.so_pin, "security officer's PIN of " + name, true,
                                 "--so-pin-file or --so-pin-fd");
  const PinText user_pin =
      ReadPin(options.user_pin, "user PIN of " + name, true, "--pin-file or --pin-fd");
  Check(f.C_InitToken(free_slot->id, so_pin.data(), so_pin.size(), label), "making the token");
  // From here on there is a token: what fails leaves it behind, and is said so.
  try {
    const Session session(module, free_slot->id, true);
    Check(f.C_Login(session.handle(), CKU_SO, so_pin.data(), so_pin.size()),
          "logging in as the security officer");
    Check(f.C_InitPIN(session.handle(), user_pin.data(), user_pin.size()), "setting the user PIN");
    Check(f.C_Logout(session.handle()), "logging out");
  } catch (const ToolError& error) {
    std::string remedy = error.remedy();
    if (!remedy.empty()) remedy += " ";
    throw ToolError(error.code(), error.what(),
                    remedy +
                        "The token was made, but has no user PIN: remove it "
                        "(secretmem-pkcs11 token delete) and try again.");
  }
  const TokenFacts made = FindToken(MustConfig(), module.Find(options.label).serial);
  return Report(common, made, "Made " + Named(made) + ".");
}

ExitCode TokenDelete(const Common& common, const std::string& name, bool yes) {
  const TokenFacts token = FindToken(MustConfig(), name);
  const std::string shown = token.problem.empty() ? Named(token) : Printable(token.path);
  if (!yes) {
    if (isatty(STDIN_FILENO) == 0) {
      throw ToolError(kUsage, "removing " + shown + " for good needs to be confirmed",
                      "Say so: --yes.");
    }
    std::cout << "This removes " << shown << " with " << Plural(token.keys + token.open_keys, "key")
              << " for good.\nType \"delete\" to go on: " << std::flush;
    std::string typed;
    std::getline(std::cin, typed);
    if (typed != "delete") throw ToolError(kFailed, "nothing was removed");
  }
  Remove(token.path);
  return Report(common, token, "Removed " + shown + ".");
}

ExitCode TokenBackup(const Common& common, const std::string& name, const std::string& file) {
  const TokenFacts token = FindToken(MustConfig(), name);
  if (!token.problem.empty()) {
    throw ToolError(kFailed, "no backup was made: " + token.problem,
                    "A damaged token is not worth keeping; its earlier backups are.");
  }
  const TokenFacts copy = Backup(token.path, file);
  return Report(common, copy,
                "Wrote " + Named(copy) + " with " + Plural(copy.keys + copy.open_keys, "key") +
                    " to " + Printable(file) + ".");
}

ExitCode TokenRestore(const Common& common, const TokenRestoreOptions& options) {
  std::optional<PinText> pin;
  if (options.ask_pin || !options.pin.file.empty() || options.pin.descriptor) {
    pin.emplace(ReadPin(options.pin, "user PIN of the token in " + Printable(options.file), false,
                        "--pin-file or --pin-fd"));
  }
  const auto [token, check] =
      Restore(options.file, MustConfig(), options.replace, pin ? &*pin : nullptr);
  if (!common.json) {
    Page page;
    page.Text("Restored " + Named(token) + " with " + Plural(token.keys + token.open_keys, "key") +
              ".");
    if (check.unopened != 0) {
      page.Text("Not opened, for want of the PIN (--ask-pin, --pin-file): " +
                Plural(check.unopened, "sealed object") + ".");
    }
    return kDone;
  }
  ordered_json out = TokenJson(token);
  out["opened_objects"] = check.opened;
  out["unopened_objects"] = check.unopened;
  PrintJson(out);
  return kDone;
}

}  // namespace secretmem::tool

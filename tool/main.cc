// secretmem-pkcs11: what an administrator of the module needs beside a PKCS#11 client.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "tool/commands.h"
#include "tool/module.h"

namespace secretmem::tool {

namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done, in order; 1 failed, or something is not in order; 2 wrong arguments;\n"
    "3 no such token; 4 PIN refused; 5 no secret memory here.\n"
    "PINs are asked for on the terminal, or read from files or descriptors; they are no arguments.";

void AddPinOptions(CLI::App* command, const std::string& name, const std::string& whose,
                   PinSource& source) {
  auto* file =
      command->add_option("--" + name + "-file", source.file, "a file with the " + whose + " PIN");
  command
      ->add_option("--" + name + "-fd", source.descriptor,
                   "a descriptor with the " + whose + " PIN")
      ->check(CLI::NonNegativeNumber)
      ->excludes(file);
}

// AddSubjectOptions adds what names a token of |whose| and its PIN.
void AddSubjectOptions(CLI::App* command, const std::string& whose, BenchSubject& subject) {
  command->add_option("--" + subject.prefix + "token", subject.token,
                      "use this token of " + whose + ", not a temporary one");
  AddPinOptions(command, subject.prefix + "pin", "token's user", subject.pin);
}

int Run(int argc, char** argv) {
  CLI::App app("secretmem-pkcs11: keys in memory that nobody else can read");
  app.name("secretmem-pkcs11");
  app.set_version_flag("--version", "secretmem-pkcs11 " SECRETMEM_VERSION);
  app.require_subcommand(1);
  app.footer(kFooter);
  app.fallthrough();
  Common common;
  common.module = DefaultModule();
  app.add_option("--module", common.module, "the module to use")
      ->envname("SECRETMEM_PKCS11_MODULE")
      ->capture_default_str();
  app.add_flag("--json", common.json, "print JSON");

  ExitCode code = kUsage;
  app.add_subcommand("status", "what works here, and what is set up")->callback([&] {
    code = Status(common);
  });
  app.add_subcommand("doctor", "look for what commonly goes wrong with each client")->callback([&] {
    code = Doctor(common);
  });

  auto* token = app.add_subcommand("token", "tokens: list, init, delete, backup, restore");
  token->require_subcommand(1);
  token->fallthrough();
  token->add_subcommand("list", "every token and how many keys it holds")->callback([&] {
    code = TokenList(common);
  });

  TokenInitOptions init;
  auto* init_command = token->add_subcommand("init", "make a token and set its PINs");
  init_command->add_option("--label", init.label, "its name, at most 32 bytes")->required();
  AddPinOptions(init_command, "so-pin", "security officer's", init.so_pin);
  AddPinOptions(init_command, "pin", "user's", init.user_pin);
  init_command->callback([&] { code = TokenInit(common, init); });

  std::string name;
  std::string file;
  bool yes = false;
  auto* remove = token->add_subcommand("delete", "remove a token and all its keys for good");
  remove->add_option("token", name, "its label or serial number")->required();
  remove->add_flag("--yes", yes, "do not ask");
  remove->callback([&] { code = TokenDelete(common, name, yes); });

  auto* backup = token->add_subcommand("backup", "copy a token, in use or not, to a file");
  backup->add_option("token", name, "its label or serial number")->required();
  backup->add_option("file", file, "the backup, which must not exist yet")->required();
  backup->callback([&] { code = TokenBackup(common, name, file); });

  TokenRestoreOptions restore;
  auto* restore_command =
      token->add_subcommand("restore", "put a backup back, if all of it verifies");
  restore_command->add_option("file", restore.file, "the backup")->required();
  restore_command->add_flag("--replace", restore.replace,
                            "in the place of the token that is there");
  restore_command->add_flag("--ask-pin", restore.ask_pin,
                            "ask for the user's PIN, to open what it seals");
  AddPinOptions(restore_command, "pin", "user's", restore.pin);
  restore_command->callback([&] { code = TokenRestore(common, restore); });

  TokenImportOptions import;
  auto* import_command =
      token->add_subcommand("import", "bring objects over from another module's token");
  import_command->add_option("token", import.token, "the token they come to")->required();
  import_command->add_option("--from-module", import.from_module, "the other module")->required();
  import_command->add_option("--from-token", import.from_token, "its token")->required();
  AddPinOptions(import_command, "from-pin", "other token's user", import.from_pin);
  AddPinOptions(import_command, "pin", "user's", import.pin);
  import_command->callback([&] { code = TokenImport(common, import); });

  AuditOptions audit;
  auto* audit_command = app.add_subcommand(
      "audit", "run a command that uses the module, and look for the token's keys in its memory");
  audit_command->add_option("--token", audit.token, "the token whose keys it uses");
  AddPinOptions(audit_command, "pin", "user's", audit.pin);
  audit_command->add_option("--picture", audit.picture, "draw the mappings into this file (SVG)");
  audit_command
      ->add_option("--pause", audit.pause_ms,
                   "milliseconds between two looks at a process, at least")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
  audit_command->add_option("command", audit.command, "-- and the command with its arguments")
      ->required();
  audit_command->positionals_at_end();
  audit_command->callback([&] { code = Audit(common, audit); });

  BenchOptions bench;
  auto* bench_command =
      app.add_subcommand("bench", "how many operations a module does in a second");
  AddSubjectOptions(bench_command, "the module", bench.subject);
  bench_command->add_option("--against", bench.against.module, "another module, beside it");
  bench.against.prefix = "against-";
  AddSubjectOptions(bench_command, "that other module", bench.against);
  bench_command->add_option("--only", bench.only, "no others than these operations")
      ->delimiter(',')
      ->check(CLI::IsMember(BenchIds()));
  bench_command->callback([&] { code = Bench(common, bench); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  return code;
}

}  // namespace

}  // namespace secretmem::tool

int main(int argc, char** argv) {
  using namespace secretmem::tool;
  try {
    return Run(argc, argv);
  } catch (const ToolError& error) {
    std::fprintf(stderr, "secretmem-pkcs11: %s\n", error.what());
    if (!error.remedy().empty()) std::fprintf(stderr, "  -> %s\n", error.remedy().c_str());
    return error.code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "secretmem-pkcs11: %s\n", error.what());
    return kFailed;
  }
}

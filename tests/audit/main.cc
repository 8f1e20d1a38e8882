// audit: shows which of a PKCS#11 module's secrets can be read in its process's memory.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "tests/audit/commands.h"

namespace {

// GiveUpPtrace makes ptrace(2) fail with EPERM, as in a container that forbids it.
void GiveUpPtrace() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::printf("cannot give up ptrace\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace secretmem::audit;
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  CLI::App app("Audits the memory of PKCS#11 modules");
  app.require_subcommand(1);
  Options options;
  auto common = [&](CLI::App* command) {
    command->add_option("--target", options.target, "the audit_target program")->required();
    command->add_option("--module", options.modules, "the module (svg: several)")->required();
    command->add_option("--expect", options.expect, "clean (default) or leaks")
        ->check(CLI::IsMember({"clean", "leaks"}));
    command->add_option("--only", options.only, "only what contains this text");
    command->add_option("--settings", options.settings, "lines for the configuration file");
    return command;
  };
  auto* mechanisms = common(app.add_subcommand("mechanisms", "step through every mechanism"));
  mechanisms->add_option("--full-steps", options.full_steps,
                         "with X25519, go on in samples after this many instructions");
  mechanisms->add_option("--other-steps", options.other_steps, "the same with everything else");
  mechanisms->add_option("--interval", options.interval, "instructions between whole looks");
  mechanisms->add_flag("--no-steps", options.no_steps, "look only between calls");
  mechanisms->add_flag("--log", options.log, "search what the module logs at its most talkative");
  bool without_ptrace = false;
  mechanisms->add_flag("--without-ptrace", without_ptrace, "run as where ptrace is forbidden");
  mechanisms->add_flag("--list", options.list, "list the scenarios and end");
  int result = 2;
  mechanisms->callback([&] {
    if (without_ptrace) GiveUpPtrace();
    result = AuditMechanisms(options);
  });
  common(app.add_subcommand("coverage", "has every mechanism a scenario?"))->callback([&] {
    result = AuditCoverage(options);
  });
  common(app.add_subcommand("cores", "core dumps"))->callback([&] {
    result = AuditCores(options);
  });
  common(app.add_subcommand("storm", "signals during operations"))->callback([&] {
    result = AuditStorm(options);
  });
  common(app.add_subcommand("threads", "threads that ended"))->callback([&] {
    result = AuditThreads(options);
  });
  auto* attacks = common(app.add_subcommand("attacks", "attacks on a live process"));
  attacks->add_flag("--list", options.list, "list the attacks with what they must get, and end");
  attacks->callback([&] { result = AuditAttacks(options); });
  auto* svg = common(app.add_subcommand("svg", "draw the mappings of processes"));
  svg->add_option("--output", options.output, "file to write")->required();
  svg->callback([&] { result = DrawMappings(options); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const CannotLook& error) {
    std::printf("FAILED: the audit could not look: %s\n", error.what());
    return 2;
  }
  return result;
}

// Signals at a high rate while keys are used, and threads that end: what is left on alternate
// signal stacks and on the stacks of threads.
#include <cstdio>

#include "tests/audit/commands.h"
#include "tests/audit/live.h"
#include "tests/audit/run.h"

namespace secretmem::audit {
namespace {

constexpr uint64_t kSignalEveryNs = 100'000;
constexpr uint64_t kFewestSignals = 200;

int Conclude(const Options& options, const Recorder& recorder, const std::vector<Secret>& secrets,
             const std::vector<Secret>& decoys) {
  const std::string missing = CheckDecoys(recorder, decoys);
  if (!missing.empty()) throw CannotLook("did not see the planted " + missing);
  const auto findings = recorder.Search(MakeWindows(secrets));
  PrintFindings(findings);
  std::printf("%s: %lu looks, %lu MB\n", findings.empty() ? "clean" : "LEAKS", recorder.looks(),
              recorder.bytes_read() >> 20);
  return findings.empty() == options.expects_leaks() ? 1 : 0;
}

constexpr CK_ATTRIBUTE_TYPE kRsaSecrets[] = {CKA_PRIVATE_EXPONENT, CKA_PRIME_1,    CKA_PRIME_2,
                                             CKA_EXPONENT_1,       CKA_EXPONENT_2, CKA_COEFFICIENT};

PreparedCall GenerateRsa(Live& live) {
  return PreparedCall("C_GenerateKeyPair", AUDIT_SLOT(C_GenerateKeyPair))
      .Number(live.client().session())
      .Mechanism(CKM_RSA_PKCS_KEY_PAIR_GEN)
      .Attributes(
          {Flag(CKA_TOKEN, false), Ulong(CKA_MODULUS_BITS, 3072), {CKA_PUBLIC_EXPONENT, {1, 0, 1}}})
      .Attributes({Flag(CKA_TOKEN, false), Flag(CKA_PRIVATE, true), Flag(CKA_SENSITIVE, false),
                   Flag(CKA_EXTRACTABLE, true), Flag(CKA_SIGN, true)})
      .Handle()
      .Handle();
}

void MustLook(Recorder& recorder, const std::string& when, Recorder::Scope scope) {
  if (!recorder.Look(when, scope)) throw CannotLook("the target's memory cannot be read");
}

}  // namespace

int AuditStorm(const Options& options) {
  const Token token(options.target, options.modules.at(0), options.settings);
  Client::LearnDialect(token);
  Live live(token);
  const auto decoys = live.remote().PlantDecoys();
  Recorder recorder(live.remote().pid());
  MustLook(recorder, "before the storm", Recorder::Scope::kEverything);
  uint64_t signals = 0;
  uint64_t operations = 0;
  std::vector<Secret> secrets = live.secrets();
  while (signals < kFewestSignals && operations < 20'000) {
    live.remote().Control(Command::kStormStart, kSignalEveryNs);
    for (int i = 0; i < 200; ++i, ++operations) {
      live.DeriveAndDestroy();
      if (i % 20 == 0) {
        const Bytes value = RandomBytes(32);
        live.client().Create(live.client().Import(KeyKind::kGeneric, value));
        secrets.push_back({"secret imported in the storm", value});
        MustLook(recorder, "during the storm", Recorder::Scope::kWritable);
      }
    }
    signals += live.remote().Control(Command::kStormStop);
  }
  // Long operations let signals through while they are under way.
  live.remote().Control(Command::kStormStart, kSignalEveryNs);
  const bool generated = live.remote().Run(GenerateRsa(live)) == CKR_OK;
  const uint64_t handles[] = {generated ? live.remote().Word(6) : 0,
                              generated ? live.remote().Word(7) : 0};
  MustLook(recorder, "after C_GenerateKeyPair in the storm", Recorder::Scope::kEverything);
  const uint64_t in_generation = live.remote().Control(Command::kStormStop);
  if (generated) {
    for (const uint64_t handle : handles) live.client().Track(handle);
    for (const CK_ATTRIBUTE_TYPE type : kRsaSecrets) {
      secrets.push_back({"RSA number made in the storm", live.client().Value(handles[1], type)});
    }
    if (secrets.back().value.size() < 64) throw CannotLook("the RSA key cannot be read");
  }
  std::printf("%lu signals during the generation of an RSA key\n", in_generation);
  if (signals < kFewestSignals) throw CannotLook("the storm did not come: too few signals");
  MustLook(recorder, "after the storm", Recorder::Scope::kEverything);
  live.client().DestroyObjects();
  live.client().Finalize();
  MustLook(recorder, "after C_Finalize", Recorder::Scope::kEverything);
  std::printf("%lu signals during %lu derivations\n", signals, operations);
  return Conclude(options, recorder, secrets, decoys);
}

int AuditThreads(const Options& options) {
  const Token token(options.target, options.modules.at(0), options.settings);
  Client::LearnDialect(token);
  Live live(token);
  const auto decoys = live.remote().PlantDecoys();
  Recorder recorder(live.remote().pid());
  MustLook(recorder, "before the threads", Recorder::Scope::kEverything);
  std::vector<Secret> secrets = live.secrets();
  for (int round = 0; round < 5; ++round) {
    const std::string which = "thread " + std::to_string(round + 1);
    live.remote().Control(Command::kEnterThread);
    live.remote().RefreshHello();
    if (static_cast<pid_t>(live.remote().hello().tid) == live.remote().pid()) {
      throw CannotLook("the target started no thread");
    }
    for (int i = 0; i < 20; ++i) {
      live.DeriveAndDestroy();
      const Bytes value = RandomBytes(32);
      live.client().Create(live.client().Import(KeyKind::kGeneric, value));
      secrets.push_back({"secret imported in a thread", value});
    }
    if (round == 0) {
      // One derivation is stepped on the thread's own stack.
      const StepResult result =
          StepThrough(live.remote(), live.Derive(), recorder, StepOptions{}, 0);
      if (result.rv != CKR_OK) throw CannotLook("C_DeriveKey failed in a thread");
      if (!CheckDecoys(recorder, {live.remote().passing_decoy()}).empty()) {
        throw CannotLook("did not see the passing decoy on the thread's stack");
      }
      std::printf("%lu steps in a thread\n", result.steps);
    }
    MustLook(recorder, which, Recorder::Scope::kEverything);
    live.remote().Control(Command::kLeaveThread);
    MustLook(recorder, "after the end of " + which, Recorder::Scope::kEverything);
  }
  live.remote().RefreshHello();
  live.client().DestroyObjects();
  live.client().Finalize();
  MustLook(recorder, "after C_Finalize", Recorder::Scope::kEverything);
  return Conclude(options, recorder, secrets, decoys);
}

}  // namespace secretmem::audit

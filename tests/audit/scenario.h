// Scenarios: for each function of each mechanism, the calls to audit and the secrets in play.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/audit/client.h"
#include "tests/audit/forms.h"

namespace secretmem::audit {

// Plan is what a scenario wants audited, made for one client.
struct Plan {
  // Run before the audited calls, unaudited, in this order; they must succeed.
  std::vector<PreparedCall> setup;
  // The audited calls. Each must answer what it expects.
  std::vector<PreparedCall> calls;
  // Secrets known beforehand.
  std::vector<Secret> secrets;
  // Secrets learnt right after the last call (generated keys, nonces); may make calls.
  std::function<std::vector<Secret>(Client&)> learn;
  // When the last call makes an object: the argument that holds its handle, 0 otherwise.
  size_t handle = 0;
};

struct Scenario {
  std::string name;
  CK_MECHANISM_TYPE mechanism = ck::kNone;  // kNone: belongs to no mechanism, always audited
  CK_FLAGS function = 0;                    // the CKF_ flag of C_GetMechanismInfo it stands for
  std::function<Plan(Client&)> prepare;
  bool login = true;                    // log in before `prepare`
  CK_MECHANISM_TYPE needs = ck::kNone;  // only for modules that have this mechanism too
  bool whole = false;  // step all that it does on the ordinary stack, however long it is
};

// Scenarios that no mechanism stands for: imports, copies, random numbers; tokens, PINs and token
// objects; what is refused or given up.
std::vector<Scenario> BasicScenarios();
std::vector<Scenario> TokenScenarios();
std::vector<Scenario> RefusalScenarios();

// ScenariosFor returns the scenarios of one function of one mechanism; empty when the audit does
// not know the mechanism, which the audit reports as a failure.
std::vector<Scenario> ScenariosFor(CK_MECHANISM_TYPE mechanism, CK_FLAGS function);

// HasNoSecret is true for functions that work on public keys, for which there is nothing to look
// for.
bool HasNoSecret(CK_MECHANISM_TYPE mechanism, CK_FLAGS function);

// FunctionName names one CKF_ flag: "derive".
std::string FunctionName(CK_FLAGS function);
std::string MechanismName(CK_MECHANISM_TYPE mechanism);
// The flags of C_GetMechanismInfo that stand for functions.
const std::vector<CK_FLAGS>& FunctionFlags();

// Families, one per file; each appends what it knows.
void AddGenerationScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddDerivationScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddSigningScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddTlsScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddCipherScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddWrappingScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddKemScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddHpkeScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);
void AddMessageScenarios(CK_MECHANISM_TYPE, CK_FLAGS, std::vector<Scenario>*);

// Everything between the shared secret of HPKE's KEM with that number and the keys of AES-256-GCM
// in base mode without info, and an exported secret (RFC 9180, 5.1).
std::vector<Secret> SecretsOfHpkeSchedule(const Bytes& kem_id, const Bytes& shared);

void Append(std::vector<Secret>* all, const std::vector<Secret>& more);

}  // namespace secretmem::audit

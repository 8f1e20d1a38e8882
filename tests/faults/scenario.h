// What is done to the module while it is refused something: one step for each sort of call, and the
// state that must have survived it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/blackbox/module.h"
#include "tests/blackbox/template.h"

namespace secretmem::faults {

// Step is a call, or a few that belong together; |run| ends with the first code that is not CKR_OK.
struct Step {
  std::string name;
  std::function<CK_RV()> run;
};

class Scenario {
 public:
  // The token is made, with the keys that steps use, and the user is logged in. Throws.
  void Begin(const blackbox::Scratch& scratch);

  // Steps are in an order in which they can be made one after the other.
  const std::vector<Step>& Steps() const { return steps_; }

  // Restore brings the module back to where Begin left it, whatever a step has left: throws if it
  // is in the way, or if an object of Begin's is gone or not what it was.
  void Restore();

  // Ends with C_Finalize.
  void End();

 private:
  void AddTokenSteps();
  void AddObjectSteps();
  void AddOperationSteps();
  void Add(std::string name, std::function<CK_RV()> run);
  void OpenAndLogIn();
  void FindKeys();
  CK_OBJECT_HANDLE Key(const std::string& label) const;
  CK_RV Create(blackbox::Template object, CK_OBJECT_HANDLE* made = nullptr);
  CK_RV GeneratePair(bool token);

  const blackbox::Scratch* scratch_ = nullptr;
  std::string token_file_;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  std::vector<std::pair<std::string, CK_OBJECT_HANDLE>> keys_;
  std::vector<Step> steps_;
  std::string pin_;
};

// Codes that say what is missing. An answer that is none of these, nor CKR_OK, is a defect.
// |files|: a file that cannot be read may also look like one that is not a token, or is not there.
bool SaysWhy(CK_RV rv, bool files);

}  // namespace secretmem::faults

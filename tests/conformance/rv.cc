#include "tests/conformance/rv.h"

#include <sstream>

#include "client/functions.h"

namespace secretmem::conformance {

std::string RvName(CK_RV rv) {
  std::ostringstream text;
  text << client::RvName(rv) << " (0x" << std::hex << rv << ')';
  return text.str();
}

testing::AssertionResult RvIs(const char*, const char* got_text, CK_RV want, CK_RV got) {
  if (want == got) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << got_text << "\n  returned " << RvName(got) << "\n  instead of " << RvName(want);
}

testing::AssertionResult RvIsOneOf(const char* got_text, CK_RV got,
                                   std::initializer_list<CK_RV> accepted) {
  auto failure = testing::AssertionFailure()
                 << got_text << "\n  returned " << RvName(got) << "\n  instead of one of";
  for (const CK_RV want : accepted) {
    if (want == got) return testing::AssertionSuccess();
    failure << ' ' << RvName(want);
  }
  return failure;
}

}  // namespace secretmem::conformance

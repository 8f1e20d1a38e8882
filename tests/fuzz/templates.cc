// Templates: objects of every class made, copied, changed, read and searched with anything.
#include "tests/fuzz/input.h"
#include "tests/fuzz/token.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretmem::fuzz;
  Input input(data, size);
  const CK_SESSION_HANDLE session = LastingSession();
  std::vector<CK_OBJECT_HANDLE> objects;
  for (int i = 0; i < 20 && !input.empty(); ++i) {
    Keep keep;
    const auto given = AnyTemplate(input, keep);
    CK_OBJECT_HANDLE made = 0;
    const size_t what = input.Below(6);
    const CK_OBJECT_HANDLE object = objects.empty() ? 0 : input.Of(objects);
    if (what <= 1) {
      C_CreateObject(session, given.data(), given.size(), &made);
    } else if (what == 2) {
      C_CopyObject(session, object, given.data(), given.size(), &made);
    } else if (what == 3) {
      C_SetAttributeValue(session, object, given.data(), given.size());
    } else if (what == 4) {
      Blank(given);
      C_GetAttributeValue(session, object, given.data(), given.size());
    } else if (C_FindObjectsInit(session, given.data(), given.size()) == CKR_OK) {
      C_FindObjectsFinal(session);
    }
    if (made != 0) objects.push_back(made);
  }
  CleanUp();
  return 0;
}

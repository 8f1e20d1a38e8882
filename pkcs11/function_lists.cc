// The function lists and C_GetInterface, PKCS#11 3.2, 5.4. All made from one list of names.

#include "pkcs11/function_lists.h"

#include <cstring>
#include <vector>

#include "pkcs11/entry.h"

namespace secretmem {
namespace {

#define SECRETMEM_ENTRY(name) name,

CK_FUNCTION_LIST g_list_2_40 = {{2, 40}, SECRETMEM_FUNCTIONS_2_40(SECRETMEM_ENTRY)};

CK_FUNCTION_LIST_3_0 g_list_3_0 = {
    {3, 0}, SECRETMEM_FUNCTIONS_2_40(SECRETMEM_ENTRY) SECRETMEM_FUNCTIONS_3_0(SECRETMEM_ENTRY)};

CK_FUNCTION_LIST_3_2 g_list_3_2 = {{3, 2},
                                   SECRETMEM_FUNCTIONS_2_40(SECRETMEM_ENTRY)
                                       SECRETMEM_FUNCTIONS_3_0(SECRETMEM_ENTRY)
                                           SECRETMEM_FUNCTIONS_3_2(SECRETMEM_ENTRY)};

#undef SECRETMEM_ENTRY

CK_UTF8CHAR g_name[] = "PKCS 11";

// CKF_INTERFACE_FORK_SAFE would promise a child its own copy of session objects; here it has none.
CK_INTERFACE g_interfaces[] = {
    {g_name, &g_list_3_2, 0},
    {g_name, &g_list_3_0, 0},
    {g_name, &g_list_2_40, 0},
};

CK_VERSION VersionOf(const CK_INTERFACE& interface) {
  CK_VERSION version;
  memcpy(&version, interface.pFunctionList, sizeof(version));
  return version;
}

}  // namespace

CK_FUNCTION_LIST* FunctionList240() { return &g_list_2_40; }

}  // namespace secretmem

using namespace secretmem;

CK_RV C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount) {
  return Barrier(__func__, [&]() -> CkStatus {
    return CopyOut(std::vector(std::begin(g_interfaces), std::end(g_interfaces)), pInterfacesList,
                   pulCount);
  });
}

CK_RV C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                     CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags) {
  return Barrier(__func__, [&]() -> CkStatus {
    if (ppInterface == nullptr) return Refuse(CKR_ARGUMENTS_BAD);
    for (CK_INTERFACE& interface : g_interfaces) {
      const CK_VERSION version = VersionOf(interface);
      if (pInterfaceName != nullptr &&
          strcmp(reinterpret_cast<const char*>(pInterfaceName),
                 reinterpret_cast<const char*>(interface.pInterfaceName)) != 0) {
        continue;
      }
      if (pVersion != nullptr && memcmp(pVersion, &version, sizeof(version)) != 0) continue;
      if ((flags & interface.flags) != flags) continue;
      *ppInterface = &interface;
      return {};
    }
    return Refuse(CKR_FUNCTION_FAILED);
  });
}

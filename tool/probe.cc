#include "tool/probe.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "tool/child.h"
#include "tool/module.h"

namespace secretmem::tool {

namespace {

using nlohmann::json;

constexpr char kLogHead[] = "secretmem-pkcs11: ";

std::vector<unsigned long> KeyTypes(const Module& module, CK_SLOT_ID slot) {
  const CK_FUNCTION_LIST& f = module.functions();
  const Session session(module, slot, false);
  std::vector<unsigned long> types;
  if (f.C_FindObjectsInit(session.handle(), nullptr, 0) != CKR_OK) return types;
  CK_OBJECT_HANDLE object = 0;
  CK_ULONG found = 0;
  while (f.C_FindObjects(session.handle(), &object, 1, &found) == CKR_OK && found == 1) {
    CK_KEY_TYPE type = 0;
    CK_ATTRIBUTE attribute = {CKA_KEY_TYPE, &type, sizeof(type)};
    if (f.C_GetAttributeValue(session.handle(), object, &attribute, 1) == CKR_OK) {
      types.push_back(type);
    }
  }
  f.C_FindObjectsFinal(session.handle());
  std::ranges::sort(types);
  types.erase(std::unique(types.begin(), types.end()), types.end());
  return types;
}

json AskModule(const std::string& path) {
  json report;
  try {
    const Module module(path);
    CK_INFO info;
    Check(module.functions().C_GetInfo(&info), "asking the module what it is");
    report["description"] = Trimmed(info.libraryDescription, sizeof(info.libraryDescription));
    report["version"] =
        std::to_string(info.libraryVersion.major) + "." + std::to_string(info.libraryVersion.minor);
    const std::vector<Slot> slots = module.Slots();
    CK_ULONG mechanisms = 0;
    if (!slots.empty()) module.functions().C_GetMechanismList(slots[0].id, nullptr, &mechanisms);
    report["mechanisms"] = mechanisms;
    report["key_types"] = json::object();
    for (const Slot& slot : slots) {
      if (slot.initialised) report["key_types"][slot.serial] = KeyTypes(module, slot.id);
    }
    report["works"] = true;
  } catch (const ToolError& error) {
    report["problem"] = error.what();
    report["remedy"] = error.remedy();
  }
  return report;
}

}  // namespace

ModuleReport ProbeModule(const std::string& path) {
  ModuleReport report;
  const ChildAnswer child = InChild(
      [&] {
        setenv("SECRETMEM_PKCS11_LOG", "info", 1);
        return AskModule(path);
      },
      true);
  std::istringstream lines(child.said);
  for (std::string line; std::getline(lines, line);) {
    report.log.push_back(line.starts_with(kLogHead) ? line.substr(sizeof(kLogHead) - 1) : line);
  }
  const json& found = child.answer;
  if (!found.is_object()) {
    report.problem =
        "the process that loaded the module died" +
        (WIFSIGNALED(child.status) ? " of signal " + std::to_string(WTERMSIG(child.status)) : "");
    report.remedy = "A filter that kills (seccomp), a memory limit, or a damaged module.";
    return report;
  }
  report.works = found.value("works", false);
  report.problem = found.value("problem", "");
  report.remedy = found.value("remedy", "");
  report.description = found.value("description", "");
  report.version = found.value("version", "");
  report.mechanisms = found.value("mechanisms", 0ul);
  if (found.contains("key_types")) found.at("key_types").get_to(report.key_types);
  return report;
}

}  // namespace secretmem::tool

#include "tool/probe.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

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

// ReadBoth reads two pipes to their ends.
void ReadBoth(int first, std::string& first_text, int second, std::string& second_text) {
  pollfd files[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
  std::string* texts[2] = {&first_text, &second_text};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    if (poll(files, 2, -1) < 0 && errno != EINTR) return;
    for (size_t i = 0; i < 2; ++i) {
      if (files[i].fd < 0 || files[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = read(files[i].fd, buffer, sizeof(buffer));
      if (got > 0) {
        texts[i]->append(buffer, static_cast<size_t>(got));
      } else if (got == 0 || errno != EINTR) {
        files[i].fd = -1;
      }
    }
  }
}

}  // namespace

ModuleReport ProbeModule(const std::string& path) {
  ModuleReport report;
  int answer[2];
  int log[2];
  if (pipe(answer) != 0 || pipe(log) != 0) {
    report.problem = std::string("cannot make a pipe: ") + std::strerror(errno);
    return report;
  }
  fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    report.problem = std::string("cannot fork: ") + std::strerror(errno);
    return report;
  }
  if (child == 0) {
    dup2(log[1], STDERR_FILENO);
    for (const int fd : {answer[0], log[0], log[1]}) close(fd);
    setenv("SECRETMEM_PKCS11_LOG", "info", 1);
    const std::string text =
        AskModule(path).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    size_t written = 0;
    while (written < text.size()) {
      const ssize_t put = write(answer[1], text.data() + written, text.size() - written);
      if (put <= 0) break;
      written += static_cast<size_t>(put);
    }
    _exit(0);
  }
  close(answer[1]);
  close(log[1]);
  std::string text;
  std::string said;
  ReadBoth(answer[0], text, log[0], said);
  close(answer[0]);
  close(log[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    report.log.push_back(line.starts_with(kLogHead) ? line.substr(sizeof(kLogHead) - 1) : line);
  }
  const json found = json::parse(text, nullptr, false);
  if (found.is_discarded() || !found.is_object()) {
    report.problem = "the process that loaded the module died" +
                     (WIFSIGNALED(status) ? " of signal " + std::to_string(WTERMSIG(status)) : "");
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

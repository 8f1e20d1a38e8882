#include "tests/bench/children.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "client/bench/measure.h"

namespace secretmem::bench {
namespace {

struct Task {
  std::string_view name;
  Json (*run)(const Json&);
};
constexpr Task kTasks[] = {
    {"start", MeasureStart}, {"present", MeasurePresent}, {"fill", FillToken}};

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t got; (got = read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return text;
}

}  // namespace

std::string& SettingsOfChildren() {
  static std::string settings;
  return settings;
}

Json InChild(const std::string& what, const Json& request) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const std::string text = request.dump();
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl("/proc/self/exe", "bench_modules", "--child", what.c_str(), "--request", text.c_str(),
          "--settings", SettingsOfChildren().c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  const std::string answer = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  Json parsed = Json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return {{"lacking", "it ended with " + std::to_string(status)}};
  return parsed;
}

int Serve(const std::string& what, const std::string& request) {
  try {
    for (const Task& task : kTasks) {
      if (what == task.name) std::cout << task.run(Json::parse(request)).dump() << '\n';
    }
  } catch (const std::exception& error) {
    std::cout << Json{{"lacking", error.what()}}.dump() << '\n';
  }
  // Whatever the modules do when they are unloaded is not measured.
  std::cout.flush();
  _exit(0);
}

Json MeasureStart(const Json& request) {
  TokenDirectory::EnterExisting(request.at("directory"));
  const double start = WallSeconds();
  const CK_FUNCTION_LIST& p11 = *client::LoadFunctions(request.at("path"));
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  Check(p11.C_Initialize(&args), "C_Initialize");
  std::vector<CK_SLOT_ID> slots(64);
  CK_ULONG count = slots.size();
  Check(p11.C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList");
  slots.resize(count);
  Json answer = {{"start_ms", (WallSeconds() - start) * 1e3}};
  if (!request.contains("id")) return answer;

  for (const CK_SLOT_ID slot : slots) {
    CK_TOKEN_INFO info{};
    if (p11.C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    const auto timed = [&](const char* name, const auto& step) {
      const double before = WallSeconds();
      step();
      answer[name] = (WallSeconds() - before) * 1e3;
    };
    CK_SESSION_HANDLE session = 0;
    Check(p11.C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session), "C_OpenSession");
    timed("login_ms", [&] {
      Check(p11.C_Login(session, CKU_USER, client::Utf8(Module::kPin), Module::kPin.size()),
            "C_Login");
    });
    CK_OBJECT_HANDLE key = 0;
    timed("find_ms", [&] {
      const std::string text = request.at("id");
      Bytes id(text.begin(), text.end());
      CK_ATTRIBUTE wanted = {CKA_ID, id.data(), id.size()};
      CK_ULONG found = 0;
      Check(p11.C_FindObjectsInit(session, &wanted, 1), "C_FindObjectsInit");
      Check(p11.C_FindObjects(session, &key, 1, &found), "C_FindObjects");
      Check(p11.C_FindObjectsFinal(session), "C_FindObjectsFinal");
      if (found != 1) throw std::runtime_error("the key is not found");
    });
    timed("use_ms", [&] {
      Bytes peer(32, 9);
      CK_ECDH1_DERIVE_PARAMS parameter = {CKD_NULL, 0, nullptr, peer.size(), peer.data()};
      CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &parameter, sizeof(parameter)};
      Template wanted = Template()
                            .With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY})
                            .With(CKA_KEY_TYPE, CK_ULONG{CKK_GENERIC_SECRET})
                            .With(CKA_TOKEN, false)
                            .With(CKA_VALUE_LEN, CK_ULONG{32});
      CK_OBJECT_HANDLE derived = 0;
      Check(p11.C_DeriveKey(session, &mechanism, key, wanted.data(), wanted.size(), &derived),
            "C_DeriveKey");
    });
  }
  return answer;
}

}  // namespace secretmem::bench

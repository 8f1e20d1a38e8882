#include "tool/clients.h"

#include <fnmatch.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <tuple>

#include "tool/system.h"

namespace secretmem::tool {

namespace {

// ValuesOf returns the values of lines "name = value".
std::vector<std::string> ValuesOf(const std::string& text, const std::string& name) {
  std::vector<std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos || line.compare(begin, name.size(), name) != 0) continue;
    const size_t equals = line.find_first_not_of(" \t", begin + name.size());
    if (equals == std::string::npos || line[equals] != '=') continue;
    const size_t value = line.find_first_not_of(" \t", equals + 1);
    if (value == std::string::npos) continue;
    values.push_back(line.substr(value, line.find_last_not_of(" \t\r") - value + 1));
  }
  return values;
}

}  // namespace

std::optional<std::string> PackageVersion(const std::string& name) {
  const std::string command =
      "dpkg-query --show --showformat='${db:Status-Status} ${Version}' " + name + " 2>/dev/null";
  FILE* output = popen(command.c_str(), "re");
  if (output == nullptr) return std::nullopt;
  char text[256] = {};
  const size_t size = fread(text, 1, sizeof(text) - 1, output);
  pclose(output);
  constexpr std::string_view kInstalled = "installed ";
  const std::string_view answer(text, size);
  if (!answer.starts_with(kInstalled)) return std::nullopt;
  return std::string(answer.substr(kInstalled.size()));
}

bool UpstreamAtLeast(const std::string& version, int major, int minor, int patch) {
  const size_t colon = version.find(':');
  const std::string upstream = colon == std::string::npos ? version : version.substr(colon + 1);
  int a = 0;
  int b = 0;
  int c = 0;
  std::sscanf(upstream.c_str(), "%d.%d.%d", &a, &b, &c);
  return std::tie(a, b, c) >= std::tie(major, minor, patch);
}

bool AgentAllows(const std::string& real_path) {
  for (const char* pattern : {"/usr/lib*/*", "/usr/local/lib*/*"}) {
    if (fnmatch(pattern, real_path.c_str(), 0) == 0) return true;
  }
  return false;
}

std::vector<NamedModule> OpenSslModules() {
  const char* named = std::getenv("OPENSSL_CONF");
  const std::string file = named != nullptr && *named != '\0' ? named : "/etc/ssl/openssl.cnf";
  const std::string text = ReadText(file).value_or("");
  std::vector<NamedModule> found;
  for (const char* name : {"MODULE_PATH", "pkcs11-module-path"}) {
    for (const std::string& value : ValuesOf(text, name)) found.push_back({file, value});
  }
  return found;
}

std::vector<NamedModule> NssModules() {
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') return {};
  const std::string file = std::string(home) + "/.pki/nssdb/pkcs11.txt";
  std::vector<NamedModule> found;
  for (const std::string& value : ValuesOf(ReadText(file).value_or(""), "library")) {
    found.push_back({file, value});
  }
  return found;
}

}  // namespace secretmem::tool

// What is installed and configured of the programs that use modules.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace secretmem::tool {

// PackageVersion returns the version of an installed Debian package; nullopt where it is not, or
// there is no dpkg. |name| is one of ours, not the user's: a shell sees it.
std::optional<std::string> PackageVersion(const std::string& name);

// UpstreamAtLeast compares the upstream parts, up to three numbers: "0.4.12-0.1" with {0, 4, 17}.
bool UpstreamAtLeast(const std::string& version, int major, int minor, int patch);

// AgentAllows says whether ssh-agent's default list (/usr/lib*/*, /usr/local/lib*/*) allows the
// module with this real path.
bool AgentAllows(const std::string& real_path);

// NamedModule is a module that a program's configuration names.
struct NamedModule {
  std::string where;   // the file that names it
  std::string module;  // the path that stands there
};

// OpenSslModules returns what OpenSSL's configuration names as modules of the engine or provider.
std::vector<NamedModule> OpenSslModules();

// NssModules returns what the NSS database of the user names.
std::vector<NamedModule> NssModules();

}  // namespace secretmem::tool

// fault_many_keys: makes as many X25519 keys as the memory-lock limit has room for, or so many,
// uses them, and destroys them; then other things find the room that they had.
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "tests/blackbox/module.h"
#include "tests/blackbox/template.h"
#include "tests/conformance/rv.h"

using namespace secretmem;
using blackbox::Bytes;
using blackbox::Must;
using blackbox::P11;
using blackbox::Template;

namespace {

constexpr size_t kMebi = size_t{1} << 20;
constexpr double kMostBytes = 600, kMostSecretBytes = 64;

constexpr int kSkipped = 77;
unsigned g_defects = 0;

void Defect(const std::string& text) {
  ++g_defects;
  std::cout << "  " << text << std::endl;
}

// BindToDefaultLimit has the limit that most systems set bind this process, root's too.
void BindToDefaultLimit() {
  const rlimit limit{8 * kMebi, 8 * kMebi};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || syscall(SYS_capset, &header, none) != 0) {
    throw std::runtime_error("the limit cannot be set");
  }
}

// MayLock says whether so much memory can be locked.
bool MayLock(size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool may = at != MAP_FAILED && mlock(at, bytes) == 0;
  if (at != MAP_FAILED) munmap(at, bytes);
  return may;
}

// Memory is what this process has, in bytes.
struct Memory {
  size_t resident = 0;
  size_t secret = 0;

  static Memory Now() {
    Memory now;
    std::ifstream statm("/proc/self/statm");
    statm >> now.resident >> now.resident;
    now.resident *= static_cast<size_t>(sysconf(_SC_PAGESIZE));
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      size_t low = 0, high = 0;
      if (line.find("secretmem") != std::string::npos &&
          sscanf(line.c_str(), "%zx-%zx", &low, &high) == 2) {
        now.secret += high - low;
      }
    }
    return now;
  }
};

class Keys {
 public:
  explicit Keys(CK_SESSION_HANDLE session) : session_(session) {}

  // Make makes one more key, or returns why not.
  CK_RV Make() {
    Template key = Value(handles_.size());
    CK_OBJECT_HANDLE handle = 0;
    const CK_RV rv = P11().C_CreateObject(session_, key.data(), key.size(), &handle);
    if (rv == CKR_OK) handles_.push_back(handle);
    return rv;
  }

  void Destroy(size_t count) {
    for (; count > 0; --count) {
      Must(P11().C_DestroyObject(session_, handles_.back()), "C_DestroyObject");
      handles_.pop_back();
    }
  }

  // Agree returns what key |number|, found by its ID, and a fixed public key agree on.
  Bytes Agree(size_t number) {
    const auto found = blackbox::Find(session_, Template().With(CKA_ID, IdOf(number)));
    Must(found.rv, "C_FindObjects");
    if (found.handles != std::vector{handles_.at(number)}) {
      Defect("key " + std::to_string(number) + " is not what its ID finds");
    }
    Bytes peer(32, 9);
    CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, peer.size(), peer.data()};
    CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
    Template wanted = Template()
                          .With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY})
                          .With(CKA_KEY_TYPE, CK_ULONG{CKK_GENERIC_SECRET})
                          .With(CKA_SENSITIVE, false)
                          .With(CKA_EXTRACTABLE, true);
    CK_OBJECT_HANDLE secret = 0;
    Must(P11().C_DeriveKey(session_, &mechanism, handles_.at(number), wanted.data(), wanted.size(),
                           &secret),
         "C_DeriveKey");
    const auto value = blackbox::Read(session_, secret, CKA_VALUE);
    Must(value.rv, "C_GetAttributeValue");
    Must(P11().C_DestroyObject(session_, secret), "C_DestroyObject");
    return value.value;
  }

  size_t size() const { return handles_.size(); }
  void Reserve(size_t count) { handles_.reserve(count); }

 private:
  static std::string IdOf(size_t number) { return "id " + std::to_string(number); }
  static Template Value(size_t number) {
    Bytes value(32, 7);
    for (size_t i = 0; i < sizeof(number); ++i) value[i] = static_cast<CK_BYTE>(number >> 8 * i);
    return Template()
        .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
        .With(CKA_KEY_TYPE, CK_ULONG{CKK_EC_MONTGOMERY})
        .With(CKA_PRIVATE, false)
        .With(CKA_SENSITIVE, false)
        .With(CKA_EXTRACTABLE, true)
        .With(CKA_DERIVE, true)
        .With(CKA_EC_PARAMS, blackbox::X25519Params())
        .With(CKA_VALUE, value)
        .With(CKA_ID, IdOf(number))
        .With(CKA_LABEL, "label " + std::to_string(number));
  }

  const CK_SESSION_HANDLE session_;
  std::vector<CK_OBJECT_HANDLE> handles_;
};

// BigKeys makes and destroys keys of 64 KiB, which lie in pages of their own, until there is no
// more room or |most|; returns how many there were.
size_t BigKeys(CK_SESSION_HANDLE session, size_t most) {
  Template key = Template()
                     .With(CKA_CLASS, CK_ULONG{CKO_SECRET_KEY})
                     .With(CKA_KEY_TYPE, CK_ULONG{CKK_GENERIC_SECRET})
                     .With(CKA_VALUE, Bytes(65536, 1));
  std::vector<CK_OBJECT_HANDLE> made;
  CK_OBJECT_HANDLE handle = 0;
  while (made.size() < most &&
         P11().C_CreateObject(session, key.data(), key.size(), &handle) == CKR_OK) {
    made.push_back(handle);
  }
  for (const CK_OBJECT_HANDLE each : made) P11().C_DestroyObject(session, each);
  return made.size();
}

// Run makes |wanted| keys; 0: as many as there is room for.
void Run(CK_SESSION_HANDLE session, size_t wanted) {
  Keys keys(session);
  keys.Reserve(wanted);
  Must(keys.Make(), "C_CreateObject");
  const Bytes first = keys.Agree(0);
  const Memory before = Memory::Now();
  CK_RV rv = CKR_OK;
  while (rv == CKR_OK && (wanted == 0 || keys.size() < wanted)) rv = keys.Make();
  if (wanted != 0) Must(rv, "C_CreateObject");
  if (wanted == 0 && rv != CKR_DEVICE_MEMORY) {
    Defect("no room for another key: " + conformance::RvName(rv));
  }
  const size_t count = keys.size();
  const Memory full = Memory::Now();
  const auto each = [&](size_t Memory::*what) {
    return static_cast<double>(full.*what - before.*what) / static_cast<double>(count);
  };
  std::printf("%zu keys, %.0f bytes each, %.1f of them secret memory\n", count,
              each(&Memory::resident), each(&Memory::secret));
  if (count <= 100'000) Defect("that is not over 100,000");
  if (each(&Memory::resident) > kMostBytes || each(&Memory::secret) > kMostSecretBytes) {
    Defect("that is more than it may be");
  }
  if (wanted == 0) {
    if (BigKeys(session, 1) != 0) Defect("there was room left");
    keys.Destroy(1000);  // for what is computed
  }
  if (keys.Agree(0) != first) Defect("the first key is not what it was");
  const size_t middle = count / 2;
  const Bytes of_middle = keys.Agree(middle);
  keys.Destroy(keys.size());
  const Memory after = Memory::Now();
  // An empty chunk is kept.
  if (after.secret > before.secret + 128 * 1024) {
    Defect(std::to_string(after.secret - before.secret) + " bytes of secret memory were not freed");
  }
  const size_t big = (full.secret - before.secret) / (128 * 1024);
  if (const size_t made = BigKeys(session, big); made != big) {
    Defect("room for only " + std::to_string(made) + " big keys where small ones were");
  }
  while (keys.size() <= middle) Must(keys.Make(), "C_CreateObject, again");
  if (keys.Agree(0) != first || keys.Agree(middle) != of_middle) {
    Defect("keys did not compute what the same keys computed before");
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Makes as many keys as there is room for");
  std::string path;
  size_t wanted = 0;
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--keys", wanted, "so many, under the limit that there is");
  CLI11_PARSE(app, argc, argv);
  try {
    if (wanted == 0) BindToDefaultLimit();
    if (wanted != 0 && !MayLock(wanted * static_cast<size_t>(kMostSecretBytes))) {
      std::cout << "the memory-lock limit has no room for so many\n";
      return kSkipped;
    }
    blackbox::LoadModule(path);
    const blackbox::Scratch scratch;
    Must(blackbox::Initialise(), "C_Initialize");
    const CK_SLOT_ID slot = blackbox::MakeToken("token", "so pin", "user pin");
    CK_SESSION_HANDLE session = 0;
    Must(P11().C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session),
         "C_OpenSession");
    Run(session, wanted);
    P11().C_Finalize(nullptr);
  } catch (const std::exception& error) {
    Defect(error.what());
  }
  std::cout << "many keys: " << g_defects << " defects\n";
  return g_defects == 0 ? 0 : 1;
}

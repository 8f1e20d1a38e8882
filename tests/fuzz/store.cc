// The token's file: a good one with bytes of it changed, cut off or put elsewhere, then used in
// every way that needs no PIN.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/blackbox/module.h"
#include "tests/blackbox/template.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/token.h"

namespace secretmem::fuzz {
namespace {

using blackbox::Template;

struct Original {
  std::string path;
  std::vector<char> bytes;
};

// Objects of every kind of row, in a file without a log.
Original MakeOriginal() {
  const CK_SESSION_HANDLE session = OpenSession();
  for (int i = 0; i < 3; ++i) {
    for (const bool is_private : {false, true}) {
      Template data = Template()
                          .With(CKA_CLASS, CKO_DATA)
                          .With(CKA_TOKEN, true)
                          .With(CKA_PRIVATE, is_private)
                          .With(CKA_VALUE, blackbox::Bytes(i == 0 ? 3000 : 30, 7));
      Template key = Template()
                         .With(CKA_CLASS, CKO_SECRET_KEY)
                         .With(CKA_KEY_TYPE, CKK_AES)
                         .With(CKA_TOKEN, true)
                         .With(CKA_PRIVATE, is_private)
                         .With(CKA_EXTRACTABLE, true)
                         .With(CKA_VALUE, blackbox::Bytes(32, 7));
      CK_OBJECT_HANDLE made = 0;
      blackbox::Must(C_CreateObject(session, data.data(), data.size(), &made), "C_CreateObject");
      blackbox::Must(C_CreateObject(session, key.data(), key.size(), &made), "C_CreateObject");
    }
  }
  C_Finalize(nullptr);
  const std::string config = getenv("SECRETMEM_PKCS11_CONF");
  const std::string tokens = config.substr(0, config.rfind('/')) + "/tokens";
  Original original;
  for (const auto& entry : std::filesystem::directory_iterator(tokens)) {
    if (entry.path().extension() == ".token") original.path = entry.path();
  }
  std::ifstream file(original.path, std::ios::binary);
  original.bytes.assign(std::istreambuf_iterator<char>(file), {});
  return original;
}

void Use() {
  if (blackbox::Initialise() != CKR_OK) return;
  CK_SLOT_ID slots[4]{};
  CK_ULONG count = 4;
  C_GetSlotList(CK_TRUE, slots, &count);
  for (CK_ULONG i = 0; i < std::min<CK_ULONG>(count, 4); ++i) {
    CK_TOKEN_INFO info{};
    C_GetTokenInfo(slots[i], &info);
    CK_SESSION_HANDLE session = 0;
    if (C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session) !=
        CKR_OK) {
      continue;
    }
    for (const CK_OBJECT_HANDLE object : blackbox::Find(session, Template()).handles) {
      for (const CK_ATTRIBUTE_TYPE type : {CKA_VALUE, CKA_LABEL, CKA_CHECK_VALUE}) {
        blackbox::Read(session, object, type);
      }
      Template label = Template().With(CKA_LABEL, "changed");
      C_SetAttributeValue(session, object, label.data(), label.size());
    }
    Template data = Template().With(CKA_CLASS, CKO_DATA).With(CKA_TOKEN, true);
    CK_OBJECT_HANDLE made = 0;
    if (C_CreateObject(session, data.data(), data.size(), &made) == CKR_OK) {
      C_DestroyObject(session, made);
    }
  }
  C_Finalize(nullptr);
}

}  // namespace
}  // namespace secretmem::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace secretmem::fuzz;
  static const Original original = MakeOriginal();
  Input input(data, size);
  std::vector<char> bytes = original.bytes;
  for (int i = 0; i < 12 && !input.empty() && !bytes.empty(); ++i) {
    // Most of what decides is at the beginning of a page.
    const size_t page = input.Below(bytes.size() / 4096 + 1) * 4096;
    const size_t at = std::min(page + (input.Below(2) == 0 ? input.Below(128) : input.Below(4096)),
                               bytes.size() - 1);
    const Bytes patch = input.Some(64);
    switch (input.Below(8)) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        std::copy_n(original.bytes.begin(), std::min(original.bytes.size(), bytes.size() - at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      default:
        std::copy_n(patch.begin(), std::min(patch.size(), bytes.size() - at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  for (const char* beside : {"-wal", "-shm"}) std::filesystem::remove(original.path + beside);
  std::ofstream(original.path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  Use();
  return 0;
}

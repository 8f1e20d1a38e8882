#pragma once

#include <mutex>
#include <vector>

#include "pkcs11/template_reader.h"
#include "pkcs11/token.h"

namespace secretmem {

// Search is what lies between C_FindObjectsInit and C_FindObjectsFinal (PKCS#11 3.2, 5.7.7): a
// template, and how far the token's objects have been looked through. C_FindObjects looks on only
// until it has as many as it may return. Found are objects that were there at the beginning, each
// once, by the attributes they have when they are looked at; none that is gone, has expired, or may
// not be seen any more. Any thread may call Next.
class Search {
 public:
  Search(const Token& token, const TemplateReader& wanted);

  // Next returns the handles, ascending, of the next objects, |most| at most.
  std::vector<CK_OBJECT_HANDLE> Next(const Token& token, size_t most);

 private:
  std::mutex mutex_;
  IndexKeys keys_;
  std::vector<uint8_t> values_;
  TemplateReader wanted_;  // in |values_|
  HandleRange rest_;
  // Where the template may not be kept, what it found at the beginning.
  std::vector<CK_OBJECT_HANDLE> found_;
  size_t looked_at_ = 0;
};

}  // namespace secretmem

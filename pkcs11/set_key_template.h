#pragma once

#include <deque>
#include <vector>

#include "mechanisms/mechanism.h"
#include "pkcs11/object_builder.h"

namespace secretmem {

// SetKeyTemplate is the template of one of the keys of a set (Mechanism::key_set), made of the
// client's one. It points into the client's memory and itself.
class SetKeyTemplate {
 public:
  // Of adds to the client's template the key's length, and CKA_SENSITIVE and CKA_EXTRACTABLE of the
  // base key; values of the client's that differ then are CKR_TEMPLATE_INCONSISTENT for whoever
  // reads it. A MAC key has of the client's template only what is not about type and usage: it is a
  // generic secret that signs and verifies. The others encrypt, decrypt and derive unless the
  // client's template says otherwise. CKR_ARGUMENTS_BAD.
  static CkResult<SetKeyTemplate> Of(const KeyOfSet& key, const BaseKey& base,
                                     const CK_ATTRIBUTE* attributes, CK_ULONG count);

  const CK_ATTRIBUTE* data() const { return attributes_.data(); }
  CK_ULONG size() const { return attributes_.size(); }

 private:
  template <class T>
  void Add(CK_ATTRIBUTE_TYPE type, T value);

  std::vector<CK_ATTRIBUTE> attributes_;
  std::deque<CK_ULONG> numbers_;  // does not move what it holds
  std::deque<CK_BBOOL> flags_;
};

}  // namespace secretmem

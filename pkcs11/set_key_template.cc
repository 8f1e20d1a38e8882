#include "pkcs11/set_key_template.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "pkcs11/template_reader.h"

namespace secretmem {
namespace {

// What a MAC key takes over from the template.
constexpr CK_ATTRIBUTE_TYPE kOfEveryKey[] = {
    CKA_CLASS,    CKA_TOKEN,       CKA_PRIVATE,   CKA_LABEL,       CKA_ID,         CKA_MODIFIABLE,
    CKA_COPYABLE, CKA_DESTROYABLE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_START_DATE, CKA_END_DATE};

}  // namespace

template <class T>
void SetKeyTemplate::Add(CK_ATTRIBUTE_TYPE type, T value) {
  if constexpr (std::is_same_v<T, bool>) {
    flags_.push_back(value ? CK_TRUE : CK_FALSE);
    attributes_.push_back({type, &flags_.back(), sizeof(CK_BBOOL)});
  } else {
    numbers_.push_back(value);
    attributes_.push_back({type, &numbers_.back(), sizeof(CK_ULONG)});
  }
}

CkResult<SetKeyTemplate> SetKeyTemplate::Of(const KeyOfSet& key, const BaseKey& base,
                                            const CK_ATTRIBUTE* attributes, CK_ULONG count) {
  if ((attributes == nullptr && count != 0) || count > TemplateReader::kMaxAttributes) {
    return Refuse(CKR_ARGUMENTS_BAD);
  }
  SetKeyTemplate made;
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_ATTRIBUTE attribute;
    memcpy(&attribute, attributes + i, sizeof(attribute));
    if (key.is_mac && std::ranges::find(kOfEveryKey, attribute.type) == std::end(kOfEveryKey)) {
      continue;
    }
    made.attributes_.push_back(attribute);
  }
  made.Add(CKA_VALUE_LEN, CK_ULONG{key.length});
  made.Add(CKA_SENSITIVE, base.sensitive);
  made.Add(CKA_EXTRACTABLE, base.extractable);
  if (key.is_mac) {
    made.Add(CKA_KEY_TYPE, CK_ULONG{CKK_GENERIC_SECRET});
    made.Add(CKA_SIGN, true);
    made.Add(CKA_VERIFY, true);
    made.Add(CKA_DERIVE, false);
    return made;
  }
  for (const CK_ATTRIBUTE_TYPE usage : {CKA_ENCRYPT, CKA_DECRYPT, CKA_DERIVE}) {
    if (std::ranges::find(made.attributes_, usage, &CK_ATTRIBUTE::type) == made.attributes_.end()) {
      made.Add(usage, true);
    }
  }
  return made;
}

}  // namespace secretmem

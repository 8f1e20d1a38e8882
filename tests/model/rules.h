// What the model knows of attributes: which an object has, what they are when a template does not
// say, and who may give or change them. Written from the specification and the module's
// documentation, not from its code.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "tests/blackbox/template.h"

namespace secretmem::model {

using blackbox::Bytes;
using Attributes = std::map<CK_ATTRIBUTE_TYPE, Bytes>;

enum class Kind { kData, kGeneric, kAes, kX25519Public, kX25519Private };
enum class Origin { kCreate, kGenerate, kDerive };
enum class LoggedIn { kNobody, kUser, kSecurityOfficer };

bool IsSecretKey(Kind kind);
bool IsKey(Kind kind);

bool ReadBool(const Attributes& attributes, CK_ATTRIBUTE_TYPE type);

// Base is what a derived key's defaults follow from.
struct Base {
  bool sensitive = false;
  bool extractable = false;
  bool always_sensitive = false;
  bool never_extractable = false;
};

// Made is a new object: its attributes without CKA_UNIQUE_ID, or the code of the refusal.
struct Made {
  CK_RV rv = CKR_OK;
  Attributes attributes;
};

// Who asks: what access depends on.
struct Caller {
  LoggedIn login;
  bool read_write;
};

Made Make(Kind kind, Origin origin, const blackbox::Template& given, const Caller& caller,
          CK_MECHANISM_TYPE mechanism, const std::optional<Base>& base = {});
Made Copy(Kind kind, const Attributes& source, const blackbox::Template& given,
          const Caller& caller);
Made Set(Kind kind, const Attributes& object, const blackbox::Template& given,
         const Caller& caller);

// BoolsOf lists the boolean attributes that a template for an object of this kind may give.
std::span<const CK_ATTRIBUTE_TYPE> BoolsOf(Kind kind);

}  // namespace secretmem::model

// Refused calls of key encapsulation, HPKE and wrapping leave nothing: no object, and not a word of
// secret memory in use that was not before. For modules whose keys lie in memfd_secret(2) memory
// that the process itself can read.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <functional>

#include "tests/conformance/fixtures.h"
#include "tests/conformance/hpke.h"
#include "tests/conformance/x25519.h"

namespace secretmem::conformance {
namespace {

// WordsInUse counts the words of all secret memory that are not zero, as free memory is. Nothing
// where there is none, or none that this process can read. The kernel copies: it answers EFAULT
// where a read would end the process.
std::optional<size_t> WordsInUse() {
  static const int copy = memfd_create("copy", MFD_CLOEXEC);
  std::array<uint64_t, 8192> words;
  std::optional<size_t> count;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t low = 0, high = 0;
    if (line.find(" /secretmem") == line.npos || line.find(" r") == line.npos ||
        std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &low, &high) != 2) {
      continue;
    }
    for (uint64_t at = low; at < high; at += sizeof words) {
      const auto size = static_cast<ssize_t>(std::min<uint64_t>(high - at, sizeof words));
      const auto* bytes = reinterpret_cast<const void*>(at);  // NOLINT: of /proc/self/maps
      if (pwrite(copy, bytes, static_cast<size_t>(size), 0) != size) return std::nullopt;
      if (pread(copy, words.data(), static_cast<size_t>(size), 0) != size) return std::nullopt;
      const auto end = words.begin() + size / static_cast<ssize_t>(sizeof words[0]);
      count = count.value_or(0) +
              static_cast<size_t>(std::count_if(words.begin(), end, [](uint64_t w) { return w; }));
    }
  }
  return count;
}

struct Call {
  const char* what;
  CK_RV expected;
  std::function<CK_RV()> run;
};

// Keys of one KEM for HPKE.
struct HpkeKeys {
  CK_ULONG kem;
  size_t enc;
  CK_OBJECT_HANDLE to = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE from = CK_INVALID_HANDLE;
};

class NothingLeftTest : public UserTest {
 protected:
  void SetUp() override {
    if (P11v32() == nullptr) GTEST_SKIP() << "a module before 3.2";
    UserTest::SetUp();
    if (HasFatalFailure()) return;
    if (!HasMechanism(slot_, CKM_SECRETMEM_HPKE, CKF_WRAP)) GTEST_SKIP() << "no HPKE";
    key_ = ImportKey(session_, CKK_GENERIC_SECRET, ReferenceRandom(32));
    if (!WordsInUse()) GTEST_SKIP() << "no secret memory that this process can read";
    aes_ = ImportKey(session_, CKK_AES, ReferenceRandom(32));
  }

  static Template MaySeal(Template its) {
    return its.With(CKA_TOKEN, false)
        .With(CKA_ENCRYPT, true)
        .With(CKA_WRAP, true)
        .With(CKA_ENCAPSULATE, true);
  }
  static Template MayOpen(Template its) {
    return its.With(CKA_TOKEN, false)
        .With(CKA_DECRYPT, true)
        .With(CKA_UNWRAP, true)
        .With(CKA_DECAPSULATE, true);
  }

  // A pair by |mechanism|; false where the token has none.
  bool Generate(CK_MECHANISM_TYPE type, const Template& seal, const Template& open,
                CK_OBJECT_HANDLE& to, CK_OBJECT_HANDLE& from) const {
    if (!HasMechanism(slot_, type, CKF_GENERATE_KEY_PAIR)) return false;
    CK_MECHANISM mechanism{type, nullptr, 0};
    Template public_key = MaySeal(seal), private_key = MayOpen(open);
    EXPECT_RV(CKR_OK,
              P11().C_GenerateKeyPair(session_, &mechanism, public_key.data(), public_key.size(),
                                      private_key.data(), private_key.size(), &to, &from));
    return true;
  }

  CK_RV TryUnwrap(CK_OBJECT_HANDLE from, const OwnedMechanism& mechanism, const Bytes& wrapped,
                  const Template& wanted = UnwrappedTemplate(CKK_GENERIC_SECRET)) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return Unwrap(session_, from, mechanism, wrapped, wanted, handle);
  }
  CK_RV TryDecapsulate(CK_OBJECT_HANDLE from, const OwnedMechanism& mechanism, const Bytes& sent,
                       const Template& wanted = SecretTemplate()) const {
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    return Decapsulate(session_, mechanism, from, sent, wanted, handle);
  }

  // What the calls of |list| leave, after each was made once for what stays for good: lists of
  // errors, a thread's state.
  void ExpectNothingLeft(const std::vector<Call>& list) const {
    for (const Call& call : list) EXPECT_RV(call.expected, call.run()) << call.what;
    const auto objects = FindAll(session_);
    const auto before = WordsInUse();
    for (const Call& call : list) {
      for (int i = 0; i < 20; ++i) EXPECT_RV(call.expected, call.run()) << call.what;
      EXPECT_EQ(WordsInUse(), before) << call.what;
    }
    EXPECT_EQ(FindAll(session_), objects);
  }

  void AddHpke(const HpkeKeys& keys, std::vector<Call>& list) const;

  static Bytes Damaged(Bytes bytes, size_t at) {
    bytes[at] ^= 4;
    return bytes;
  }
  static Bytes Shortened(Bytes bytes, size_t by) {
    bytes.resize(bytes.size() - by);
    return bytes;
  }

  CK_OBJECT_HANDLE key_ = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE aes_ = CK_INVALID_HANDLE;
};

// Templates that are refused before and after there is a secret.
Template TooLong() { return SecretTemplate().With(CKA_VALUE_LEN, CK_ULONG{33}); }
Template WithAValue() { return SecretTemplate().With(CKA_VALUE, Bytes(32)); }
Template WrongCheckValue() { return SecretTemplate().With(CKA_CHECK_VALUE, Bytes{1, 2, 3}); }

void NothingLeftTest::AddHpke(const HpkeKeys& keys, std::vector<Call>& list) const {
  const auto hpke = [kem = keys.kem](CK_ULONG output = CK_SECRETMEM_HPKE_OUTPUT_EXPORT) {
    return Hpke{.kem = kem, .output = output};
  };
  const auto bare = [hpke] { return hpke(CK_SECRETMEM_HPKE_OUTPUT_KEM); };
  const CK_OBJECT_HANDLE to = keys.to, from = keys.from;
  const Bytes sealed = Encrypt(session_, to, hpke().Mechanism(), Bytes(48, 7)).value;
  ASSERT_EQ(sealed.size(), keys.enc + 64);
  Bytes zeros = sealed;
  std::fill_n(zeros.begin() + static_cast<long>(keys.enc) - 32, 32, CK_BYTE{0});
  const Bytes enc(sealed.begin(), sealed.begin() + static_cast<long>(keys.enc));
  const Bytes zero_enc(zeros.begin(), zeros.begin() + static_cast<long>(keys.enc));
  const CK_OBJECT_HANDLE psk = Create(
      session_, SecretKeyTemplate(CKK_GENERIC_SECRET, ReferenceRandom(32)).With(CKA_DERIVE, true));

  for (const size_t at : {size_t{0}, keys.enc - 1, keys.enc, sealed.size() - 1}) {
    list.push_back({"a damaged key", CKR_WRAPPED_KEY_INVALID, [=, this] {
                      return TryUnwrap(from, hpke().Mechanism(), Damaged(sealed, at));
                    }});
    list.push_back({"damaged data", CKR_ENCRYPTED_DATA_INVALID, [=, this] {
                      return Decrypt(session_, from, hpke().Mechanism(), Damaged(sealed, at)).rv;
                    }});
  }
  list.insert(
      list.end(),
      {{"a small-order key", CKR_WRAPPED_KEY_INVALID,
        [=, this] { return TryUnwrap(from, hpke().Mechanism(), zeros); }},
       {"a truncated ciphertext", CKR_WRAPPED_KEY_INVALID,
        [=, this] { return TryUnwrap(from, hpke().Mechanism(), Shortened(sealed, 1)); }},
       {"no ciphertext", CKR_WRAPPED_KEY_LEN_RANGE,
        [=, this] { return TryUnwrap(from, hpke().Mechanism(), Shortened(sealed, 48)); }},
       {"associated data", CKR_WRAPPED_KEY_INVALID,
        [=, this] {
          CK_OBJECT_HANDLE got = CK_INVALID_HANDLE;
          return UnwrapAuthenticated(session_, from, hpke().Mechanism(), sealed, Bytes(1),
                                     UnwrappedTemplate(CKK_GENERIC_SECRET), got);
        }},
       {"48 bytes as an AES key", CKR_WRAPPED_KEY_INVALID,
        [=, this] {
          return TryUnwrap(from, hpke().Mechanism(), sealed, UnwrappedTemplate(CKK_AES));
        }},
       {"bytes as a private key", CKR_WRAPPED_KEY_INVALID,
        [=, this] {
          return TryUnwrap(from, hpke().Mechanism(), sealed,
                           Template()
                               .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                               .With(CKA_KEY_TYPE, CK_ULONG{CKK_EC_MONTGOMERY}));
        }},
       {"a template with another check value", CKR_ATTRIBUTE_VALUE_INVALID,
        [=, this] {
          return TryUnwrap(from, hpke().Mechanism(), sealed,
                           UnwrappedTemplate(CKK_GENERIC_SECRET).With(CKA_CHECK_VALUE, Bytes(3)));
        }},
       {"a PSK that the sender had not", CKR_ENCRYPTED_DATA_INVALID,
        [=, this] {
          Hpke its = hpke();
          its.mode = CK_SECRETMEM_HPKE_MODE_PSK;
          its.psk = psk;
          its.psk_id = Bytes(1);
          return Decrypt(session_, from, its.Mechanism(), sealed).rv;
        }},
       {"encryption in parts", CKR_FUNCTION_NOT_SUPPORTED,
        [=, this] { return EncryptInParts(session_, to, hpke().Mechanism(), Bytes(8), 4).rv; }},
       {"another suite", CKR_MECHANISM_PARAM_INVALID,
        [=, this] {
          Hpke its = hpke();
          its.kdf = 2;
          return Wrap(session_, to, its.Mechanism(), key_).rv;
        }},
       {"the private key as the public one", CKR_KEY_FUNCTION_NOT_PERMITTED,
        [=, this] { return Encrypt(session_, from, hpke().Mechanism(), Bytes(8)).rv; }},
       {"encapsulation of the wrong length", CKR_TEMPLATE_INCONSISTENT,
        [=, this] { return Encapsulate(session_, bare().Mechanism(), to, TooLong()).rv; }},
       {"encapsulation with a value", CKR_ATTRIBUTE_READ_ONLY,
        [=, this] { return Encapsulate(session_, bare().Mechanism(), to, WithAValue()).rv; }},
       {"encapsulation with a check value", CKR_ATTRIBUTE_VALUE_INVALID,
        [=, this] { return Encapsulate(session_, bare().Mechanism(), to, WrongCheckValue()).rv; }},
       {"decapsulation with a check value", CKR_ATTRIBUTE_VALUE_INVALID,
        [=, this] { return TryDecapsulate(from, bare().Mechanism(), enc, WrongCheckValue()); }},
       {"an exporter without a length", CKR_TEMPLATE_INCOMPLETE,
        [=, this] { return TryDecapsulate(from, hpke().Mechanism(), enc); }},
       {"an exported secret with a check value", CKR_ATTRIBUTE_VALUE_INVALID,
        [=, this] {
          return TryDecapsulate(from, hpke().Mechanism(), enc,
                                WrongCheckValue().With(CKA_VALUE_LEN, CK_ULONG{64}));
        }},
       {"a short encapsulated key", CKR_WRAPPED_KEY_LEN_RANGE,
        [=, this] { return TryDecapsulate(from, bare().Mechanism(), Shortened(enc, 1)); }},
       {"a small-order encapsulated key", CKR_WRAPPED_KEY_INVALID,
        [=, this] { return TryDecapsulate(from, bare().Mechanism(), zero_enc); }}});
}

TEST_F(NothingLeftTest, Hpke) {
  const Bytes scalar = ReferenceRandom(32);
  std::vector<Call> calls;
  AddHpke({CK_SECRETMEM_HPKE_X25519_HKDF_SHA256, 32,
           Create(session_, MaySeal(X25519PublicKey(ReferencePublicKey(scalar)))),
           Create(session_, MayOpen(X25519PrivateKey(scalar)))},
          calls);
  HpkeKeys xwing{CK_SECRETMEM_HPKE_XWING, 1120};
  if (Generate(CKM_SECRETMEM_XWING_KEY_PAIR_GEN, {}, {}, xwing.to, xwing.from)) {
    AddHpke(xwing, calls);
    const Bytes seed(31);
    calls.push_back({"a short X-Wing seed", CKR_ATTRIBUTE_VALUE_INVALID, [=, this] {
                       Template wanted = Template()
                                             .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                                             .With(CKA_KEY_TYPE, CK_ULONG{CKK_SECRETMEM_XWING})
                                             .With(CKA_SEED, seed);
                       CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
                       return P11().C_CreateObject(session_, wanted.data(), wanted.size(), &handle);
                     }});
  }
  ExpectNothingLeft(calls);
}

TEST_F(NothingLeftTest, Kems) {
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE x25519 = Create(session_, MayOpen(X25519PrivateKey(scalar)));
  const EcCurve& curve = EcCurveOf("prime256v1");
  const EcKeyPair pair = ReferenceEcKey(curve);
  const CK_OBJECT_HANDLE ec = Create(session_, MayOpen(EcPrivateKey(curve, pair.scalar)));
  const Bytes point = OctetString(ReferenceEcKey(curve).point);
  const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
  const auto ecdh = [] { return EcdhKem(CKD_NULL); };
  std::vector<Call> calls = {
      {"a small-order point", CKR_WRAPPED_KEY_INVALID,
       [=, this] { return TryDecapsulate(x25519, ecdh(), Bytes(32)); }},
      {"a point of another length", CKR_WRAPPED_KEY_LEN_RANGE,
       [=, this] { return TryDecapsulate(x25519, ecdh(), Shortened(peer, 1)); }},
      {"a point with a check value", CKR_ATTRIBUTE_VALUE_INVALID,
       [=, this] { return TryDecapsulate(x25519, ecdh(), peer, WrongCheckValue()); }},
      {"a point that is not on the curve", CKR_WRAPPED_KEY_INVALID,
       [=, this] { return TryDecapsulate(ec, ecdh(), Damaged(point, 20)); }},
      {"a P-256 point with a check value", CKR_ATTRIBUTE_VALUE_INVALID,
       [=, this] { return TryDecapsulate(ec, ecdh(), point, WrongCheckValue()); }},
      {"a KDF that is not known", CKR_MECHANISM_PARAM_INVALID,
       [=, this] { return TryDecapsulate(ec, EcdhKem(0x77), point); }},
  };
  CK_OBJECT_HANDLE to = CK_INVALID_HANDLE, from = CK_INVALID_HANDLE;
  const Template set = Template().With(CKA_PARAMETER_SET, CK_ULONG{CKP_ML_KEM_1024});
  if (Generate(CKM_ML_KEM_KEY_PAIR_GEN, set, {}, to, from)) {
    const OwnedMechanism kem(CKM_ML_KEM);
    const Bytes sent = Encapsulate(session_, kem, to, SecretTemplate()).ciphertext;
    calls.insert(calls.end(),
                 {{"a short ML-KEM ciphertext", CKR_WRAPPED_KEY_LEN_RANGE,
                   [=, this] { return TryDecapsulate(from, kem, Shortened(sent, 1)); }},
                  {"an ML-KEM secret with a check value", CKR_ATTRIBUTE_VALUE_INVALID,
                   [=, this] { return TryDecapsulate(from, kem, sent, WrongCheckValue()); }},
                  {"an ML-KEM secret that is too long", CKR_TEMPLATE_INCONSISTENT,
                   [=, this] { return TryDecapsulate(from, kem, sent, TooLong()); }}});
  }
  ExpectNothingLeft(calls);
}

TEST_F(NothingLeftTest, Wrapping) {
  const Bytes scalar = ReferenceRandom(32);
  const CK_OBJECT_HANDLE to =
      Create(session_, MaySeal(X25519PublicKey(ReferencePublicKey(scalar))));
  const CK_OBJECT_HANDLE from = Create(session_, MayOpen(X25519PrivateKey(scalar)));
  const OwnedMechanism ecdh = OwnedMechanism::Of(
      CKM_ECDH_X_AES_KEY_WRAP, CK_ECDH_AES_KEY_WRAP_PARAMS{256, CKD_SHA256_KDF, 0, nullptr});
  const OwnedMechanism kwp(CKM_AES_KEY_WRAP_KWP);
  const Bytes iv(12, 5);
  const auto gcm = [iv] { return Gcm(iv, {}, 128); };
  const Bytes agreed = Wrap(session_, to, ecdh, key_).value;
  const Bytes padded = Wrap(session_, aes_, kwp, key_).value;
  const Bytes authenticated = WrapAuthenticated(session_, aes_, gcm(), key_, Bytes(4)).value;
  const CK_OBJECT_HANDLE stuck = Create(
      session_,
      SecretKeyTemplate(CKK_GENERIC_SECRET, ReferenceRandom(32)).With(CKA_EXTRACTABLE, false));
  const auto open = [=, this](const Bytes& wrapped, size_t associated) {
    CK_OBJECT_HANDLE got = CK_INVALID_HANDLE;
    return UnwrapAuthenticated(session_, aes_, gcm(), wrapped, Bytes(associated),
                               UnwrappedTemplate(CKK_GENERIC_SECRET), got);
  };
  ExpectNothingLeft({
      {"a damaged ephemeral key", CKR_WRAPPED_KEY_INVALID,
       [=, this] { return TryUnwrap(from, ecdh, Damaged(agreed, 3)); }},
      {"a damaged key under ECDH", CKR_WRAPPED_KEY_INVALID,
       [=, this] { return TryUnwrap(from, ecdh, Damaged(agreed, 40)); }},
      {"a truncated key under ECDH", CKR_WRAPPED_KEY_LEN_RANGE,
       [=, this] { return TryUnwrap(from, ecdh, Shortened(agreed, 1)); }},
      {"a damaged key under AES", CKR_WRAPPED_KEY_INVALID,
       [=, this] { return TryUnwrap(aes_, kwp, Damaged(padded, 9)); }},
      {"a key under AES as a private one", CKR_WRAPPED_KEY_INVALID,
       [=, this] {
         return TryUnwrap(aes_, kwp, padded,
                          Template()
                              .With(CKA_CLASS, CK_ULONG{CKO_PRIVATE_KEY})
                              .With(CKA_KEY_TYPE, CK_ULONG{CKK_EC_EDWARDS}));
       }},
      {"a damaged key under GCM", CKR_WRAPPED_KEY_INVALID,
       [=] { return open(Damaged(authenticated, 2), 4); }},
      {"other associated data", CKR_WRAPPED_KEY_INVALID, [=] { return open(authenticated, 5); }},
      {"a key under GCM that is truncated", CKR_WRAPPED_KEY_INVALID,
       [=] { return open(Shortened(authenticated, 1), 4); }},
      {"a key that cannot be wrapped", CKR_KEY_UNEXTRACTABLE,
       [=, this] { return Wrap(session_, to, ecdh, stuck).rv; }},
  });
}

TEST_F(NothingLeftTest, BoundKeys) {
  const Bytes point = ReferencePublicKey(ReferenceRandom(32));
  const CK_OBJECT_HANDLE binding = Create(session_, MaySeal(X25519PublicKey(point)));
  const CK_OBJECT_HANDLE other =
      Create(session_, MaySeal(X25519PublicKey(ReferencePublicKey(ReferenceRandom(32)))));
  const CK_OBJECT_HANDLE kem = Create(session_, X25519PrivateKey(ReferenceRandom(32))
                                                    .With(CKA_SENSITIVE, true)
                                                    .With(CKA_EXTRACTABLE, false)
                                                    .With(CKA_DERIVE, false)
                                                    .With(CKA_DECAPSULATE, true)
                                                    .With(CKA_SECRETMEM_BOUND_TO, point));
  const Bytes peer = ReferencePublicKey(ReferenceRandom(32));
  const auto reseal = [=, this](CK_OBJECT_HANDLE to, Bytes sent, CK_ULONG length, CK_ULONG aead) {
    OwnedMechanism opening = EcdhKem(CKD_NULL);
    Hpke hpke{.aead = aead};
    OwnedMechanism sealing = hpke.Mechanism();
    const CK_SECRETMEM_RESEAL_PARAMS parameters{opening.get(), sent.data(), sent.size(), length,
                                                sealing.get()};
    return Wrap(session_, to, OwnedMechanism::Of(CKM_SECRETMEM_RESEAL, parameters), kem).rv;
  };
  ExpectNothingLeft({
      {"another key", CKR_KEY_NOT_WRAPPABLE, [=] { return reseal(other, peer, 0, 2); }},
      {"a small-order point", CKR_WRAPPED_KEY_INVALID,
       [=] { return reseal(binding, Bytes(32), 0, 2); }},
      {"a secret that is too long", CKR_TEMPLATE_INCONSISTENT,
       [=] { return reseal(binding, peer, 33, 2); }},
      // Found only when the secret is there.
      {"an AEAD that seals nothing", CKR_MECHANISM_PARAM_INVALID,
       [=] { return reseal(binding, peer, 0, CK_SECRETMEM_HPKE_EXPORT_ONLY); }},
      {"a template that would free the secret", CKR_TEMPLATE_INCONSISTENT,
       [=, this] {
         return TryDecapsulate(kem, EcdhKem(CKD_NULL), peer,
                               Template().With(CKA_TOKEN, false).With(CKA_SENSITIVE, false));
       }},
  });
}

// That counting works: a key of four words, beside one of that size.
TEST_F(NothingLeftTest, AKeyShows) {
  const auto before = WordsInUse();
  const CK_OBJECT_HANDLE kept = ImportKey(session_, CKK_GENERIC_SECRET, Bytes(32, 1));
  EXPECT_EQ(WordsInUse(), *before + 4);
  EXPECT_RV(CKR_OK, P11().C_DestroyObject(session_, kept));
  EXPECT_EQ(WordsInUse(), before);
}

}  // namespace
}  // namespace secretmem::conformance

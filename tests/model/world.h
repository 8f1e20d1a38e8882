// One random sequence of calls, each compared with what the model says.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/model/random.h"
#include "tests/model/rules.h"

namespace secretmem::model {

// Mismatch is an answer that the model did not expect.
class Mismatch : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class World {
 public:
  // The configuration that the model assumes: three wrong PINs lock, and nobody waits.
  static constexpr const char* kSettings =
      "[pin]\niterations = 1000\ndelay_ms = 0\nmax_failures = 3\n";

  // Begins with an initialised token, in a process whose token directory is empty.
  explicit World(uint64_t seed);

  // Begins beside |shared|, on its token, for a thread of its own: with sessions of its own, and
  // objects of its own, which |label| tells from those of others. Its steps leave alone what is
  // common to all, which |shared| changes.
  World(uint64_t seed, const World& shared, std::string label);

  // Step makes one call, or a few that belong together, and checks everything that they tell.
  void Step();

  // StepShared makes a call that changes what |others| share with this one: the login, the PINs,
  // whether the library is initialised. None of them makes a call meanwhile, and each of them then
  // needs to Follow.
  void StepShared(const std::vector<std::unique_ptr<World>>& others);

  // Follow takes over what |shared| has changed.
  void Follow(const World& shared);

  // Finish finalises and checks that this worked.
  void Finish();

  uint64_t calls() const { return calls_; }
  // LastCalls returns the latest calls, oldest first, for the report of a mismatch.
  const std::deque<std::string>& LastCalls() const { return last_calls_; }

 private:
  // The operations that a session can have at once.
  enum Kinds { kDigest, kSign, kVerify, kEncrypt, kDecrypt, kOperationKinds };
  struct Operation {
    bool multi_part = false;
    Bytes data;
    Bytes iv;
    std::optional<Bytes> key;
    bool private_key = false;
  };
  // Hit is an object that was there when a search began, and how often it had left with its user by
  // then: if it leaves after that, it is not found.
  struct Hit {
    int object;
    unsigned departures;
    bool matched;  // at the beginning
    bool sure;     // whenever it was looked at: it has to be found
  };
  struct Search {
    blackbox::Template wanted;
    std::vector<Hit> left;  // what has not been handed out
  };
  struct Session {
    bool read_write;
    std::optional<Operation> operations[kOperationKinds];
    std::optional<Search> search;
  };
  struct Object {
    Kind kind;
    Attributes attributes;
    std::optional<Bytes> secret;
    CK_SESSION_HANDLE session = 0;  // of session objects
    CK_OBJECT_HANDLE handle = 0;    // 0: not known yet
    unsigned departures = 0;
    bool token() const { return ReadBool(attributes, CKA_TOKEN); }
    bool is_private() const { return ReadBool(attributes, CKA_PRIVATE); }
  };

  struct Choice {
    unsigned weight;
    void (World::*step)();
  };
  void Choose(std::span<const Choice> choices);
  void Initialise();
  void Finalise();
  void FinaliseAndInitialise();
  void ForgetProcess();  // what ends with C_Finalize
  void OpenSession();
  void CloseSession();
  void CloseAllSessions();
  void SessionInfo();
  void TokenInfo();
  void LogIn();
  void LogOut();
  void InitToken();
  void InitPin();
  void SetPin();
  void CreateObject();
  void GenerateKey();
  void GenerateKeyPair();
  void DeriveKey();
  void CopyObject();
  void DestroyObject();
  void ReadAttributes();
  void SetAttributes();
  void FindInit();
  void FindNext();
  void FindFinal();
  void Begin();
  void Whole();
  void Update();
  void Final();
  void Cancel();
  void GenerateRandom();
  void CheckEverything();

  // Expect throws Mismatch unless |got| is |want|.
  void Expect(const char* call, CK_RV want, CK_RV got);
  void ExpectBytes(const char* what, const Bytes& want, const Bytes& got);
  [[noreturn]] void Fail(const std::string& what);

  CK_SESSION_HANDLE AnySession();  // sometimes one that is not
  bool IsBeside() const { return !label_.empty(); }
  // The answer that comes before any other: nothing if the session is good.
  CK_RV SessionProblem(CK_SESSION_HANDLE session) const;
  Caller CallerOf(CK_SESSION_HANDLE session) const;
  int AnyObject();                        // an index with a known handle, or -1
  CK_OBJECT_HANDLE HandleOf(int object);  // sometimes a stale one for -1
  std::string WrongPin(const std::string& right);
  const std::optional<std::string>& PinOf(LoggedIn role) const;
  // What a guess is answered, counting it.
  CK_RV Guess(LoggedIn role, const std::string& pin);

  blackbox::Template AnyTemplate(Kind kind, bool may_be_wrong);
  int Add(Kind kind, Made made, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle,
          std::optional<Bytes> secret);
  void LearnIds(int object, CK_SESSION_HANDLE session);
  Bytes ReadOk(CK_SESSION_HANDLE session, int object, CK_ATTRIBUTE_TYPE type);
  void CompareObject(CK_SESSION_HANDLE session, int object);
  bool Matches(const Object& object, const blackbox::Template& wanted) const;
  // Profiles are the token's own objects that match.
  std::vector<CK_OBJECT_HANDLE> Profiles(CK_SESSION_HANDLE session,
                                         const blackbox::Template& wanted);
  // AllHits returns every object that there is, as a search for |wanted| begins.
  std::vector<Hit> AllHits(const blackbox::Template& wanted) const;
  // Takes the model object that |handle|, which is new, belongs to out of |among|.
  void Meet(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle, std::vector<Hit>& among);
  void Forget(int object);
  void DropPrivate();
  void DropSession(CK_SESSION_HANDLE session);
  // Collect makes one call that writes into a buffer: asking for the length, with a buffer that is
  // too short, or with one that is long enough. |size| is what the length query tells, |want| what
  // is to come, or nothing if it cannot be known; |problem| is the answer where there is none.
  // Returns what came, if something did.
  using Producer = CK_RV (*)(CK_SESSION_HANDLE, Bytes& in, CK_BYTE* out, CK_ULONG* length);
  std::optional<Bytes> Collect(const char* call, Producer produce, CK_SESSION_HANDLE session,
                               Kinds kind, Bytes in, size_t size, const std::optional<Bytes>& want,
                               CK_RV problem);

  Random random_;
  uint64_t calls_ = 0;
  std::deque<std::string> last_calls_;

  std::string label_;  // of all objects, in a world beside others
  unsigned processes_ = 0;
  unsigned logouts_ = 0;
  // What the others have, for the world that changes what is shared.
  size_t others_sessions_ = 0;
  size_t others_read_write_ = 0;

  bool initialised_ = false;
  CK_SLOT_ID slot_ = 0;
  std::string so_pin_ = "so pin";
  std::optional<std::string> user_pin_;
  unsigned so_failures_ = 0;
  unsigned user_failures_ = 0;
  LoggedIn login_ = LoggedIn::kNobody;
  std::map<CK_SESSION_HANDLE, Session> sessions_;
  std::map<int, Object> objects_;
  std::map<CK_OBJECT_HANDLE, int> handles_;
  std::set<CK_OBJECT_HANDLE> stale_handles_;
  std::set<CK_SESSION_HANDLE> stale_sessions_;
  int next_object_ = 1;
};

}  // namespace secretmem::model

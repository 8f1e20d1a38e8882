// fault_kills: kills a process at random moments while it makes, imports, changes and destroys
// token objects and changes the PIN, and looks at what the next process finds.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "tests/blackbox/module.h"
#include "tests/blackbox/template.h"
#include "tests/conformance/rv.h"

using namespace secretmem;
using blackbox::Bytes;
using blackbox::Must;
using blackbox::P11;
using blackbox::Template;
using blackbox::Utf8;

namespace {

constexpr std::string_view kSoPin = "so pin";
constexpr size_t kMostObjects = 30;

std::string UserPin(uint64_t version) { return "user pin " + std::to_string(version); }

enum class Kind : uint32_t { kImported, kGenerated, kPair, kData };
enum class What : uint32_t { kThere, kDumped, kPin, kMake, kChange, kDestroy, kChangePin, kBroken };
enum class Phase : uint32_t { kBegins, kIsDone };

// Report is what a worker tells the parent: what it finds in the beginning, then what it is about
// to do and what has been acknowledged to it.
struct Report {
  What what;
  Phase phase = Phase::kIsDone;
  Kind kind = Kind::kData;
  uint64_t id = 0;
  uint64_t version = 0;
  std::array<CK_BYTE, 32> value{};
  char text[80] = {};
};

Bytes ValueOf(uint64_t id) {
  std::mt19937_64 random(id);
  Bytes bytes(32);
  for (CK_BYTE& byte : bytes) byte = static_cast<CK_BYTE>(random());
  return bytes;
}

std::array<CK_BYTE, 32> Fixed(const Bytes& bytes) {
  std::array<CK_BYTE, 32> fixed{};
  std::copy_n(bytes.begin(), std::min<size_t>(bytes.size(), 32), fixed.begin());
  return fixed;
}

// Worker is the process that gets killed.
class Worker {
 public:
  Worker(int pipe, uint64_t seed, uint64_t next_id)
      : pipe_(pipe), random_(seed), next_id_(next_id) {}

  [[noreturn]] void Run(const std::vector<uint64_t>& pins);

 private:
  struct Known {
    Kind kind;
    uint64_t version;
    std::vector<CK_OBJECT_HANDLE> handles;  // a pair's private key first
  };

  void Tell(const Report& report) const {
    if (write(pipe_, &report, sizeof(report)) != sizeof(report)) _exit(3);
  }
  [[noreturn]] void Broken(const std::string& text) const {
    Report report{.what = What::kBroken};
    text.copy(report.text, sizeof(report.text) - 1);
    Tell(report);
    _exit(4);
  }
  void Check(CK_RV rv, const char* call) const {
    if (rv != CKR_OK) Broken(std::string(call) + ": " + conformance::RvName(rv));
  }
  Bytes Value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
    auto got = blackbox::Read(session_, object, type);
    Check(got.rv, "C_GetAttributeValue");
    return std::move(got.value);
  }
  Bytes Agree(CK_OBJECT_HANDLE private_key, Bytes peer) const;
  void LogIn(const std::vector<uint64_t>& pins);
  void Dump();
  void Act();
  void Make();
  void Change(uint64_t id, Known& known);
  void Destroy(uint64_t id);
  void ChangePin();
  void MakePair(const Template& common, Known& made, bool token) const;

  const int pipe_;
  std::mt19937_64 random_;
  uint64_t next_id_;
  uint64_t pin_ = 0;
  CK_SESSION_HANDLE session_ = 0;
  Known helper_{};
  std::map<uint64_t, Known> objects_;
};

Bytes Worker::Agree(CK_OBJECT_HANDLE private_key, Bytes peer) const {
  CK_ECDH1_DERIVE_PARAMS parameters{CKD_NULL, 0, nullptr, peer.size(), peer.data()};
  CK_MECHANISM mechanism{CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
  Template key = Template()
                     .With(CKA_CLASS, CKO_SECRET_KEY)
                     .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                     .With(CKA_SENSITIVE, false)
                     .With(CKA_EXTRACTABLE, true);
  CK_OBJECT_HANDLE made = 0;
  Check(P11().C_DeriveKey(session_, &mechanism, private_key, key.data(), key.size(), &made),
        "C_DeriveKey");
  const Bytes value = Value(made, CKA_VALUE);
  Check(P11().C_DestroyObject(session_, made), "C_DestroyObject");
  return value;
}

void Worker::MakePair(const Template& common, Known& made, bool token) const {
  Template of_private = common;
  Template of_public = common;
  of_public.With(CKA_EC_PARAMS, blackbox::X25519Params()).With(CKA_TOKEN, token);
  of_private.With(CKA_DERIVE, true).With(CKA_TOKEN, token);
  CK_MECHANISM mechanism{CKM_EC_MONTGOMERY_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE handles[2] = {};
  Check(P11().C_GenerateKeyPair(session_, &mechanism, of_public.data(), of_public.size(),
                                of_private.data(), of_private.size(), &handles[0], &handles[1]),
        "C_GenerateKeyPair");
  made.handles = {handles[1], handles[0]};
}

void Worker::LogIn(const std::vector<uint64_t>& pins) {
  for (const uint64_t version : pins) {
    const std::string pin = UserPin(version);
    const CK_RV rv = P11().C_Login(session_, CKU_USER, Utf8(pin), pin.size());
    if (rv == CKR_PIN_INCORRECT) continue;
    Check(rv, "C_Login");
    pin_ = version;
    Tell({.what = What::kPin, .version = version});
    return;
  }
  Broken("neither the old PIN nor the new one works");
}

// The label is kind, dash, id; CKA_ID counts changes.
void Worker::Dump() {
  MakePair(Template(), helper_, false);
  const auto found = blackbox::Find(session_, Template().With(CKA_TOKEN, true));
  Check(found.rv, "C_FindObjects");
  for (const CK_OBJECT_HANDLE object : found.handles) {
    const Bytes label = Value(object, CKA_LABEL);
    const std::string text(label.begin(), label.end());
    const size_t dash = text.find('-');
    if (dash == std::string::npos) Broken("an object without its label");
    const auto kind = static_cast<Kind>(std::stoul(text));
    const uint64_t id = std::stoull(text.substr(dash + 1));
    Known& known = objects_[id];
    known.kind = kind;
    const Bytes its_class = Value(object, CKA_CLASS);
    const bool is_public = its_class == blackbox::Encode(CKO_PUBLIC_KEY);
    known.handles.insert(is_public ? known.handles.end() : known.handles.begin(), object);
    if (kind == Kind::kPair && is_public) continue;
    const Bytes version = kind == Kind::kData ? blackbox::Encode(0) : Value(object, CKA_ID);
    if (version.size() != sizeof(known.version)) Broken("half a CKA_ID");
    memcpy(&known.version, version.data(), sizeof(known.version));
  }
  for (const auto& [id, known] : objects_) {
    Report report{.what = What::kThere, .kind = known.kind, .id = id, .version = known.version};
    if (known.handles.size() != (known.kind == Kind::kPair ? 2 : 1)) {
      Broken("half a pair, or an object twice");
    }
    if (known.kind == Kind::kPair) {
      const Bytes point = Value(known.handles[1], CKA_EC_POINT);
      report.value = Fixed(point);
      const Bytes helper_point = Value(helper_.handles[1], CKA_EC_POINT);
      if (Agree(known.handles[0], helper_point) != Agree(helper_.handles[0], point)) {
        Broken("a pair whose halves do not belong together");
      }
    } else {
      report.value = Fixed(Value(known.handles[0], CKA_VALUE));
    }
    Tell(report);
  }
  Tell({.what = What::kDumped});
}

void Worker::Make() {
  const uint64_t id = next_id_++;
  auto kind = static_cast<Kind>(random_() % 4);
  // A pair is destroyed in two calls, so it stays; some are enough.
  const auto is_pair = [](const auto& entry) { return entry.second.kind == Kind::kPair; };
  if (kind == Kind::kPair && std::ranges::count_if(objects_, is_pair) >= 8) kind = Kind::kGenerated;
  Known made{kind, 0, {0}};
  const std::string label = std::to_string(static_cast<uint32_t>(kind)) + "-" + std::to_string(id);
  Template common = Template().With(CKA_TOKEN, true).With(CKA_LABEL, label);
  common.With(CKA_PRIVATE, random_() % 4 != 0);
  if (kind != Kind::kData) common.With(CKA_ID, blackbox::Encode(0));
  Template secret = common;
  secret.With(CKA_CLASS, CKO_SECRET_KEY)
      .With(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
      .With(CKA_SENSITIVE, false)
      .With(CKA_EXTRACTABLE, true);
  Report report{.what = What::kMake, .phase = Phase::kBegins, .kind = kind, .id = id};
  Tell(report);
  switch (kind) {
    case Kind::kImported:
      secret.With(CKA_VALUE, ValueOf(id));
      Check(P11().C_CreateObject(session_, secret.data(), secret.size(), &made.handles[0]),
            "C_CreateObject");
      report.value = Fixed(ValueOf(id));
      break;
    case Kind::kGenerated: {
      secret.With(CKA_VALUE_LEN, CK_ULONG{32});
      CK_MECHANISM mechanism{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
      Check(
          P11().C_GenerateKey(session_, &mechanism, secret.data(), secret.size(), &made.handles[0]),
          "C_GenerateKey");
      report.value = Fixed(Value(made.handles[0], CKA_VALUE));
      break;
    }
    case Kind::kPair:
      MakePair(common, made, true);
      report.value = Fixed(Value(made.handles[1], CKA_EC_POINT));
      break;
    case Kind::kData: {
      // Of several pages, and recognisable by its beginning.
      Bytes value = ValueOf(id);
      value.resize(random_() % 20'000 + 32, 0xda);
      common.With(CKA_CLASS, CKO_DATA).With(CKA_VALUE, value);
      Check(P11().C_CreateObject(session_, common.data(), common.size(), &made.handles[0]),
            "C_CreateObject");
      report.value = Fixed(value);
      break;
    }
  }
  report.phase = Phase::kIsDone;
  Tell(report);
  objects_[id] = made;
}

void Worker::Change(uint64_t id, Known& known) {
  if (known.kind == Kind::kData) return Destroy(id);
  Report report{.what = What::kChange,
                .phase = Phase::kBegins,
                .kind = known.kind,
                .id = id,
                .version = known.version + 1};
  Tell(report);
  Template change = Template().With(CKA_ID, blackbox::Encode(report.version));
  Check(P11().C_SetAttributeValue(session_, known.handles[0], change.data(), change.size()),
        "C_SetAttributeValue");
  report.phase = Phase::kIsDone;
  Tell(report);
  known.version = report.version;
}

void Worker::Destroy(uint64_t id) {
  const Known known = objects_.at(id);
  if (known.kind == Kind::kPair) return;
  Report report{.what = What::kDestroy, .phase = Phase::kBegins, .kind = known.kind, .id = id};
  Tell(report);
  Check(P11().C_DestroyObject(session_, known.handles[0]), "C_DestroyObject");
  report.phase = Phase::kIsDone;
  Tell(report);
  objects_.erase(id);
}

void Worker::ChangePin() {
  Report report{.what = What::kChangePin, .phase = Phase::kBegins, .version = pin_ + 1};
  Tell(report);
  const std::string before = UserPin(pin_);
  const std::string after = UserPin(pin_ + 1);
  Check(P11().C_SetPIN(session_, Utf8(before), before.size(), Utf8(after), after.size()),
        "C_SetPIN");
  report.phase = Phase::kIsDone;
  Tell(report);
  ++pin_;
}

void Worker::Act() {
  const size_t choice = random_() % 10;
  if (choice == 0) return ChangePin();
  if (objects_.size() < kMostObjects && (choice < 6 || objects_.empty())) return Make();
  auto at = objects_.begin();
  std::advance(at, random_() % objects_.size());
  if (choice < 8 || at->second.kind == Kind::kPair) return Change(at->first, at->second);
  Destroy(at->first);
}

void Worker::Run(const std::vector<uint64_t>& pins) {
  Check(blackbox::Initialise(), "C_Initialize");
  const CK_SLOT_ID slot = blackbox::FindToken("kills");
  Check(P11().C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session_),
        "C_OpenSession");
  LogIn(pins);
  Dump();
  for (;;) Act();
}

// Ledger is what the parent knows: what was acknowledged, and what had only begun.
class Ledger {
 public:
  void Take(const Report& report);
  // Killed is called when the worker is dead: what had begun may or may not have happened.
  void Killed() { interrupted_ += begun_ ? 1 : 0; }
  std::vector<uint64_t> Pins() const {
    std::vector<uint64_t> pins{pin_};
    if (begun_ && begun_->what == What::kChangePin) pins.push_back(begun_->version);
    return pins;
  }
  uint64_t next_id() const { return next_id_; }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t interrupted() const { return interrupted_; }
  uint64_t checked() const { return checked_; }

 private:
  struct Entry {
    Kind kind;
    uint64_t version;
    std::array<CK_BYTE, 32> value;
    bool value_known;
  };

  [[noreturn]] static void Fail(const std::string& what, uint64_t id) {
    throw std::runtime_error(what + ": object " + std::to_string(id));
  }
  void There(const Report& report);
  void AllSeen();

  std::map<uint64_t, Entry> objects_;
  std::set<uint64_t> seen_;
  std::optional<Report> begun_;
  uint64_t pin_ = 0;
  uint64_t next_id_ = 1;
  uint64_t acknowledged_ = 0;
  uint64_t interrupted_ = 0;
  uint64_t checked_ = 0;
};

void Ledger::There(const Report& report) {
  const bool of_begun = begun_ && begun_->id == report.id;
  if (!objects_.contains(report.id)) {
    if (!of_begun || begun_->what != What::kMake) Fail("one that there should not be", report.id);
    const bool known = report.kind == Kind::kImported || report.kind == Kind::kData;
    if (known && report.value != Fixed(ValueOf(report.id))) Fail("half of it", report.id);
    objects_[report.id] = {report.kind, 0, report.value, true};
  }
  Entry& entry = objects_.at(report.id);
  if (entry.kind != report.kind) Fail("of another kind", report.id);
  if (entry.value != report.value) Fail("with another value", report.id);
  if (entry.version != report.version) {
    const bool changed =
        of_begun && begun_->what == What::kChange && begun_->version == report.version;
    if (!changed) Fail("with an attribute of before or from nowhere", report.id);
    entry.version = report.version;
  }
  seen_.insert(report.id);
  ++checked_;
}

void Ledger::AllSeen() {
  for (auto it = objects_.begin(); it != objects_.end();) {
    if (seen_.contains(it->first)) {
      ++it;
      continue;
    }
    const bool destroyed = begun_ && begun_->what == What::kDestroy && begun_->id == it->first;
    if (!destroyed) Fail("lost", it->first);
    it = objects_.erase(it);
  }
  begun_.reset();
}

void Ledger::Take(const Report& report) {
  switch (report.what) {
    case What::kBroken:
      throw std::runtime_error(report.text);
    case What::kPin:
      pin_ = report.version;
      seen_.clear();
      return;
    case What::kThere:
      return There(report);
    case What::kDumped:
      return AllSeen();
    default:
      break;
  }
  if (report.phase == Phase::kBegins) {
    begun_ = report;
    if (report.what == What::kMake) next_id_ = report.id + 1;
    return;
  }
  ++acknowledged_;
  begun_.reset();
  if (report.what == What::kMake) objects_[report.id] = {report.kind, 0, report.value, true};
  if (report.what == What::kChange) objects_.at(report.id).version = report.version;
  if (report.what == What::kDestroy) objects_.erase(report.id);
  if (report.what == What::kChangePin) pin_ = report.version;
}

// Reader takes whole reports from a pipe.
class Reader {
 public:
  explicit Reader(int pipe) : pipe_(pipe) {}

  // Drain hands over what there is, waiting |milliseconds| at most for the first. Returns false at
  // the end. |dumped| is set when the worker has told what it found.
  bool Drain(Ledger& ledger, int milliseconds, bool& dumped) {
    pollfd waiting{pipe_, POLLIN, 0};
    while (poll(&waiting, 1, milliseconds) == 1) {
      Report report{};
      const ssize_t got = read(pipe_, &report, sizeof(report));
      if (got != sizeof(report)) return false;
      ledger.Take(report);
      dumped |= report.what == What::kDumped;
      milliseconds = 0;
    }
    return true;
  }

 private:
  int pipe_;
};

void KillOnce(Ledger& ledger, std::mt19937_64& random) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const std::vector<uint64_t> pins = ledger.Pins();
  const uint64_t seed = random();
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    try {
      Worker(ends[1], seed, ledger.next_id()).Run(pins);
    } catch (const std::exception& error) {
      Report report{.what = What::kBroken};
      std::string_view(error.what()).copy(report.text, sizeof(report.text) - 1);
      if (write(ends[1], &report, sizeof(report)) < 0) _exit(5);
    }
    _exit(6);
  }
  close(ends[1]);
  Reader reader(ends[0]);
  bool dumped = false;
  const auto clock = [] { return std::chrono::steady_clock::now(); };
  // Now and then already while it logs in and looks, when a log is replayed.
  const bool early = random() % 8 == 0;
  bool alive = true;
  if (!early) {
    while (alive && !dumped) alive = reader.Drain(ledger, 30'000, dumped);
  }
  const auto end = clock() + std::chrono::microseconds(random() % 40'000);
  while (alive && clock() < end) alive = reader.Drain(ledger, 1, dumped);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  while (reader.Drain(ledger, 1000, dumped)) {
  }
  close(ends[0]);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    throw std::runtime_error("a worker ended by itself: " + std::to_string(status));
  }
  if (dumped) ledger.Killed();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Kills a process that uses a token, again and again");
  std::string path;
  std::string directory;
  unsigned kills = 300;
  uint64_t seed = std::random_device()();
  app.add_option("--module", path, "the module's path")->required();
  app.add_option("--kills", kills, "how many");
  app.add_option("--seed", seed,
                 "of the moments and operations; the machine's own timing counts too");
  app.add_option("--directory", directory,
                 "where the token is (default: the place for temporary files)");
  CLI11_PARSE(app, argc, argv);
  Ledger ledger;
  unsigned done = 0;
  try {
    std::cout << "seed " << seed << std::endl;
    const blackbox::Scratch scratch(blackbox::Scratch::kQuickPins, directory);
    blackbox::LoadModule(path);
    const pid_t child = fork();
    if (child == 0) {
      try {
        Must(blackbox::Initialise(), "C_Initialize");
        blackbox::MakeToken("kills", kSoPin, UserPin(0));
        _exit(0);
      } catch (const std::exception& error) {
        std::cerr << error.what() << '\n';
        _exit(1);
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) throw std::runtime_error("no token could be made");
    std::mt19937_64 random(seed);
    for (; done < kills; ++done) KillOnce(ledger, random);
  } catch (const std::exception& error) {
    std::cout << "after " << done << " kills: " << error.what() << '\n';
    return 1;
  }
  std::cout << "kills: " << done << " survived, " << ledger.interrupted()
            << " in the middle of an operation, " << ledger.acknowledged()
            << " operations acknowledged, " << ledger.checked() << " objects looked at, 0 lost\n";
  return 0;
}

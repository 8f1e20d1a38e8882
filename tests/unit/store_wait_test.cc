// Waiting for another process's lock on a token file: forks and signals of the host go first.

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <ctime>
#include <thread>

#include "pkcs11/object.h"
#include "pkcs11/store_gate.h"
#include "pkcs11/token.h"
#include "tests/unit/store_child.h"
#include "tests/unit/store_testing.h"
#include "vault/secret_stack.h"

namespace secretmem {
namespace {

using Kind = StoreError::Kind;

// What the processes of a test tell each other.
struct Shared {
  std::atomic<bool> locked;
  std::atomic<bool> release;
  std::atomic<bool> released;
};

// Holder is another process that holds a lock on the token file until it is told to let go. It ends
// by itself after a while, so that a test that would wait forever fails instead.
class Holder {
 public:
  Holder(const std::string& path, const char* lock) {
    shared_ = static_cast<Shared*>(
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    child_ = StartChild([&] {
      sqlite3* db = nullptr;
      if (sqlite3_open(path.c_str(), &db) != SQLITE_OK) return 1;
      if (sqlite3_exec(db, lock, nullptr, nullptr, nullptr) != SQLITE_OK) return 2;
      shared_->locked = true;
      for (int i = 0; i < 4000 && !shared_->release; ++i) usleep(1000);
      const bool told = shared_->release;
      shared_->released = true;
      sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
      return told ? 0 : 3;
    });
    while (!shared_->locked) usleep(1000);
  }
  ~Holder() {
    Release();
    munmap(shared_, sizeof(Shared));
  }
  // Release returns the holder's exit code: 0 if it held the lock until now.
  int Release() {
    if (child_ == 0) return code_;
    shared_->release = true;
    code_ = EndOf(child_);
    child_ = 0;
    return code_;
  }
  bool released() const { return shared_->released; }

 private:
  Shared* shared_;
  pid_t child_ = 0;
  int code_ = -1;
};

class StoreWaitTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto ready = InitialiseVault(); !ready) {
      GTEST_SKIP() << Describe(ready.error().code);
    }
    InstallStoreForkHooks();
    config_.tokens_directory = directory_ / "tokens";
    config_.pin.iterations = 1000;
    std::array<uint8_t, 32> label;
    label.fill(' ');
    auto made = Token::Create(config_, 0, PinOf("so pin"), label);
    ASSERT_TRUE(made) << made.error();
    token_ = std::move(*made);
  }

  // Adds a data object to the token; returns whether that worked.
  bool Write() {
    auto object = std::make_shared<Object>();
    object->uid = token_->NewUid().value();
    object->attributes.SetUlong(CKA_CLASS, CKO_DATA);
    object->attributes.SetBool(CKA_TOKEN, true);
    object->attributes.SetBool(CKA_PRIVATE, false);
    return token_->Add({object}).has_value();
  }

  // Returns once |thread| waits inside a store call: it has blocked its signals and slept.
  static void UntilItWaits(const std::atomic<bool>& about_to) {
    while (!about_to) usleep(1000);
    usleep(50'000);
  }

  TemporaryDirectory directory_{MemoryBase()};
  Config config_;
  std::shared_ptr<Token> token_;
};

TEST_F(StoreWaitTest, ForkComesThroughWhileAWriterWaits) {
  Holder holder(token_->path(), "BEGIN IMMEDIATE");
  std::atomic<bool> about_to{false};
  bool written = false;
  std::thread writer([&] {
    about_to = true;
    written = Write();
  });
  UntilItWaits(about_to);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(InChild([&] { return holder.released() ? 1 : 0; }), 0) << "the lock was let go first";
  }
  EXPECT_EQ(holder.Release(), 0);
  writer.join();
  EXPECT_TRUE(written) << "the call waited, and then was done";
}

TEST_F(StoreWaitTest, ForksComeThroughAQueueOfWriters) {
  Holder holder(token_->path(), "BEGIN IMMEDIATE");
  constexpr int kWriters = 12;
  std::atomic<int> about_to{0};
  std::atomic<int> written{0};
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&] {
      ++about_to;
      written += Write() ? 1 : 0;
    });
  }
  while (about_to < kWriters) usleep(1000);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(InChild([&] { return holder.released() ? 1 : 0; }), 0);
  }
  EXPECT_EQ(holder.Release(), 0);
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(written, kWriters);
}

const Holder* g_holder = nullptr;
std::atomic<int> g_early{0};
std::atomic<int> g_late{0};
void OnSignal(int) { ++(g_holder->released() ? g_late : g_early); }

TEST_F(StoreWaitTest, SignalsOfTheWaitingThreadAreDelivered) {
  Holder holder(token_->path(), "BEGIN IMMEDIATE");
  g_holder = &holder;
  g_early = g_late = 0;
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  std::atomic<bool> about_to{false};
  bool written = false;
  std::thread writer([&] {
    about_to = true;
    written = Write();
  });
  UntilItWaits(about_to);
  for (int i = 1; i <= 10; ++i) {
    pthread_kill(writer.native_handle(), SIGUSR1);
    for (int wait = 0; wait < 3000 && g_early < i; ++wait) usleep(1000);
    EXPECT_EQ(g_early, i);
  }
  EXPECT_EQ(holder.Release(), 0);
  writer.join();
  EXPECT_TRUE(written);
  EXPECT_EQ(g_early, 10);
  EXPECT_EQ(g_late, 0) << "no handler waited for the lock";
}

// The limit of the whole wait stands.
TEST_F(StoreWaitTest, AWriterGivesUpAtTheLimit) {
  auto store = TokenStore::Open(token_->path());
  ASSERT_TRUE(store);
  Holder holder(token_->path(), "BEGIN IMMEDIATE");
  {
    const StorePatience patience(20);
    const auto answer =
        store->RecordPinFailure(Value(store->Read()).incarnation, PinRole::kUser, 1);
    EXPECT_EQ(KindOf(answer), "kBusy");
    EXPECT_FALSE(holder.released());
  }
  EXPECT_EQ(holder.Release(), 0);
}

}  // namespace
}  // namespace secretmem

#include "tests/model/turns.h"

#include <utility>

namespace secretmem::model {

Turns::Turns(unsigned threads) {
  for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, i] { Serve(i); });
}

Turns::~Turns() {
  for (size_t i = 0; i < threads_.size(); ++i) {
    {
      const std::lock_guard lock(mutex_);
      step_ = nullptr;
      turn_ = i;
    }
    changed_.notify_all();
    threads_[i].join();
  }
}

void Turns::Serve(size_t thread) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return turn_ == thread; });
    if (step_ == nullptr) break;
    try {
      (*step_)();
    } catch (...) {
      thrown_ = std::current_exception();
    }
    turn_ = kNobody;
    changed_.notify_all();
  }
  turn_ = kNobody;
}

void Turns::Run(size_t thread, const std::function<void()>& step) {
  std::unique_lock lock(mutex_);
  step_ = &step;
  turn_ = thread;
  changed_.notify_all();
  changed_.wait(lock, [&] { return turn_ == kNobody; });
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void Turns::Replace(size_t thread) {
  {
    const std::lock_guard lock(mutex_);
    step_ = nullptr;
    turn_ = thread;
  }
  changed_.notify_all();
  threads_[thread].join();
  threads_[thread] = std::thread([this, thread] { Serve(thread); });
}

}  // namespace secretmem::model

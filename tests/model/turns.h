// Threads that take turns: one of them runs at a time, and which is the caller's choice.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace secretmem::model {

class Turns {
 public:
  explicit Turns(unsigned threads);
  ~Turns();
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  // Run has thread |thread| run |step|, waits for it, and throws what it threw.
  void Run(size_t thread, const std::function<void()>& step);

  // Replace ends thread |thread| and begins another in its place.
  void Replace(size_t thread);

  size_t size() const { return threads_.size(); }

 private:
  static constexpr size_t kNobody = ~size_t{0};
  void Serve(size_t thread);

  std::mutex mutex_;
  std::condition_variable changed_;
  size_t turn_ = kNobody;
  const std::function<void()>* step_ = nullptr;  // none: the thread whose turn it is ends
  std::exception_ptr thrown_;
  std::vector<std::thread> threads_;
};

}  // namespace secretmem::model

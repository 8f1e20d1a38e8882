#include "client/bench/measure.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>

namespace secretmem::bench {
namespace {

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double RatioOf(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) ratios.push_back(a[i] / b[i]);
  return Median(ratios);
}

std::string RateText(double seconds_each) {
  if (!(seconds_each > 0)) return "n/a";
  const double rate = 1 / seconds_each;
  char text[32];
  if (rate >= 1e6) {
    std::snprintf(text, sizeof(text), "%.2f M", rate / 1e6);
  } else if (rate >= 1e4) {
    std::snprintf(text, sizeof(text), "%.1f k", rate / 1e3);
  } else {
    std::snprintf(text, sizeof(text), "%.0f", rate);
  }
  return text;
}

double ThreadSeconds() { return Seconds(CLOCK_THREAD_CPUTIME_ID); }
double WallSeconds() { return Seconds(CLOCK_MONOTONIC); }

double SecondsEach(const Work& work, size_t count, Clock clock) {
  const auto now = clock == Clock::kThread ? ThreadSeconds : WallSeconds;
  const double start = now();
  for (size_t i = 0; i < count; ++i) work();
  return (now() - start) / static_cast<double>(count);
}

std::vector<std::vector<double>> Alone(const std::vector<Work>& works, size_t rounds,
                                       double turn_seconds, Clock clock) {
  std::vector<std::vector<double>> seconds(works.size());
  std::vector<size_t> counts(works.size());
  for (size_t i = 0; i < works.size(); ++i) {
    if (!works[i]) continue;
    // The first of all makes what is made once.
    works[i]();
    size_t count = 1;
    double each = SecondsEach(works[i], count, clock);
    while (each * static_cast<double>(count) < turn_seconds / 4 && count < 1'000'000) {
      count *= 2;
      each = SecondsEach(works[i], count, clock);
    }
    counts[i] = std::max<size_t>(1, static_cast<size_t>(turn_seconds / std::max(each, 1e-9)));
  }
  for (size_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < works.size(); ++i) {
      if (works[i]) seconds[i].push_back(SecondsEach(works[i], counts[i], clock));
    }
  }
  return seconds;
}

double Rate(const std::vector<Work>& works, double seconds) {
  std::barrier start(static_cast<std::ptrdiff_t>(works.size()) + 1);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> done{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  double began = 0;
  {
    std::vector<std::jthread> threads;
    for (const Work& work : works) {
      threads.emplace_back([&] {
        uint64_t mine = 0;
        try {
          // A thread's first operation makes what each thread has.
          work();
          start.arrive_and_wait();
          for (; !stop.load(std::memory_order_relaxed); ++mine) work();
        } catch (...) {
          const std::lock_guard lock(failure_mutex);
          failure = std::current_exception();
          start.arrive_and_drop();
        }
        done += mine;
      });
    }
    start.arrive_and_wait();
    began = WallSeconds();
    timespec wait = {static_cast<time_t>(seconds),
                     static_cast<long>((seconds - std::floor(seconds)) * 1e9)};
    nanosleep(&wait, nullptr);
    stop = true;
  }
  const double took = WallSeconds() - began;
  if (failure) std::rethrow_exception(failure);
  return static_cast<double>(done) / took;
}

}  // namespace secretmem::bench

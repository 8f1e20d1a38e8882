// How it is measured: short turns of every subject one after the other, and medians of them, so
// that what else the machine does meets all alike.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "client/bench/operations.h"

namespace secretmem::bench {

// Median of nothing is no number (NaN).
double Median(std::vector<double> values);

// RatioOf returns the median of the ratios of rounds that lay side by side, of |a| to |b|.
double RatioOf(const std::vector<double>& a, const std::vector<double>& b);

// RateText writes operations in a second in three digits; "n/a" for no number and for none.
std::string RateText(double seconds_each);

// ThreadSeconds is the processor time that this thread has had, WallSeconds a clock's.
double ThreadSeconds();
double WallSeconds();

enum class Clock { kThread, kWall };

// SecondsEach returns how long one |work| takes, by |count| of them.
double SecondsEach(const Work& work, size_t count, Clock clock);

// Alone measures each of |works| on this thread in |rounds| turns of about |turn_seconds| and
// returns the seconds of one operation, by [work][round]. An empty Work has no rounds.
std::vector<std::vector<double>> Alone(const std::vector<Work>& works, size_t rounds,
                                       double turn_seconds, Clock clock);

// Rate runs |works|, one thread each, for |seconds| by the clock and returns how many operations
// were done in a second.
double Rate(const std::vector<Work>& works, double seconds);

}  // namespace secretmem::bench

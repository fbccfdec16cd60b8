// Monotonic time in nanoseconds. Everything that expires is kept in this time, so that a jump of the wall
// clock changes nothing.
#pragma once

#include <time.h>

#include <cstdint>

namespace splitplane {

using MonotonicNs = uint64_t;
inline constexpr MonotonicNs kNever = UINT64_MAX;

inline MonotonicNs NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000u + uint64_t(now.tv_nsec);
}

}  // namespace splitplane

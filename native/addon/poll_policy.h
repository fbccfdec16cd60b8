// Whether, and for how long, to poll before the event loop sleeps. Waking a sleeping thread costs tens of
// microseconds, so waiting awake is faster when the answer is near; but when the peer needs this very
// processor, polling only keeps it away. So `adaptive` measures both: how long the next event took when it
// polled and when it slept, and does what was shorter, trying the other now and then. Knows nothing of loops
// or sockets; time is handed in.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "native/base/clock.h"

namespace splitplane::addon {

enum class PollMode : uint8_t { kEvent = 0, kAdaptive = 1, kBusy = 2 };

class PollPolicy {
 public:
  // The longest that adaptive mode polls before one sleep. Beyond it a wake-up is small beside the wait.
  // While a peer takes in a mebibyte and answers, nothing comes for some 250 us.
  static constexpr MonotonicNs kPollMaxNs = 500'000;
  // Busy mode lets the loop turn this often.
  static constexpr MonotonicNs kBusyTurnNs = 200'000;
  // Waits longer than this are idleness, not latency, and teach nothing, unless polling was interrupted
  // meanwhile.
  static constexpr MonotonicNs kWaitMaxNs = 2'000'000;
  // One wait in so many tries the way that seems slower. Sleeping where polling is faster costs this side a
  // wake-up, within a transfer too, and is tried less often: polling that has become slow shows by itself.
  static constexpr uint32_t kTryPollingEvery = 32;
  static constexpr uint32_t kTrySleepingEvery = 256;
  // A step of the polling loop that took longer than this was interrupted: somebody else wants the processor.
  static constexpr MonotonicNs kPreemptedNs = 100'000;

  explicit PollPolicy(PollMode mode) : mode_(mode) {}
  PollMode mode() const { return mode_; }

  // There is nothing to do until something arrives: begins a wait, or goes on with the one that is. Answers
  // how long to stay awake.
  MonotonicNs Wait(MonotonicNs now) {
    if (mode_ == PollMode::kEvent) return 0;
    if (mode_ == PollMode::kBusy) return kBusyTurnNs;
    if (wait_began_ == 0) Begin(now);
    return poll_until_ > now ? poll_until_ - now : 0;
  }

  // Something arrived.
  void Arrived(MonotonicNs now) {
    if (wait_began_ == 0) return;
    MonotonicNs waited = now - wait_began_;
    wait_began_ = 0;
    if (waited > kWaitMaxNs) {
      if (!preempted_) return;
      waited = kWaitMaxNs;
    }
    Learn(polling_ ? polled_octaves_ : slept_octaves_, waited);
    // Twice the longest wait of late, and slowly forgotten: short waits must not make a long one end asleep.
    if (waited <= kPollMaxNs) {
      const MonotonicNs wanted = std::min(kPollMaxNs, 2 * waited + kPollMarginNs);
      poll_ns_ = std::max(wanted, poll_ns_ - poll_ns_ / kForgetEvery);
    }
  }

  // A step of the polling loop was interrupted by the scheduler.
  void Preempted() { preempted_ = true; }

 private:
  void Begin(MonotonicNs now) {
    wait_began_ = now;
    preempted_ = false;
    const bool polling_pays = polled_octaves_ < slept_octaves_ && polled_octaves_ < Octaves(kPollMaxNs);
    const bool try_other = ++waits_ % (polling_pays ? kTrySleepingEvery : kTryPollingEvery) == 0;
    polling_ = polling_pays != try_other;
    poll_until_ = polling_ ? now + poll_ns_ : now;
  }

  static float Octaves(MonotonicNs duration) { return std::log2(float(duration + 1)); }

  // A mean of logarithms, each counted as at most so far from the last one. Bulk has waits of two lengths,
  // short ones within a transfer and long ones between two, and a median is now the one and now the other. A
  // collection of garbage, or another process's turn, is rare and long, and says nothing about the next wait.
  static void Learn(float& typical, MonotonicNs waited) {
    constexpr float kOctavesMax = 3;
    constexpr float kWeight = 1.0F / 8;
    typical += kWeight * std::clamp(Octaves(waited) - typical, -kOctavesMax, kOctavesMax);
  }

  static constexpr MonotonicNs kPollMarginNs = 20'000;
  static constexpr MonotonicNs kForgetEvery = 64;

  PollMode mode_;
  bool polling_ = false;
  bool preempted_ = false;
  MonotonicNs wait_began_ = 0;  // 0: not waiting
  MonotonicNs poll_until_ = 0;
  float polled_octaves_ = Octaves(10'000);  // optimistic, so that polling is tried first
  float slept_octaves_ = Octaves(60'000);   // what waking up costs on a common virtual machine
  MonotonicNs poll_ns_ = 60'000;            // how long it polls when it does
  uint32_t waits_ = 0;
};

}  // namespace splitplane::addon

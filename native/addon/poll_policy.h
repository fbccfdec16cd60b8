// Whether, and for how long, to poll before the event loop sleeps. Waking a sleeping thread costs tens of
// microseconds, so waiting awake is faster when the answer is near; but when the peer needs this very
// processor, polling only keeps it away. So `adaptive` measures both: how long the next event took when it
// polled and when it slept, and does what was shorter, trying the other now and then. Knows nothing of loops
// or sockets; time is handed in.
#pragma once

#include <algorithm>
#include <cstdint>

#include "native/base/clock.h"

namespace splitplane::addon {

enum class PollMode : uint8_t { kEvent = 0, kAdaptive = 1, kBusy = 2 };

class PollPolicy {
 public:
  // The longest that adaptive mode polls before one sleep. Beyond it a wake-up is small beside the wait.
  static constexpr MonotonicNs kPollMaxNs = 200'000;
  // Waits longer than this are idleness, not latency, and teach nothing, unless polling was interrupted
  // meanwhile.
  static constexpr MonotonicNs kWaitMaxNs = 2'000'000;
  // One wait in so many tries the way that seems slower.
  static constexpr uint32_t kTryOtherEvery = 32;
  // A step of the polling loop that took longer than this was interrupted: somebody else wants the processor.
  static constexpr MonotonicNs kPreemptedNs = 100'000;

  explicit PollPolicy(PollMode mode) : mode_(mode) {}
  PollMode mode() const { return mode_; }

  // There is nothing to do until something arrives: begins a wait, or goes on with the one that is. Answers
  // how long to stay awake.
  MonotonicNs Wait(MonotonicNs now) {
    if (mode_ == PollMode::kEvent) return 0;
    if (mode_ == PollMode::kBusy) return kPollMaxNs;
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
    // Follows the median, not the mean: a collection of garbage or another process's turn is rare and long,
    // and says nothing about the next wait.
    MonotonicNs& typical = polling_ ? polled_ns_ : slept_ns_;
    MonotonicNs step = typical / 8 + 1;
    typical = waited > typical ? typical + step : typical - step;
  }

  // A step of the polling loop was interrupted by the scheduler.
  void Preempted() { preempted_ = true; }

 private:
  void Begin(MonotonicNs now) {
    wait_began_ = now;
    preempted_ = false;
    bool poll_seems_faster = polled_ns_ < slept_ns_ && polled_ns_ < kPollMaxNs;
    bool try_other = ++waits_ % kTryOtherEvery == 0;
    polling_ = poll_seems_faster != try_other;
    poll_until_ = polling_ ? now + std::min<MonotonicNs>(kPollMaxNs, 4 * polled_ns_ + 20'000) : now;
  }

  PollMode mode_;
  bool polling_ = false;
  bool preempted_ = false;
  MonotonicNs wait_began_ = 0;  // 0: not waiting
  MonotonicNs poll_until_ = 0;
  MonotonicNs polled_ns_ = 10'000;  // optimistic, so that polling is tried first
  MonotonicNs slept_ns_ = 60'000;   // what waking up costs on a common virtual machine
  uint32_t waits_ = 0;
};

}  // namespace splitplane::addon

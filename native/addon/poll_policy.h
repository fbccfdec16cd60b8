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
  // Waits longer than this are idleness, not latency, and teach nothing.
  static constexpr MonotonicNs kWaitMaxNs = 2'000'000;
  // One wait in so many tries the way that seems slower.
  static constexpr uint32_t kTryOtherEvery = 64;
  // A step of the polling loop that took longer than this was interrupted: somebody else wants the processor.
  static constexpr MonotonicNs kPreemptedNs = 100'000;

  explicit PollPolicy(PollMode mode) : mode_(mode) {}
  PollMode mode() const { return mode_; }

  // Nothing is left to do: how long to poll before sleeping. Begins a wait.
  MonotonicNs BeginWait(MonotonicNs now) {
    wait_began_ = now;
    if (mode_ == PollMode::kEvent) return 0;
    if (mode_ == PollMode::kBusy) return kPollMaxNs;
    waits_++;
    bool poll_seems_faster = polled_ns_ < slept_ns_ && polled_ns_ < kPollMaxNs;
    polling_ = (waits_ % kTryOtherEvery == 0) != poll_seems_faster;
    if (!polling_) return 0;
    return std::min<MonotonicNs>(kPollMaxNs, 4 * polled_ns_ + 10'000);
  }

  // Something happened: the wait is over.
  void EndWait(MonotonicNs now) {
    if (wait_began_ == 0) return;
    MonotonicNs waited = now - wait_began_;
    wait_began_ = 0;
    if (mode_ != PollMode::kAdaptive || waited > kWaitMaxNs) return;
    MonotonicNs& average = polling_ ? polled_ns_ : slept_ns_;
    average = (average * 7 + waited) / 8;
  }

  // A step of the polling loop was interrupted by the scheduler: this wait counts as badly as it can.
  void Preempted() {
    if (mode_ == PollMode::kAdaptive) polled_ns_ = (polled_ns_ * 7 + kWaitMaxNs) / 8;
  }

 private:
  PollMode mode_;
  bool polling_ = false;
  MonotonicNs wait_began_ = 0;
  MonotonicNs polled_ns_ = 10'000;  // optimistic, so that polling is tried first
  MonotonicNs slept_ns_ = 60'000;   // what waking up costs on a common virtual machine
  uint32_t waits_ = 0;
};

}  // namespace splitplane::addon

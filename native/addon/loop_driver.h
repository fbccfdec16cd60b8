// Runs an engine on a libuv loop: polls it when one of its descriptors wakes the loop, before the loop
// sleeps, and when its next timeout is due. Owns the uv handles and their closing; decides by PollPolicy how
// long to wait awake. Knows nothing of JavaScript: what to do after a round of work is the user's function.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <vector>

#include "native/addon/poll_policy.h"
#include "native/protocol/engine.h"

namespace splitplane::addon {

class LoopDriver {
 public:
  // `after_round` runs after every Engine::Poll that did something (events to hand over). It may call Stop().
  LoopDriver(uv_loop_t* loop, Engine& engine, PollMode mode, std::function<void()> after_round);
  // Stop() must have completed.
  ~LoopDriver();
  LoopDriver(const LoopDriver&) = delete;
  LoopDriver& operator=(const LoopDriver&) = delete;

  Status Start();
  // Closes all handles; `closed` runs once, on the loop, when the last one is. No round begins after this.
  void Stop(std::function<void()> closed);
  bool stopped() const { return stopping_; }
  // Whether open handles keep the loop alive.
  void SetReferenced(bool referenced);

 private:
  // Bulk bytes per round: about 0.2 ms of copying in the kernel, so that timers and other descriptors get
  // their turn.
  static constexpr uint64_t kBytesPerRound = 1 << 20;

  // What arrives before the loop would sleep is answered without going through the loop, for this long at
  // most.
  static constexpr MonotonicNs kStayMaxNs = 500'000;

  void Round(MonotonicNs now);
  void Wake();
  void BeforeSleep();
  bool PollAwake(MonotonicNs duration);
  void ArmTimer(MonotonicNs now);
  static void OnHandleClosed(uv_handle_t* handle);
  void ForEachHandle(const std::function<void(uv_handle_t*)>& visit);

  uv_loop_t* loop_;
  Engine& engine_;
  PollPolicy policy_;
  std::function<void()> after_round_;
  std::function<void()> closed_;
  std::vector<std::unique_ptr<uv_poll_t>> wakes_;
  uv_prepare_t prepare_{};
  uv_idle_t idle_{};  // active while there is work left: keeps the loop from sleeping
  uv_timer_t timer_{};
  MonotonicNs timer_due_ = kNever;
  uint64_t arrivals_ = 0;  // Engine::arrivals() after the last round
  uint32_t handles_open_ = 0;
  bool stopping_ = false;
};

}  // namespace splitplane::addon

// When the engine is polled on a libuv loop, and when the loop may sleep.
#include "native/addon/loop_driver.h"

#include "native/base/check.h"

namespace splitplane::addon {

LoopDriver::LoopDriver(uv_loop_t* loop, Engine& engine, PollMode mode, std::function<void()> after_round)
    : loop_(loop), engine_(engine), policy_(mode), after_round_(std::move(after_round)) {}

LoopDriver::~LoopDriver() { SPLITPLANE_CHECK(handles_open_ == 0); }

Status LoopDriver::Start() {
  auto own = [this](auto* handle) {
    handle->data = this;
    handles_open_++;
  };
  SPLITPLANE_CHECK(uv_prepare_init(loop_, &prepare_) == 0);
  own(&prepare_);
  SPLITPLANE_CHECK(uv_idle_init(loop_, &idle_) == 0);
  own(&idle_);
  SPLITPLANE_CHECK(uv_timer_init(loop_, &timer_) == 0);
  own(&timer_);
  for (int fd : engine_.wake_fds()) {
    auto poll = std::make_unique<uv_poll_t>();
    int error = uv_poll_init(loop_, poll.get(), fd);
    if (error != 0) return Status::Errno("uv_poll_init", -error);
    own(poll.get());
    wakes_.push_back(std::move(poll));
  }
  for (auto& poll : wakes_) {
    int error = uv_poll_start(poll.get(), UV_READABLE, [](uv_poll_t* handle, int, int) {
      static_cast<LoopDriver*>(handle->data)->Wake();
    });
    if (error != 0) return Status::Errno("uv_poll_start", -error);
  }
  uv_prepare_start(&prepare_,
                   [](uv_prepare_t* handle) { static_cast<LoopDriver*>(handle->data)->BeforeSleep(); });
  // The prepare and idle handles are means, not reasons to stay alive.
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&idle_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&timer_));
  SetReferenced(false);
  return {};
}

void LoopDriver::SetReferenced(bool referenced) {
  for (auto& poll : wakes_) {
    auto* handle = reinterpret_cast<uv_handle_t*>(poll.get());
    referenced ? uv_ref(handle) : uv_unref(handle);
  }
}

void LoopDriver::Round(MonotonicNs now) {
  if (stopping_) return;
  if (!engine_.Poll(now, kBytesPerRound)) return;
  uint64_t arrivals = engine_.arrivals();
  if (arrivals != std::exchange(arrivals_, arrivals)) policy_.Arrived(now);
  after_round_();
}

// A descriptor is readable. What arrived is handled, and answers leave at once rather than after the loop's
// other phases.
void LoopDriver::Wake() {
  Round(NowNs());
  if (!stopping_ && !engine_.Arm()) Round(NowNs());
}

// Runs just before the loop would block. A round sends what JavaScript posted since the last; then the wait
// for what comes back begins, awake for as long as the policy says. What arrives is handled right here, and
// answered by the next round, for a while. Only when the engine says that nothing is left may the loop sleep.
void LoopDriver::BeforeSleep() {
  if (stopping_) return;
  uv_idle_stop(&idle_);  // or uv_backend_timeout would see our own handle
  MonotonicNs stay_until = NowNs() + kStayMaxNs;
  bool arrived = false;
  do {
    // Arming asks the kernel for what waiting awake finds by itself.
    if (engine_.has_work()) Round(NowNs());
    if (stopping_) return;
    // With a timeout of zero others wait for their turn on this loop.
    MonotonicNs awake = uv_backend_timeout(loop_) == 0 ? 0 : policy_.Wait(NowNs());
    arrived = awake > 0 && PollAwake(awake);
    if (stopping_) return;
  } while (arrived && NowNs() < stay_until);
  bool may_sleep = policy_.mode() != PollMode::kBusy && !arrived;
  if (may_sleep && !engine_.Arm()) {
    Round(NowNs());
    if (stopping_) return;
    may_sleep = engine_.Arm();
  }
  if (may_sleep) {
    ArmTimer(NowNs());
  } else {
    uv_idle_start(&idle_, [](uv_idle_t*) {});
  }
}

// True when something arrived.
bool LoopDriver::PollAwake(MonotonicNs duration) {
  uint64_t arrivals = arrivals_;
  MonotonicNs now = NowNs();
  MonotonicNs end = now + duration;
  int timeout_ms = uv_backend_timeout(loop_);
  if (timeout_ms >= 0) end = std::min(end, now + MonotonicNs(timeout_ms) * 1'000'000);
  while (now < end) {
    Round(now);
    if (stopping_ || arrivals_ != arrivals) return true;
    const MonotonicNs began = std::exchange(now, NowNs());
    if (now - began > PollPolicy::kPreemptedNs) policy_.Preempted();
  }
  return false;
}

void LoopDriver::ArmTimer(MonotonicNs now) {
  MonotonicNs due = engine_.next_timeout();
  if (due == timer_due_ && uv_is_active(reinterpret_cast<uv_handle_t*>(&timer_))) return;
  timer_due_ = due;
  if (due == kNever) {
    uv_timer_stop(&timer_);
    return;
  }
  uint64_t in_ms = due <= now ? 0 : (due - now + 999'999) / 1'000'000;
  uv_update_time(loop_);
  // Arm() asks what has arrived and knows nothing of time, so what is due is done here.
  uv_timer_start(
      &timer_, [](uv_timer_t* handle) { static_cast<LoopDriver*>(handle->data)->Round(NowNs()); }, in_ms, 0);
}

void LoopDriver::ForEachHandle(const std::function<void(uv_handle_t*)>& visit) {
  visit(reinterpret_cast<uv_handle_t*>(&prepare_));
  visit(reinterpret_cast<uv_handle_t*>(&idle_));
  visit(reinterpret_cast<uv_handle_t*>(&timer_));
  for (auto& poll : wakes_) visit(reinterpret_cast<uv_handle_t*>(poll.get()));
}

void LoopDriver::Stop(std::function<void()> closed) {
  SPLITPLANE_CHECK(!stopping_);
  stopping_ = true;
  closed_ = std::move(closed);
  ForEachHandle([](uv_handle_t* handle) {
    // Not initialised when Start failed half way.
    if (handle->data != nullptr) uv_close(handle, &LoopDriver::OnHandleClosed);
  });
}

void LoopDriver::OnHandleClosed(uv_handle_t* handle) {
  auto* self = static_cast<LoopDriver*>(handle->data);
  if (--self->handles_open_ == 0) {
    auto closed = std::move(self->closed_);
    closed();  // may delete self
  }
}

}  // namespace splitplane::addon

// Timers of links and sessions in one heap: what a Poll costs does not depend on how many wait. Knows nothing
// of what they are for.
#pragma once

#include <vector>

#include "native/base/clock.h"
#include "native/memory/expiry_heap.h"

namespace splitplane {

class TimerQueue;

// Its owner's; stops when it goes.
class Timer {
 public:
  explicit Timer(TimerQueue& queue);
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Once, at the first Poll from `at` on; kNever stops it.
  void SetTimer(MonotonicNs at);

 protected:
  ~Timer();

 private:
  friend class TimerQueue;
  virtual void OnTimer(MonotonicNs now) = 0;

  TimerQueue& queue_;
  uint32_t index_;
};

class TimerQueue {
 public:
  MonotonicNs next() const { return heap_.next(); }

  // True if there was one. Those that set themselves again to a time that has come wait for the next call.
  bool RunDue(MonotonicNs now) {
    while (!heap_.empty() && heap_.next() <= now) {
      const uint32_t index = heap_.next_index();
      heap_.Remove(index);
      due_.push_back(timers_[index]);
    }
    for (size_t i = 0; i < due_.size(); i++) {
      if (due_[i]) due_[i]->OnTimer(now);
    }
    const bool any = !due_.empty();
    due_.clear();
    return any;
  }

 private:
  friend class Timer;

  ExpiryHeap heap_;
  std::vector<Timer*> timers_;  // by index
  std::vector<uint32_t> free_;
  std::vector<Timer*> due_;  // those that went meanwhile are null
};

inline Timer::Timer(TimerQueue& queue) : queue_(queue) {
  if (queue.free_.empty()) {
    index_ = uint32_t(queue.timers_.size());
    queue.timers_.push_back(this);
  } else {
    index_ = queue.free_.back();
    queue.free_.pop_back();
    queue.timers_[index_] = this;
  }
}

inline Timer::~Timer() {
  SetTimer(kNever);
  for (Timer*& due : queue_.due_) {
    if (due == this) due = nullptr;
  }
  queue_.timers_[index_] = nullptr;
  queue_.free_.push_back(index_);
}

inline void Timer::SetTimer(MonotonicNs at) {
  queue_.heap_.Remove(index_);
  if (at != kNever) queue_.heap_.Add(index_, at);
}

}  // namespace splitplane

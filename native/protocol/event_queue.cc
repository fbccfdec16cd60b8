// Telling what waited. What the user does in answer waits for the next time. Knows nothing of sessions.
#include "native/protocol/event_queue.h"

namespace splitplane {

bool EventQueue::Drain() {
  if (waiting_.empty()) return false;
  std::swap(waiting_, telling_);
  for (const Event& event : telling_) {
    switch (event.kind) {
      case Kind::kOpen:
        events_.OnOpen(event.session);
        break;
      case Kind::kWritable:
        events_.OnWritable(event.session);
        break;
      case Kind::kOperation:
        events_.OnOperation(event.value, event.status, 0);
        break;
      case Kind::kTagEnded:
        events_.OnTagEnded(event.value, event.code);
        break;
      case Kind::kRegionGone:
        events_.OnRegionGone(uint32_t(event.value));
        break;
      case Kind::kInterrupted:
        events_.OnInterrupted(event.session, event.status);
        break;
      case Kind::kResumed:
        events_.OnResumed(event.session);
        break;
      case Kind::kClosed:
        events_.OnClosed(event.session, event.status);
        break;
    }
  }
  telling_.clear();
  return true;
}

}  // namespace splitplane

// Events wait here for the next moment at which the user may be told: some come about while the user is
// calling, and the user is called from inside Poll only. What comes about inside Poll passes by when nothing
// waits, so that the order is kept at no cost.
#pragma once

#include <utility>
#include <vector>

#include "native/protocol/engine.h"

namespace splitplane {

class EventQueue {
 public:
  explicit EventQueue(EngineEvents& events) : events_(events) {}

  void Open(SessionId session) { Add({.kind = Kind::kOpen, .session = session}); }
  void Writable(SessionId session) { Add({.kind = Kind::kWritable, .session = session}); }
  void Operation(OperationId id, Status status) {
    Add({.kind = Kind::kOperation, .value = id, .status = std::move(status)});
  }
  void TagEnded(uint64_t cookie, Code why) { Add({.kind = Kind::kTagEnded, .code = why, .value = cookie}); }
  void RegionGone(uint32_t region) { Add({.kind = Kind::kRegionGone, .value = region}); }
  void Interrupted(SessionId session, Status why) {
    Add({.kind = Kind::kInterrupted, .session = session, .status = std::move(why)});
  }
  void Resumed(SessionId session) { Add({.kind = Kind::kResumed, .session = session}); }
  void Closed(SessionId session, Status why) {
    Add({.kind = Kind::kClosed, .session = session, .status = std::move(why)});
  }

  bool empty() const { return waiting_.empty(); }

  // Tells what waits, not what comes about meanwhile. True if there was anything. Inside Poll only.
  bool Drain();

  // To tell something directly, after what waits. Inside Poll only, and not from inside an event.
  EngineEvents& Now() {
    if (!waiting_.empty()) Drain();
    return events_;
  }

 private:
  enum class Kind : uint8_t {
    kOpen,
    kWritable,
    kOperation,
    kTagEnded,
    kRegionGone,
    kInterrupted,
    kResumed,
    kClosed
  };
  struct Event {
    Kind kind;
    Code code = Code::kOk;
    SessionId session = 0;
    uint64_t value = 0;
    Status status{};
  };

  void Add(Event event) { waiting_.push_back(std::move(event)); }

  EngineEvents& events_;
  std::vector<Event> waiting_;
  std::vector<Event> telling_;  // empty between calls; keeps its memory
};

}  // namespace splitplane

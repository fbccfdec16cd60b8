// How the engine's events reach JavaScript: in batches, as fixed-size descriptors in memory that both sides
// see, with the bytes of messages beside them in an arena. One call into JavaScript per batch; the batch and
// the arena are free again when that call returns. Events that carry sentences or addresses are rare and wait
// in a list for TakeDetail. lib/dataplane/events.ts reads what is written here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "native/protocol/engine.h"

namespace splitplane::addon {

// A descriptor is kEventWords doubles: kind, then the fields named here in order.
enum class EventKind : uint8_t {
  kHello = 1,    // session, detail
  kOpen = 2,     // session
  kMessage = 3,  // session, id, envelope offset, envelope length, attachment table offset, count, deadline ms
  kMessageCanceled = 4,  // session, id
  kDelivered = 5,        // session, up to id
  kWritable = 6,         // session
  kOperation = 7,        // operation, code, value low 32 bits, value high 32 bits, detail + 1 (0: none)
  kNotified = 8,         // cookie
  kTagEnded = 9,         // cookie, code
  kInterrupted = 10,     // session, detail
  kResumed = 11,         // session
  kClosed = 12,          // session, detail
  kBatch = 13,           // session, id, content offset, content length, count
  kRegionGone = 14,      // region
};

class EventRing final : public EngineEvents {
 public:
  static constexpr size_t kEventWords = 8;
  static constexpr size_t kEventsMax = 1024;
  // An attachment in the arena's table: u32 is-inline, u32 offset in the arena, u32 length; of one that is
  // not inline nothing more.
  static constexpr size_t kAttachmentWords = 3;

  using Detail = std::variant<PeerHello, Status>;

  // `descriptors` is kEventWords * kEventsMax doubles; `arena` holds the largest message and its attachment
  // table. `deliver(count)` calls JavaScript with the first `count` descriptors.
  EventRing(std::span<double> descriptors, Bytes arena, std::function<void(size_t)> deliver);

  // Hands over what has gathered. May be called inside a Poll, when the ring or the arena is full.
  void Flush();
  // The text of an event of the batch being handed over.
  const Detail& detail(size_t index) const { return details_.at(index); }

  void OnHello(SessionId session, const PeerHello& hello) override;
  void OnOpen(SessionId session) override;
  void OnMessage(SessionId session, const IncomingMessage& message) override;
  void OnBatch(SessionId session, const IncomingBatch& batch) override;
  void OnMessageCanceled(SessionId session, MessageId message) override;
  void OnDelivered(SessionId session, MessageId up_to) override;
  void OnWritable(SessionId session) override;
  void OnOperation(OperationId operation, const Status& status, uint64_t atomic_value) override;
  void OnNotified(uint64_t cookie) override;
  void OnTagEnded(uint64_t cookie, Code why) override;
  void OnRegionGone(uint32_t region) override;
  void OnInterrupted(SessionId session, const Status& why) override;
  void OnResumed(SessionId session) override;
  void OnClosed(SessionId session, const Status& why) override;

 private:
  void Add(EventKind kind, std::initializer_list<double> fields);
  double AddDetail(Detail detail);
  void MakeRoom(size_t bytes);
  size_t Put(ConstBytes bytes);

  std::span<double> words_;
  Bytes arena_;
  std::vector<Detail> details_;
  size_t count_ = 0;
  size_t arena_used_ = 0;
  bool delivering_ = false;
  std::function<void(size_t)> deliver_;
};

}  // namespace splitplane::addon

// What a session sends in sequence: messages that wait for credits, and everything that was sent and not yet
// acknowledged, which is sent again after an interruption. Counts credits. Does not send: it says what is
// next.
#pragma once

#include <span>

#include "native/protocol/chunks.h"
#include "native/protocol/engine.h"
#include "native/protocol/frame.h"
#include "native/protocol/ring_queue.h"

namespace splitplane {

class Outbox {
 public:
  struct Item {
    FrameType type = FrameType::kMessage;  // or kBatch, kCancel, kRelease
    bool canceled = false;                 // while it waited: never sent, its piece is gone
    uint16_t attachment_count = 0;
    uint32_t envelope_bytes = 0;
    uint32_t batch_count = 0;
    uint32_t payload_bytes = 0;  // what counts against the window
    uint32_t deadline_ms = 0;
    uint64_t sequence = 0;
    MessageId message = 0;
    MonotonicNs queued_at = 0;
    Piece piece;  // the content of a message or batch, a release's tags, nothing for a cancel
  };

  // At most so many messages and payload bytes wait for credits.
  Outbox(ChunkPool& pool, uint32_t queue_messages_max, uint32_t queue_bytes_max)
      : pieces_(pool), queue_messages_max_(queue_messages_max), queue_bytes_max_(queue_bytes_max) {}
  ~Outbox() { Clear(); }

  // What the peer takes: the longest message, and the window.
  void SetPeer(uint32_t message_bytes_max, uint32_t window_messages, uint32_t window_bytes);

  // kNoResource, and wants_room() from then on; or what is wrong with the message.
  Result<MessageId> QueueMessage(const OutgoingMessage& message);
  // The same with a batch.
  Result<MessageId> QueueBatch(const OutgoingBatch& batch);
  void QueueCancel(MessageId message);
  void QueueReleases(std::span<const Tag> tags);
  // True if it still waited, and is gone.
  bool CancelWaiting(MessageId message);
  // Gives everything that was queued since the last time its time: deadlines run from it.
  void Stamp(MonotonicNs now);

  // What to send now, or null: nothing, or no credits. `part_at()` is where its next part begins.
  Item* Next();
  uint32_t part_at() const { return part_at_; }
  // `bytes` of the item's piece were posted; after the last one Next() is another.
  void Posted(uint32_t bytes);

  // The peer has everything up to `sequence`. `delivered`: the last message among it, 0 for none.
  Status Acknowledge(uint64_t sequence, MessageId& delivered);
  // The peer's user consumed so much since the session began.
  Status Credit(uint64_t messages, uint64_t bytes);
  // The link is a new one: what was not acknowledged is sent again.
  void Rewind();
  void Clear();

  // Clears it: true once there is room after a refusal.
  bool TakeRoom();
  // Everything was sent and acknowledged.
  bool empty() const { return waiting_count_ == 0 && urgent_.empty() && sent_.empty(); }
  // Releases need no credits, so this is what tells that a peer makes us keep more and more of them.
  bool keeps_many_releases() const { return release_count_ > queue_messages_max_; }
  MessageId last_message() const { return last_message_; }
  uint32_t message_bytes_max() const { return message_bytes_max_; }
  uint32_t waiting_count() const { return waiting_count_; }
  // So much waits that it pays to send it by itself.
  bool much_waits() const { return waiting_count_ % kMuchMessages == 0 || waiting_bytes_ >= kMuchBytes; }
  uint32_t unacknowledged_count() const { return uint32_t(sent_messages_ - acknowledged_messages_); }
  uint64_t sent_messages() const { return sent_messages_; }

 private:
  static constexpr uint32_t kMuchMessages = 32;
  static constexpr uint64_t kMuchBytes = 64 * 1024;
  // Messages that may go before a release that was there first.
  static constexpr uint32_t kOvertakenMax = 64;

  struct Size {
    uint64_t content = 0;
    uint64_t payload = 0;
  };

  Status TooLong(const char* what, uint64_t bytes) const;
  Status Measure(const OutgoingMessage& message, Size& size) const;
  bool HasRoom(uint64_t payload_bytes);
  MessageId Queue(Item item);
  void WriteContent(const OutgoingMessage& message, uint8_t* out) const;
  bool HasCredit(const Item& item) const;
  bool MayBeOvertaken(const Item& item) const;
  void MoveToSent(RingQueue<Item>& from);
  Item* FindWaiting(MessageId message);
  void DropCanceled();
  void Compact();
  void FreePiece(Item& item);

  ChunkWriter pieces_;
  uint32_t queue_messages_max_;
  uint32_t queue_bytes_max_;
  uint32_t message_bytes_max_ = 0;
  uint64_t window_messages_ = 0, window_bytes_ = 0;
  uint64_t kept_bytes_max_ = 0;  // of messages that are not acknowledged

  RingQueue<Item> waiting_;  // messages and batches by id; canceled ones too, no more than the queue may hold
  RingQueue<Item> urgent_;   // cancels and releases: no credits needed
  RingQueue<Item> sent_;     // numbered, not acknowledged
  uint32_t waiting_count_ = 0;
  uint64_t waiting_bytes_ = 0;
  size_t release_count_ = 0;  // in urgent_ and sent_
  size_t unstamped_ = 0;      // of waiting_, at its end
  uint32_t overtaken_ = 0;    // messages sent since something urgent was
  bool wants_room_ = false;

  MessageId last_message_ = 0;
  uint64_t last_sequence_ = 0;    // given out
  uint64_t posted_sequence_ = 0;  // the last that ever was posted whole
  size_t cursor_ = 0;             // of sent_: what is posted next on this link
  uint32_t part_at_ = 0;

  // Since the session began.
  uint64_t sent_messages_ = 0, sent_bytes_ = 0;
  uint64_t acknowledged_messages_ = 0, acknowledged_bytes_ = 0;
  uint64_t consumed_messages_ = 0, consumed_bytes_ = 0;  // by the peer's user
};

}  // namespace splitplane

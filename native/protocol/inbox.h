// What a session receives in sequence: drops what came before, puts the parts of a message together, and
// holds the peer to its window. Memory is taken only for bytes that arrived, and never for more than one
// message. Does not tell anybody: it says what there is to tell.
#pragma once

#include <vector>

#include "native/protocol/engine.h"
#include "native/protocol/frame.h"

namespace splitplane {

class Inbox {
 public:
  enum class Outcome : uint8_t {
    kNothing,   // a part, or something that came before
    kComplete,  // a message: message() holds until the next call
    kBatch,     // a batch: batch() does
  };

  Inbox(uint32_t message_bytes_max, uint32_t window_messages, uint32_t window_bytes)
      : message_bytes_max_(message_bytes_max),
        window_messages_(window_messages),
        window_bytes_(window_bytes) {}

  // A kMessage or kBatch frame.
  Result<Outcome> Take(const Frame& frame);
  const IncomingMessage& message() const { return message_; }
  const IncomingBatch& batch() const { return batch_; }
  // A kCancel or kRelease frame: kNothing when it came before.
  Result<Outcome> TakeSequence(uint64_t sequence);

  // The link is a new one: parts of a message begin again.
  void Rewind() { assembled_ = 0; }

  // The user is done with so much of what it got.
  void Consume(uint64_t messages, uint64_t bytes);
  // Whether the peer should hear of it now: without it, it might have to wait.
  bool OwesCredit() const;
  void CreditTold();
  uint64_t consumed_messages() const { return consumed_messages_; }
  uint64_t consumed_bytes() const { return consumed_bytes_; }
  uint64_t told_messages() const { return told_messages_; }
  uint64_t told_bytes() const { return told_bytes_; }

  uint64_t last_sequence() const { return last_sequence_; }
  MessageId last_message() const { return last_message_; }
  uint64_t received_messages() const { return received_messages_; }
  uint64_t repeated_messages() const { return repeated_messages_; }

 private:
  Status Assemble(const MessageHead& head, ConstBytes part);
  Result<Outcome> Deliver(const MessageHead& head, ConstBytes content);
  Status Judge(const MessageHead& head, ConstBytes content, uint64_t& payload_bytes);

  // A credit is told when a quarter of the window is behind it.
  static constexpr uint64_t kWindowParts = 4;
  // Room for parts that is kept between messages.
  static constexpr size_t kSpareBytesMax = 64 * 1024;

  uint32_t message_bytes_max_;
  uint64_t window_messages_;
  uint64_t window_bytes_;
  uint64_t last_sequence_ = 0;
  MessageId last_message_ = 0;

  MessageHead assembling_;
  std::vector<uint8_t> parts_;
  size_t assembled_ = 0;  // bytes in parts_ of the message that is incomplete; 0: none is
  std::vector<IncomingAttachment> attachments_;
  IncomingMessage message_;
  IncomingBatch batch_;

  uint64_t received_messages_ = 0, received_bytes_ = 0;
  uint64_t consumed_messages_ = 0, consumed_bytes_ = 0;
  uint64_t told_messages_ = 0, told_bytes_ = 0;
  uint64_t repeated_messages_ = 0;
};

}  // namespace splitplane

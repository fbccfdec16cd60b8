// Every check stands before the memory it protects.
#include "native/protocol/inbox.h"

#include <algorithm>

namespace splitplane {
Result<Inbox::Outcome> Inbox::TakeSequence(uint64_t sequence) {
  if (sequence <= last_sequence_) return Outcome::kNothing;
  if (sequence != last_sequence_ + 1)
    return Status::Violation("frame", "a frame is missing before a sequenced frame");
  if (assembled_ > 0)
    return Status::Violation("frame", "a message is interrupted by another sequenced frame");
  last_sequence_ = sequence;
  return Outcome::kComplete;
}

Result<Inbox::Outcome> Inbox::Take(const Frame& frame) {
  MessageHead head;
  ConstBytes part;
  Status decoded = frame.type == FrameType::kBatch ? DecodeBatchHead(frame, head, part)
                                                   : DecodeMessageHead(frame, head, part);
  if (!decoded.ok()) return decoded;
  if (head.sequence <= last_sequence_) {
    if (head.offset == 0) repeated_messages_++;
    return Outcome::kNothing;
  }
  if (head.sequence != last_sequence_ + 1)
    return Status::Violation("frame", "a frame is missing before a message");
  if (head.message <= last_message_) return Status::Violation("frame", "the ids of messages do not increase");
  const uint64_t content_max =
      message_bytes_max_ + uint64_t{head.attachment_count} * (kRowBytes + kGrantBytesMax);
  if (head.total > content_max) {
    return Status::Error(
        Code::kLimitExceeded, "receive",
        "a message is longer than this side said it takes: send large payloads by reference");
  }
  // What was consumed is credit once the peer has been told.
  if (received_messages_ - told_messages_ >= window_messages_) {
    return Status::Violation("frame", "the peer sent more messages than it had credits for");
  }
  if (assembled_ == 0 && part.size() == head.total) return Deliver(head, part);
  if (Status status = Assemble(head, part); !status.ok()) return status;
  if (assembled_ < head.total) return Outcome::kNothing;
  assembled_ = 0;
  return Deliver(head, parts_);
}

Status Inbox::Assemble(const MessageHead& head, ConstBytes part) {
  if (head.offset != assembled_ || (assembled_ > 0 && !head.SameMessage(assembling_))) {
    return Status::Violation("frame", "the parts of a message do not follow each other");
  }
  if (assembled_ == 0) {
    parts_.clear();
    if (parts_.capacity() > kSpareBytesMax) parts_.shrink_to_fit();
    assembling_ = head;
  }
  parts_.insert(parts_.end(), part.begin(), part.end());
  assembled_ += part.size();
  return {};
}

Status Inbox::Judge(const MessageHead& head, ConstBytes content, uint64_t& payload_bytes) {
  if (head.batch_count == 0)
    return DecodeContent(head, content, attachments_, message_.envelope, payload_bytes);
  payload_bytes = content.size();
  return CheckBatch(head.batch_count, content);
}

Result<Inbox::Outcome> Inbox::Deliver(const MessageHead& head, ConstBytes content) {
  uint64_t payload_bytes = 0;
  if (Status status = Judge(head, content, payload_bytes); !status.ok()) return status;
  if (payload_bytes > message_bytes_max_) {
    return Status::Error(
        Code::kLimitExceeded, "receive",
        "a message is longer than this side said it takes: send large payloads by reference");
  }
  if (received_bytes_ - told_bytes_ + payload_bytes > window_bytes_) {
    return Status::Violation("frame", "the peer sent more bytes than it had credits for");
  }
  received_messages_++;
  received_bytes_ += payload_bytes;
  last_sequence_ = head.sequence;
  last_message_ = head.message;
  if (head.batch_count != 0) {
    batch_ = {head.message, head.batch_count, content};
    return Outcome::kBatch;
  }
  message_.id = head.message;
  message_.attachments = attachments_;
  message_.deadline_ms = head.deadline_ms;
  return Outcome::kComplete;
}

void Inbox::Consume(uint64_t messages, uint64_t bytes) {
  consumed_messages_ = std::min(consumed_messages_ + messages, received_messages_);
  consumed_bytes_ = std::min(consumed_bytes_ + bytes, received_bytes_);
}

bool Inbox::OwesCredit() const {
  const uint64_t messages = consumed_messages_ - told_messages_, bytes = consumed_bytes_ - told_bytes_;
  if (messages == 0 && bytes == 0) return false;
  const bool much = messages * kWindowParts >= window_messages_ || bytes * kWindowParts >= window_bytes_;
  // As the peer knows it, its next message might not fit.
  const bool tight = received_messages_ - told_messages_ >= window_messages_ ||
                     received_bytes_ - told_bytes_ + message_bytes_max_ > window_bytes_;
  return much || tight;
}

void Inbox::CreditTold() {
  told_messages_ = consumed_messages_;
  told_bytes_ = consumed_bytes_;
}

}  // namespace splitplane

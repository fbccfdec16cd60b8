// The sequence of what is sent. Numbers are given when something is first chosen for sending, so that a
// cancel or a release overtakes messages that wait for credits.
#include "native/protocol/outbox.h"

#include <algorithm>
#include <cstring>

#include "native/base/check.h"

namespace splitplane {
void Outbox::SetPeer(uint32_t message_bytes_max, uint32_t window_messages, uint32_t window_bytes) {
  message_bytes_max_ = message_bytes_max;
  window_messages_ = window_messages;
  window_bytes_ = window_bytes;
  kept_bytes_max_ = std::max(queue_bytes_max_, message_bytes_max);
}

Status Outbox::TooLong(const char* what, uint64_t bytes) const {
  return Status::Error(Code::kLimitExceeded, "send",
                       "the message has " + std::to_string(bytes) + " bytes of " + what + ", " +
                           std::to_string(message_bytes_max_) +
                           " is the most that both sides take; send large payloads by reference");
}

Status Outbox::Measure(const OutgoingMessage& message, Size& size) const {
  if (message.attachments.size() > kAttachmentsMax) {
    return Status::Error(Code::kLimitExceeded, "send",
                         "a message has at most " + std::to_string(kAttachmentsMax) +
                             " attachments; let one tag stand for several slices");
  }
  size.payload = message.envelope.size();
  for (const OutgoingAttachment& attachment : message.attachments) {
    if (attachment.is_inline) size.payload += attachment.inline_payload.size();
  }
  if (size.payload > message_bytes_max_) return TooLong("envelope and inline payload", size.payload);
  size.content = size.payload + message.attachments.size() * kRowBytes;
  return {};
}

Result<MessageId> Outbox::QueueMessage(const OutgoingMessage& message) {
  Size size;
  if (Status status = Measure(message, size); !status.ok()) return status;
  if (!HasRoom(size.payload)) return Status::NoResource();
  Item item;
  item.attachment_count = uint16_t(message.attachments.size());
  item.envelope_bytes = uint32_t(message.envelope.size());
  item.payload_bytes = uint32_t(size.payload);
  item.deadline_ms = message.deadline_ms;
  item.piece = pieces_.Take(uint32_t(size.content));
  WriteContent(message, item.piece.data());
  return Queue(item);
}

Result<MessageId> Outbox::QueueBatch(const OutgoingBatch& batch) {
  const bool fits = batch.count > 0 && batch.count <= kBatchMessagesMax;
  if (!fits || !CheckBatch(batch.count, batch.content).ok()) {
    return Status::Error(Code::kInvalidArgument, "send",
                         "a batch is 1 to " + std::to_string(kBatchMessagesMax) +
                             " messages whose lengths add up to its bytes");
  }
  if (batch.content.size() > message_bytes_max_) return TooLong("a batch", batch.content.size());
  if (!HasRoom(batch.content.size())) return Status::NoResource();
  Item item;
  item.type = FrameType::kBatch;
  item.batch_count = batch.count;
  item.payload_bytes = uint32_t(batch.content.size());
  item.piece = pieces_.Take(item.payload_bytes);
  std::memcpy(item.piece.data(), batch.content.data(), batch.content.size());
  return Queue(item);
}

// One message is always let in, so that every size that is allowed gets through.
bool Outbox::HasRoom(uint64_t payload_bytes) {
  const bool full =
      waiting_count_ >= queue_messages_max_ || waiting_bytes_ + payload_bytes > queue_bytes_max_;
  if (full && waiting_count_ > 0) wants_room_ = true;
  return !full || waiting_count_ == 0;
}

MessageId Outbox::Queue(Item item) {
  item.message = ++last_message_;
  waiting_count_++;
  waiting_bytes_ += item.payload_bytes;
  unstamped_++;
  waiting_.push_back(item);
  return last_message_;
}

// Grants are made where the transport asks for them; here the tag is the grant, so that rows by reference are
// empty.
void Outbox::WriteContent(const OutgoingMessage& message, uint8_t* out) const {
  for (const OutgoingAttachment& attachment : message.attachments) {
    std::memset(out, 0, kRowBytes);
    out[kRowKindAt] = attachment.is_inline ? 1 : 0;
    const size_t length = attachment.is_inline ? attachment.inline_payload.size() : 0;
    StoreLittle(out + kRowLengthAt, uint32_t(length));
    out += kRowBytes;
  }
  const auto append = [&out](ConstBytes bytes) {
    if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
    out += bytes.size();
  };
  append(message.envelope);
  for (const OutgoingAttachment& attachment : message.attachments) {
    if (attachment.is_inline) append(attachment.inline_payload);
  }
}

void Outbox::QueueCancel(MessageId message) {
  Item item;
  item.type = FrameType::kCancel;
  item.message = message;
  urgent_.push_back(item);
}

void Outbox::QueueReleases(std::span<const Tag> tags) {
  while (!tags.empty()) {
    // Tags that are given back one by one travel together.
    Item* last = urgent_.empty() ? nullptr : &urgent_.back();
    const size_t room = kTagsPerReleaseMax * Tag::kSize;
    if (!last || last->type != FrameType::kRelease || last->piece.length == room) {
      Item item;
      item.type = FrameType::kRelease;
      item.piece = pieces_.Take(uint32_t(room));
      item.piece.length = 0;
      release_count_++;
      urgent_.push_back(item);
      last = &urgent_.back();
    }
    const size_t count = std::min(tags.size(), (room - last->piece.length) / Tag::kSize);
    std::memcpy(last->piece.data() + last->piece.length, tags.data(), count * Tag::kSize);
    last->piece.length += uint32_t(count * Tag::kSize);
    tags = tags.subspan(count);
  }
}

bool Outbox::CancelWaiting(MessageId message) {
  Item* item = FindWaiting(message);
  if (!item || item->canceled) return false;
  item->canceled = true;
  FreePiece(*item);
  waiting_count_--;
  waiting_bytes_ -= item->payload_bytes;
  // The queue's bound is on what is not canceled, so the rest must not become more than that.
  if (waiting_.size() - waiting_count_ > waiting_count_) {
    Compact();
  } else {
    DropCanceled();
  }
  return true;
}

Outbox::Item* Outbox::FindWaiting(MessageId message) {
  size_t from = 0, to = waiting_.size();
  while (from < to) {
    const size_t middle = from + (to - from) / 2;
    if (waiting_[middle].message < message) {
      from = middle + 1;
    } else {
      to = middle;
    }
  }
  return from < waiting_.size() && waiting_[from].message == message ? &waiting_[from] : nullptr;
}

void Outbox::Compact() {
  const size_t unstamped = unstamped_;
  for (size_t left = waiting_.size(); left > 0; left--) {
    Item item = waiting_.front();
    waiting_.pop_front();
    if (!item.canceled) {
      waiting_.push_back(item);
    } else if (left <= unstamped) {
      unstamped_--;
    }
  }
}

void Outbox::DropCanceled() {
  while (!waiting_.empty() && waiting_.front().canceled) waiting_.pop_front();
  unstamped_ = std::min(unstamped_, waiting_.size());
}

void Outbox::Stamp(MonotonicNs now) {
  for (; unstamped_ > 0; unstamped_--) waiting_[waiting_.size() - unstamped_].queued_at = now;
}

// What is not acknowledged is kept, and a peer's generosity must not cost more memory than our own queue may.
// That bound is on what is not acknowledged and leaves the window as the peer named it: acknowledgements come
// by themselves, but credit comes when the window that the peer knows runs out.
bool Outbox::HasCredit(const Item& item) const {
  return sent_messages_ - consumed_messages_ < window_messages_ &&
         sent_bytes_ - consumed_bytes_ + item.payload_bytes <= window_bytes_ &&
         sent_bytes_ - acknowledged_bytes_ + item.payload_bytes <= kept_bytes_max_;
}

Outbox::Item* Outbox::Next() {
  if (cursor_ == sent_.size()) {
    const bool can_send = !waiting_.empty() && HasCredit(waiting_.front());
    if (!urgent_.empty() && !(can_send && MayBeOvertaken(urgent_.front()))) {
      overtaken_ = 0;
      MoveToSent(urgent_);
    } else if (can_send) {
      if (!urgent_.empty()) overtaken_++;
      waiting_count_--;
      waiting_bytes_ -= waiting_.front().payload_bytes;
      sent_messages_++;
      sent_bytes_ += waiting_.front().payload_bytes;
      MoveToSent(waiting_);
      DropCanceled();
    } else {
      return nullptr;
    }
  }
  return &sent_[cursor_];
}

// Somebody waits for a message, and for what is released nobody does, usually: an answer goes before the
// release of what it answers.
bool Outbox::MayBeOvertaken(const Item& item) const {
  return item.type == FrameType::kRelease && overtaken_ < kOvertakenMax;
}

void Outbox::MoveToSent(RingQueue<Item>& from) {
  Item item = from.front();
  from.pop_front();
  item.sequence = ++last_sequence_;
  sent_.push_back(item);
}

void Outbox::Posted(uint32_t bytes) {
  part_at_ += bytes;
  if (part_at_ < sent_[cursor_].piece.length) return;
  posted_sequence_ = std::max(posted_sequence_, sent_[cursor_].sequence);
  part_at_ = 0;
  cursor_++;
}

Status Outbox::Acknowledge(uint64_t sequence, MessageId& delivered) {
  delivered = 0;
  if (sequence > posted_sequence_)
    return Status::Violation("frame", "a frame acknowledges what was never sent");
  while (!sent_.empty() && sent_.front().sequence <= sequence) {
    Item& item = sent_.front();
    if (item.type == FrameType::kMessage || item.type == FrameType::kBatch) {
      delivered = item.message;
      acknowledged_messages_++;
      acknowledged_bytes_ += item.payload_bytes;
    } else if (item.type == FrameType::kRelease) {
      release_count_--;
    }
    if (cursor_ > 0) {
      cursor_--;
    } else {
      part_at_ = 0;
    }
    FreePiece(item);
    sent_.pop_front();
  }
  return {};
}

Status Outbox::Credit(uint64_t messages, uint64_t bytes) {
  // Who has consumed has received, and says so in the same frame: without this a peer could make us keep
  // everything.
  if (messages > acknowledged_messages_ || bytes > acknowledged_bytes_) {
    return Status::Violation(
        "frame", "a frame gives credit for messages that were never sent, or that it does not acknowledge");
  }
  consumed_messages_ = std::max(consumed_messages_, messages);
  consumed_bytes_ = std::max(consumed_bytes_, bytes);
  return {};
}

void Outbox::Rewind() {
  cursor_ = 0;
  part_at_ = 0;
}

void Outbox::FreePiece(Item& item) {
  if (item.piece.chunk) pieces_.Free(item.piece);
}

void Outbox::Clear() {
  for (RingQueue<Item>* queue : {&waiting_, &urgent_, &sent_}) {
    for (; !queue->empty(); queue->pop_front()) FreePiece(queue->front());
  }
  waiting_count_ = 0;
  waiting_bytes_ = 0;
  release_count_ = 0;
  unstamped_ = 0;
  Rewind();
}

bool Outbox::TakeRoom() {
  // Half, so that a sender is not woken for every single place.
  const bool room = waiting_count_ <= queue_messages_max_ / 2 && waiting_bytes_ <= queue_bytes_max_ / 2;
  if (!wants_room_ || !room) return false;
  wants_room_ = false;
  return true;
}

}  // namespace splitplane

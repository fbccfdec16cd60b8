// Frames of an open session, both ways. Acknowledgements travel in the head of whatever is sent; one of their
// own is sent a Poll later, when the user has had the time to answer and did not.
#include <algorithm>

#include "native/protocol/session.h"

namespace splitplane {
namespace {

bool IsSequenced(FrameType type) {
  return type == FrameType::kMessage || type == FrameType::kBatch || type == FrameType::kCancel ||
         type == FrameType::kRelease;
}

Status NotOpen(const char* operation) {
  return Status::Error(Code::kClosed, operation,
                       "the session is not open: it is being greeted, or was closed");
}

}  // namespace

Result<MessageId> Session::Send(const OutgoingMessage& message) {
  return TakesMessages() ? Queued(outbox_.QueueMessage(message)) : NotOpen("send");
}

Result<MessageId> Session::SendBatch(const OutgoingBatch& batch) {
  return TakesMessages() ? Queued(outbox_.QueueBatch(batch)) : NotOpen("send");
}

Result<MessageId> Session::Queued(Result<MessageId> id) {
  if (!id.ok()) return id;
  core_.MarkDirty(*this);
  if (!core_.polling && outbox_.much_waits()) PostEarly();
  return id;
}

// Who sends much before it lets Poll run shall not keep the peer waiting for the end of it.
void Session::PostEarly() {
  if (state_ != State::kOpen || link_->blocked || !link_->failing.ok()) return;
  if (PostSequence()) link_->endpoint->Flush();
}

bool Session::CancelMessage(MessageId message) {
  if (state_ == State::kClosed || close_sent_ || message == 0 || message > outbox_.last_message())
    return false;
  core_.MarkDirty(*this);
  if (outbox_.CancelWaiting(message)) return true;
  outbox_.QueueCancel(message);
  return false;
}

void Session::Consume(uint32_t count, uint64_t bytes) {
  inbox_.Consume(count, bytes);
  if (!inbox_.OwesCredit()) return;
  credit_owed_ = true;
  core_.MarkDirty(*this);
}

void Session::ReleaseTags(std::span<const Tag> tags) {
  // After our CLOSE there is no need: the peer's tags for this session end with it.
  if (tags.empty() || close_sent_ || (state_ != State::kOpen && state_ != State::kInterrupted)) return;
  if (link_ && link_->phase == Link::Phase::kLive) {
    for (const Tag& tag : tags) link_->endpoint->Forget(tag);
  }
  outbox_.QueueReleases(tags);
  core_.MarkDirty(*this);
}

// -- out

bool Session::Post(Bytes head, FrameType type, ConstBytes rest) {
  SealFrame(head, type, inbox_.last_sequence(), rest);
  const ConstBytes pieces[] = {head, rest};
  if (!core_.links.Post(*link_, {pieces, rest.empty() ? size_t{1} : size_t{2}})) return false;
  ack_owed_ = false;
  return true;
}

bool Session::PostBare(FrameType type) {
  std::array<uint8_t, kFrameHeadBytes> head;
  return Post(head, type);
}

bool Session::PostOwed(bool& owed, FrameType type) {
  if (!owed || !PostBare(type)) return false;
  owed = false;
  return true;
}

// A peer that takes in no releases gets no credit for messages that would bring more tags to release. It has
// to acknowledge, which needs neither credit nor its user.
bool Session::PostAck() {
  const bool credit = GivesCredit();
  std::array<uint8_t, kAckBytes> ack = credit ? EncodeAck(inbox_.consumed_messages(), inbox_.consumed_bytes())
                                              : EncodeAck(inbox_.told_messages(), inbox_.told_bytes());
  if (!Post(ack, FrameType::kAck)) return false;
  if (credit) {
    credit_owed_ = false;
    inbox_.CreditTold();
  }
  return true;
}

bool Session::PostItem(const Outbox::Item& item) {
  if (item.type == FrameType::kCancel) {
    std::array<uint8_t, kCancelBytes> cancel = EncodeCancel(item.sequence, item.message);
    if (!Post(cancel, FrameType::kCancel)) return false;
    outbox_.Posted(0);
    return true;
  }
  if (item.type == FrameType::kRelease) {
    auto head = EncodeReleaseHead(item.sequence, uint32_t(item.piece.length / Tag::kSize));
    if (!Post(head, FrameType::kRelease, {item.piece.data(), item.piece.length})) return false;
    outbox_.Posted(item.piece.length);
    return true;
  }
  return PostPart(item);
}

// The next part of a message or a batch.
bool Session::PostPart(const Outbox::Item& item) {
  MessageHead head;
  head.sequence = item.sequence;
  head.message = item.message;
  head.total = item.piece.length;
  head.offset = outbox_.part_at();
  head.envelope_bytes = item.envelope_bytes;
  head.attachment_count = item.attachment_count;
  head.batch_count = item.batch_count;
  if (item.deadline_ms != 0) {
    const uint64_t waited_ms = (core_.now - item.queued_at) / NsFromMs(1);
    head.deadline_ms = waited_ms < item.deadline_ms ? uint32_t(item.deadline_ms - waited_ms) : 1;
  }
  const uint32_t room = link_->transport.capabilities().send_bytes_max - uint32_t(kMessageHeadBytes);
  const uint32_t length = std::min(head.total - head.offset, room);
  const ConstBytes part = {item.piece.data() + head.offset, length};
  bool posted = false;
  if (item.type == FrameType::kBatch) {
    std::array<uint8_t, kBatchHeadBytes> bytes = EncodeBatchHead(head);
    posted = Post(bytes, FrameType::kBatch, part);
  } else {
    std::array<uint8_t, kMessageHeadBytes> bytes = EncodeMessageHead(head);
    posted = Post(bytes, FrameType::kMessage, part);
  }
  if (posted) outbox_.Posted(length);
  return posted;
}

bool Session::PostSequence() {
  outbox_.Stamp(core_.now);
  bool posted = false;
  while (Outbox::Item* item = outbox_.Next()) {
    if (!PostItem(*item)) break;
    posted = true;
  }
  if (outbox_.TakeRoom()) core_.told.Writable(id_);
  return posted;
}

bool Session::Flush() {
  dirty_ = false;
  if (state_ == State::kInterrupted) return MakeProgressOnClose();
  if (state_ != State::kOpen || link_->blocked || !link_->failing.ok()) return false;
  bool posted = PostOwed(pong_owed_, FrameType::kPong);
  posted |= PostOwed(ping_owed_, FrameType::kPing);
  posted |= PostSequence();
  if ((credit_owed_ && GivesCredit()) || (ack_owed_ && ack_owed_since_ < core_.round)) {
    posted |= PostAck();
  } else if (ack_owed_) {
    core_.MarkDirty(*this);
  }
  posted |= PostOperations();
  return MakeProgressOnClose() || posted;
}

void Session::OnWritable(Link& link) {
  link.blocked = false;
  core_.MarkDirty(*this);
}

void Session::OnSilence(Link&) {
  ping_owed_ = true;
  core_.MarkDirty(*this);
}

// -- in

// False when the session ended over it.
bool Session::Acknowledge(uint64_t sequence) {
  MessageId delivered = 0;
  if (Status status = outbox_.Acknowledge(sequence, delivered); !status.ok()) {
    Fail(std::move(status));
    return false;
  }
  if (delivered != 0) core_.told.Now().OnDelivered(id_, delivered);
  // What waits may have waited for this.
  if (closing_ || credit_owed_ || outbox_.waiting_count() > 0) core_.MarkDirty(*this);
  return state_ != State::kClosed;
}

void Session::OweAck() {
  if (!ack_owed_) ack_owed_since_ = core_.round;
  ack_owed_ = true;
  core_.MarkDirty(*this);
}

void Session::OnFrame(Link& link, const Frame& frame) {
  if (link.phase != Link::Phase::kLive) return OnGreetingFrame(link, frame);
  if (frame.type == FrameType::kReject) return End(DecodeReject(frame), Farewell::kGoodOrder);
  if (close_received_ && IsSequenced(frame.type))
    return Fail(Status::Violation("session", "a frame came after the last one"));
  if (!Acknowledge(frame.acknowledged)) return;
  if (!link.confirmed) {
    link.confirmed = true;
    core_.MarkDirty(*this);
  }
  switch (frame.type) {
    case FrameType::kMessage:
    case FrameType::kBatch:
      return OnMessageFrame(frame);
    case FrameType::kAck:
      return OnAckFrame(frame);
    case FrameType::kCancel:
      return OnCancelFrame(frame);
    case FrameType::kRelease:
      return OnReleaseFrame(frame);
    case FrameType::kPing:
      pong_owed_ = true;
      return core_.MarkDirty(*this);
    case FrameType::kPong:
      return;
    case FrameType::kClose:
      closing_ = close_received_ = true;
      return core_.MarkDirty(*this);
    default:
      return Fail(Status::Violation("session", "a frame of the greeting came after the greeting"));
  }
}

void Session::OnMessageFrame(const Frame& frame) {
  Result<Inbox::Outcome> outcome = inbox_.Take(frame);
  if (!outcome.ok()) return Fail(outcome.status());
  OweAck();
  if (*outcome == Inbox::Outcome::kComplete) core_.told.Now().OnMessage(id_, inbox_.message());
  if (*outcome == Inbox::Outcome::kBatch) core_.told.Now().OnBatch(id_, inbox_.batch());
}

void Session::OnAckFrame(const Frame& frame) {
  const uint64_t messages = LoadLittle<uint64_t>(frame.bytes.data() + kAckMessagesAt);
  const uint64_t bytes = LoadLittle<uint64_t>(frame.bytes.data() + kAckBytesAt);
  if (Status status = outbox_.Credit(messages, bytes); !status.ok()) return Fail(std::move(status));
  core_.MarkDirty(*this);
}

void Session::OnCancelFrame(const Frame& frame) {
  Result<Inbox::Outcome> outcome = inbox_.TakeSequence(SequenceOf(frame));
  if (!outcome.ok()) return Fail(outcome.status());
  OweAck();
  const MessageId message = LoadLittle<uint64_t>(frame.bytes.data() + kCancelMessageAt);
  // A sender that cancels twice, once before it sent and once after, names a message that never came.
  if (*outcome == Inbox::Outcome::kNothing || message > inbox_.last_message()) return;
  core_.told.Now().OnMessageCanceled(id_, message);
}

void Session::OnReleaseFrame(const Frame& frame) {
  ConstBytes tags;
  if (Status status = DecodeRelease(frame, tags); !status.ok()) return Fail(std::move(status));
  Result<Inbox::Outcome> outcome = inbox_.TakeSequence(SequenceOf(frame));
  if (!outcome.ok()) return Fail(outcome.status());
  OweAck();
  if (*outcome == Inbox::Outcome::kNothing) return;
  const Requester holder{.session = id_, .principal = principal_};
  for (; !tags.empty(); tags = tags.subspan(Tag::kSize)) {
    core_.tags.RevokeBy(Tag::From(tags.first(Tag::kSize)), holder);
  }
}

}  // namespace splitplane

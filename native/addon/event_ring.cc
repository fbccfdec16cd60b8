// Writes the engine's events into the memory that lib/dataplane/events.ts reads; event_ring.h has the layout.
#include "native/addon/event_ring.h"

#include <algorithm>
#include <cstring>

#include "native/base/check.h"

namespace splitplane::addon {

EventRing::EventRing(std::span<double> descriptors, Bytes arena, std::function<void(size_t)> deliver)
    : words_(descriptors), arena_(arena), deliver_(std::move(deliver)) {
  SPLITPLANE_CHECK(words_.size() == kEventWords * kEventsMax);
}

void EventRing::Flush() {
  // JavaScript runs inside deliver_ and cannot cause events: those come from Poll only.
  if (count_ == 0 || delivering_) return;
  delivering_ = true;
  deliver_(count_);
  delivering_ = false;
  count_ = 0;
  arena_used_ = 0;
  details_.clear();
}

void EventRing::Add(EventKind kind, std::initializer_list<double> fields) {
  SPLITPLANE_CHECK(fields.size() < kEventWords);
  double* at = &words_[count_ * kEventWords];
  *at++ = double(kind);
  std::copy(fields.begin(), fields.end(), at);
  if (++count_ == kEventsMax) Flush();
}

double EventRing::AddDetail(Detail detail) {
  details_.push_back(std::move(detail));
  return double(details_.size() - 1);
}

void EventRing::MakeRoom(size_t bytes) {
  if (bytes > arena_.size() - arena_used_) Flush();
  SPLITPLANE_CHECK(bytes <= arena_.size() - arena_used_);
}

size_t EventRing::Put(ConstBytes bytes) {
  size_t at = arena_used_;
  if (!bytes.empty()) std::memcpy(&arena_[at], bytes.data(), bytes.size());
  arena_used_ += bytes.size();
  return at;
}

void EventRing::OnMessage(SessionId session, const IncomingMessage& message) {
  constexpr size_t kAlign = sizeof(uint32_t);
  size_t table_bytes = message.attachments.size() * kAttachmentWords * sizeof(uint32_t);
  size_t need = message.envelope.size() + table_bytes + kAlign;
  // A grant stays out: JavaScript reads none, and no limit of a message counts it, so that the arena may not
  // have the room.
  const auto shown = [](const IncomingAttachment& attachment) {
    return attachment.is_inline ? attachment.bytes : ConstBytes();
  };
  for (const IncomingAttachment& attachment : message.attachments) need += shown(attachment).size();
  MakeRoom(need);

  size_t table = (arena_used_ + kAlign - 1) / kAlign * kAlign;
  arena_used_ = table + table_bytes;
  for (size_t i = 0; i < message.attachments.size(); i++) {
    const ConstBytes bytes = shown(message.attachments[i]);
    uint32_t row[kAttachmentWords] = {message.attachments[i].is_inline, uint32_t(Put(bytes)),
                                      uint32_t(bytes.size())};
    std::memcpy(&arena_[table + i * sizeof(row)], row, sizeof(row));
  }
  size_t envelope = Put(message.envelope);
  Add(EventKind::kMessage,
      {double(session), double(message.id), double(envelope), double(message.envelope.size()), double(table),
       double(message.attachments.size()), double(message.deadline_ms)});
}

void EventRing::OnBatch(SessionId session, const IncomingBatch& batch) {
  MakeRoom(batch.content.size());
  const size_t content = Put(batch.content);
  Add(EventKind::kBatch, {double(session), double(batch.id), double(content), double(batch.content.size()),
                          double(batch.count)});
}

void EventRing::OnOperation(OperationId operation, const Status& status, uint64_t atomic_value) {
  double detail = status.ok() ? 0 : AddDetail(status) + 1;
  Add(EventKind::kOperation, {double(operation), double(status.code()), double(uint32_t(atomic_value)),
                              double(uint32_t(atomic_value >> 32)), detail});
}

void EventRing::OnHello(SessionId session, const PeerHello& hello) {
  Add(EventKind::kHello, {double(session), AddDetail(hello)});
}
void EventRing::OnOpen(SessionId session) { Add(EventKind::kOpen, {double(session)}); }
void EventRing::OnMessageCanceled(SessionId session, MessageId message) {
  Add(EventKind::kMessageCanceled, {double(session), double(message)});
}
void EventRing::OnDelivered(SessionId session, MessageId up_to) {
  Add(EventKind::kDelivered, {double(session), double(up_to)});
}
void EventRing::OnWritable(SessionId session) { Add(EventKind::kWritable, {double(session)}); }
void EventRing::OnNotified(uint64_t cookie) { Add(EventKind::kNotified, {double(cookie)}); }
void EventRing::OnTagEnded(uint64_t cookie, Code why) {
  Add(EventKind::kTagEnded, {double(cookie), double(why)});
}
void EventRing::OnRegionGone(uint32_t region) { Add(EventKind::kRegionGone, {double(region)}); }
void EventRing::OnInterrupted(SessionId session, const Status& why) {
  Add(EventKind::kInterrupted, {double(session), AddDetail(why)});
}
void EventRing::OnResumed(SessionId session) { Add(EventKind::kResumed, {double(session)}); }
void EventRing::OnClosed(SessionId session, const Status& why) {
  Add(EventKind::kClosed, {double(session), AddDetail(why)});
}

}  // namespace splitplane::addon

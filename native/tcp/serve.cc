// What a channel does for its peer: remote reads, writes and atomics on the memory behind our tags. Nothing
// moves before the tag table agreed, and everything is answered exactly once.
#include "native/tcp/channel.h"
#include "native/tcp/connection.h"

namespace splitplane::tcp {
namespace {

bool HasFile(const std::vector<Slice>& slices) {
  for (const Slice& slice : slices) {
    if (!slice.data()) return true;
  }
  return false;
}

}  // namespace

// What every request must meet.
Status Channel::CheckAsked() const {
  if (!connection_.requester()) {
    return Status::Violation("record", "a remote operation came before the peer was authenticated");
  }
  if (sender_.serving() + writes_.size() >= kOperationsMax) {
    return Status::Violation("record", "the peer has more operations outstanding than allowed");
  }
  // An answer is queued for each request at most, so this bounds them all.
  if (sender_.queued_bytes() > kAnswerBytesMax)
    return Status::Violation("record", "the peer asks without reading the answers");
  return {};
}

void Channel::Answer(const Record& record) {
  sender_.Append(record);
  Post();
}

Status Channel::ServeRead(const Record& record) {
  if (Status asked = CheckAsked(); !asked.ok()) return asked;
  // A peer that moves bulk one way may begin to the other way: then nothing of it is to be read ahead.
  small_ahead_ = record.length <= kSmallBytes;
  Result<TagTable::Use> use =
      reactor_.context.tags.Begin(Tag::From(record.extension), *connection_.requester(), Access::kRead,
                                  record.offset, record.length, record.operation, reactor_.now);
  if (!use.ok()) {
    reactor_.stats.operations_refused++;
    Answer({.kind = Kind::kReadFailed, .status = use.status().code(), .operation = record.operation});
    return {};
  }
  reactor_.stats.operations_served++;
  auto transfer = std::make_unique<Outbound>();
  transfer->operation = record.operation;
  transfer->total = record.length;
  transfer->serving = true;
  transfer->checksum = (record.flags & kFlagChecksum) != 0;
  transfer->use = std::move(*use);
  sender_.Start(std::move(transfer));
  Post();
  return {};
}

Status Channel::ServeWrite(const Record& record) {
  if (Status asked = CheckAsked(); !asked.ok()) return asked;
  auto [at, added] = writes_.try_emplace(record.operation);
  if (!added) return Status::Violation("record", "a write has the number of one that is under way");
  Inbound& transfer = at->second;
  transfer.operation = record.operation;
  transfer.total = record.length;
  transfer.serving = true;
  transfer.checksum = (record.flags & kFlagChecksum) != 0;
  transfer.notify = (record.flags & kFlagNotify) != 0;
  NoteInbound(transfer.total, true);
  Result<TagTable::Use> use =
      reactor_.context.tags.Begin(Tag::From(record.extension), *connection_.requester(), Access::kWrite,
                                  record.offset, record.length, record.operation, reactor_.now);
  Status refused = use.status();
  if (use.ok() && HasFile(use->slices())) {
    refused = Status::Error(Code::kTagDirection, "write", "a registered file can only be read");
  }
  if (!refused.ok()) {
    reactor_.stats.operations_refused++;
    RefuseWrite(transfer, refused);
    return {};
  }
  reactor_.stats.operations_served++;
  transfer.use = std::move(*use);
  return {};
}

// Tells the peer that its write has failed; what is still on the way is discarded.
void Channel::RefuseWrite(Inbound& transfer, const Status& why) {
  transfer.discarding = true;
  transfer.answered = true;
  transfer.use = TagTable::Use();
  Answer({.kind = Kind::kWriteDone, .status = why.code(), .operation = transfer.operation});
}

Status Channel::EndServedPart(Inbound& transfer, const Trailer& trailer) {
  if (trailer.status != Code::kOk) return EndServedWrite(transfer, EndedWith(trailer.status));
  if (!transfer.discarding && !trailer.damage.ok()) RefuseWrite(transfer, trailer.damage);
  if (transfer.left() > 0) return {};
  // The bytes are there, but whoever revoked the tag meanwhile will not look at them.
  const bool revoked = !transfer.discarding && transfer.use.revoked(reactor_.now);
  return EndServedWrite(transfer, revoked ? EndedWith(Code::kTagRevoked) : Status());
}

Status Channel::EndServedWrite(Inbound& transfer, Status status) {
  const Inbound ended = std::move(transfer);
  NoteInbound(ended.total, false);
  writes_.erase(ended.operation);
  if (ended.answered) return {};
  Answer({.kind = Kind::kWriteDone, .status = status.code(), .operation = ended.operation});
  return status.ok() && ended.notify ? connection_.OnNotified(ended.use.index()) : Status();
}

Status Channel::ServeAtomic(const Record& record) {
  if (Status asked = CheckAsked(); !asked.ok()) return asked;
  if (bulk_inbound_ == 0) small_ahead_ = true;
  Result<TagTable::Use> use = reactor_.context.tags.Begin(
      Tag::From(record.extension.first(Tag::kSize)), *connection_.requester(), Access::kAtomic, record.offset,
      record.length, record.operation, reactor_.now);
  Status refused = use.status();
  uint64_t* word = nullptr;
  if (use.ok()) {
    const Slice& slice = use->slices().front();
    refused = slice.buffer->region().Check();
    if (refused.ok()) word = reinterpret_cast<uint64_t*>(slice.data());
    if (refused.ok() && (!word || reinterpret_cast<uintptr_t>(word) % sizeof(uint64_t) != 0)) {
      refused = Status::Error(Code::kTagBounds, "atomic", "the word is not in memory at a multiple of 8");
    }
  }
  std::array<uint8_t, kValueExtensionBytes> value{};
  if (refused.ok()) {
    reactor_.stats.operations_served++;
    StoreLittle(value.data(), ApplyAtomic(*word, DecodeAtomic(record.extension)));
  } else {
    reactor_.stats.operations_refused++;
  }
  Answer({.kind = Kind::kAtomicDone,
          .status = refused.code(),
          .operation = record.operation,
          .extension = value});
  return {};
}

Status Channel::ServeCancel(const Record& record) {
  if (auto found = writes_.find(record.operation); found != writes_.end()) {
    return EndServedWrite(found->second, EndedWith(record.status));
  }
  // Otherwise a read: if it is under way, the sender says that it ends; if it has ended, the peer knows by
  // now.
  sender_.Stop(record.operation, true);
  if (!sender_.drained()) Post();
  return {};
}

}  // namespace splitplane::tcp

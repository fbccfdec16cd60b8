// The operations that this side posts: admission, answers, cancellation, and how they end.
#include <algorithm>

#include "native/base/check.h"
#include "native/tcp/connection.h"

namespace splitplane::tcp {
namespace {

Status Invalid(const char* sentence) { return Status::Error(Code::kInvalidArgument, "post", sentence); }
uint8_t Flags(const TransferOptions& options) { return options.checksum ? kFlagChecksum : 0; }

}  // namespace

Result<Connection::Operations::iterator> Connection::Admit(OperationKind kind, uint64_t operation,
                                                           const RemoteSlice& remote,
                                                           std::span<const Slice> local) {
  if (state_ != State::kOpen) return NotOpen("post");
  if (Status valid = ValidateRemote(remote); !valid.ok()) return valid;
  if (kind != OperationKind::kAtomic) {
    Status valid = ValidateLocal(local, remote.length, kind == OperationKind::kRead);
    if (!valid.ok()) return valid;
  }
  Channel& channel = PickChannel();
  // Reads given up count until the peer stopped sending: it counts them too.
  if (operations_.size() >= kOperationsMax || channel.sender().queued_bytes() > kRequestQueueBytesMax) {
    wants_operations_ = true;
    MakeRestless();
    return Status::NoResource();
  }
  auto [at, added] = operations_.try_emplace(operation);
  if (!added) return Invalid("an operation of this number is under way");
  at->second.kind = kind;
  at->second.channel = &channel;
  at->second.bytes = remote.length;
  channel.load += remote.length;
  outstanding_++;
  return at;
}

// The data channel with the least to do.
Channel& Connection::PickChannel() {
  return **std::min_element(channels_.begin() + 1, channels_.end(),
                            [](const auto& a, const auto& b) { return a->load < b->load; });
}

Status Connection::PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                            TransferOptions options) {
  Result<Operations::iterator> at = Admit(OperationKind::kRead, operation, remote, local);
  if (!at.ok()) return at.status();
  Channel& channel = *(*at)->second.channel;
  Inbound& inbound = (*at)->second.inbound;
  inbound.operation = operation;
  inbound.total = remote.length;
  inbound.checksum = options.checksum;
  inbound.own = std::move(local);
  channel.NoteInbound(inbound.total, true);
  channel.sender().Append({.kind = Kind::kRead,
                           .flags = Flags(options),
                           .operation = operation,
                           .offset = remote.offset,
                           .length = remote.length,
                           .extension = remote.grant});
  channel.Post();
  return {};
}

Status Connection::PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                             TransferOptions options) {
  Result<Operations::iterator> at = Admit(OperationKind::kWrite, operation, remote, local);
  if (!at.ok()) return at.status();
  auto outbound = std::make_unique<Outbound>();
  outbound->operation = operation;
  outbound->total = remote.length;
  outbound->checksum = options.checksum;
  outbound->own = std::move(local);
  outbound->announced = false;
  outbound->notify = options.notify;
  outbound->tag = Tag::From(remote.grant);
  outbound->tag_offset = remote.offset;
  Channel& channel = *(*at)->second.channel;
  channel.sender().Start(std::move(outbound));
  channel.Post();
  return {};
}

Status Connection::PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) {
  if (remote.length != sizeof(uint64_t)) return Invalid("an atomic works on 8 bytes");
  Result<Operations::iterator> at = Admit(OperationKind::kAtomic, operation, remote, {});
  if (!at.ok()) return at.status();
  Channel& channel = *(*at)->second.channel;
  const auto extension = EncodeAtomic(Tag::From(remote.grant), request);
  channel.sender().Append({.kind = Kind::kAtomic,
                           .operation = operation,
                           .offset = remote.offset,
                           .length = remote.length,
                           .extension = extension});
  channel.Post();
  return {};
}

void Connection::Cancel(uint64_t operation) {
  const auto at = operations_.find(operation);
  if (at == operations_.end() || closed()) return;
  Channel& channel = *at->second.channel;
  switch (at->second.kind) {
    case OperationKind::kAtomic:
      return;  // one record: it has happened, or is about to
    case OperationKind::kRead: {
      Inbound& inbound = at->second.inbound;
      if (inbound.answered) return;
      GiveUpRead(channel, inbound, EndedWith(Code::kAborted));
      // At once: the memory is not touched any more. Told by Poll, because nobody calls back from here.
      inbound.answered = true;
      outstanding_--;
      untold_.push_back({.operation = operation, .status = inbound.failure});
      return MakeRestless();
    }
    case OperationKind::kWrite:
      break;
  }
  // Bytes may be on their way into the peer's memory: it ends when the peer says so, except if it never
  // began.
  const Sender::Stopped stopped = channel.sender().Stop(operation, false);
  if (stopped == Sender::Stopped::kStopped) {
    channel.sender().Append({.kind = Kind::kCancel, .status = Code::kAborted, .operation = operation});
    channel.Post();
  } else if (stopped == Sender::Stopped::kUnannounced) {
    Forget(at);
    outstanding_--;
    untold_.push_back({.operation = operation, .status = EndedWith(Code::kAborted)});
    MakeRestless();
  }
}

Inbound* Connection::FindRead(Channel& channel, uint64_t operation) {
  const auto at = operations_.find(operation);
  if (at == operations_.end() || at->second.kind != OperationKind::kRead || at->second.channel != &channel)
    return nullptr;
  return &at->second.inbound;
}

// Our memory is not written to any more; what the peer still sends is discarded, until it says that it
// stopped.
void Connection::GiveUpRead(Channel& channel, Inbound& transfer, Status why) {
  transfer.discarding = true;
  transfer.own.clear();
  transfer.failure = std::move(why);
  channel.sender().Append({.kind = Kind::kCancel, .status = Code::kAborted, .operation = transfer.operation});
  channel.Post();
}

Status Connection::OnReadPart(Channel& channel, Inbound& transfer, const Trailer& trailer) {
  const auto at = operations_.find(transfer.operation);
  if (trailer.status != Code::kOk) return EndRead(at, EndedWith(trailer.status));
  if (!transfer.discarding && !trailer.damage.ok()) {
    if (transfer.left() == 0) return EndRead(at, trailer.damage);
    GiveUpRead(channel, transfer, trailer.damage);
  }
  return transfer.left() == 0 ? EndRead(at, {}) : Status();
}

// The peer sends nothing more for it. A failure found here comes before whatever the peer says.
Status Connection::EndRead(Operations::iterator operation, Status status) {
  Inbound& inbound = operation->second.inbound;
  if (!inbound.failure.ok()) status = inbound.failure;
  operation->second.channel->NoteInbound(inbound.total, false);
  if (inbound.answered) {
    Forget(operation);
  } else {
    Tell(operation, std::move(status), 0);
  }
  return closed() ? why_ : Status();
}

Status Connection::OnAnswer(Channel& channel, const Record& record) {
  const auto at = operations_.find(record.operation);
  const bool known = at != operations_.end() && at->second.channel == &channel;
  const OperationKind kind = record.kind == Kind::kReadFailed  ? OperationKind::kRead
                             : record.kind == Kind::kWriteDone ? OperationKind::kWrite
                                                               : OperationKind::kAtomic;
  if (!known || at->second.kind != kind)
    return Status::Violation("record", "an answer belongs to no operation that is under way");
  if (kind == OperationKind::kRead) return EndRead(at, EndedWith(record.status));
  if (kind == OperationKind::kWrite) {
    const Sender::Stopped stopped = channel.sender().Stop(record.operation, false);
    if (stopped == Sender::Stopped::kUnannounced)
      return Status::Violation("record", "a write was answered before it began");
    if (stopped == Sender::Stopped::kStopped) {
      if (record.status == Code::kOk)
        return Status::Violation("record", "a write was finished before all of it was sent");
      channel.sender().Append(
          {.kind = Kind::kCancel, .status = Code::kAborted, .operation = record.operation});
      channel.Post();
    }
  }
  const uint64_t value =
      record.kind == Kind::kAtomicDone ? LoadLittle<uint64_t>(record.extension.data()) : uint64_t(0);
  Tell(at, EndedWith(record.status), value);
  return closed() ? why_ : Status();
}

void Connection::Forget(Operations::iterator operation) {
  operation->second.channel->load -= operation->second.bytes;
  operations_.erase(operation);
}

void Connection::Tell(Operations::iterator operation, Status status, uint64_t value) {
  const uint64_t id = operation->first;
  Forget(operation);
  outstanding_--;
  if (handle_) reactor_.events->OnCompletion(*handle_, {id, std::move(status), value});
}

// What waited for Poll; at the end, everything.
void Connection::TellEverything() {
  std::vector<Completion> telling;
  telling.swap(untold_);
  if (state_ == State::kEnding) {
    for (auto& [id, operation] : operations_) {
      if (!operation.inbound.answered) telling.push_back({.operation = id, .status = why_});
    }
    operations_.clear();
    outstanding_ = 0;
  }
  for (Completion& completion : telling) {
    if (handle_) reactor_.events->OnCompletion(*handle_, std::move(completion));
  }
  reactor_.progressed = true;
}

}  // namespace splitplane::tcp

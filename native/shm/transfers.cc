// Both sides of operations by the ring.
#include "native/shm/transfers.h"

#include <algorithm>

namespace splitplane::shm {
namespace {

// Copies into slices that are in memory and long enough.
Status Place(const std::vector<Slice>& slices, SliceCursor& cursor, const uint8_t* bytes, uint64_t length) {
  while (length > 0) {
    const SliceCursor::Piece piece = cursor.Next(slices, length);
    if (Status there = piece.slice->buffer->region().Check(); !there.ok()) return there;
    std::memcpy(piece.data(), bytes, piece.length);
    cursor.Advance(slices, piece.length);
    bytes += piece.length;
    length -= piece.length;
  }
  return {};
}

// Copies out of slices, which may be files.
Status Fetch(const std::vector<Slice>& slices, SliceCursor& cursor, uint8_t* out, uint64_t length) {
  while (length > 0) {
    const SliceCursor::Piece piece = cursor.Next(slices, length);
    if (Status there = piece.slice->buffer->region().Check(); !there.ok()) return there;
    if (piece.is_file()) {
      Result<uint64_t> got = ReadFile(*piece.slice, piece.offset, {out, piece.length});
      if (!got.ok()) return got.status();
    } else {
      std::memcpy(out, piece.data(), piece.length);
    }
    cursor.Advance(slices, piece.length);
    out += piece.length;
    length -= piece.length;
  }
  return {};
}

Request RequestFor(uint64_t operation, const RemoteSlice& remote, bool notify) {
  Request request{operation, remote.offset, remote.length, {}, notify ? 1u : 0u};
  std::copy(remote.grant.begin(), remote.grant.end(), request.tag.begin());
  return request;
}

}  // namespace

// -- asking

Result<Transfers::Asked*> Transfers::Admit(RecordKind kind, uint64_t operation, const RemoteSlice& remote,
                                           std::vector<Slice> local) {
  if (Status valid = ValidateRemote(remote); !valid.ok()) return valid;
  if (kind != RecordKind::kAtomic) {
    Status valid = ValidateLocal(local, remote.length, kind == RecordKind::kRead);
    if (!valid.ok()) return valid;
  }
  if (asked_.size() >= kOperationsMax || !out_.has_room(RecordBytes(sizeof(AtomicAsked)) + kLastBytes)) {
    wants_room_ = true;
    return Status::NoResource();
  }
  auto [at, added] = asked_.try_emplace(operation);
  if (!added) {
    return Status::Error(Code::kInvalidArgument, "post", "an operation of this number is under way");
  }
  Asked& asked = at->second;
  asked.kind = kind;
  asked.local = std::move(local);
  asked.left = kind == RecordKind::kAtomic ? 0 : remote.length;
  outstanding_++;
  return &asked;
}

Status Transfers::PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local) {
  Result<Asked*> asked = Admit(RecordKind::kRead, operation, remote, std::move(local));
  if (!asked.ok()) return asked.status();
  out_.Put(RecordKind::kRead, RequestFor(operation, remote, false));
  return {};
}

Status Transfers::PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                            bool notify) {
  Result<Asked*> asked = Admit(RecordKind::kWrite, operation, remote, std::move(local));
  if (!asked.ok()) return asked.status();
  (*asked)->unannounced = RequestFor(operation, remote, notify);
  sending_.push_back({false, operation});
  return {};
}

Status Transfers::PostWriteLent(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                                bool notify, WriteLent lent) {
  Result<Asked*> asked = Admit(RecordKind::kWrite, operation, remote, std::move(local));
  if (!asked.ok()) return asked.status();
  (*asked)->left = 0;
  (*asked)->lent = true;
  lent.request = RequestFor(operation, remote, notify);
  (*asked)->instead = lent.request;
  out_.Put(RecordKind::kWriteLent, lent);
  return {};
}

Status Transfers::PostAtomic(uint64_t operation, const RemoteSlice& remote, const AtomicRequest& request) {
  if (remote.length != sizeof(uint64_t)) {
    return Status::Error(Code::kInvalidArgument, "post", "an atomic works on 8 bytes");
  }
  Result<Asked*> asked = Admit(RecordKind::kAtomic, operation, remote, {});
  if (!asked.ok()) return asked.status();
  out_.Put(RecordKind::kAtomic, AtomicAsked{RequestFor(operation, remote, false), request.operand,
                                            request.compare, uint32_t(request.operation)});
  return {};
}

void Transfers::Cancel(uint64_t operation) {
  const auto at = asked_.find(operation);
  if (at == asked_.end() || at->second.answered) return;
  Asked& asked = at->second;
  if (asked.kind == RecordKind::kAtomic) return;  // one record: it has happened, or is about to
  if (asked.kind == RecordKind::kWrite) {
    // The owner says how it ended, unless all of it is there already, and then too.
    if (asked.left == 0 && !asked.lent) return;
    StopSending(false, operation);
    asked.left = 0;
    asked.instead.reset();
    if (asked.unannounced) {
      asked_.erase(at);
      outstanding_--;
      return untold_.push_back({.operation = operation, .status = EndedWith(Code::kAborted)});
    }
    return out_.Put(RecordKind::kCancel, Number{operation});
  }
  // Our memory is not touched any more; what still comes goes nowhere.
  asked.discarding = asked.answered = true;
  asked.local.clear();
  outstanding_--;
  untold_.push_back({.operation = operation, .status = EndedWith(Code::kAborted)});
  out_.Put(RecordKind::kCancel, Number{operation});
}

Status Transfers::OnReadData(uint64_t number, const uint8_t* bytes, uint64_t length) {
  const auto at = asked_.find(number);
  if (at == asked_.end() || at->second.kind != RecordKind::kRead || length > at->second.left) {
    return Status::Violation("record", "bytes came that nobody asked for");
  }
  Asked& asked = at->second;
  asked.left -= length;
  stats_.bytes_received += length;
  round_.budget -= int64_t(length);
  if (asked.discarding) return {};
  stats_.bytes_copied += length;
  if (Status placed = Place(asked.local, asked.cursor, bytes, length); !placed.ok()) {
    asked.discarding = true;
    asked.failure = std::move(placed);
    asked.local.clear();
    out_.Put(RecordKind::kCancel, Number{number});
  }
  return {};
}

Status Transfers::OnOutcome(RecordKind kind, const Outcome& outcome) {
  const auto at = asked_.find(outcome.number);
  const RecordKind asked_kind = kind == RecordKind::kReadDone    ? RecordKind::kRead
                                : kind == RecordKind::kWriteDone ? RecordKind::kWrite
                                                                 : RecordKind::kAtomic;
  if (at == asked_.end() || at->second.kind != asked_kind) {
    return Status::Violation("record", "an answer belongs to no operation that is under way");
  }
  Asked& asked = at->second;
  Code status = CodeFromWire(uint16_t(std::min<uint32_t>(outcome.status, UINT16_MAX)));
  if (status == Code::kOk && asked.left > 0 && !asked.discarding) {
    return Status::Violation("record", "an operation was finished before all of it was there");
  }
  if (asked.answered) {
    asked_.erase(at);
    return {};
  }
  if (asked.lent && status == kCannotLook) {
    asked.lent = false;
    if (asked.instead) {
      asked.left = asked.instead->length;
      asked.unannounced = std::exchange(asked.instead, std::nullopt);
      sending_.push_back({false, outcome.number});
      return {};
    }
    status = Code::kAborted;  // it was canceled meanwhile
  }
  if (asked.kind == RecordKind::kWrite && asked.left > 0) {
    // The owner throws away what comes, until it hears that nothing more will.
    StopSending(false, outcome.number);
    out_.Put(RecordKind::kCancel, Number{outcome.number});
  }
  Status ended = asked.failure.ok() ? EndedWith(status) : asked.failure;
  Tell(at, std::move(ended), outcome.value);
  return {};
}

void Transfers::Tell(std::unordered_map<uint64_t, Asked>::iterator at, Status status, uint64_t value) {
  const uint64_t operation = at->first;
  asked_.erase(at);
  outstanding_--;
  listener_.completed({operation, std::move(status), value});
}

// -- serving

Result<TagTable::Use> Transfers::Begin(const Request& request, Access access) {
  Tag tag;
  tag.bytes = request.tag;
  Result<TagTable::Use> use = context_.tags.Begin(tag, *requester_, access, request.offset, request.length,
                                                  request.number, round_.now);
  (use.ok() ? stats_.operations_served : stats_.operations_refused)++;
  return use;
}

Status Transfers::OnRead(const Request& request) {
  Result<TagTable::Use> use = Begin(request, Access::kRead);
  if (!use.ok()) {
    Answer(RecordKind::kReadDone, request.number, use.status().code());
    return {};
  }
  auto [at, added] = served_.try_emplace(request.number);
  if (!added) return Status::Violation("record", "an operation has the number of another");
  at->second.use = std::move(*use);
  at->second.left = request.length;
  sending_.push_back({true, request.number});
  return {};
}

Status Transfers::OnWrite(const Request& request) {
  auto [at, added] = served_.try_emplace(request.number);
  if (!added) return Status::Violation("record", "an operation has the number of another");
  Served& served = at->second;
  served.kind = RecordKind::kWrite;
  served.left = request.length;
  served.notify = request.notify != 0;
  Result<TagTable::Use> use = Begin(request, Access::kWrite);
  if (use.ok()) {
    served.use = std::move(*use);
  } else {
    RefuseWrite(request.number, served, use.status().code());
  }
  return {};
}

void Transfers::RefuseWrite(uint64_t number, Served& served, Code why) {
  served.discarding = true;
  served.use = TagTable::Use();
  Answer(RecordKind::kWriteDone, number, why);
}

Status Transfers::OnWriteData(uint64_t number, const uint8_t* bytes, uint64_t length) {
  const auto at = served_.find(number);
  if (at == served_.end() || at->second.kind != RecordKind::kWrite || length > at->second.left) {
    return Status::Violation("record", "bytes came for no write that is under way");
  }
  Served& served = at->second;
  served.left -= length;
  round_.budget -= int64_t(length);
  if (!served.discarding) {
    stats_.bytes_received += length;
    stats_.bytes_copied += length;
    Status placed = served.use.revoked(round_.now) ? EndedWith(Code::kTagRevoked)
                                                   : Place(served.use.slices(), served.cursor, bytes, length);
    if (!placed.ok()) RefuseWrite(number, served, placed.code());
  }
  if (served.left > 0) return {};
  const Served ended = std::move(served);
  served_.erase(at);
  if (ended.discarding) return {};
  Answer(RecordKind::kWriteDone, number, Code::kOk);
  if (ended.notify) listener_.notified(ended.use.index());
  return {};
}

Status Transfers::OnAtomic(const AtomicAsked& asked) {
  const auto operation = AtomicOperation(asked.operation);
  if (operation != AtomicOperation::kCompareAndSwap && operation != AtomicOperation::kFetchAndAdd) {
    return Status::Violation("record", "an atomic operation is of no known kind");
  }
  Result<TagTable::Use> use = Begin(asked.request, Access::kAtomic);
  Status refused = use.status();
  uint64_t value = 0;
  if (use.ok()) {
    const Slice& slice = use->slices().front();
    refused = slice.buffer->region().Check();
    if (refused.ok()) {
      value =
          ApplyAtomic(*reinterpret_cast<uint64_t*>(slice.data()), {operation, asked.operand, asked.compare});
    }
  }
  Answer(RecordKind::kAtomicDone, asked.request.number, refused.code(), value);
  return {};
}

// Of a read: nothing more is sent. Of a write: nothing more comes.
Status Transfers::OnCancel(uint64_t number) {
  const auto at = served_.find(number);
  if (at == served_.end()) return {};  // it has ended, and the peer knows by now
  const Served ended = std::move(at->second);
  served_.erase(at);
  StopSending(true, number);
  if (ended.kind == RecordKind::kRead) {
    Answer(RecordKind::kReadDone, number, Code::kAborted);
  } else if (!ended.discarding) {
    Answer(RecordKind::kWriteDone, number, Code::kAborted);
  }
  return {};
}

void Transfers::Answer(RecordKind kind, uint64_t number, Code status, uint64_t value) {
  out_.Put(kind, Outcome{number, value, uint32_t(status)});
}

// -- both

Status Transfers::OnRecord(const RingReader::Record& record) {
  switch (record.kind) {
    case RecordKind::kReadData:
    case RecordKind::kWriteData: {
      Number number;
      if (record.body_bytes <= sizeof(number)) break;
      std::memcpy(&number, record.body, sizeof(number));
      const uint8_t* bytes = record.body + sizeof(number);
      const uint64_t length = record.body_bytes - sizeof(number);
      return record.kind == RecordKind::kReadData ? OnReadData(number.number, bytes, length)
                                                  : OnWriteData(number.number, bytes, length);
    }
    case RecordKind::kReadDone:
    case RecordKind::kWriteDone:
    case RecordKind::kAtomicDone: {
      Outcome outcome;
      if (!CopyBody(record, outcome)) break;
      return OnOutcome(record.kind, outcome);
    }
    case RecordKind::kCancel: {
      Number number;
      if (!CopyBody(record, number)) break;
      return OnCancel(number.number);
    }
    case RecordKind::kRead:
    case RecordKind::kWrite:
    case RecordKind::kAtomic: {
      if (!requester_)
        return Status::Violation("record", "a remote operation came before the peer was authenticated");
      if (served_.size() >= kOperationsMax) {
        return Status::Violation("record", "the peer has more operations outstanding than allowed");
      }
      AtomicAsked asked;
      if (record.kind == RecordKind::kAtomic) {
        if (!CopyBody(record, asked)) break;
        return OnAtomic(asked);
      }
      if (!CopyBody(record, asked.request)) break;
      return record.kind == RecordKind::kRead ? OnRead(asked.request) : OnWrite(asked.request);
    }
    default:
      break;
  }
  return Status::Violation("record", "a record is of no known kind, or has not the length of its kind");
}

void Transfers::Pump() {
  while (!sending_.empty() && round_.budget > 0) {
    const Sender sender = sending_.front();
    if (!SendSome(sender)) return;
    round_.progressed = true;
    // It may have ended, and then it is not in front any more.
    if (sending_.empty() || sending_.front().serving != sender.serving ||
        sending_.front().number != sender.number) {
      continue;
    }
    sending_.pop_front();
    sending_.push_back(sender);
  }
}

// False: there is no room.
bool Transfers::SendSome(const Sender& sender) {
  Status failed;
  if (!sender.serving) {
    Asked& asked = asked_.find(sender.number)->second;
    if (asked.unannounced) {
      if (!out_.has_room(kRingBytes / 2)) return false;
      out_.Put(RecordKind::kWrite, *asked.unannounced);
      asked.unannounced.reset();
    }
    if (!SendPart(RecordKind::kWriteData, sender.number, asked.local, asked.cursor, asked.left, failed)) {
      return false;
    }
    if (!failed.ok()) {
      asked.failure = std::move(failed);
      asked.left = 0;
      out_.Put(RecordKind::kCancel, Number{sender.number});
    }
    if (asked.left == 0) StopSending(false, sender.number);
    return true;
  }
  Served& served = served_.find(sender.number)->second;
  if (served.use.revoked(round_.now)) {
    failed = EndedWith(Code::kTagRevoked);
  } else if (!SendPart(RecordKind::kReadData, sender.number, served.use.slices(), served.cursor, served.left,
                       failed)) {
    return false;
  }
  if (failed.ok() && served.left > 0) return true;
  StopSending(true, sender.number);
  const TagTable::Use use = std::move(served.use);
  served_.erase(sender.number);
  Answer(RecordKind::kReadDone, sender.number, failed.code());
  return true;
}

bool Transfers::SendPart(RecordKind kind, uint64_t number, const std::vector<Slice>& slices,
                         SliceCursor& cursor, uint64_t& left, Status& failed) {
  const auto length = uint32_t(std::min<uint64_t>(left, kDataBytesMax));
  // Frames find room beside bulk data.
  if (!out_.has_room(kRingBytes / 2)) return false;
  uint8_t* at = out_.Begin(kind, uint32_t(sizeof(Number)) + length);
  if (!at) return false;
  const Number head{number};
  std::memcpy(at, &head, sizeof(head));
  failed = Fetch(slices, cursor, at + sizeof(head), length);
  if (!failed.ok()) return true;
  out_.Commit();
  left -= length;
  round_.budget -= int64_t(length);
  stats_.bytes_sent += length;
  stats_.bytes_copied += length;
  return true;
}

void Transfers::StopSending(bool serving, uint64_t number) {
  std::erase_if(sending_,
                [&](const Sender& sender) { return sender.serving == serving && sender.number == number; });
}

void Transfers::TellEnded() {
  std::vector<Completion> telling;
  telling.swap(untold_);
  for (Completion& completion : telling) listener_.completed(std::move(completion));
}

void Transfers::End(const Status& why) {
  sending_.clear();
  TellEnded();
  // What is let go may run callbacks of those whose memory it was.
  const auto served = std::exchange(served_, {});
  auto asked = std::exchange(asked_, {});
  outstanding_ = 0;
  for (auto& [operation, one] : asked) {
    if (!one.answered) listener_.completed({operation, why, 0});
  }
}

}  // namespace splitplane::shm

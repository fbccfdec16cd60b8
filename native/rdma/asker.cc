// Asking, and what the owner answers.
#include "native/rdma/asker.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>

#include "native/transport/operation.h"

namespace splitplane::rdma {
Asker::~Asker() {
  // Before what they register.
  parts_.clear();
}

Result<Asker::Operation*> Asker::Admit(Kind kind, uint64_t operation, const RemoteSlice& remote) {
  if (operations_.size() >= kOperationsMax) return Status::NoResource();
  auto [at, added] = by_id_.try_emplace(operation);
  if (!added) {
    return Status::Error(Code::kInvalidArgument, "post", "an operation of this number is under way");
  }
  while (operations_.contains(++last_number_)) {
  }
  auto made = std::make_unique<Operation>();
  made->id = operation;
  made->number = last_number_;
  made->kind = kind;
  made->tag = Tag::From(remote.grant);
  made->offset = remote.offset;
  made->length = remote.length;
  at->second = made.get();
  unasked_.push_back(made.get());
  return (operations_[last_number_] = std::move(made)).get();
}

Status Asker::PostTransfer(Kind kind, uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                           TransferOptions options) {
  Result<Operation*> admitted = Admit(kind, operation, remote);
  if (!admitted.ok()) return admitted.status();
  (*admitted)->own = std::move(local);
  (*admitted)->options = options;
  return {};
}

Status Asker::PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) {
  Result<Operation*> admitted = Admit(Kind::kAtomic, operation, remote);
  if (!admitted.ok()) return admitted.status();
  (*admitted)->request = request;
  return {};
}

void Asker::Cancel(uint64_t id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  Operation& operation = *found->second;
  // An atomic that was asked for has happened, or is about to; a write that was reported is with the owner.
  const bool too_late = operation.asked && (operation.kind == Kind::kAtomic || operation.awaiting);
  if (!too_late) Fail(operation, EndedWith(Code::kAborted));
}

Asker::Operation* Asker::Find(uint32_t number) const {
  const auto found = operations_.find(number);
  return found == operations_.end() ? nullptr : found->second.get();
}

Status Asker::Work() {
  while (!unasked_.empty()) {
    Operation& operation = *unasked_.front();
    unasked_.pop_front();
    if (!UseKept(operation)) Ask(operation);
  }
  while (!ready_.empty() && wiring_.lane.up() && parts_.size() < kPartsMax && wiring_.reactor.budget > 0) {
    Operation& operation = *ready_.front();
    ready_.pop_front();
    operation.in_ready = false;
    if (Status status = PostPart(operation); !status.ok()) Fail(operation, std::move(status));
  }
  return wiring_.lane.Flush();
}

void Asker::Ask(Operation& operation) {
  operation.asked = true;
  const rdma::Ask ask{operation.id, operation.offset, operation.length, operation.tag};
  if (operation.kind == Kind::kAtomic) {
    EncodeAtomic(operation.number, ask, operation.request, wiring_.messenger.Add(kAtomicBytes));
    return;
  }
  uint8_t flags = operation.options.checksum ? kFlagChecksum : 0;
  if (operation.kind == Kind::kWrite && operation.options.notify) flags |= kFlagNotify;
  if (MayKeep(operation)) flags |= kFlagKeep;
  EncodeAsk(operation.kind, flags, operation.number, ask, wiring_.messenger.Add(kAskBytes));
}

Status Asker::OnRecord(const Record& record) {
  if (record.kind == Kind::kWithdraw) return OnWithdraw(record.number);
  Operation* operation = Find(record.number);
  if (record.kind == Kind::kKeep) return OnKeep(operation, record);
  // It may be on its way while the operation was canceled; and whatever it says, nobody is harmed.
  if (!operation || !operation->asked) return {};
  const bool atomic = operation->kind == Kind::kAtomic;
  if (atomic != (record.kind == Kind::kValue))
    return Status::Violation("record", "an answer does not fit its operation");
  switch (record.kind) {
    case Kind::kGrant:
      return OnGrant(*operation, record);
    case Kind::kChecksum:
      return OnChecksum(*operation, record);
    case Kind::kEnded:
      return OnEnded(*operation, record);
    default:
      Complete(*operation, EndedWith(record.status), LoadLittle<uint64_t>(record.bytes.data() + kValueAt));
      return {};
  }
}

Status Asker::OnGrant(Operation& operation, const Record& record) {
  if (!operation.failure.ok()) return {};
  if (operation.spans.size() >= kSpansMax)
    return Status::Violation("record", "the peer grants more than it may at once");
  Span span;
  for (uint32_t i = 0; i < PieceCount(record); i++) {
    span.pieces.push_back(PieceOf(record, i));
    span.length += span.pieces.back().length;
  }
  if (span.length > kSpanBytesMax || span.length > operation.length - operation.granted) {
    return Status::Violation("record", "the peer grants more than was asked for");
  }
  span.begin = span.next = span.sum_next = operation.granted_to;
  if ((record.flags & kFlagChecksum) != 0) {
    span.crc_known = true;
    span.crc_expected = WordAt(record, kGrantWordAt);
  }
  operation.granted_to.Skip(operation.own, span.length);
  operation.granted += span.length;
  operation.spans.push_back(std::move(span));
  MakeReady(operation);
  return {};
}

Status Asker::OnChecksum(Operation& operation, const Record& record) {
  if (!operation.failure.ok()) return {};
  const uint32_t index = WordAt(record, kSpanIndexAt) - operation.span_first;
  if (index >= operation.spans.size() || operation.spans[index].crc_known) {
    return Status::Violation("record", "a checksum belongs to no span that is under way");
  }
  operation.spans[index].crc_known = true;
  operation.spans[index].crc_expected = WordAt(record, kSpanCrcAt);
  ReportSpans(operation);
  return {};
}

Status Asker::OnEnded(Operation& operation, const Record& record) {
  operation.owner_ended = true;
  if (!operation.failure.ok()) return {};
  if (record.status != Code::kOk) {
    Fail(operation, EndedWith(record.status));
    return {};
  }
  if (!operation.awaiting)
    return Status::Violation("record", "an operation was finished before all of it was moved");
  Complete(operation, {});
  return {};
}

void Asker::MakeReady(Operation& operation) {
  if (operation.in_ready || !operation.failure.ok()) return;
  operation.in_ready = true;
  ready_.push_back(&operation);
}

// Tells the owner of every span from the first on that was moved and, of a read, found good.
void Asker::ReportSpans(Operation& operation) {
  const bool reading = operation.kind == Kind::kRead;
  const bool checked = operation.options.checksum;
  while (!operation.spans.empty()) {
    Span& span = operation.spans.front();
    if (span.moved < span.length || (reading && checked && !span.crc_known)) return;
    if (reading && checked && span.crc != span.crc_expected) {
      return Fail(operation, EndedWith(Code::kChecksumMismatch));
    }
    if (operation.kept == 0) {
      EncodeSpan(Kind::kDone, operation.number, operation.span_first, !reading && checked ? span.crc : 0,
                 wiring_.messenger.Add(kSpanRecordBytes));
    }
    operation.finished += span.length;
    operation.span_first++;
    operation.spans.pop_front();
  }
  if (operation.finished < operation.length) return;
  if (reading || operation.kept != 0) return Complete(operation, {});
  operation.awaiting = true;
}

void Asker::Fail(Operation& operation, Status why) {
  if (!operation.failure.ok()) return;
  operation.failure = std::move(why);
  if (operation.parts == 0) EndFailed(operation);
}

void Asker::EndFailed(Operation& operation) {
  if (operation.asked && !operation.owner_ended) {
    EncodeHead(Kind::kCancel, 0, operation.failure.code(), operation.number,
               wiring_.messenger.Add(kRecordHeadBytes));
  }
  Complete(operation, operation.failure);
}

void Asker::Complete(Operation& operation, Status status, uint64_t value) {
  ended_.push_back({operation.id, std::move(status), value});
  if (!operation.asked) std::erase(unasked_, &operation);
  if (operation.in_ready) std::erase(ready_, &operation);
  by_id_.erase(operation.id);
  gone_.push_back(std::move(operations_.extract(operation.number).mapped()));
}

std::vector<Completion> Asker::TakeEnded() {
  const auto gone = std::exchange(gone_, {});
  return std::exchange(ended_, {});
}

void Asker::End(const Status& why) {
  parts_.clear();
  unasked_.clear();
  ready_.clear();
  for (const auto& [number, operation] : operations_) ended_.push_back({operation->id, why, 0});
  by_id_.clear();
  const auto gone = std::exchange(operations_, {});
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

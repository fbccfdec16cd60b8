// Being asked: admission, and the end of operations.
#include "native/rdma/owner.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>

#include "native/transport/operation.h"

namespace splitplane::rdma {
namespace {

bool HasFile(const std::vector<Slice>& slices) {
  return std::any_of(slices.begin(), slices.end(), [](const Slice& slice) { return !slice.data(); });
}

}  // namespace

void Owner::Bind(Requester who) { who_ = std::move(who); }

// What every request must meet.
Status Owner::CheckAsked() const {
  if (!who_) return Status::Violation("record", "a remote operation came before the peer was authenticated");
  if (served_.size() >= kOperationsMax)
    return Status::Violation("record", "the peer has more operations outstanding than allowed");
  if (wiring_.overflows()) return Status::Violation("record", "the peer asks without taking the answers");
  return {};
}

Status Owner::OnRecord(const Record& record) {
  switch (record.kind) {
    case Kind::kRead:
    case Kind::kWrite:
      return OnAsk(record);
    case Kind::kAtomic:
      return OnAtomic(record);
    case Kind::kDone:
      return OnDone(record);
    case Kind::kDrop:
      OnDrop(record.number);
      return {};
    default:
      OnCancel(record.number);
      return {};
  }
}

void Owner::Refuse(Kind kind, uint32_t number, const Status& why) {
  wiring_.reactor.stats.operations_refused++;
  if (kind == Kind::kAtomic) {
    EncodeValue(why.code(), number, 0, wiring_.messenger.Add(kValueBytes));
  } else {
    EncodeHead(Kind::kEnded, 0, why.code(), number, wiring_.messenger.Add(kRecordHeadBytes));
  }
}

Status Owner::OnAsk(const Record& record) {
  if (Status asked = CheckAsked(); !asked.ok()) return asked;
  if (served_.contains(record.number))
    return Status::Violation("record", "an operation has the number of one under way");
  const Ask ask = AskOf(record);
  const bool reading = record.kind == Kind::kRead;
  Result<TagTable::Use> use =
      wiring_.reactor.context.tags.Begin(ask.tag, *who_, reading ? Access::kRead : Access::kWrite, ask.offset,
                                         ask.length, ask.operation, wiring_.reactor.now);
  Status refused = use.status();
  if (use.ok() && !reading && HasFile(use->slices())) {
    refused = Status::Error(Code::kTagDirection, "write", "a registered file can only be read");
  }
  if (!refused.ok()) {
    Refuse(record.kind, record.number, refused);
    return {};
  }
  wiring_.reactor.stats.operations_served++;
  if ((record.flags & kFlagKeep) != 0 && Keep(record, *use)) return {};
  auto served = std::make_unique<Served>();
  served->number = record.number;
  served->kind = record.kind;
  served->checksum = (record.flags & kFlagChecksum) != 0;
  served->notify = !reading && (record.flags & kFlagNotify) != 0;
  served->total = ask.length;
  served->use = std::move(*use);
  Want(*served);
  served_[record.number] = std::move(served);
  return {};
}

// By our processor, not by the device: the two are not atomic towards each other unless the device says so,
// and this side's programs work on the same words.
Status Owner::OnAtomic(const Record& record) {
  if (Status asked = CheckAsked(); !asked.ok()) return asked;
  const Ask ask = AskOf(record);
  Result<TagTable::Use> use = wiring_.reactor.context.tags.Begin(
      ask.tag, *who_, Access::kAtomic, ask.offset, ask.length, ask.operation, wiring_.reactor.now);
  Status refused = use.status();
  uint64_t* word = nullptr;
  if (refused.ok()) {
    const Slice& slice = use->slices().front();
    refused = slice.buffer->region().Check();
    if (refused.ok()) word = reinterpret_cast<uint64_t*>(slice.data());
    if (refused.ok() && (!word || reinterpret_cast<uintptr_t>(word) % sizeof(uint64_t) != 0)) {
      refused = Status::Error(Code::kTagBounds, "atomic", "the word is not in memory at a multiple of 8");
    }
  }
  if (!refused.ok()) {
    Refuse(record.kind, record.number, refused);
    return {};
  }
  wiring_.reactor.stats.operations_served++;
  EncodeValue(Code::kOk, record.number, ApplyAtomic(*word, AtomicOf(record)),
              wiring_.messenger.Add(kValueBytes));
  return {};
}

Status Owner::OnDone(const Record& record) {
  const auto found = served_.find(record.number);
  // It was on its way while we ended the operation.
  if (found == served_.end()) return {};
  Served& served = *found->second;
  const auto span = std::find_if(served.spans.begin(), served.spans.end(),
                                 [](const Span& candidate) { return !candidate.moved; });
  const uint32_t index = served.span_first + uint32_t(span - served.spans.begin());
  if (span == served.spans.end() || WordAt(record, kSpanIndexAt) != index) {
    return Status::Violation("record", "a span is done that was not granted");
  }
  const bool reading = served.kind == Kind::kRead;
  if (reading && served.checksum && !span->summed)
    return Status::Violation("record", "a span is done before it was verified");
  Withdraw(*span);
  span->moved = true;
  TransportStats& stats = wiring_.reactor.stats;
  (reading ? stats.bytes_sent : stats.bytes_received) += span->length;
  if (reading || !served.checksum) return EndSpan(served);
  span->claimed = WordAt(record, kSpanCrcAt);
  SumSoon(served);
  return {};
}

// The first span of an operation is through.
Status Owner::EndSpan(Served& served) {
  served.finished += served.spans.front().length;
  served.span_first++;
  served.spans.pop_front();
  if (served.finished < served.total) {
    Want(served);
    return {};
  }
  const bool writing = served.kind == Kind::kWrite;
  // The bytes are there, but whoever let the tag expire meanwhile will not look at them.
  if (writing && served.use.revoked(wiring_.reactor.now)) return Fail(served, Code::kTagRevoked);
  const bool notify = served.notify;
  const uint32_t tag_index = served.use.index();
  if (writing) {
    EncodeHead(Kind::kEnded, 0, Code::kOk, served.number, wiring_.messenger.Add(kRecordHeadBytes));
  }
  Erase(served);
  return notify ? events_.OnNotified(tag_index) : Status();
}

void Owner::OnCancel(uint32_t number) {
  const auto found = served_.find(number);
  if (found != served_.end()) Erase(*found->second);
}

Status Owner::Fail(Served& served, Code why) {
  EncodeHead(Kind::kEnded, 0, why, served.number, wiring_.messenger.Add(kRecordHeadBytes));
  const bool under_way = std::any_of(served.spans.begin(), served.spans.end(), [](const Span& span) {
    return !span.moved && std::any_of(span.pieces.begin(), span.pieces.end(),
                                      [](const Exposure& piece) { return piece.shared.has_value(); });
  });
  Status status = under_way ? events_.OnTakenBack() : Status();
  Erase(served);
  return status;
}

void Owner::Erase(Served& served) {
  for (Span& span : served.spans) Withdraw(span);
  if (served.in_wanting) std::erase(wanting_, &served);
  if (served.in_summing) std::erase(summing_, &served);
  // Letting go of memory may run callbacks of those whose it is.
  const auto self = served_.extract(served.number);
}

Status Owner::OnTagEnded(uint32_t index, std::vector<TagTable::Use>& over) {
  std::vector<Served*> hit;
  for (const auto& [number, served] : served_) {
    // Zero is before every expiry: what is asked is whether the tag is still the one that it was.
    if (served->use.index() == index && served->use.revoked(0)) hit.push_back(served.get());
  }
  for (Served* served : hit) {
    over.push_back(std::move(served->use));
    if (Status status = Fail(*served, Code::kTagRevoked); !status.ok()) return status;
  }
  for (size_t i = kept_.size(); i-- > 0;) {
    TagTable::Use& use = kept_[i]->use;
    if (use.index() != index || !use.revoked(0)) continue;
    EncodeHead(Kind::kWithdraw, 0, Code::kOk, kept_[i]->number, wiring_.messenger.Add(kRecordHeadBytes));
    over.push_back(std::move(use));
    Withdraw(kept_.begin() + ptrdiff_t(i));
  }
  return {};
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

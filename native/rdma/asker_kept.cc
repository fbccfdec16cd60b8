// What the owner lets us keep, and the operations that run over it without asking.
#include <algorithm>

#include "native/rdma/asker.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {
// Whatever needs the owner's word at the end is asked for.
bool Asker::MayKeep(const Operation& operation) const {
  return operation.kind != Kind::kAtomic && operation.length <= kKeptOperationBytesMax &&
         !operation.options.checksum && !operation.options.notify;
}

bool Asker::UseKept(Operation& operation) {
  if (kept_.empty() || !MayKeep(operation)) return false;
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) {
    return kept->kind == operation.kind && kept->tag.bytes == operation.tag.bytes;
  });
  // What lies outside is for the owner to refuse.
  if (found == kept_.end() || operation.offset > (*found)->length ||
      operation.length > (*found)->length - operation.offset) {
    return false;
  }
  Start(operation, **found);
  return true;
}

// The range of an operation becomes its only span.
void Asker::Start(Operation& operation, Kept& kept) {
  kept.used_at = ++kept_uses_;
  operation.kept = kept.number;
  Span span;
  uint64_t skip = operation.offset;
  for (const Piece& piece : kept.pieces) {
    if (span.length == operation.length) break;
    if (skip >= piece.length) {
      skip -= piece.length;
      continue;
    }
    const uint32_t length = uint32_t(std::min(piece.length - skip, operation.length - span.length));
    span.pieces.push_back({piece.address + skip, length, piece.key});
    span.length += length;
    skip = 0;
  }
  operation.granted = operation.length;
  operation.spans.push_back(std::move(span));
  MakeReady(operation);
}

// What was kept is gone, or the lane broke under it. From the beginning: what is moved twice is the same.
void Asker::AskAgain(Operation& operation) {
  if (operation.in_ready) std::erase(ready_, &operation);
  operation.in_ready = false;
  operation.kept = 0;
  operation.spans.clear();
  operation.span_first = 0;
  operation.granted = operation.finished = 0;
  unasked_.push_back(&operation);
}

Status Asker::OnKeep(Operation* operation, const Record& record) {
  if (wiring_.overflows()) return Status::Violation("record", "the peer lets us keep more than it hears of");
  auto kept = std::make_unique<Kept>();
  kept->number = WordAt(record, kGrantWordAt);
  // Instead of the first grant: what was granted has its place in the slices, and is not begun again.
  const bool expected = operation && operation->asked && operation->granted == 0 && operation->failure.ok() &&
                        MayKeep(*operation);
  if (!expected) {
    // It was canceled meanwhile, and what it was for with it.
    EncodeHead(Kind::kDrop, 0, Code::kOk, kept->number, wiring_.messenger.Add(kRecordHeadBytes));
    return {};
  }
  kept->tag = operation->tag;
  kept->kind = operation->kind;
  for (uint32_t i = 0; i < PieceCount(record); i++) {
    kept->pieces.push_back(PieceOf(record, i));
    kept->length += kept->pieces.back().length;
  }
  if (kept->number == 0 || kept->number == kWithdrawn || operation->offset > kept->length ||
      operation->length > kept->length - operation->offset) {
    return Status::Violation("record", "what may be kept is not what was asked for");
  }
  operation->asked = false;
  if (MakeRoomForKept()) {
    Start(*operation, *kept);
    kept_.push_back(std::move(kept));
  } else {
    EncodeHead(Kind::kDrop, 0, Code::kOk, kept->number, wiring_.messenger.Add(kRecordHeadBytes));
    AskAgain(*operation);
  }
  return {};
}

Status Asker::OnWithdraw(uint32_t number) {
  // Operations have these that run over nothing that is kept.
  if (number == 0 || number == kWithdrawn)
    return Status::Violation("record", "the peer takes back what cannot be kept");
  std::erase_if(kept_, [&](const auto& kept) { return kept->number == number; });
  for (const auto& [own_number, operation] : operations_) {
    if (operation->kept != number) continue;
    if (operation->parts == 0) {
      AskAgain(*operation);
      continue;
    }
    // What is under way succeeds or breaks the lane; nothing more is posted.
    operation->kept = kWithdrawn;
    if (operation->in_ready) std::erase(ready_, operation.get());
    operation->in_ready = false;
  }
  return {};
}

// Drops the one that was not used for longest, of those that nothing is under way over.
bool Asker::MakeRoomForKept() {
  if (kept_.size() < kKeptMax) return true;
  auto oldest = kept_.end();
  for (auto kept = kept_.begin(); kept != kept_.end(); ++kept) {
    const bool busy = std::any_of(operations_.begin(), operations_.end(),
                                  [&](const auto& one) { return one.second->kept == (*kept)->number; });
    if (!busy && (oldest == kept_.end() || (*kept)->used_at < (*oldest)->used_at)) oldest = kept;
  }
  if (oldest == kept_.end()) return false;
  EncodeHead(Kind::kDrop, 0, Code::kOk, (*oldest)->number, wiring_.messenger.Add(kRecordHeadBytes));
  kept_.erase(oldest);
  return true;
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

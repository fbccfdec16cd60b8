// The checks before every slice of work.
#include "native/tcp/transfer.h"

namespace splitplane::tcp {
Status Transfer::Usable(MonotonicNs now, uint64_t length) const {
  if (serving && use.revoked(now)) return EndedWith(Code::kTagRevoked);
  SliceCursor at = cursor;
  while (length > 0) {
    const SliceCursor::Piece piece = at.Next(slices(), length);
    Status there = piece.slice->buffer->region().Check();
    if (!there.ok()) return there;
    at.Advance(slices(), piece.length);
    length -= piece.length;
  }
  return {};
}

void Transfer::Advance(uint64_t length) {
  done += length;
  while (length > 0) {
    const SliceCursor::Piece piece = cursor.Next(slices(), length);
    cursor.Advance(slices(), piece.length);
    length -= piece.length;
  }
}

void OutboundQueue::Append(std::unique_ptr<Outbound> transfer) {
  Outbound* last = transfer.get();
  (last_ ? last_->next : first_) = std::move(transfer);
  last_ = last;
}

std::unique_ptr<Outbound> OutboundQueue::Take() {
  std::unique_ptr<Outbound> taken = std::move(first_);
  first_ = std::move(taken->next);
  if (!first_) last_ = nullptr;
  return taken;
}

std::unique_ptr<Outbound> OutboundQueue::Remove(uint64_t operation, bool serving) {
  Outbound* before = nullptr;
  for (Outbound* at = first_.get(); at; before = at, at = at->next.get()) {
    if (at->operation != operation || at->serving != serving) continue;
    std::unique_ptr<Outbound>& place = before ? before->next : first_;
    std::unique_ptr<Outbound> removed = std::move(place);
    place = std::move(removed->next);
    if (last_ == at) last_ = before;
    return removed;
  }
  return nullptr;
}

void OutboundQueue::Clear() {
  while (!empty()) Take();
}

}  // namespace splitplane::tcp

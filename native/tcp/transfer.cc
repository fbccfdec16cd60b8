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

}  // namespace splitplane::tcp

// Steps of at most one slice, and what is made of them.
#include "native/memory/slice_cursor.h"

#include <algorithm>

namespace splitplane {

SliceCursor::Piece SliceCursor::Next(const std::vector<Slice>& slices, uint64_t length_max) const {
  const Slice& slice = slices[index_];
  return {&slice, offset_, std::min(length_max, slice.length - offset_)};
}

void SliceCursor::Advance(const std::vector<Slice>& slices, uint64_t length) {
  offset_ += length;
  if (offset_ == slices[index_].length) {
    index_++;
    offset_ = 0;
  }
}

void SliceCursor::Skip(const std::vector<Slice>& slices, uint64_t length) {
  while (length > 0) {
    const Piece piece = Next(slices, length);
    Advance(slices, piece.length);
    length -= piece.length;
  }
}

}  // namespace splitplane

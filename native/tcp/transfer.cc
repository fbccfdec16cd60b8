// Walking slices, and the checks before every slice of work.
#include "native/tcp/transfer.h"

#include <algorithm>

namespace splitplane::tcp {
namespace {

const char* Sentence(Code code) {
  switch (code) {
    case Code::kTagUnknown:
      return "the owner knows no such tag for this peer: it was released, used up or never meant for us";
    case Code::kTagExpired:
      return "the tag has expired: ask its owner for another";
    case Code::kTagExhausted:
      return "the tag's uses are spent: ask its owner for another";
    case Code::kTagDirection:
      return "the tag allows another direction of transfer than this one";
    case Code::kTagBounds:
      return "the range lies outside of what the tag stands for";
    case Code::kTagRevoked:
      return "the tag was revoked while the transfer ran";
    case Code::kRegionDetached:
      return "the memory was detached while the transfer ran";
    case Code::kFileChanged:
      return "the file became shorter while the transfer ran";
    case Code::kChecksumMismatch:
      return "the bytes that arrived are not the bytes that were sent: transfer them again";
    case Code::kAborted:
      return "the operation was canceled";
    default:
      return "the operation failed at the peer";
  }
}

}  // namespace

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

Status EndedWith(Code code) {
  return code == Code::kOk ? Status() : Status::Error(code, "transfer", Sentence(code));
}

}  // namespace splitplane::tcp

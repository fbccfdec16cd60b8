// Exposing memory span by span, taking it back, and the checksums over it.
#include <algorithm>

#include "native/base/crc32c.h"
#include "native/rdma/owner.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {
namespace {

// A span is no longer than a chunk of shared memory: no piece of it lies in more than two.
constexpr size_t kChunksPerPieceMax = 2;
static_assert(kSpanBytesMax <= kChunkBytes);

}  // namespace

void Owner::Want(Served& served) {
  if (served.in_wanting || served.granted == served.total || served.spans.size() >= kSpansMax) return;
  served.in_wanting = true;
  wanting_.push_back(&served);
}

Status Owner::Work() {
  while (!wanting_.empty() && has_room() && wiring_.reactor.budget > 0) {
    Served& served = *wanting_.front();
    wanting_.pop_front();
    served.in_wanting = false;
    if (Status status = Grant(served); !status.ok()) return status;
  }
  while (!summing_.empty() && wiring_.reactor.budget > 0) {
    Served& served = *summing_.front();
    summing_.pop_front();
    served.in_summing = false;
    if (Status status = SumStep(served); !status.ok()) return status;
  }
  return {};
}

Status Owner::Grant(Served& served) {
  wiring_.reactor.progressed = true;
  if (served.use.revoked(wiring_.reactor.now)) return Fail(served, Code::kTagRevoked);
  Span& span = served.spans.emplace_back();
  if (Status exposed = Expose(served, span); !exposed.ok()) return Fail(served, exposed.code());
  const bool summed = served.kind == Kind::kRead && served.checksum;
  if (summed && span.length <= kSmallBytes) {
    if (Status status = SumMore(span, span.length); !status.ok()) return Fail(served, status.code());
    span.summed = true;
  }
  uint8_t* out = wiring_.messenger.Add(kGrantBytes + span.pieces.size() * kPieceBytes);
  out += EncodeGrant(Kind::kGrant, span.summed ? kFlagChecksum : 0, served.number, span.crc,
                     uint32_t(span.pieces.size()), out);
  EncodePieces(span.pieces, out);
  if (summed && !span.summed) SumSoon(served);
  Want(served);
  return {};
}

void Owner::EncodePieces(const std::vector<Exposure>& pieces, uint8_t* out) {
  for (const Exposure& piece : pieces) {
    EncodePiece({reinterpret_cast<uintptr_t>(piece.data), piece.length, piece.key()}, out);
    out += kPieceBytes;
  }
}

// The next bytes, at most `wanted`, in as few pieces as they lie in.
std::vector<SliceCursor::Piece> Owner::Join(const std::vector<Slice>& slices, SliceCursor& at,
                                            uint64_t wanted, size_t pieces_max, uint64_t& joined) {
  std::vector<SliceCursor::Piece> pieces;
  while (joined < wanted) {
    const SliceCursor::Piece piece = at.Next(slices, wanted - joined);
    SliceCursor::Piece* last = pieces.empty() ? nullptr : &pieces.back();
    const bool adjacent = last && !piece.out_of_reach() && !last->out_of_reach() &&
                          last->slice->buffer.get() == piece.slice->buffer.get() &&
                          last->data() + last->length == piece.data();
    if (adjacent) {
      last->length += piece.length;
    } else {
      if (pieces.size() == pieces_max) break;
      pieces.push_back(piece);
    }
    at.Advance(slices, piece.length);
    joined += piece.length;
  }
  return pieces;
}

// Makes the next bytes of an operation reachable.
Status Owner::Expose(Served& served, Span& span) {
  const bool reading = served.kind == Kind::kRead;
  const uint64_t wanted = std::min<uint64_t>(served.total - served.granted, kSpanBytesMax);
  const size_t pieces_max = wiring_.trusted ? kPiecesMax / kChunksPerPieceMax : kPiecesMax;
  const std::vector<SliceCursor::Piece> pieces =
      Join(served.use.slices(), served.granted_to, wanted, pieces_max, span.length);
  served.granted += span.length;
  Status status;
  for (size_t i = 0; status.ok() && i < pieces.size(); i++) {
    // A file's bytes lie in memory only for this.
    const bool shared = wiring_.trusted && !pieces[i].out_of_reach();
    status = shared ? ExposeShared(pieces[i], span.pieces)
                    : ExposePiece(pieces[i], reading, span.pieces.emplace_back());
  }
  for (const Exposure& piece : span.pieces) {
    if (!piece.exposed()) continue;
    exposed_bytes_ += piece.length;
    exposed_pieces_++;
  }
  return status;
}

// What is registered anyway, chunk by chunk.
Status Owner::ExposeShared(const SliceCursor::Piece& piece, std::vector<Exposure>& out) {
  Region& region = piece.slice->buffer->region();
  if (Status there = region.Check(); !there.ok()) return there;
  const uint64_t begin = piece.slice->buffer->offset() + piece.slice->offset + piece.offset;
  for (uint64_t done = 0; done < piece.length;) {
    Result<Registrations::Lease> lease = wiring_.registrations.Reach(region, begin + done);
    if (!lease.ok()) return lease.status();
    Exposure& exposure = out.emplace_back();
    exposure.slice = piece.slice;
    exposure.data = piece.data() + done;
    exposure.length = uint32_t(std::min(piece.length - done, lease->end() - (begin + done)));
    exposure.shared.emplace(std::move(*lease));
    done += exposure.length;
  }
  return {};
}

// Exactly these bytes, with exactly one right.
Status Owner::ExposePiece(const SliceCursor::Piece& piece, bool reading, Exposure& out) {
  out.slice = piece.slice;
  uint8_t* data = nullptr;
  if (piece.out_of_reach()) {
    Result<BufferRef> bounce = wiring_.reactor.context.pool.Allocate(piece.length);
    if (!bounce.ok()) return bounce.status();
    out.bounce = std::move(*bounce);
    data = out.bounce->data();
    Result<uint64_t> read = ReadBytes(*piece.slice, piece.offset, {data, piece.length});
    if (!read.ok()) return read.status();
    wiring_.reactor.stats.bytes_copied += *read;
    wiring_.reactor.budget -= int64_t(*read);
  } else {
    if (Status there = piece.slice->buffer->region().Check(); !there.ok()) return there;
    data = piece.data();
  }
  const int access = reading ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE;
  Result<std::unique_ptr<Registration>> registration =
      wiring_.registrations.Register(data, piece.length, access);
  if (!registration.ok()) return registration.status();
  out.registration = std::move(*registration);
  out.data = data;
  out.length = uint32_t(piece.length);
  return {};
}

// Afterwards the peer's device reaches nothing of it, unless the peer is trusted: the call returns when the
// device has let go.
void Owner::Withdraw(Span& span) {
  for (Exposure& piece : span.pieces) {
    if (!piece.exposed()) continue;
    piece.registration.reset();
    piece.shared.reset();
    exposed_bytes_ -= piece.length;
    exposed_pieces_--;
  }
}

void Owner::SumSoon(Served& served) {
  if (served.in_summing) return;
  served.in_summing = true;
  summing_.push_back(&served);
}

// One step of the first span that needs one, of a read for the peer to compare, of a write to compare with
// the peer's.
Status Owner::SumStep(Served& served) {
  const bool reading = served.kind == Kind::kRead;
  const auto span = std::find_if(served.spans.begin(), served.spans.end(),
                                 [&](const Span& one) { return !one.summed && (reading || one.moved); });
  if (span == served.spans.end()) return {};
  wiring_.reactor.progressed = true;
  if (Status status = SumMore(*span, kStepBytes); !status.ok()) return Fail(served, status.code());
  if (span->piece < span->pieces.size()) {
    SumSoon(served);
    return {};
  }
  span->summed = true;
  SumSoon(served);
  if (reading) {
    const uint32_t index = served.span_first + uint32_t(span - served.spans.begin());
    EncodeSpan(Kind::kChecksum, served.number, index, span->crc, wiring_.messenger.Add(kSpanRecordBytes));
    return {};
  }
  return span->crc == span->claimed ? EndSpan(served) : Fail(served, Code::kChecksumMismatch);
}

Status Owner::SumMore(Span& span, uint64_t length_max) {
  while (length_max > 0 && span.piece < span.pieces.size()) {
    const Exposure& piece = span.pieces[span.piece];
    if (Status there = piece.slice->buffer->region().Check(); !there.ok()) return there;
    const uint64_t length = std::min(length_max, piece.length - span.piece_used);
    span.crc = Crc32c(span.crc, piece.data + span.piece_used, length);
    wiring_.reactor.budget -= int64_t(length);
    length_max -= length;
    span.piece_used += length;
    if (span.piece_used < piece.length) continue;
    span.piece++;
    span.piece_used = 0;
  }
  return {};
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

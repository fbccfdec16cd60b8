// Moving: what a part is made of, and what its end means.
#include <algorithm>

#include "native/base/check.h"
#include "native/base/crc32c.h"
#include "native/rdma/asker.h"
#include "native/transport/operation.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {

Status Asker::PostPart(Operation& operation) {
  const auto at = std::find_if(operation.spans.begin(), operation.spans.end(),
                               [](const Span& span) { return span.posted < span.length; });
  if (at == operation.spans.end()) return {};
  Span& span = *at;
  const Piece& piece = span.pieces[span.piece];
  const uint64_t wanted = std::min<uint64_t>(piece.length - span.piece_used, kPartBytes);
  const bool writing = operation.kind == Kind::kWrite;

  Part part;
  part.operation = &operation;
  part.span = operation.span_first + uint32_t(at - operation.spans.begin());
  Gathered gathered;
  if (Status status = Gather(operation, span, wanted, part, gathered); !status.ok()) return status;
  part.length = gathered.length;
  if (writing && operation.options.checksum && span.posted + part.length > span.summed && !part.bounce) {
    if (Status status = Sum(operation, span, span.posted + part.length); !status.ok()) return status;
  }

  ibv_send_wr request{};
  request.opcode = writing ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
  if (gathered.is_inline) request.send_flags = IBV_SEND_INLINE;
  request.wr.rdma.remote_addr = piece.address + span.piece_used;
  request.wr.rdma.rkey = piece.key;
  wiring_.lane.Add(request, std::move(gathered.pieces), part.span);

  span.next.Skip(operation.own, part.length);
  span.posted += part.length;
  span.piece_used += part.length;
  if (span.piece_used == piece.length) {
    span.piece++;
    span.piece_used = 0;
  }
  operation.parts++;
  wiring_.reactor.progressed = true;
  parts_.push_back(std::move(part));
  const Span& last = operation.spans.back();
  if (last.posted < last.length) MakeReady(operation);
  return {};
}

Status Asker::Gather(Operation& operation, Span& span, uint64_t wanted, Part& part, Gathered& out) {
  const SliceCursor::Piece first = span.next.Next(operation.own, wanted);
  if (!first.out_of_reach()) return GatherMemory(operation, span, wanted, part, out);
  if (Status status = GatherCopy(first, part, out); !status.ok()) return status;
  if (operation.options.checksum && span.posted == span.summed) {
    span.crc = Crc32c(span.crc, part.bounce->data(), out.length);
    span.summed += out.length;
    span.sum_next.Skip(operation.own, out.length);
  }
  return {};
}

// The device cannot read a file, nor another process: their bytes come through memory.
Status Asker::GatherCopy(const SliceCursor::Piece& piece, Part& part, Gathered& out) {
  Result<BufferRef> bounce = wiring_.reactor.context.pool.Allocate(piece.length);
  if (!bounce.ok()) return bounce.status();
  part.bounce = std::move(*bounce);
  Result<uint64_t> read = ReadBytes(*piece.slice, piece.offset, {part.bounce->data(), piece.length});
  if (!read.ok()) return read.status();
  wiring_.reactor.stats.bytes_copied += *read;
  wiring_.reactor.budget -= int64_t(*read);
  for (uint64_t done = 0; done < piece.length && out.pieces.size() < wiring_.pieces_max;) {
    const uint64_t at = part.bounce->offset() + done;
    Result<Registrations::Lease> lease = wiring_.registrations.Reach(part.bounce->region(), at);
    if (!lease.ok()) return lease.status();
    const uint64_t length = std::min(piece.length - done, lease->end() - at);
    out.pieces.push_back({.addr = reinterpret_cast<uintptr_t>(part.bounce->data() + done),
                          .length = uint32_t(length),
                          .lkey = lease->memory().lkey});
    part.leases.push_back(std::move(*lease));
    done += length;
    out.length += length;
  }
  return {};
}

Status Asker::GatherMemory(const Operation& operation, const Span& span, uint64_t wanted, Part& part,
                           Gathered& out) {
  // What is sent inline is copied by the processor: nothing has to be registered.
  out.is_inline = operation.kind == Kind::kWrite && wanted <= wiring_.lane.inline_bytes();
  SliceCursor at = span.next;
  while (out.length < wanted && out.pieces.size() < wiring_.pieces_max) {
    const SliceCursor::Piece piece = at.Next(operation.own, wanted - out.length);
    if (piece.out_of_reach()) break;
    Region& region = piece.slice->buffer->region();
    if (Status there = region.Check(); !there.ok()) return there;
    uint64_t length = piece.length;
    uint32_t key = 0;
    if (!out.is_inline) {
      const uint64_t offset = piece.slice->buffer->offset() + piece.slice->offset + piece.offset;
      Result<Registrations::Lease> lease = wiring_.registrations.Reach(region, offset);
      if (!lease.ok()) return lease.status();
      length = std::min(length, lease->end() - offset);
      key = lease->memory().lkey;
      part.leases.push_back(std::move(*lease));
    }
    out.pieces.push_back(
        {.addr = reinterpret_cast<uintptr_t>(piece.data()), .length = uint32_t(length), .lkey = key});
    out.length += length;
    at.Advance(operation.own, length);
  }
  return {};
}

// Continues the checksum of a span over memory up to `until`.
Status Asker::Sum(Operation& operation, Span& span, uint64_t until) {
  while (span.summed < until) {
    const SliceCursor::Piece piece = span.sum_next.Next(operation.own, until - span.summed);
    if (Status there = piece.slice->buffer->region().Check(); !there.ok()) return there;
    span.crc = Crc32c(span.crc, piece.data(), piece.length);
    wiring_.reactor.budget -= int64_t(piece.length);
    span.sum_next.Advance(operation.own, piece.length);
    span.summed += piece.length;
  }
  return {};
}

void Asker::OnPartMoved() {
  SPLITPLANE_CHECK(!parts_.empty());
  const Part part = std::move(parts_.front());
  parts_.pop_front();
  Operation& operation = *part.operation;
  operation.parts--;
  TransportStats& stats = wiring_.reactor.stats;
  const bool reading = operation.kind == Kind::kRead;
  (reading ? stats.bytes_received : stats.bytes_sent) += part.length;
  if (!operation.failure.ok()) {
    if (operation.parts == 0) EndFailed(operation);
    return;
  }
  Span& span = operation.spans[part.span - operation.span_first];
  span.moved += part.length;
  if (reading && operation.options.checksum) {
    if (Status status = Sum(operation, span, span.moved); !status.ok()) return Fail(operation, status);
  }
  if (span.moved == span.length) return ReportSpans(operation);
  // What was kept is withdrawn: the rest is asked for.
  if (operation.kept == kWithdrawn && operation.parts == 0) AskAgain(operation);
}

void Asker::OnLaneBroken(bool blamed) {
  Operation* guilty = blamed && !parts_.empty() ? parts_.front().operation : nullptr;
  std::vector<Operation*> hit;
  for (const Part& part : parts_) {
    if (part.operation->parts > 0) hit.push_back(part.operation);
    part.operation->parts = 0;
  }
  parts_.clear();
  for (Operation* operation : hit) {
    if (!operation->failure.ok()) {
      EndFailed(*operation);
      continue;
    }
    if (operation == guilty && ++operation->breaks >= kBreaksMax) {
      Fail(*operation, Status::Error(Code::kProtocolViolation, "transfer",
                                     "the peer granted memory that it does not let us reach"));
      continue;
    }
    if (operation->kept != 0) {
      AskAgain(*operation);
      continue;
    }
    for (Span& span : operation->spans) {
      span.posted = span.moved;
      span.piece = 0;
      span.piece_used = span.moved;
      while (span.piece < span.pieces.size() && span.piece_used >= span.pieces[span.piece].length) {
        span.piece_used -= span.pieces[span.piece++].length;
      }
      span.next = span.begin;
      span.next.Skip(operation->own, span.moved);
    }
    MakeReady(*operation);
  }
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

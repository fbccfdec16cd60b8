// What a peer may keep: all of what a tag stands for, for small operations again and again without asking.
// Only of tags that stand until somebody ends them, and only of slabs, which nobody can take away unheard.
// Registered as exactly its bytes, for a trusted peer too: that is once for a tag and not for an operation,
// and taking it back costs no queue pair.
#include <algorithm>

#include "native/rdma/owner.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {

// False: the operation is served span by span.
bool Owner::Keep(const Record& record, const TagTable::Use& use) {
  const uint64_t length = use.tag_length();
  if (!use.standing() || kept_.size() >= kOwnedKeptMax || length > kOwnedKeptBytesMax - kept_bytes_)
    return false;
  const Ask ask = AskOf(record);
  const bool reading = record.kind == Kind::kRead;
  Result<TagTable::Use> all =
      wiring_.reactor.context.tags.Begin(ask.tag, *who_, reading ? Access::kRead : Access::kWrite, 0, length,
                                         ask.operation, wiring_.reactor.now);
  if (!all.ok()) return false;
  auto kept = std::make_unique<Kept>();
  kept->length = length;
  kept->use = std::move(*all);
  if (!ExposeAll(*kept, reading).ok()) return false;
  kept->number = ++last_kept_;
  uint8_t* out = wiring_.messenger.Add(kGrantBytes + kept->pieces.size() * kPieceBytes);
  out += EncodeGrant(Kind::kKeep, 0, record.number, kept->number, uint32_t(kept->pieces.size()), out);
  EncodePieces(kept->pieces, out);
  kept_bytes_ += length;
  kept_.push_back(std::move(kept));
  return true;
}

Status Owner::ExposeAll(Kept& kept, bool reading) {
  SliceCursor at;
  uint64_t joined = 0;
  const std::vector<SliceCursor::Piece> pieces = Join(kept.use.slices(), at, kept.length, kPiecesMax, joined);
  const bool slabs = std::all_of(pieces.begin(), pieces.end(), [](const SliceCursor::Piece& piece) {
    return piece.slice->buffer->region().kind() == Region::Kind::kSlab;
  });
  if (joined < kept.length || !slabs)
    return Status::Error(Code::kUnsupported, "keep", "in too many pieces, or not in a slab");
  for (const SliceCursor::Piece& piece : pieces) {
    if (Status status = ExposePiece(piece, reading, kept.pieces.emplace_back()); !status.ok()) return status;
  }
  return {};
}

void Owner::Withdraw(std::vector<std::unique_ptr<Kept>>::iterator kept) {
  // Letting go of memory may run callbacks of those whose it is.
  const std::unique_ptr<Kept> gone = std::move(*kept);
  kept_.erase(kept);
  kept_bytes_ -= gone->length;
}

void Owner::OnDrop(uint32_t number) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept->number == number; });
  // It may have been withdrawn meanwhile.
  if (found != kept_.end()) Withdraw(found);
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// Mapping, looking, giving back.
#include "native/shm/borrower.h"

#include <algorithm>
#include <utility>

#include "native/base/check.h"
#include "native/memory/mapping.h"
#include "native/transport/operation.h"

namespace splitplane::shm {
namespace {

// Between two looks at whether the loan still stands.
constexpr uint64_t kCopyBytes = 256 * 1024;
// In the number of a look that is no operation of its user's. Operations' numbers never get that far.
constexpr uint64_t kLooks = uint64_t{1} << 63;

}  // namespace

Borrower::~Borrower() {
  for (const auto& [number, region] : slabs_) {
    if (region) pool_.EndForeign(*region);
  }
}

Status Borrower::OnSlab(const Packet& packet, const Fd& descriptor, bool lost) {
  if ((!descriptor.valid() && !lost) || slabs_.contains(packet.slab) || slabs_.size() >= kSlabsMax) {
    return Status::Violation("loan",
                             "a slab came without memory, twice, or beyond the number that is allowed");
  }
  Region* region = nullptr;
  if (!lost) {
    Result<std::shared_ptr<Mapping>> mapping =
        Mapping::OfPeer(descriptor, packet.bytes, Mapping::Sharing::kPrivate);
    if (mapping.status().code() == Code::kProtocolViolation) return mapping.status();
    if (mapping.ok()) region = &pool_.AddForeign(std::move(*mapping), *this);
  }
  slabs_.emplace(packet.slab, region);
  return {};
}

Status Borrower::OnLoan(const Loan& loan) {
  const auto slab = slabs_.find(loan.slab);
  if (slab == slabs_.end())
    return Status::Violation("loan", "memory was lent in a slab that was never handed over");
  if (!slab->second) return {};
  const uint64_t within = slab->second->length();
  if (loan.length == 0 || loan.offset > within || loan.length > within - loan.offset) {
    return Status::Violation("loan", "memory was lent that is not within its slab");
  }
  if (loan.uses == 0 || loan.place >= kLoansMax)
    return Status::Violation("loan", "a loan is for no use, or has no place");
  if (loans_.size() >= kLoansMax) {
    // Loans whose tags ended without a word to us: the owner does not lend more than there are places.
    std::erase_if(loans_, [this](const auto& entry) {
      return !Stands(entry.second.loan.place, entry.second.loan.standing);
    });
    if (loans_.size() >= kLoansMax)
      return Status::Violation("loan", "more is lent at a time than is allowed");
  }
  Tag tag;
  tag.bytes = loan.tag;
  if (!loans_.emplace(tag, Borrowed{loan, slab->second, loan.uses}).second) {
    return Status::Violation("loan", "a loan was told of twice");
  }
  return {};
}

Status Borrower::OnSlabGone(uint64_t number) {
  const auto slab = number <= UINT32_MAX ? slabs_.find(uint32_t(number)) : slabs_.end();
  if (slab == slabs_.end()) return Status::Violation("loan", "a slab is gone that was never here");
  Region* region = slab->second;
  if (!region) {
    slabs_.erase(slab);
    return {};
  }
  const bool copied = std::any_of(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    return copy.from >= region->data() && copy.from < region->data() + region->length();
  });
  if (copied) return Status::Violation("loan", "a slab is gone that is being looked at");
  std::erase_if(loans_, [&](const auto& entry) { return entry.second.slab == region; });
  slabs_.erase(slab);
  pool_.EndForeign(*region);
  return {};
}

bool Borrower::Stands(uint32_t place, uint32_t standing) const {
  return peer_.standing(place).load(std::memory_order_seq_cst) == standing;
}

// Whatever is not possible this way is asked of the owner, who says what is wrong.
Borrower::Borrowed* Borrower::BeginLook(const Tag& tag, uint64_t offset, uint64_t length) {
  const auto at = loans_.find(tag);
  if (at == loans_.end()) return nullptr;
  Borrowed& borrowed = at->second;
  const Loan& loan = borrowed.loan;
  const bool within = length > 0 && offset <= loan.length && length <= loan.length - offset;
  if (!within || borrowed.uses_left == 0) return nullptr;
  if (loan.expires_at != kNever && NowNs() >= loan.expires_at) return nullptr;
  own_.looking(loan.place).fetch_add(1, std::memory_order_seq_cst);
  if (Stands(loan.place, loan.standing)) return &borrowed;
  EndLook(loan.place);
  // The owner may have seen that somebody looked, and waits to hear that it is over.
  Note(NextLook(), borrowed, offset, length, true);
  loans_.erase(at);
  return nullptr;
}

bool Borrower::MayTake() const { return !out_.crowded() && views_.size() + copies_.size() < kTakesMax; }

void Borrower::EndLook(uint32_t place) { own_.looking(place).fetch_sub(1, std::memory_order_seq_cst); }

uint64_t Borrower::NextLook() { return kLooks | ++last_look_; }

Take Borrower::Note(uint64_t number, Borrowed& borrowed, uint64_t offset, uint64_t length, bool over) {
  if (borrowed.uses_left != kUnlimitedUses) borrowed.uses_left--;
  return Note(number, borrowed.loan.place, borrowed.loan.standing, offset, length, over);
}

Take Borrower::Note(uint64_t number, uint32_t place, uint32_t standing, uint64_t offset, uint64_t length,
                    bool over) {
  const Take take{.number = number,
                  .offset = offset,
                  .length = length,
                  .place = place,
                  .standing = standing,
                  .over = over ? 1u : 0u};
  out_.Put(RecordKind::kTook, take);
  return take;
}

Result<BufferRef> Borrower::View(const Tag& tag, uint64_t offset, uint64_t length) {
  if (!MayTake()) return Status::NoResource();
  Borrowed* borrowed = BeginLook(tag, offset, length);
  if (!borrowed) return Status::NoResource();
  const Take take = Note(NextLook(), *borrowed, offset, length, false);
  views_.emplace(take.number, take);
  stats_.bytes_received += length;
  return pool_.View(*borrowed->slab, borrowed->loan.offset + offset, length, take.number);
}

void Borrower::OnViewEnded(uint64_t number) {
  const auto at = views_.find(number);
  EndLook(at->second.place);
  out_.Put(RecordKind::kGaveBack, at->second);
  views_.erase(at);
  listener_.touched();
}

bool Borrower::ReadNow(const Tag& tag, uint64_t offset, std::span<const Slice> local, uint64_t length) {
  if (length > kReadNowBytesMax || out_.crowded()) return false;
  Borrowed* borrowed = BeginLook(tag, offset, length);
  if (!borrowed) return false;
  const Loan& loan = borrowed->loan;
  pool_.RenewForeign(*borrowed->slab, loan.offset + offset, length);
  const uint8_t* from = borrowed->slab->data() + loan.offset + offset;
  for (const Slice& slice : local) {
    std::memcpy(slice.data(), from, slice.length);
    from += slice.length;
  }
  EndLook(loan.place);
  // Not before: an owner that ends the tag from here on sees that nobody looks, and waits for no word.
  const bool stood = Stands(loan.place, loan.standing);
  stats_.bytes_received += length;
  stats_.bytes_copied += length;
  // Uses are counted by the owner. If the tag ended meanwhile, the owner waits to hear that the look is over.
  if (!stood || loan.uses != kUnlimitedUses) Note(NextLook(), *borrowed, offset, length, true);
  return stood;
}

void Borrower::Forget(const Tag& tag) { loans_.erase(tag); }

bool Borrower::StartCopy(uint64_t operation, const Tag& tag, uint64_t offset, uint64_t length,
                         std::vector<Slice>& local) {
  if (!MayTake()) return false;
  Borrowed* borrowed = BeginLook(tag, offset, length);
  if (!borrowed) return false;
  pool_.RenewForeign(*borrowed->slab, borrowed->loan.offset + offset, length);
  const uint8_t* from = borrowed->slab->data() + borrowed->loan.offset + offset;
  copies_.push_back({.operation = operation,
                     .take = Note(operation, *borrowed, offset, length, false),
                     .from = from,
                     .left = length,
                     .local = std::move(local)});
  return true;
}

Status Borrower::StartWrite(const WriteLent& asked, TagTable::Use use) {
  const auto slab = slabs_.find(asked.slab);
  if (slab == slabs_.end())
    return Status::Violation("loan", "a write is out of a slab that was never handed over");
  SPLITPLANE_CHECK(slab->second);
  Region& region = *slab->second;
  const uint64_t length = asked.request.length;
  if (asked.offset > region.length() || length > region.length() - asked.offset) {
    return Status::Violation("loan", "a write is out of memory that is not within its slab");
  }
  if (asked.place >= kLoansMax)
    return Status::Violation("loan", "a write is out of a loan that has no place");
  if (writes_ >= kOperationsMax)
    return Status::Violation("loan", "the peer has more writes outstanding than allowed");
  // It stands until we answer, so nobody has to know beforehand that we look.
  own_.looking(asked.place).fetch_add(1, std::memory_order_seq_cst);
  pool_.RenewForeign(region, asked.offset, length);
  copies_.push_back({.operation = asked.request.number,
                     .take = Note(NextLook(), asked.place, asked.standing, 0, length, false),
                     .from = region.data() + asked.offset,
                     .left = length,
                     .write = std::move(use),
                     .notify = asked.request.notify != 0});
  writes_++;
  return {};
}

bool Borrower::Cancel(uint64_t number, bool of_peer) {
  const auto at = std::find_if(copies_.begin(), copies_.end(), [&](const Copy& copy) {
    return copy.operation == number && copy.write.has_value() == of_peer;
  });
  if (at == copies_.end()) return false;
  at->canceled = true;
  return true;
}

void Borrower::Pump(Round& round) {
  while (!copies_.empty() && round.budget > 0) {
    Copy& copy = copies_.front();
    round.progressed = true;
    Status status;
    if (copy.canceled) {
      status = EndedWith(Code::kAborted);
    } else if (!Stands(copy.take.place, copy.take.standing) ||
               (copy.write && copy.write->revoked(round.now))) {
      status = EndedWith(Code::kTagRevoked);
    } else {
      const SliceCursor::Piece piece = copy.cursor.Next(copy.into(), std::min(copy.left, kCopyBytes));
      status = piece.slice->buffer->region().Check();
      if (status.ok()) {
        std::memcpy(piece.data(), copy.from, piece.length);
        copy.cursor.Advance(copy.into(), piece.length);
        copy.from += piece.length;
        copy.left -= piece.length;
        round.budget -= int64_t(piece.length);
        stats_.bytes_received += piece.length;
        stats_.bytes_copied += piece.length;
        // What was copied of a tag that has ended meanwhile does not count.
        if (copy.left == 0 && !Stands(copy.take.place, copy.take.standing))
          status = EndedWith(Code::kTagRevoked);
      }
      if (status.ok() && copy.left > 0) continue;
    }
    Copy finished = std::move(copies_.front());
    copies_.pop_front();
    FinishCopy(std::move(finished), std::move(status));
  }
}

void Borrower::FinishCopy(Copy copy, Status status) {
  EndLook(copy.take.place);
  out_.Put(RecordKind::kGaveBack, copy.take);
  if (copy.write) {
    writes_--;
    const uint32_t tag_index = copy.write->index();
    copy.write.reset();
    out_.Put(RecordKind::kWriteDone, Outcome{copy.operation, 0, uint32_t(status.code())});
    if (copy.notify && status.ok()) listener_.notified(tag_index);
    return;
  }
  copy.local.clear();
  listener_.completed({copy.operation, std::move(status), 0});
}

void Borrower::End(const Status& why) {
  loans_.clear();
  auto copies = std::exchange(copies_, {});
  for (Copy& copy : copies) FinishCopy(std::move(copy), why);
}

}  // namespace splitplane::shm

// Mapping, looking, giving back.
#include "native/shm/borrower.h"

#include "native/base/clock.h"
#include "native/memory/mapping.h"

namespace splitplane::shm {
namespace {

Status Violation(const char* sentence) { return Status::Error(Code::kProtocolViolation, "loan", sentence); }

}  // namespace

Borrower::~Borrower() {
  for (const auto& [number, region] : slabs_) pool_.EndForeign(*region);
}

Status Borrower::OnSlab(const Packet& packet, const Fd& descriptor) {
  if (!descriptor.valid() || slabs_.contains(packet.slab) || slabs_.size() >= kSlabsMax) {
    return Violation("a slab came without memory, twice, or beyond the number that is allowed");
  }
  Result<std::shared_ptr<Mapping>> mapping = Mapping::OfPeer(descriptor, packet.bytes);
  if (!mapping.ok()) return mapping.status();
  slabs_.emplace(packet.slab, &pool_.AddForeign(std::move(*mapping), *this));
  return {};
}

Status Borrower::OnLoan(const Loan& loan) {
  const auto slab = slabs_.find(loan.slab);
  if (slab == slabs_.end()) return Violation("memory was lent in a slab that was never handed over");
  const uint64_t within = slab->second->length();
  if (loan.length == 0 || loan.offset > within || loan.length > within - loan.offset) {
    return Violation("memory was lent that is not within its slab");
  }
  if (loan.uses == 0 || (loan.standing != kNotStanding && loan.standing >= kStandingMax)) {
    return Violation("a loan is for no use, or its word is not in the segment");
  }
  if (loans_.size() >= kLoansMax) return Violation("more is lent at a time than is allowed");
  Tag tag;
  tag.bytes = loan.tag;
  const bool fresh = loans_.emplace(tag, Borrowed{loan, slab->second, loan.uses}).second;
  if (!fresh || !by_number_.emplace(loan.loan, tag).second) return Violation("a loan was told of twice");
  return {};
}

// It is answered in any case: the owner holds the memory until then.
Status Borrower::OnRevoked(uint32_t number) {
  if (const auto at = by_number_.find(number); at != by_number_.end()) {
    loans_.erase(at->second);
    by_number_.erase(at);
  }
  out_.Put(RecordKind::kReturned, LoanEnd{number});
  return {};
}

Status Borrower::OnSlabGone(uint32_t number) {
  const auto slab = slabs_.find(number);
  if (slab == slabs_.end()) return Violation("a slab is gone that was never here");
  Region* region = slab->second;
  // An owner lets memory go when nothing of it is lent; what another one does must not be looked at.
  for (auto loan = loans_.begin(); loan != loans_.end();) {
    if (loan->second.slab == region) {
      by_number_.erase(loan->second.loan.loan);
      loan = loans_.erase(loan);
    } else {
      ++loan;
    }
  }
  slabs_.erase(slab);
  pool_.EndForeign(*region);
  return {};
}

bool Borrower::Stands(const Borrowed& borrowed) const {
  const Loan& loan = borrowed.loan;
  return loan.standing == kNotStanding || peer_.standing(loan.standing).load() == loan.standing_value;
}

// Whatever is not possible this way is asked of the owner, who says what is wrong.
Borrower::Borrowed* Borrower::Usable(const Tag& tag, uint64_t offset, uint64_t length) {
  const auto at = loans_.find(tag);
  if (at == loans_.end()) return nullptr;
  Borrowed& borrowed = at->second;
  const Loan& loan = borrowed.loan;
  const bool within = length > 0 && offset <= loan.length && length <= loan.length - offset;
  if (!within || borrowed.uses_left == 0 || !Stands(borrowed)) return nullptr;
  if (loan.expires_at != kNever && NowNs() >= loan.expires_at) return nullptr;
  return &borrowed;
}

void Borrower::NoteTaken(Borrowed& borrowed, uint64_t offset, uint64_t length, bool over) {
  if (borrowed.uses_left != kUnlimitedUses) borrowed.uses_left--;
  out_.Put(RecordKind::kTook, Take{++last_take_, offset, length, borrowed.loan.loan, over ? 1u : 0u});
}

Result<BufferRef> Borrower::View(const Tag& tag, uint64_t offset, uint64_t length) {
  Borrowed* borrowed = Usable(tag, offset, length);
  // Beyond this the owner would take us for a bad peer.
  if (!borrowed || views_ >= kLoansMax) return Status::NoResource();
  NoteTaken(*borrowed, offset, length, false);
  views_++;
  return pool_.View(*borrowed->slab, borrowed->loan.offset + offset, length, last_take_);
}

bool Borrower::ReadNow(const Tag& tag, uint64_t offset, std::span<const Slice> local, uint64_t length) {
  Borrowed* borrowed = Usable(tag, offset, length);
  if (!borrowed) return false;
  const uint8_t* from = borrowed->slab->data() + borrowed->loan.offset + offset;
  for (const Slice& slice : local) {
    std::memcpy(slice.data(), from, slice.length);
    from += slice.length;
  }
  if (borrowed->loan.standing == kNotStanding) {
    NoteTaken(*borrowed, offset, length, true);
    return true;
  }
  // If the tag ended meanwhile, what was copied may be somebody else's; the owner is asked, and refuses.
  std::atomic_thread_fence(std::memory_order_acquire);
  return Stands(*borrowed);
}

void Borrower::Forget(const Tag& tag) {
  const auto at = loans_.find(tag);
  if (at == loans_.end()) return;
  by_number_.erase(at->second.loan.loan);
  loans_.erase(at);
}

void Borrower::OnViewEnded(uint64_t number) {
  views_--;
  out_.Put(RecordKind::kGaveBack, Number{number});
  touched_();
}

void Borrower::ReturnAll() {
  for (const auto& [number, tag] : by_number_) out_.Put(RecordKind::kReturned, LoanEnd{number});
  by_number_.clear();
  loans_.clear();
}

}  // namespace splitplane::shm

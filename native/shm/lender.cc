// Lending and taking back.
#include "native/shm/lender.h"

#include <utility>

#include "native/base/bytes.h"
#include "native/shm/socket.h"

namespace splitplane::shm {
namespace {

// Takes are uses of a tag like operations, whose numbers never get that far.
constexpr uint64_t kTakes = uint64_t{1} << 63;

Status Violation(const char* sentence) { return Status::Error(Code::kProtocolViolation, "loan", sentence); }

uint32_t IndexOf(const Tag& tag) { return LoadLittle<uint32_t>(tag.bytes.data() + Tag::kIndexAt); }

}  // namespace

// Whoever maps a slab can read all of it.
bool Lender::MayShow(const Buffer& buffer) const {
  const AudienceId audience = buffer.region().audience();
  if (audience == requester_->session) return true;
  if (audience != kNoAudience) return false;
  return trusted_ || context_.pool.Dedicate(buffer, requester_->session);
}

bool Lender::HandOver(Region& region) {
  if (handed_.contains(region.id())) return true;
  if (handed_.size() >= kSlabsMax || !region.Seal().ok()) return false;
  const Packet packet{PacketKind::kSlab, region.id(), region.length()};
  const ConstBytes bytes(reinterpret_cast<const uint8_t*>(&packet), sizeof(packet));
  if (!SendPacket(socket_, bytes, region.fd()).ok()) return false;
  handed_.insert(region.id());
  return true;
}

bool Lender::OnTagExported(const Tag& tag, const TagOptions& options) {
  if (!requester_ || options.access != Access::kRead || options.slices.size() != 1) return false;
  if (options.audience.kind != Audience::Kind::kSession || options.audience.session != requester_->session)
    return false;
  const Slice& slice = options.slices.front();
  Region& region = slice.buffer->region();
  if (region.kind() != Region::Kind::kSlab || loans_.size() >= kLoansMax) return false;
  if (!MayShow(*slice.buffer.get()) || !HandOver(region)) return false;
  Loan loan;
  loan.tag = tag.bytes;
  loan.loan = ++last_loan_;
  loan.slab = region.id();
  loan.offset = slice.buffer->offset() + slice.offset;
  loan.length = slice.length;
  loan.expires_at = options.expires_at;
  loan.uses = options.uses;
  if (options.uses == kUnlimitedUses && options.expires_at == kNever) {
    loan.standing = TakeStanding();
    if (loan.standing != kNotStanding) loan.standing_value = own_.standing(loan.standing).load();
  }
  out_.Put(RecordKind::kLoan, loan);
  loans_.emplace(loan.loan, LoanOut{tag, slice, loan.standing});
  by_index_.emplace(IndexOf(tag), loan.loan);
  return true;
}

uint32_t Lender::TakeStanding() {
  if (!standing_free_.empty()) {
    const uint32_t index = standing_free_.back();
    standing_free_.pop_back();
    return index;
  }
  return standing_made_ < kStandingMax ? standing_made_++ : kNotStanding;
}

// The peer sees at once that the tag has ended, also in the middle of looking.
void Lender::EndStanding(uint32_t index) {
  own_.standing(index).fetch_add(1);
  standing_free_.push_back(index);
}

void Lender::OnTagEnded(uint32_t index, Code why) {
  const auto at = by_index_.find(index);
  if (at == by_index_.end()) return;
  const auto loan = loans_.find(at->second);
  by_index_.erase(at);
  if (loan->second.standing != kNotStanding) EndStanding(loan->second.standing);
  // Who gave a tag back takes nothing by it any more, and what was taken before is in takes_.
  if (why == Code::kOk) {
    loans_.erase(loan);
    return;
  }
  loan->second.over = true;
  out_.Put(RecordKind::kRevoked, LoanEnd{loan->first});
}

void Lender::OnRegionRemoved(const Region& region) {
  if (handed_.erase(region.id()) > 0) out_.Put(RecordKind::kSlabGone, LoanEnd{region.id()});
}

Status Lender::OnTook(const Take& take, TransportStats& stats, MonotonicNs now) {
  const auto loan = loans_.find(take.loan);
  if (loan == loans_.end()) return Violation("something was taken that is not lent");
  const Slice& slice = loan->second.slice;
  if (take.length == 0 || take.offset > slice.length || take.length > slice.length - take.offset) {
    return Violation("more was taken than was lent");
  }
  stats.operations_served++;
  stats.bytes_sent += take.length;
  // Counts the use. It may come too late, because the tag ended meanwhile: then nothing is to be counted.
  if (!loan->second.over && requester_) {
    (void)context_.tags.Begin(loan->second.tag, *requester_, Access::kRead, take.offset, take.length,
                              kTakes | take.number, now);
  }
  if (take.over != 0) return {};
  if (takes_.size() >= kLoansMax) return Violation("too much was taken at a time");
  if (!takes_.emplace(take.number, slice.buffer).second) return Violation("a take has the number of another");
  return {};
}

Status Lender::OnGaveBack(uint64_t number) {
  return takes_.erase(number) > 0 ? Status() : Violation("something was given back that was not taken");
}

Status Lender::OnReturned(uint32_t number) {
  const auto loan = loans_.find(number);
  if (loan == loans_.end()) return {};  // given back by its tag meanwhile
  if (!loan->second.over) {
    by_index_.erase(IndexOf(loan->second.tag));
    if (loan->second.standing != kNotStanding) EndStanding(loan->second.standing);
  }
  loans_.erase(loan);
  return {};
}

void Lender::Drop() {
  // What is let go may run callbacks of those whose memory it was.
  by_index_.clear();
  const auto loans = std::exchange(loans_, {});
  const auto takes = std::exchange(takes_, {});
}

}  // namespace splitplane::shm

// Lending and taking back.
#include "native/shm/lender.h"

#include <utility>

#include "native/base/bytes.h"
#include "native/shm/socket.h"

namespace splitplane::shm {
namespace {

uint32_t IndexOf(const Tag& tag) { return LoadLittle<uint32_t>(tag.bytes.data() + Tag::kIndexAt); }

}  // namespace

// Whoever maps a slab can read all of it.
bool Lender::MayShow(const Buffer& buffer) const {
  const AudienceId audience = buffer.region().audience();
  return audience == requester_->session || (audience == kNoAudience && trusted_);
}

// A buffer that was never anything else becomes the peer's, where all of it is meant for the peer.
void Lender::Dedicate(const Slice& slice) {
  const Buffer& buffer = *slice.buffer.get();
  const bool whole = slice.offset == 0 && slice.length == buffer.length();
  if (whole && !trusted_ && buffer.region().audience() == kNoAudience) {
    (void)context_.pool.Dedicate(buffer, requester_->session);
  }
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

std::optional<uint32_t> Lender::TakePlace() {
  if (!free_.empty()) {
    const uint32_t place = free_.back();
    free_.pop_back();
    return place;
  }
  if (places_.size() >= kLoansMax) return std::nullopt;
  places_.emplace_back();
  return uint32_t(places_.size() - 1);
}

// The place of the loan; none if this memory cannot be lent.
std::optional<uint32_t> Lender::Lend(const Slice& slice) {
  if (!requester_ || out_.crowded()) return std::nullopt;
  Region& region = slice.buffer->region();
  if (region.kind() != Region::Kind::kSlab || !MayShow(*slice.buffer.get())) return std::nullopt;
  const std::optional<uint32_t> number = TakePlace();
  if (!number) return std::nullopt;
  if (!HandOver(region)) {
    free_.push_back(*number);
    return std::nullopt;
  }
  Place& place = places_[*number];
  place.tag.reset();
  place.buffer = slice.buffer.get();
  place.length = slice.length;
  place.stands = true;
  return number;
}

bool Lender::OnTagExported(const Tag& tag, const TagOptions& options) {
  if (!requester_ || options.access != Access::kRead || options.slices.size() != 1) return false;
  if (options.audience.kind != Audience::Kind::kSession || options.audience.session != requester_->session)
    return false;
  const Slice& slice = options.slices.front();
  Dedicate(slice);
  const std::optional<uint32_t> number = Lend(slice);
  if (!number) return false;
  places_[*number].tag = tag;
  by_index_.emplace(IndexOf(tag), *number);
  out_.Put(RecordKind::kLoan, Loan{.tag = tag.bytes,
                                   .place = *number,
                                   .standing = own_.standing(*number).load(std::memory_order_relaxed),
                                   .slab = slice.buffer->region().id(),
                                   .uses = options.uses,
                                   .offset = slice.buffer->offset() + slice.offset,
                                   .length = slice.length,
                                   .expires_at = options.expires_at});
  return true;
}

void Lender::OnTagEnded(uint32_t index) {
  const auto at = by_index_.find(index);
  if (at == by_index_.end()) return;
  const uint32_t number = at->second;
  by_index_.erase(at);
  // The tag holds the memory until this call is over.
  places_[number].held = BufferRef(places_[number].buffer);
  TakeBack(number);
}

bool Lender::LendForWrite(uint64_t operation, const std::vector<Slice>& local, WriteLent& where) {
  if (local.size() != 1 || writes_.contains(operation)) return false;
  const Slice& slice = local.front();
  const std::optional<uint32_t> number = Lend(slice);
  if (!number) return false;
  places_[*number].held = slice.buffer;
  writes_.emplace(operation, *number);
  where.place = *number;
  where.standing = own_.standing(*number).load(std::memory_order_relaxed);
  where.slab = slice.buffer->region().id();
  where.offset = slice.buffer->offset() + slice.offset;
  return true;
}

void Lender::EndWrite(uint64_t operation) {
  const auto at = writes_.find(operation);
  if (at == writes_.end()) return;
  const uint32_t number = at->second;
  writes_.erase(at);
  TakeBack(number);
}

// The memory is held.
void Lender::TakeBack(uint32_t number) {
  Place& place = places_[number];
  place.stands = false;
  place.buffer = nullptr;
  held_++;
  own_.standing(number).fetch_add(1, std::memory_order_seq_cst);
  Settle(number);
}

// Lets the memory go, and the place, when the loan has ended and nobody looks.
void Lender::Settle(uint32_t number) {
  Place& place = places_[number];
  if (place.stands || !place.held || place.takes > 0) return;
  if (peer_.looking(number).load(std::memory_order_seq_cst) != 0) return;
  held_--;
  free_.push_back(number);
  place.held.Reset();
}

void Lender::OnRegionRemoved(const Region& region) {
  if (handed_.erase(region.id()) > 0) out_.Put(RecordKind::kSlabGone, Number{region.id()});
}

// Null: the look is over for long, and its place was given to another loan before its words came here.
Result<Lender::Place*> Lender::Find(const Take& take) {
  if (take.place >= places_.size()) return Status::Violation("loan", "something was taken that is not lent");
  Place& place = places_[take.place];
  const bool known = place.stands || place.held;
  const uint32_t current = own_.standing(take.place).load(std::memory_order_relaxed);
  const auto age = int32_t(current - take.standing);
  if (age < 0) return Status::Violation("loan", "something was taken that was never lent");
  return known && age == (place.stands ? 0 : 1) ? &place : nullptr;
}

Status Lender::OnTook(const Take& take, TransportStats& stats, MonotonicNs now) {
  Result<Place*> found = Find(take);
  if (!found.ok()) return found.status();
  if (!*found) {
    // The loan that has this place now, or had it last, may have ended while that look was begun in vain.
    if (take.over != 0) Settle(take.place);
    return {};
  }
  Place& place = **found;
  if (take.length == 0 || take.offset > place.length || take.length > place.length - take.offset) {
    return Status::Violation("loan", "more was taken than was lent");
  }
  if (place.tag) stats.operations_served++;
  stats.bytes_sent += take.length;
  // Counts the use, unless the tag has ended meanwhile: then nothing is to be counted.
  if (place.tag && place.stands && requester_) {
    (void)context_.tags.Begin(*place.tag, *requester_, Access::kRead, take.offset, take.length, take.number,
                              now);
  }
  if (take.over != 0) {
    Settle(take.place);
    return {};
  }
  if (takes_.size() >= kTakesMax + kOperationsMax)
    return Status::Violation("loan", "too much is looked at at a time");
  BufferRef buffer = place.stands ? BufferRef(place.buffer) : place.held;
  if (!takes_.emplace(take.number, std::move(buffer)).second)
    return Status::Violation("loan", "a look has the number of another");
  place.takes++;
  return {};
}

Status Lender::OnGaveBack(const Take& take) {
  Result<Place*> found = Find(take);
  if (!found.ok()) return found.status();
  if (!*found) return {};
  const auto at = takes_.find(take.number);
  if (at == takes_.end() || (*found)->takes == 0)
    return Status::Violation("loan", "something was given back that was not taken");
  const BufferRef buffer = std::move(at->second);
  takes_.erase(at);
  (*found)->takes--;
  Settle(take.place);
  return {};
}

}  // namespace splitplane::shm

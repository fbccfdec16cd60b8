// The owner's side of memory that a peer looks at where it is: which tags it is told of beforehand, what
// is lent for a write, and what of that it may still be looking at. When a tag ends, the owner changes the
// loan's word and then looks at the peer's; a peer that is to look says so in its word and then looks at the
// owner's. So one of the two knows: either the peer looks no more, or the memory is held until it has given
// it back, because it must never see what the next user of the memory writes. Nothing is lent but slabs that
// may be shown whole to this peer.
#pragma once

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "native/memory/pool.h"
#include "native/shm/outgoing.h"
#include "native/transport/transport.h"

namespace splitplane::shm {

class Lender {
 public:
  // A trusted peer may be shown whatever is for nobody in particular.
  Lender(TransportContext& context, Outgoing& out, Segment own, Segment peer, int socket, bool trusted)
      : context_(context),
        out_(out),
        own_(std::move(own)),
        peer_(std::move(peer)),
        socket_(socket),
        trusted_(trusted) {}

  // From here on tags for this peer are lent.
  void Bind(Requester who) { requester_ = std::move(who); }

  // True if it is lent now.
  bool OnTagExported(const Tag& tag, const TagOptions& options);
  void OnTagEnded(uint32_t index);
  void OnRegionRemoved(const Region& region);

  // Lends the memory that a write of ours takes its bytes from, until EndWrite. Fills in where it is; false
  // if it may not be shown to this peer, or is in pieces.
  bool LendForWrite(uint64_t operation, const std::vector<Slice>& local, WriteLent& where);
  // The write has ended, if there is one of this number.
  void EndWrite(uint64_t operation);

  // What the peer says. What cannot be is a kProtocolViolation.
  Status OnTook(const Take& take, TransportStats& stats, MonotonicNs now);
  Status OnGaveBack(const Take& take);

  // Nothing more is lent.
  void Close() { requester_.reset(); }
  // The peer may be looking at something.
  bool lends() const { return !by_index_.empty() || !writes_.empty() || held_ > 0; }

 private:
  // A place for a loan, by its number in the segments.
  struct Place {
    std::optional<Tag> tag;    // none: it is lent for a write
    Buffer* buffer = nullptr;  // of the tag that stands, which holds it
    uint64_t length = 0;
    BufferRef held;       // for a write, and once the tag has ended and the peer still looks
    uint32_t takes = 0;   // looks that are known and not over
    bool stands = false;  // neither the tag nor the write has ended
  };

  bool MayShow(const Buffer& buffer) const;
  void Dedicate(const Slice& slice);
  bool HandOver(Region& region);
  std::optional<uint32_t> TakePlace();
  std::optional<uint32_t> Lend(const Slice& slice);
  void TakeBack(uint32_t place);
  Result<Place*> Find(const Take& take);
  void Settle(uint32_t place);

  TransportContext& context_;
  Outgoing& out_;
  Segment own_, peer_;
  const int socket_;
  const bool trusted_;
  std::optional<Requester> requester_;

  std::vector<Place> places_;
  std::vector<uint32_t> free_;
  std::unordered_map<uint32_t, uint32_t> by_index_;  // a standing tag's index to its place
  std::unordered_map<uint64_t, uint32_t> writes_;    // an operation to its place
  std::unordered_map<uint64_t, BufferRef> takes_;
  uint32_t held_ = 0;                    // places whose tag or write has ended
  std::unordered_set<uint32_t> handed_;  // regions
};

}  // namespace splitplane::shm

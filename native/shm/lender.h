// The owner's side of memory that a peer looks at where it is: which tags it is told of beforehand, and what
// of that it may still be looking at. Whatever may be looked at is held, also when the tag has ended, until
// the peer has said that it is done or is gone: it must never see what the next user of the memory writes.
// Nothing is lent but slabs that may be shown whole to this peer. Decides nothing about operations that are
// served.
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
  Lender(TransportContext& context, Outgoing& out, Segment own, int socket, bool trusted)
      : context_(context), out_(out), own_(std::move(own)), socket_(socket), trusted_(trusted) {}

  // From here on tags for this peer are lent.
  void Bind(Requester who) { requester_ = std::move(who); }

  // True if it is lent now.
  bool OnTagExported(const Tag& tag, const TagOptions& options);
  void OnTagEnded(uint32_t index, Code why);
  void OnRegionRemoved(const Region& region);

  // What the peer says. What cannot be is a kProtocolViolation.
  Status OnTook(const Take& take, TransportStats& stats, MonotonicNs now);
  Status OnGaveBack(uint64_t number);
  Status OnReturned(uint32_t loan);

  // Nothing more is lent.
  void Close() { requester_.reset(); }
  // The peer may still be looking at something.
  bool lends() const { return !loans_.empty() || !takes_.empty(); }
  // The peer is gone, and looks at nothing.
  void Drop();

 private:
  struct LoanOut {
    Tag tag;
    Slice slice;
    uint32_t standing = kNotStanding;
    bool over = false;  // the peer was told, and has not answered
  };

  bool MayShow(const Buffer& buffer) const;
  bool HandOver(Region& region);
  uint32_t TakeStanding();
  void EndStanding(uint32_t index);

  TransportContext& context_;
  Outgoing& out_;
  Segment own_;
  const int socket_;
  const bool trusted_;
  std::optional<Requester> requester_;

  std::unordered_map<uint32_t, LoanOut> loans_;      // by number
  std::unordered_map<uint32_t, uint32_t> by_index_;  // tag's index to loan, of those that are not over
  std::unordered_map<uint64_t, BufferRef> takes_;
  std::unordered_set<uint32_t> handed_;  // regions
  uint32_t last_loan_ = 0;
  uint32_t standing_made_ = 0;
  std::vector<uint32_t> standing_free_;
};

}  // namespace splitplane::shm

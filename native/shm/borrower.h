// The other side of loans: the peer's slabs that are mapped here, the tags whose memory can be looked at
// without asking, the views that somebody holds, and what is being copied out of that memory. Every word of
// the peer is judged against what is mapped. lender.h says how both sides know who looks.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "native/base/clock.h"
#include "native/memory/pool.h"
#include "native/memory/slice_cursor.h"
#include "native/shm/outgoing.h"
#include "native/shm/round.h"
#include "native/transport/transport.h"

namespace splitplane::shm {

// What is copied at once by whoever asks; more is copied in the rounds, so that the loop stays responsive.
inline constexpr uint64_t kReadNowBytesMax = 64 * 1024;

class Borrower final : public ViewOwner {
 public:
  struct Listener {
    std::function<void(Completion)> completed;
    // A write of the peer's has ended well, and is to be told of.
    std::function<void(uint32_t tag_index)> notified;
    // There is something to write that nobody asked for just now.
    std::function<void()> touched;
  };
  Borrower(MemoryPool& pool, TransportStats& stats, Outgoing& out, Segment own, Segment peer,
           Listener listener)
      : pool_(pool),
        stats_(stats),
        out_(out),
        own_(std::move(own)),
        peer_(std::move(peer)),
        listener_(std::move(listener)) {}
  // Views that are left live on; nobody hears of their end.
  ~Borrower();

  // What the peer says. What cannot be is a kProtocolViolation.
  // `lost`: this process had no descriptor left for the slab. Then, as when there is no room to map it, what
  // is lent in it is asked of its owner, which needs neither.
  Status OnSlab(const Packet& packet, const Fd& descriptor, bool lost);
  bool HasSlab(uint32_t slab) const { return slabs_.contains(slab); }
  bool LostSlab(uint32_t slab) const {
    const auto at = slabs_.find(slab);
    return at != slabs_.end() && !at->second;
  }
  Status OnLoan(const Loan& loan);
  Status OnSlabGone(uint64_t slab);

  // As Endpoint has them.
  Result<BufferRef> View(const Tag& tag, uint64_t offset, uint64_t length);
  bool ReadNow(const Tag& tag, uint64_t offset, std::span<const Slice> local, uint64_t length);
  void Forget(const Tag& tag);

  // Begins to copy; false if this memory cannot be looked at, and the owner has to be asked. Completes in a
  // round.
  bool StartCopy(uint64_t operation, const Tag& tag, uint64_t offset, uint64_t length,
                 std::vector<Slice>& local);
  // The peer writes out of memory that it lends for it, and that is not lost, to where `use` says. Answered
  // in a round.
  Status StartWrite(const WriteLent& asked, TagTable::Use use);
  // Ends a copy, of ours or for a write of the peer's: true if there is one of this number.
  bool Cancel(uint64_t operation) { return Cancel(operation, false); }
  bool CancelWrite(uint64_t number) { return Cancel(number, true); }
  // Copies within the budget.
  void Pump(Round& round);
  bool copying() const { return !copies_.empty(); }

  void OnViewEnded(uint64_t number) override;

  // Copies end with `why`, and nothing is looked at any more but what views show already.
  void End(const Status& why);
  bool has_views() const { return !views_.empty(); }

 private:
  struct TagHash {
    size_t operator()(const Tag& tag) const {
      size_t hash;
      std::memcpy(&hash, tag.bytes.data() + Tag::kSecretAt, sizeof(hash));
      return hash;
    }
  };
  struct TagEqual {
    bool operator()(const Tag& a, const Tag& b) const { return a.bytes == b.bytes; }
  };
  struct Borrowed {
    Loan loan;
    Region* slab = nullptr;
    uint32_t uses_left = 0;
  };
  struct Copy {
    uint64_t operation = 0;
    Take take;
    const uint8_t* from = nullptr;
    uint64_t left = 0;
    std::vector<Slice> local{};
    SliceCursor cursor{};
    std::optional<TagTable::Use> write{};  // of a write of the peer's: where to, instead of `local`
    bool notify = false;
    bool canceled = false;

    const std::vector<Slice>& into() const { return write ? write->slices() : local; }
  };

  // What may be looked at now; from here on the owner knows that somebody does. Null: it may not.
  Borrowed* BeginLook(const Tag& tag, uint64_t offset, uint64_t length);
  void EndLook(uint32_t place);
  // Beyond this the owner would take us for a bad peer.
  bool MayTake() const;
  bool Stands(uint32_t place, uint32_t standing) const;
  bool Cancel(uint64_t number, bool of_peer);
  // `number` is an operation's, which may be driven again without being another use, or the next of a look.
  Take Note(uint64_t number, Borrowed& borrowed, uint64_t offset, uint64_t length, bool over);
  Take Note(uint64_t number, uint32_t place, uint32_t standing, uint64_t offset, uint64_t length, bool over);
  uint64_t NextLook();
  void FinishCopy(Copy copy, Status status);

  MemoryPool& pool_;
  TransportStats& stats_;
  Outgoing& out_;
  Segment own_, peer_;
  Listener listener_;
  std::unordered_map<uint32_t, Region*> slabs_;  // null: lost
  std::unordered_map<Tag, Borrowed, TagHash, TagEqual> loans_;
  std::unordered_map<uint64_t, Take> views_;
  std::deque<Copy> copies_;  // the first is being copied
  size_t writes_ = 0;        // of those, for writes of the peer's
  // Counts on from the time: no other connection of the session has given its looks these numbers.
  uint64_t last_look_ = NowNs();
};

}  // namespace splitplane::shm

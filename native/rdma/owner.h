// What this side does for its peer: operations on the memory behind our tags. The tag table is asked before
// anything is exposed. An operation's memory is exposed span by span, each as regions of exactly its bytes
// with exactly one right, and taken back before what was written is looked at. Nothing here waits for the
// peer: what is taken back while the peer uses it breaks the lane, not the connection. To a peer that this
// side declared trusted a span is shown in memory that is registered anyway, and stays so; what is taken back
// from it is the lane.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "native/memory/slice_cursor.h"
#include "native/memory/tag_table.h"
#include "native/rdma/wiring.h"

namespace splitplane::rdma {

// What a peer can reach at once, all of its operations together, beyond which the next span waits. Bounds
// what is pinned for it.
inline constexpr uint64_t kExposedBytesMax = 16 * 1024 * 1024;
inline constexpr size_t kExposedPiecesMax = 512;
// What a peer may keep of tags that stand: bytes together, and how many;
// more than kKeptMax, so that the peer makes room before it is refused.
inline constexpr size_t kOwnedKeptMax = 64;
inline constexpr uint64_t kOwnedKeptBytesMax = 16 * 1024 * 1024;

class Owner {
 public:
  class Events {
   public:
    virtual Status OnNotified(uint32_t tag_index) = 0;
    // Before memory that stays registered is let go while the peer may be moving it: the lane has to go.
    virtual Status OnTakenBack() = 0;

   protected:
    ~Events() = default;
  };

  Owner(Wiring& wiring, Events& events) : wiring_(wiring), events_(events) {}
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  // From now on operations are served, for this requester.
  void Bind(Requester who);
  // A record of who asks. A status other than ok is a violation.
  Status OnRecord(const Record& record);
  // Grants, and computes checksums, as far as the budget goes.
  Status Work();
  bool has_work() const { return (!wanting_.empty() && has_room()) || !summing_.empty(); }
  // A tag ended: takes back what was exposed for it, at once. The uses of it that are over go to the caller:
  // letting go of their memory may run callbacks that end other tags, or this. A status other than ok ends
  // the connection.
  Status OnTagEnded(uint32_t index, std::vector<TagTable::Use>& over);

 private:
  struct Exposure {
    const Slice* slice = nullptr;
    const uint8_t* data = nullptr;
    uint32_t length = 0;
    BufferRef bounce;  // bytes of a file
    // Exactly this; or, of a peer that is trusted, the memory around it.
    std::unique_ptr<Registration> registration;
    std::optional<Registrations::Lease> shared;

    bool exposed() const { return registration || shared; }
    uint32_t key() const { return registration ? registration->get()->rkey : shared->memory().rkey; }
  };
  struct Span {
    std::vector<Exposure> pieces;
    uint64_t length = 0;
    bool moved = false;    // the peer said so; nothing is exposed any more
    uint32_t claimed = 0;  // of a write, the peer's checksum
    // The checksum under way, and where it is.
    uint32_t crc = 0;
    size_t piece = 0;
    uint64_t piece_used = 0;
    bool summed = false;
  };
  struct Served {
    uint32_t number = 0;
    Kind kind = Kind::kRead;
    bool checksum = false, notify = false;
    bool in_wanting = false, in_summing = false;
    uint64_t total = 0;
    uint64_t granted = 0, finished = 0;
    uint32_t span_first = 0;
    TagTable::Use use;
    SliceCursor granted_to;
    std::deque<Span> spans;  // use.slices() holds their memory
  };

  // All of what a tag stands for, exposed until the tag ends.
  struct Kept {
    uint32_t number = 0;
    uint64_t length = 0;
    TagTable::Use use;
    std::vector<Exposure> pieces;
  };

  bool has_room() const { return exposed_bytes_ < kExposedBytesMax && exposed_pieces_ < kExposedPiecesMax; }
  Status CheckAsked() const;
  Status OnAsk(const Record& record);
  Status OnAtomic(const Record& record);
  Status OnDone(const Record& record);
  void OnCancel(uint32_t number);
  // owner_kept.cc
  bool Keep(const Record& record, const TagTable::Use& use);
  Status ExposeAll(Kept& kept, bool reading);
  void Withdraw(std::vector<std::unique_ptr<Kept>>::iterator kept);
  void OnDrop(uint32_t number);

  void Want(Served& served);
  Status Grant(Served& served);
  static std::vector<SliceCursor::Piece> Join(const std::vector<Slice>& slices, SliceCursor& at,
                                              uint64_t wanted, size_t pieces_max, uint64_t& joined);
  Status Expose(Served& served, Span& span);
  Status ExposePiece(const SliceCursor::Piece& piece, bool reading, Exposure& out);
  Status ExposeShared(const SliceCursor::Piece& piece, std::vector<Exposure>& out);
  static void EncodePieces(const std::vector<Exposure>& pieces, uint8_t* out);
  void Withdraw(Span& span);
  void SumSoon(Served& served);
  Status SumStep(Served& served);
  Status SumMore(Span& span, uint64_t length_max);
  Status EndSpan(Served& served);
  void Refuse(Kind kind, uint32_t number, const Status& why);
  [[nodiscard]] Status Fail(Served& served, Code why);
  void Erase(Served& served);

  Wiring& wiring_;
  Events& events_;
  std::optional<Requester> who_;
  std::unordered_map<uint32_t, std::unique_ptr<Served>> served_;
  std::deque<Served*> wanting_;  // for the next span, in turn
  std::deque<Served*> summing_;
  std::vector<std::unique_ptr<Kept>> kept_;
  uint64_t kept_bytes_ = 0;
  uint32_t last_kept_ = 0;
  uint64_t exposed_bytes_ = 0;
  size_t exposed_pieces_ = 0;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

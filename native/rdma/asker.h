// The operations that this side posts: asked for by a record, granted span by span, moved in parts over the
// lane, reported done. Parts of different operations take turns, so that a small one never waits for a whole
// large one. When the lane breaks, what was under way is moved again. Every operation ends exactly once, and
// not before the device has let go of its memory.
//
// Small operations under a tag that stands are moved without asking, over what the owner let us keep.
//
// Life of an operation:
//   unasked   the request waits for the next round; a cancel costs nothing
//   asked     spans come, are moved, are reported
//   awaiting  of a write: all is reported, the owner has the last word
//   failing   `failure` is set: nothing more is posted; ends when no part is under way
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "native/memory/slice_cursor.h"
#include "native/rdma/wiring.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

// Longest part. Small transfers wait behind the parts under way at most.
inline constexpr uint64_t kPartBytes = 256 * 1024;
// Longest operation for which keeping pays: larger ones spend their time moving. What is kept is bounded, the
// longest unused goes.
inline constexpr uint64_t kKeptOperationBytesMax = 64 * 1024;
inline constexpr size_t kKeptMax = 32;
// A span that broke the lane this often is one that the peer does not let us move.
inline constexpr uint32_t kBreaksMax = 3;

class Asker {
 public:
  explicit Asker(Wiring& wiring) : wiring_(wiring) {}
  ~Asker();
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  // What was posted has been judged already. kNoResource: as many as there may be.
  Status PostTransfer(Kind kind, uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                      TransferOptions options);
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request);
  void Cancel(uint64_t operation);

  // Sends requests, and posts parts: as many as there may be, as far as the budget goes, which only bytes
  // cost that the processor touches.
  Status Work();
  bool has_work() const {
    return !unasked_.empty() || !ended_.empty() ||
           (!ready_.empty() && wiring_.lane.up() && parts_.size() < kPartsMax);
  }

  Status OnRecord(const Record& record);
  // The part posted first was moved.
  void OnPartMoved();
  // The queue pair of the lane is no more. `blamed`: the part posted first broke it.
  void OnLaneBroken(bool blamed);
  // The connection is over, its queue pairs are gone: everything ends with `why`.
  void End(const Status& why);

  size_t outstanding() const { return operations_.size(); }
  // Lets go of their memory, which may run callbacks.
  std::vector<Completion> TakeEnded();

 private:
  struct Span {
    std::vector<Piece> pieces;
    uint64_t length = 0;
    uint64_t posted = 0, moved = 0;
    size_t piece = 0;         // where the next part goes
    uint64_t piece_used = 0;  // of that piece
    SliceCursor begin, next;  // in the local slices
    // Of what was moved (reads) or posted (writes), from the beginning on.
    uint32_t crc = 0;
    uint64_t summed = 0;
    SliceCursor sum_next;
    bool crc_known = false;  // the owner's, of a read
    uint32_t crc_expected = 0;
  };
  // All of what a tag stands for, reachable until it is withdrawn.
  struct Kept {
    uint32_t number = 0;
    Tag tag;
    Kind kind = Kind::kRead;
    std::vector<Piece> pieces;
    uint64_t length = 0;
    uint64_t used_at = 0;  // counts uses
  };
  static constexpr uint32_t kWithdrawn = UINT32_MAX;
  struct Operation {
    uint64_t id = 0;
    uint32_t number = 0;
    Kind kind = Kind::kRead;
    Tag tag;
    uint64_t offset = 0, length = 0;
    TransferOptions options;
    AtomicRequest request;
    std::vector<Slice> own;
    uint32_t kept = 0;  // moved over what is kept under this number, 0: asked for; or kWithdrawn
    bool asked = false, awaiting = false, owner_ended = false, in_ready = false;
    Status failure;
    std::deque<Span> spans;  // granted and not reported
    uint32_t span_first = 0;
    uint64_t granted = 0, finished = 0;
    SliceCursor granted_to;
    uint32_t parts = 0;  // under way
    uint32_t breaks = 0;
  };
  // Destroyed from the last member on: a registration goes before the memory.
  struct Part {
    Operation* operation = nullptr;
    uint32_t span = 0;
    uint64_t length = 0;
    BufferRef bounce;  // bytes of a file
    std::vector<Registrations::Lease> leases;
  };
  // What a part takes from or puts into.
  struct Gathered {
    std::vector<ibv_sge> pieces;
    uint64_t length = 0;
    bool is_inline = false;
  };

  Result<Operation*> Admit(Kind kind, uint64_t operation, const RemoteSlice& remote);
  Operation* Find(uint32_t number) const;
  void Ask(Operation& operation);
  void MakeReady(Operation& operation);
  Status PostPart(Operation& operation);
  Status Gather(Operation& operation, Span& span, uint64_t wanted, Part& part, Gathered& out);
  Status GatherCopy(const SliceCursor::Piece& piece, Part& part, Gathered& out);
  Status GatherMemory(const Operation& operation, const Span& span, uint64_t wanted, Part& part,
                      Gathered& out);
  Status Sum(Operation& operation, Span& span, uint64_t until);
  void ReportSpans(Operation& operation);
  void Fail(Operation& operation, Status why);
  void EndFailed(Operation& operation);
  void Complete(Operation& operation, Status status, uint64_t value = 0);

  // asker_kept.cc
  bool MayKeep(const Operation& operation) const;
  bool UseKept(Operation& operation);
  void Start(Operation& operation, Kept& kept);
  void AskAgain(Operation& operation);
  Status OnKeep(Operation* operation, const Record& record);
  Status OnWithdraw(uint32_t number);
  bool MakeRoomForKept();

  Status OnGrant(Operation& operation, const Record& record);
  Status OnChecksum(Operation& operation, const Record& record);
  Status OnEnded(Operation& operation, const Record& record);

  Wiring& wiring_;
  std::unordered_map<uint32_t, std::unique_ptr<Operation>> operations_;
  std::unordered_map<uint64_t, Operation*> by_id_;
  uint32_t last_number_ = 0;
  std::deque<Operation*> unasked_;
  std::deque<Operation*> ready_;  // have something to post, in turn
  std::deque<Part> parts_;        // under way, in the order posted
  std::vector<Completion> ended_;
  std::vector<std::unique_ptr<Operation>> gone_;  // of those that ended
  std::vector<std::unique_ptr<Kept>> kept_;
  uint64_t kept_uses_ = 0;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

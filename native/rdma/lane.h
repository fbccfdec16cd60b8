// The queue pair for bulk data. Memory that is taken back from the peer while the peer moves bytes breaks a
// queue pair: so bulk has one of its own beside the one for packets, which is made anew by a word from each
// side whenever it broke, and the connection lives on. It is also made that way the first time.
//
// Life, on each side; `epoch` counts the queue pairs:
//   waiting   ours is made and named to the peer; the peer's is not known
//   ready     connected, and said so; the peer may not be: nothing is posted
//   up        the peer is ready too
// Whoever sees an error, or takes memory back that way, goes to waiting with the next epoch; the other
// follows when it hears.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <cstdint>
#include <memory>
#include <vector>

#include "native/base/random.h"
#include "native/rdma/handles.h"
#include "native/rdma/message.h"

namespace splitplane::rdma {

class Messenger;

// Parts under way at once. Enough to keep a fast link busy from one round to the next.
inline constexpr uint32_t kPartsMax = 16;
// A peer whose lane breaks again and again is not worth the queue pairs.
inline constexpr uint32_t kLaneEpochsMax = 10'000;

// How the connection manager resolved the path: what queue pairs are connected with.
struct Path {
  ibv_qp_attr init{}, receive{}, send{};
  int init_mask = 0, receive_mask = 0, send_mask = 0;
};

class Lane {
 public:
  static constexpr uint64_t kPartId = uint64_t{1} << 60;

  Lane(std::shared_ptr<ProtectionDomain> domain, std::shared_ptr<CompletionQueue> queue, const Path& path,
       const QueuePair::Limits& limits, Messenger& messenger, RandomSource& random, void* owner);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Makes the first queue pair, or the next. What was posted on the one before is over: its completions never
  // come.
  Status Restart();
  // A kLane of the peer. `restarted`: ours was made anew for it.
  Status OnRecord(const Record& record, bool& restarted);
  // Takes a part to be posted, on a lane that is up; `part` comes back in wr_id, with kPartId.
  void Add(ibv_send_wr request, std::vector<ibv_sge> pieces, uint32_t part);
  // Posts what was added, with one call, so that the device is told once.
  Status Flush();

  bool up() const { return state_ == State::kUp; }
  // The peer may be reading and writing through it.
  bool connected() const { return state_ != State::kWaiting; }
  bool is(const ibv_qp* qp) const { return queue_pair_ && queue_pair_->get() == qp; }
  // Whether a completion is of the queue pair of now.
  bool current(const ibv_wc& completion) const {
    return uint32_t(completion.wr_id >> 32) << 4 >> 4 == epoch_;
  }
  uint32_t inline_bytes() const { return queue_pair_->inline_bytes(); }

 private:
  enum class State : uint8_t { kWaiting, kReady, kUp };
  struct Added {
    ibv_send_wr request;
    std::vector<ibv_sge> pieces;
  };
  Status Connect(uint32_t queue_pair, uint32_t packet);

  const std::shared_ptr<ProtectionDomain> domain_;
  const std::shared_ptr<CompletionQueue> queue_;
  const Path path_;
  const QueuePair::Limits limits_;
  Messenger& messenger_;
  RandomSource& random_;
  void* const owner_;
  State state_ = State::kWaiting;
  uint32_t epoch_ = 0;
  uint32_t first_packet_ = 0;
  std::unique_ptr<QueuePair> queue_pair_;
  std::vector<Added> added_;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

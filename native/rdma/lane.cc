// Making lanes.
#include "native/rdma/lane.h"

#if SPLITPLANE_HAS_VERBS

#include <string>
#include <utility>

#include "native/rdma/messenger.h"

namespace splitplane::rdma {
namespace {

constexpr uint32_t kPacketMask = 0xffffff;

}  // namespace

Lane::Lane(std::shared_ptr<ProtectionDomain> domain, std::shared_ptr<CompletionQueue> queue, const Path& path,
           const QueuePair::Limits& limits, Messenger& messenger, RandomSource& random, void* owner)
    : domain_(std::move(domain)),
      queue_(std::move(queue)),
      path_(path),
      limits_(limits),
      messenger_(messenger),
      random_(random),
      owner_(owner) {}

Status Lane::Restart() {
  if (++epoch_ > kLaneEpochsMax)
    return Status::Violation("lane", "the queue pair for bulk data broke too often");
  state_ = State::kWaiting;
  // The old one goes first: nothing of it can arrive after the word to the peer.
  queue_pair_.reset();
  added_.clear();
  Result<std::unique_ptr<QueuePair>> made = QueuePair::Make(domain_, queue_, limits_, owner_);
  if (!made.ok()) return made.status();
  queue_pair_ = std::move(*made);
  ibv_qp_attr attributes = path_.init;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
  if (Status status = queue_pair_->Modify(attributes, path_.init_mask); !status.ok()) return status;
  // Packets of an older queue pair that are still on the way do not pass for this one's.
  random_.Fill(reinterpret_cast<uint8_t*>(&first_packet_), sizeof(first_packet_));
  first_packet_ &= kPacketMask;
  EncodeLane(epoch_, queue_pair_->number(), first_packet_, messenger_.Add(kLaneBytes));
  return {};
}

Status Lane::OnRecord(const Record& record, bool& restarted) {
  restarted = false;
  if ((record.flags & kFlagReady) != 0) {
    // It was on its way while we gave up the queue pair that it speaks of.
    if (state_ == State::kWaiting && record.number + 1 == epoch_) return {};
    if (state_ != State::kReady || record.number != epoch_)
      return Status::Violation("lane", "a lane is ready too early");
    state_ = State::kUp;
    return {};
  }
  if (state_ == State::kUp && record.number == epoch_ + 1) {
    restarted = true;
    if (Status status = Restart(); !status.ok()) return status;
  }
  if (state_ != State::kWaiting || record.number != epoch_)
    return Status::Violation("lane", "a lane comes out of turn");
  return Connect(WordAt(record, kLaneQueuePairAt), WordAt(record, kLanePacketAt));
}

Status Lane::Connect(uint32_t queue_pair, uint32_t packet) {
  ibv_qp_attr attributes = path_.receive;
  attributes.dest_qp_num = queue_pair;
  attributes.rq_psn = packet;
  if (Status status = queue_pair_->Modify(attributes, path_.receive_mask); !status.ok()) return status;
  attributes = path_.send;
  attributes.sq_psn = first_packet_;
  if (Status status = queue_pair_->Modify(attributes, path_.send_mask); !status.ok()) return status;
  state_ = State::kReady;
  EncodeLane(epoch_, 0, 0, messenger_.Add(kLaneBytes));
  return {};
}

void Lane::Add(ibv_send_wr request, std::vector<ibv_sge> pieces, uint32_t part) {
  request.wr_id = kPartId | uint64_t{epoch_} << 32 | part;
  request.send_flags |= IBV_SEND_SIGNALED;
  added_.push_back({request, std::move(pieces)});
}

Status Lane::Flush() {
  if (added_.empty()) return {};
  ibv_send_wr* next = nullptr;
  for (auto added = added_.rbegin(); added != added_.rend(); ++added) {
    added->request.sg_list = added->pieces.data();
    added->request.num_sge = int(added->pieces.size());
    added->request.next = std::exchange(next, &added->request);
  }
  ibv_send_wr* bad = nullptr;
  const int error = queue_pair_->library().verbs.post_send(queue_pair_->get(), next, &bad);
  added_.clear();
  return error == 0 ? Status() : Status::Errno("ibv_post_send", error, "bulk data could not be posted");
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

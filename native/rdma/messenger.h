// Packets over one queue pair: records and frames out of a queue into registered send buffers, and out of
// posted receive buffers to whoever handles them. Keeps the credits, so that a sender never meets a receiver
// without a buffer. Knows no operations and no connection manager.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/base/bytes.h"
#include "native/rdma/handles.h"
#include "native/rdma/message.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

// A packet that only returns credits costs none. It is sent when half of them are owed and nothing else goes
// out, so no more than two of them can be on the way: their receive buffers come on top.
inline constexpr uint16_t kCreditPacketsMax = 2;
inline constexpr uint16_t kReceiveBuffers = kCreditsMax + kCreditPacketsMax;
inline constexpr uint16_t kSendBuffers = kCreditsMax + kCreditPacketsMax;

class Messenger {
 public:
  class Handler {
   public:
    // A status other than ok stops everything.
    virtual Status OnRecord(const Record& record) = 0;
    virtual Status OnFrame(ConstBytes frame) = 0;

   protected:
    ~Handler() = default;
  };

  // `queue_pair` can take kSendBuffers and kReceiveBuffers; its completions come with these in wr_id.
  static constexpr uint64_t kSendId = uint64_t{1} << 62;
  static constexpr uint64_t kReceiveId = uint64_t{1} << 61;

  // Posts the receive buffers.
  static Result<std::unique_ptr<Messenger>> Make(std::shared_ptr<ProtectionDomain> domain,
                                                 QueuePair& queue_pair, Handler& handler,
                                                 TransportStats& stats);
  ~Messenger();
  Messenger(const Messenger&) = delete;
  Messenger& operator=(const Messenger&) = delete;

  // Room for a record of `bytes` (at most a packet's worth) at the end of the queue; write it before the next
  // call.
  uint8_t* Add(size_t bytes);
  // Copies the pieces (`length` is their sum, 1..kFrameBytesMax).
  void AddFrame(std::span<const ConstBytes> pieces, size_t length);
  // Sends what credits and buffers allow.
  Status Flush();

  Status OnSent(const ibv_wc& completion);
  Status OnReceived(const ibv_wc& completion);

  // Not in a packet yet.
  size_t queued_bytes() const { return queue_.size() + flying_.size() - at_; }
  // Flush would send something.
  bool can_flush() const { return !free_.empty() && (queued_bytes() > 0 ? credits_ > 0 : owes_much()); }
  // Everything is with the peer.
  bool drained() const { return queued_bytes() == 0 && free_.size() == kSendBuffers; }

 private:
  Messenger(Handler& handler, TransportStats& stats) : handler_(handler), stats_(stats) {}
  bool owes_much() const { return owed_ >= kCreditsMax / 2; }
  uint8_t* SendBuffer(uint32_t index) const { return memory_ + size_t{index} * kPacketBytes; }
  uint8_t* ReceiveBuffer(uint32_t index) const { return SendBuffer(kSendBuffers + index); }
  Status PostReceive(uint32_t index);
  Status PostPacket(size_t bytes);
  size_t FillPacket(uint8_t* packet);
  size_t TakeFramePiece(uint8_t* out, size_t room);
  Status OnFramePiece(const Record& record);

  Handler& handler_;
  TransportStats& stats_;
  QueuePair* queue_pair_ = nullptr;
  uint8_t* memory_ = nullptr;  // send buffers, then receive buffers
  std::unique_ptr<Registration> registration_;

  std::vector<uint8_t> queue_;   // records, and frames as if they fit into one
  std::vector<uint8_t> flying_;  // the part of the queue that is being sent, from at_ on
  size_t at_ = 0;
  size_t frame_left_ = 0;  // of the frame at at_, its head already taken
  std::vector<uint32_t> free_;
  uint16_t credits_ = kCreditsMax;
  uint16_t owed_ = 0;

  std::vector<uint8_t> assembly_;  // pieces of a frame
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// A peer that keeps to no rule beyond those that get it connected: raw work requests with whatever address,
// length and key it likes on the lane or on the queue pair for packets, and whatever records. Made of the
// product's handles and encoders over any table of verbs. Polled by the test that owns it.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/rdma/lane.h"
#include "native/rdma/messenger.h"

namespace splitplane::rdma {

class Attacker final : public Messenger::Handler {
 public:
  static constexpr size_t kMemoryBytes = 64 * 1024;

  Attacker(const Verbs& verbs, const std::string& address);
  ~Attacker();
  void Step();

  bool connected() const { return lane_ && lane_->up(); }
  bool lost() const { return lost_; }

  // Asks by the rules; the answer is in grants, or in refusals.
  uint32_t Ask(Kind kind, uint8_t flags, const Tag& tag, uint64_t offset, uint64_t length);
  void Say(Kind kind, uint32_t number);
  void SayDone(uint32_t number, uint32_t span);
  // Grants what was asked of this side by the record, in its own way.
  void Grant(uint32_t number, const Piece& piece);
  // Lets it keep that instead, under a number.
  void Keep(uint32_t number, uint32_t kept, const Piece& piece);
  // Of this side's own memory, for whoever is granted it.
  Piece Own(uint32_t length) const;
  // Not by the rules: on the lane, or on the queue pair for packets.
  void Move(ibv_wr_opcode opcode, uint64_t address, uint32_t length, uint32_t key, bool on_lane = true);
  const std::optional<ibv_wc_status>& moved() const { return moved_; }
  // From now on packets are received and not looked at: no credit is ever returned.
  void TurnDeaf() { deaf_ = true; }
  // A packet of the first `length` bytes of `memory`, with or without credits for it.
  void SendRaw(uint32_t length);

  std::vector<uint8_t> memory;                   // where reads go and writes come from
  std::map<uint32_t, Piece> grants;              // by the number of the operation: the first piece
  std::map<uint32_t, Code> ends;                 // by the number of the operation
  std::vector<std::pair<Kind, uint32_t>> asked;  // of this side: what, and its number
  uint32_t done = 0, dropped = 0;                // spans of such, and what was to be kept: how many

 private:
  static constexpr uint64_t kRawId = 1, kUnheardId = 2;

  Status OnRecord(const Record& record) override;
  Status OnFrame(ConstBytes) override { return {}; }
  void OnEvent(rdma_cm_event_type type);
  void SayWhere(Kind kind, uint32_t number, uint32_t word, const Piece& piece);
  Status Dial();
  Status Establish();
  void OnCompletion(const ibv_wc& completion);
  void ReceiveUnheard();
  void Lose(const Status& why);

  uint64_t registrations_ = 0;
  Library library_;
  RandomSource random_;
  TransportStats stats_;
  std::shared_ptr<EventChannel> events_;
  std::shared_ptr<Context> context_;
  std::shared_ptr<CompletionChannel> channel_;
  std::shared_ptr<CompletionQueue> queue_;
  std::shared_ptr<ProtectionDomain> domain_;
  std::unique_ptr<ConnectionId> id_;
  std::unique_ptr<Registration> registration_;
  Path path_;
  std::unique_ptr<QueuePair> control_;
  std::unique_ptr<Messenger> messenger_;
  std::unique_ptr<Lane> lane_;
  std::optional<ibv_wc_status> moved_;
  uint32_t last_number_ = 0;
  bool lost_ = false;
  bool deaf_ = false;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// One socket of an endpoint: its input, its output, and what the peer asks for on it. Reads, writes and
// atomics of the peer are served here from the tag table, so that nobody above wakes up for them. An
// operation lives on one channel from request to end. Channel 0 carries frames, the others transfers.
//
// Life: connecting (who connects) -> joining (waits for the answer to its join) -> open -> closed. Accepted
// sockets begin open.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "native/base/fd.h"
#include "native/tcp/reactor.h"
#include "native/tcp/receiver.h"
#include "native/tcp/sender.h"

namespace splitplane::tcp {

// Reads, writes and atomics outstanding, each way.
inline constexpr uint32_t kOperationsMax = 256;
// Answers (and requests of ours) that wait for a peer that does not read. Nobody who keeps to kOperationsMax
// can make so many.
inline constexpr size_t kAnswerBytesMax = 256 * 1024;

// Transfers up to this may be copied through the scratch: cheaper than a system call of their own.
inline constexpr uint64_t kSmallBytes = 4096;

class Channel final : public Watched, public Receiver::Handler {
 public:
  enum class State : uint8_t { kConnecting, kJoining, kJoined, kOpen, kClosed };

  Channel(Reactor& reactor, Connection& connection, uint8_t index);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  Status Open(Fd socket, State state);
  void Close();

  // Tries to read, without being told that there is something.
  void Receive();
  // Tries to write what is queued.
  void Flush();
  // As Flush, for who took this channel off the list of those that posted.
  void FlushPosted() {
    posted_ = false;
    Flush();
  }
  // In which order channels write what was posted.
  enum class Urgency : uint8_t {
    kRequests,  // short, and what they ask for takes the peer longest
    kFrames,
    kBulk,  // takes long to write
  };
  Urgency urgency() const {
    if (is_control()) return Urgency::kFrames;
    return sender_.has_bulk() ? Urgency::kBulk : Urgency::kRequests;
  }
  // There is output: the next Poll, or the end of this one, writes it.
  void Post();
  // Tells the kernel what this waits for, if that changed.
  void SyncInterest();
  // The same, for who took this channel off the list of those with changes.
  void SyncListedInterest() {
    in_interest_ = false;
    SyncInterest();
  }

  void OnReady(uint32_t events) override;

  Sender& sender() { return sender_; }
  State state() const { return state_; }
  void SendJoin(const Join& join);
  void StartReading();  // joined -> open
  uint8_t index() const { return index_; }
  int fd() const { return socket_.get(); }
  bool is_control() const { return index_ == 0; }
  bool blocked() const { return blocked_; }
  MonotonicNs received_at() const { return received_at_; }

  // An operation of ours was posted here or ended: what is expected to come decides how much is read ahead.
  void NoteInbound(uint64_t bytes, bool begins);

  uint64_t load = 0;  // bytes of our operations outstanding here
  uint64_t turn = 0;  // the last in which it could write; who waits longest is next

 private:
  Status OnRecord(const Record& record) override;
  Status OnFrame(ConstBytes frame) override;
  Result<Inbound*> OnPart(const Record& record) override;
  void OnUnusable(Inbound& transfer, Status why) override;
  Status OnPartEnd(Inbound& transfer, const Trailer& trailer) override;
  size_t ReadAhead() const override;

  // serve.cc: what the peer asks for.
  Status ServeRead(const Record& record);
  Status ServeWrite(const Record& record);
  Status ServeAtomic(const Record& record);
  Status ServeCancel(const Record& record);
  Status EndServedPart(Inbound& transfer, const Trailer& trailer);
  Status EndServedWrite(Inbound& transfer, Status status);
  void RefuseWrite(Inbound& transfer, const Status& why);
  Status CheckAsked() const;
  uint32_t Interest() const;
  void WakeAfter(int bytes);
  void Answer(const Record& record);

  Reactor& reactor_;
  Connection& connection_;
  const uint8_t index_;
  State state_ = State::kClosed;
  Fd socket_;
  Sender sender_;
  Receiver receiver_;
  bool posted_ = false;   // is in reactor.posted
  bool blocked_ = false;  // the socket took no more
  uint32_t watched_ = 0;  // what the kernel knows
  int wake_bytes_ = 1;    // SO_RCVLOWAT
  MonotonicNs received_at_ = 0;
  bool in_interest_ = false;
  uint32_t bulk_inbound_ = 0;                     // transfers to come in that are too large to be read ahead
  bool small_ahead_ = false;                      // what came last was small
  std::unordered_map<uint64_t, Inbound> writes_;  // of the peer, into our memory
};

}  // namespace splitplane::tcp

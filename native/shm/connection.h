// The two ends of an endpoint inside the transport. The Endpoint that the user owns is a handle on this, so
// that it may be destroyed at any time, even by a callback that this makes.
//
// Life:
//   greeting   the socket is connected; the segments are exchanged
//   open       frames, operations and loans both ways
//   draining   Close(ok): nothing new is posted; when what was posted has ended, the goodbye goes out
//   ending     over for the user; completions and OnClosed are told by the next Poll
//   parted     all was told. While this side looks at the peer's memory, or the peer at ours, the socket
//              stays: memory that is looked at is not reused, and a peer that dies is noticed
//   gone       the socket is closed
#pragma once

#include <memory>
#include <optional>

#include "native/shm/borrower.h"
#include "native/shm/lender.h"
#include "native/shm/reactor.h"
#include "native/shm/socket.h"
#include "native/transport/address.h"

namespace splitplane::shm {

// The greeting is over in this time or fails.
inline constexpr MonotonicNs kGreetingTimeoutNs = 10'000'000'000;
// Connections that are looked at in every round, though nothing came lately. Each costs a few cache lines.
inline constexpr size_t kAwakeMax = 32;
// With more than that, rounds without anything to do after which one has to go.
inline constexpr uint32_t kIdleRoundsMax = 64;

class Connection final : public Watched {
 public:
  static Result<std::shared_ptr<Connection>> Dial(Reactor& reactor, const Address& address,
                                                  const ConnectOptions& options);
  // `socket` said `greeting`, with the descriptor of its segment. The socket stays the caller's on failure.
  static Result<std::shared_ptr<Connection>> Accept(Reactor& reactor, Fd& socket, const Peer& peer,
                                                    const Fd& segment, const std::string& address,
                                                    const ListenOptions& options,
                                                    std::shared_ptr<uint32_t> open_count);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // For the handle.
  void set_handle(Endpoint* handle) { handle_ = handle; }
  void Abandon();  // the handle goes: close without a word to the user
  Status PostSend(std::span<const ConstBytes> pieces);
  // Tells a peer that sleeps what was posted.
  void Ring();
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local);
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote, bool notify);
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, const AtomicRequest& request);
  void Cancel(uint64_t operation);
  Result<BufferRef> View(const RemoteSlice& remote);
  bool ReadNow(const RemoteSlice& remote, std::span<const Slice> local);
  void Forget(const Tag& tag);
  void Bind(Requester who);
  void Close(Status why);
  const EndpointInfo& info() const { return info_; }

  // For the transport.
  void OnReady() override;
  bool OnTagExported(const Tag& tag, const TagOptions& options);
  void OnTagEnded(uint32_t index);
  void OnRegionRemoved(const Region& region);
  // One round.
  void Work();
  // Nothing has come for a while.
  bool idle() const { return idle_rounds_ >= kIdleRoundsMax; }
  // It is no longer looked at before its socket says so.
  void LeaveAwake() { awake_ = false; }
  // Before the loop sleeps: asks for bells. False when there is something to do already.
  bool Sleep();
  // Awake again: no bells are needed.
  void WakeUp();
  void CheckDeadline();
  MonotonicNs deadline() const { return deadline_; }
  bool greeting() const { return state_ == State::kGreeting; }
  bool gone() const { return state_ == State::kGone; }
  // The transport goes before its endpoints.
  void Orphan();

 private:
  enum class State : uint8_t { kGreeting, kOpen, kDraining, kEnding, kParted, kGone };

  // What there is once both segments are mapped.
  struct Link {
    Link(Connection& owner, Segment own_segment, Segment peer_segment, bool trusted);
    Segment own;
    Outgoing out;
    RingReader in;
    Lender lender;
    Borrower borrower;
    Transfers transfers;
  };

  explicit Connection(Reactor& reactor, Fd socket) : reactor_(reactor), socket_(std::move(socket)) {}

  Status MakeSegment(Fd& fd);
  Status Join(const Fd& peer_segment, bool trusted);
  void OnGreeted(const Greeting& greeting, const Received& received);
  void ReceivePackets();
  void ReadRing();
  Status OnRecord(const RingReader::Record& record);
  Status OnLoanRecord(const RingReader::Record& record);
  Status OnWriteLent(const WriteLent& asked);
  void OnCompletion(Completion completion);
  void OnNotified(uint32_t tag_index);
  // Nothing that this side posted is under way.
  bool drained() const { return link_->transfers.outstanding() == 0 && !link_->borrower.copying(); }
  void OnFrame(const RingReader::Record& record);
  void Settle();
  void TellEnd();
  void Part();
  // `in_good_order`: the peer hears that nothing is wrong.
  void End(Status why, bool in_good_order = false);
  void Offend(Status why);
  void Break(Status why) {
    if (!over()) End(std::move(why));
  }
  void Leave();
  void MakeAwake();
  bool HasWork();
  bool over() const { return state_ >= State::kEnding; }
  bool open() const { return state_ == State::kOpen; }
  Status NotOpen(const char* operation) const;

  Reactor& reactor_;
  Fd socket_;
  Endpoint* handle_ = nullptr;
  State state_ = State::kGreeting;
  EndpointInfo info_;
  std::shared_ptr<uint32_t> open_count_;  // of the listener that accepted this
  std::optional<Segment> own_;            // until the peer's is there too
  std::optional<Link> link_;
  bool trusts_ = false;
  bool hung_up_ = false;       // the peer will write nothing more; what it wrote is read
  bool peer_gone_ = false;     // nothing more is read, and nobody reads what is written
  bool wants_frames_ = false;  // PostSend said kNoResource
  bool awake_ = false;
  uint32_t idle_rounds_ = 0;
  uint32_t sleep_ = 0;  // our word for the peer
  MonotonicNs deadline_ = kNever;
  Status why_;  // how it ended
};

// The handle that a user owns.
std::unique_ptr<Endpoint> MakeEndpoint(std::shared_ptr<Connection> connection);

}  // namespace splitplane::shm

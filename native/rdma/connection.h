// The two ends of an endpoint inside the transport: the connection manager's id, the queue pairs, what is
// asked and what is served over them, and its life. The Endpoint that the user owns is a handle on this, so
// that it may be destroyed at any time, even by a callback that this makes.
//
// Life:
//   resolving   (who connects) the connection manager looks for the device and the path
//   connecting  the request is out
//   accepting   (who accepts) the answer is out; nobody knows of this connection yet
//   open        frames and operations both ways
//   draining    Close(ok): nothing new is posted; when every operation has ended, a goodbye goes out
//   lingering   the goodbye is out; waits until the peer closes, so that what was sent is not lost
//   ending      the queue pairs are gone, or go before anything else happens; told by the next Poll
//   ended       told, or the handle is gone
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "native/rdma/asker.h"
#include "native/rdma/owner.h"
#include "native/rdma/reactor.h"
#include "native/rdma/wiring.h"
#include "native/transport/address.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

// Connecting, and saying goodbye, are over in this time or fail.
inline constexpr MonotonicNs kConnectTimeoutNs = 10'000'000'000;
inline constexpr MonotonicNs kGoodbyeTimeoutNs = 5'000'000'000;

class Connection final : public ConnectionTarget, public Messenger::Handler, public Owner::Events {
 public:
  enum class State : uint8_t {
    kResolving,
    kConnecting,
    kAccepting,
    kOpen,
    kDraining,
    kLingering,
    kEnding,
    kEnded,
  };

  static Result<std::shared_ptr<Connection>> Dial(Reactor& reactor, const Address& address,
                                                  const ConnectOptions& options);
  // Answers a request. The door is told when the connection stands.
  static Result<std::shared_ptr<Connection>> Accept(Reactor& reactor, std::unique_ptr<ConnectionId> id,
                                                    Door& door);
  explicit Connection(Reactor& reactor);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // For the handle.
  void set_handle(Endpoint* handle) { handle_ = handle; }
  void Abandon();  // the handle goes: close without a word to anybody
  Status PostSend(std::span<const ConstBytes> pieces);
  Status PostTransfer(Kind kind, uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                      TransferOptions options);
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request);
  void Cancel(uint64_t operation);
  void Bind(Requester who);
  void Close(Status why);
  const EndpointInfo& info() const { return info_; }

  // For the connection manager, and for the door that accepted this.
  void OnEvent(const ConnectionEvent& event) override;
  // For the device.
  const Device* device() const { return device_.get(); }
  void OnCompletionEvent();
  void OnQueuePairError(const ibv_qp* qp);
  void OnDeviceError();
  // For whoever has memory to take back.
  void ForgetRegion(const Region& region);
  void OnTagEnded(uint32_t index, std::vector<TagTable::Use>& over);

  // For Poll.
  void Work();
  // Timeouts, and what is to be told. False when it does not need to be visited again.
  bool Settle();
  // Before sleeping. False: there is something to do; else a completion wakes it.
  bool Arm();
  MonotonicNs deadline() const { return deadline_; }
  bool urgent() const;
  bool closed() const { return state_ >= State::kEnding; }
  void set_awake(bool awake) { awake_ = awake; }
  // The transport goes before its endpoints.
  void Orphan();

 private:
  // What exists from the moment the device is known until the end. In the order in which it is made.
  struct Works;

  Status OnRecord(const Record& record) override;
  Status OnFrame(ConstBytes frame) override;
  Status OnNotified(uint32_t tag_index) override;
  Status OnTakenBack() override;

  // connection_setup.cc
  void OnResolved();
  void OnRouted();
  void OnAnswered(const ConnectionEvent& event);
  void OnFailed(const ConnectionEvent& event);
  Status MakeWorks();
  Status ConnectQueuePair();
  Status Answer();
  Status FindPath();
  Status Begin();

  Status PollQueue();
  Status OnCompletion(const ibv_wc& completion);
  Status OnFailedCompletion(const ibv_wc& completion);
  Status BreakLane(bool blamed);
  Status RestartLane(bool blamed);
  Status ServeAndAsk();
  Status Flush();
  void DeliverEnded();
  void Opened();
  void Break(Status why);
  void End(Status why);
  void TearDown();
  void TellEverything();
  void Wake();
  void MakeRestless();
  bool has_room() const;
  Status NotOpen(const char* operation) const;

  Reactor& reactor_;
  Endpoint* handle_ = nullptr;
  State state_ = State::kResolving;
  EndpointInfo info_;
  std::unique_ptr<ConnectionId> id_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Works> works_;
  std::optional<Requester> requester_;
  bool trusted_ = false;  // this side declared the peer trusted

  // Of one who was accepted.
  std::weak_ptr<Door> door_;
  std::shared_ptr<uint32_t> open_count_;

  bool wants_frames_ = false;  // a post said kNoResource
  bool wants_operations_ = false;
  bool serves_first_ = true;
  bool awake_ = false;
  bool restless_ = false;
  std::vector<Completion> untold_;
  Status why_;  // how it ended
  MonotonicNs deadline_ = kNever;
};

// The handle that a user owns.
std::unique_ptr<Endpoint> MakeEndpoint(std::shared_ptr<Connection> connection);

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

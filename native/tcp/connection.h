// The two ends of an endpoint inside the transport: its channels, the operations it posted, and its life. The
// Endpoint that the user owns is a handle on this, so that it may be destroyed at any time, even by a
// callback that this makes.
//
// Life:
//   connecting  the sockets connect and join; ends in open, or in ending (refused, timed out)
//   open        frames and operations both ways
//   draining    Close(ok): nothing new is posted; when everything posted has ended, a goodbye goes out
//   lingering   the goodbye is out; waits until the peer closes, so that what was sent is not lost with a
//   reset ending      sockets are closed; completions and OnClosed are told by the next Poll ended told, or
//   the handle is gone
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "native/tcp/channel.h"
#include "native/tcp/reactor.h"
#include "native/transport/address.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

// Frames that the kernel has not taken: PostSend refuses beyond the first, OnWritable comes below the second.
// They are copied here, so that as much is written at once as stays in the processor's cache: with a
// mebibyte, batches took eight times as long.
inline constexpr size_t kFrameQueueBytesMax = 128 * 1024;
inline constexpr size_t kFrameQueueBytesLow = kFrameQueueBytesMax / 2;
// Requests on a data socket that the kernel has not taken: a peer that stopped reading.
inline constexpr size_t kRequestQueueBytesMax = 64 * 1024;
// Joining, and saying goodbye, are over in this time or fail.
inline constexpr MonotonicNs kJoinTimeoutNs = 10'000'000'000;
inline constexpr MonotonicNs kGoodbyeTimeoutNs = 5'000'000'000;

class Connection {
 public:
  enum class State : uint8_t { kConnecting, kOpen, kDraining, kLingering, kEnding, kEnded };

  static Result<std::shared_ptr<Connection>> Dial(Reactor& reactor, const Address& address,
                                                  const ConnectOptions& options);
  // `sockets` have joined, the control socket first; `open_count` is the listener's.
  static Result<std::shared_ptr<Connection>> Accept(Reactor& reactor, std::vector<Fd> sockets,
                                                    std::shared_ptr<uint32_t> open_count);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // For the handle.
  void set_handle(Endpoint* handle) { handle_ = handle; }
  void Abandon();  // the handle goes: close without a word to anybody
  Status PostSend(std::span<const ConstBytes> pieces);
  void FlushFrames();
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                  TransferOptions options);
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                   TransferOptions options);
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request);
  void Cancel(uint64_t operation);
  void Bind(Requester who) { requester_ = std::move(who); }
  void Close(Status why);
  const EndpointInfo& info() const { return info_; }

  // For its channels.
  const Requester* requester() const { return requester_ ? &*requester_ : nullptr; }
  void OnConnectEnded(Channel& channel);
  Status OnJoined(Code status);
  Status OnFrame(ConstBytes frame);
  Status OnGoodbye();
  Status OnNotified(uint32_t tag_index);
  Status OnAnswer(Channel& channel, const Record& record);
  Inbound* FindRead(Channel& channel, uint64_t operation);
  void GiveUpRead(Channel& channel, Inbound& transfer, Status why);
  Status OnReadPart(Channel& channel, Inbound& transfer, const Trailer& trailer);
  void OnFlushed();
  // The socket failed, or the peer broke the rules.
  void Break(Status why);

  // For Poll.
  // Timeouts, and what is to be told. False when it does not need to be visited again.
  bool Settle();
  MonotonicNs deadline() const { return deadline_; }
  bool urgent() const;
  bool ended() const { return state_ == State::kEnded; }
  bool closed() const { return state_ >= State::kEnding; }
  std::span<const std::unique_ptr<Channel>> channels() const { return channels_; }
  // The transport goes before its endpoints.
  void Orphan();

 private:
  enum class OperationKind : uint8_t { kRead, kWrite, kAtomic };
  struct Operation {
    OperationKind kind = OperationKind::kRead;
    Channel* channel = nullptr;
    uint64_t bytes = 0;
    Inbound inbound;  // of a read
  };
  using Operations = std::unordered_map<uint64_t, Operation>;

  explicit Connection(Reactor& reactor) : reactor_(reactor) {}

  // connection.cc
  Status DialData();
  Status OpenSocket(uint8_t index, Fd socket, Channel::State state);
  void End(Status why);
  void MakeRestless();
  bool has_room() const;
  Status NotOpen(const char* operation) const;

  // operations.cc
  Result<Operations::iterator> Admit(OperationKind kind, uint64_t operation, const RemoteSlice& remote,
                                     std::span<const Slice> local);
  Channel& PickChannel();
  void Tell(Operations::iterator operation, Status status, uint64_t value);
  void Forget(Operations::iterator operation);
  Status EndRead(Operations::iterator operation, Status status);
  void TellEverything();

  Reactor& reactor_;
  Endpoint* handle_ = nullptr;
  State state_ = State::kConnecting;
  std::vector<std::unique_ptr<Channel>> channels_;
  EndpointInfo info_;
  std::optional<Requester> requester_;
  std::shared_ptr<uint32_t> open_count_;  // of the listener that accepted this

  Operations operations_;
  size_t outstanding_ = 0;  // operations whose end was not told
  std::vector<Completion> untold_;
  bool wants_frames_ = false;  // a post said kNoResource
  bool wants_operations_ = false;

  Status why_;  // how it ended
  MonotonicNs deadline_ = kNever;
  bool restless_ = false;

  // While connecting.
  Address address_;
  Join join_;
  uint8_t joined_ = 0;
};

// The handle that a user owns.
std::unique_ptr<Endpoint> MakeEndpoint(std::shared_ptr<Connection> connection);

}  // namespace splitplane::tcp

// A session with one peer, from the first dial or hello until it is closed. It owns what must survive a lost
// link: the sequence of messages both ways, operations, secrets. It has at most one link; every other link is
// a stranger to it. Split by concern: session.cc life and end, session_greeting.cc handshake,
// session_traffic.cc frames, session_operations.cc one-sided operations.
#pragma once

#include <string>

#include "native/protocol/core.h"
#include "native/protocol/inbox.h"
#include "native/protocol/outbox.h"
#include "native/protocol/routes.h"

namespace splitplane {

class Session final : public Timer {
 public:
  // How long Close waits for acknowledgements and operations.
  static constexpr MonotonicNs kDrainNs = 10'000'000'000;

  // How the peer hears that the session ended.
  enum class Farewell : uint8_t {
    kReject,     // it is told why
    kGoodOrder,  // both sides know already
    kNone,       // not at all: it is a stranger, or gone
  };

  Session(EngineCore& core, SessionId id);
  ~Session();

  // -- what the user does; engine.h says how
  // Dials for the first time.
  Status Dial(Routes routes, ConnectOptions options, const NodeId& expected_peer);
  Status Accept(std::string principal);
  Result<MessageId> Send(const OutgoingMessage& message);
  Result<MessageId> SendBatch(const OutgoingBatch& batch);
  bool CancelMessage(MessageId message);
  void Consume(uint32_t count, uint64_t bytes);
  void ReleaseTags(std::span<const Tag> tags);
  // `operation` is filled in but for what the session decides, and in no list. Taken if ok.
  Status Start(Operation& operation);
  Result<BufferRef> View(const RemoteSlice& remote);
  bool ReadNow(const RemoteSlice& remote, std::span<const Slice> into);
  void CancelOperation(Operation& operation);
  void Close();
  void End(Status why, Farewell farewell);
  void Info(SessionInfo& out) const;

  // -- what links bring
  // A hello that asks for a new session; the user is asked.
  void OnHello(Link& link, Hello hello, std::string encoding);
  // A hello that asks to resume this one: offers it, on trial until its START proves who it is.
  void OfferResume(Link& link);
  // That START. Takes the link over, or rejects it.
  void OnResumeStart(Link& link, const Frame& frame);
  void OnConnected(Link& link);
  void OnFrame(Link& link, const Frame& frame);
  void OnCompletion(Link& link, Completion completion);
  void OnWritable(Link& link);
  void OnLinkLost(Link& link, Status why);
  void OnSilence(Link& link);  // long enough to ask whether the peer is there

  // Sends what there is to send. True if anything was.
  bool Flush();

  SessionId id() const { return id_; }
  const NodeId& peer_node() const { return peer_node_; }
  bool closed() const { return state_ == State::kClosed; }
  bool resumable() const { return !dialer_ && (state_ == State::kOpen || state_ == State::kInterrupted); }

 private:
  friend struct EngineCore;  // dirty_

  enum class State : uint8_t { kGreeting, kOpen, kInterrupted, kClosed };

  // life
  void OnTimer(MonotonicNs now) override;
  void UpdateTimer();
  void Interrupt(Status why);
  void PlanAttempt();
  Status DialNext();
  bool Drained() const { return outbox_.empty() && waiting_.empty() && posted_.empty(); }
  bool MakeProgressOnClose();
  void EndOperations(const Status& why);

  // greeting
  void OnGreetingFrame(Link& link, const Frame& frame);
  void OnWelcome(Link& link, const Frame& frame);
  void OnFirstWelcome(Link& link, Hello hello);
  void OnResumeWelcome(Link& link, const Hello& hello, uint64_t acknowledged);
  void OnFirstStart(Link& link, const Frame& frame);
  void TakePeer(Hello& hello, std::string encoding);
  void AskUser(Link& link, Hello& hello);
  bool PostGreeting(Link& link, const std::vector<uint8_t>& frame);
  void PostWelcome(Link& link, uint32_t epoch);
  void GoLive(Link& link);

  // traffic
  Result<MessageId> Queued(Result<MessageId> id);
  bool TakesMessages() const {
    return !closing_ && (state_ == State::kOpen || state_ == State::kInterrupted);
  }
  void Fail(Status why) { End(std::move(why), Farewell::kReject); }
  bool Acknowledge(uint64_t sequence);
  void OnMessageFrame(const Frame& frame);
  void OnCancelFrame(const Frame& frame);
  void OnReleaseFrame(const Frame& frame);
  void OnAckFrame(const Frame& frame);
  void OweAck();
  bool Post(Bytes head, FrameType type, ConstBytes rest = {});
  bool PostBare(FrameType type);
  bool PostItem(const Outbox::Item& item);
  bool PostPart(const Outbox::Item& item);
  bool PostSequence();
  void PostEarly();
  bool GivesCredit() const { return !outbox_.keeps_many_releases(); }
  bool PostAck();
  bool PostOwed(bool& owed, FrameType type);

  // operations
  bool PostOperations();
  Status PostOperation(Operation& operation);
  Status CheckOperation(const Operation& operation) const;
  void FinishOperation(OperationList& list, Operation& operation, const Status& status);
  void RequeueOperations();

  EngineCore& core_;
  const SessionId id_;
  Transport* transport_ = nullptr;  // of the link that carries the session, or carried it last
  State state_ = State::kGreeting;
  bool dialer_ = false;
  bool dirty_ = false;
  Link* link_ = nullptr;

  // Dialing.
  Routes routes_;
  ConnectOptions connect_options_;
  NodeId expected_peer_{};
  MonotonicNs attempt_at_ = kNever;  // while interrupted and without a link
  MonotonicNs backoff_ = 0;

  // The peer.
  NodeId peer_node_{};
  std::string peer_identity_;
  std::string principal_;
  std::string encoding_;
  EndpointInfo endpoint_info_;
  WireSessionId name_{};
  Secret listener_secret_{}, dialer_secret_{};
  uint32_t epoch_ = 0;          // of the link that carries the session
  uint32_t offered_epoch_ = 0;  // the last that was offered to somebody who wants to resume
  uint32_t resumed_ = 0, failed_over_ = 0;
  MonotonicNs live_since_ = 0;  // of the link

  // Interrupted.
  MonotonicNs resume_until_ = kNever;
  Status interrupted_why_;

  // Closing.
  bool closing_ = false;  // no more messages from our user
  bool close_sent_ = false, close_received_ = false;
  MonotonicNs drain_until_ = kNever;

  Outbox outbox_;
  Inbox inbox_;
  bool ack_owed_ = false;
  uint64_t ack_owed_since_ = 0;  // round
  bool credit_owed_ = false;
  bool ping_owed_ = false, pong_owed_ = false;

  OperationList waiting_, posted_;
};

}  // namespace splitplane

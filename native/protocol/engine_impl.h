// The engine behind engine.h: owns the transports and everything the sessions share, routes calls by session
// and callbacks by link, and runs the rounds. engine.cc has the calls and the rounds, engine_links.cc what
// transports tell.
#pragma once

#include <unordered_map>

#include "native/protocol/core.h"
#include "native/protocol/session.h"

namespace splitplane {

class EngineImpl final : public Engine, private TransportEvents, private LinkOwner {
 public:
  EngineImpl(EngineOptions options, EngineEvents& events);
  ~EngineImpl() override;
  void MakeTransports(std::span<const TransportEntry> entries);

  MemoryPool& pool() override { return core_.pool; }
  TagTable& tags() override { return core_.tags; }
  Transport* transport(std::string_view name) override;
  Status transport_status(std::string_view name) const override;

  Result<ListenerId> Listen(std::string_view transport, const std::string& address,
                            ListenOptions options) override;
  std::string ListenerAddress(ListenerId listener) const override;
  void CloseListener(ListenerId listener) override;

  Result<SessionId> Connect(std::span<const Route> routes, ConnectOptions options,
                            const NodeId& expected_peer) override;
  Status Accept(SessionId session, std::string principal) override;
  Status Reject(SessionId session, Code code, std::string_view sentence) override;

  Result<MessageId> Send(SessionId session, const OutgoingMessage& message) override;
  Result<MessageId> SendBatch(SessionId session, const OutgoingBatch& batch) override;
  bool CancelMessage(SessionId session, MessageId message) override;
  void Consume(SessionId session, uint32_t count, uint64_t bytes) override;
  void ReleaseTags(SessionId session, std::span<const Tag> tags) override;

  Result<OperationId> Read(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                           std::vector<Slice> into, TransferOptions options) override;
  Result<OperationId> Write(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                            std::vector<Slice> from, TransferOptions options) override;
  Result<OperationId> Atomic(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                             AtomicRequest request) override;
  Result<BufferRef> View(SessionId session, const Tag& tag, uint64_t offset, uint64_t length) override;
  bool ReadNow(SessionId session, const Tag& tag, uint64_t offset, std::span<const Slice> into) override;
  void CancelOperation(OperationId operation) override;

  void Close(SessionId session) override;
  void Destroy(SessionId session, Status why) override;
  bool Info(SessionId session, SessionInfo& out) const override;

  bool Poll(MonotonicNs now, uint64_t bytes_budget) override;
  uint64_t arrivals() const override;
  bool has_work() const override;
  bool Arm() override;
  std::vector<int> wake_fds() const override;
  MonotonicNs next_timeout() const override;

 private:
  struct NamedTransport {
    std::string name;
    std::unique_ptr<Transport> transport;  // null: not available, and why
    Status status;
  };

  Result<OperationId> StartOperation(SessionId session, Operation::Kind kind, const Tag& tag,
                                     ConstBytes grant, uint64_t offset, std::vector<Slice> slices,
                                     TransferOptions options, AtomicRequest request);
  bool FlushDirty();
  bool EndFailing();
  void StartTimers();
  void Reap();

  // TransportEvents
  void OnAccepted(Listener& listener, std::unique_ptr<Endpoint> endpoint) override;
  void OnConnected(Endpoint& endpoint) override;
  void OnFrame(Endpoint& endpoint, ConstBytes bytes) override;
  void OnCompletion(Endpoint& endpoint, Completion completion) override;
  void OnNotified(Endpoint& endpoint, uint32_t tag_index) override;
  void OnWritable(Endpoint& endpoint) override;
  void OnClosed(Endpoint& endpoint, Status why) override;

  // LinkOwner
  void OnLinkTimer(Link& link, MonotonicNs now) override;

  MonotonicNs SilenceBeforePing(const Link& link) const;
  void LookAgain(Link& link, MonotonicNs at);

  // Links that have no session yet.
  void OnStrangerFrame(Link& link, const Frame& frame);
  void OnStrangerHello(Link& link, const Frame& frame);
  void OnStrangerResume(Link& link, const Hello& hello);
  void Refuse(Link& link, const Status& why);
  void LinkLost(Link& link, Status why);

  struct OpenListener {
    Transport* transport;
    std::unique_ptr<Listener> listener;
  };

  EngineCore core_;
  std::vector<NamedTransport> transports_;
  std::unordered_map<ListenerId, OpenListener> listeners_;
  ListenerId last_listener_ = 0;
  std::vector<Session*> flushing_;  // keeps its memory between rounds
};

}  // namespace splitplane

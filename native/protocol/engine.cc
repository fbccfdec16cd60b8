// The engine's calls and its rounds. A round receives, tells, sends and keeps time; what it costs does not
// depend on how many sessions are idle.
#include <algorithm>

#include "native/base/check.h"
#include "native/protocol/engine_impl.h"

namespace splitplane {
namespace {

// The longest frame that is not cut into parts is a greeting.
constexpr uint32_t kSendBytesMin = 8 * 1024;
static_assert(kHelloBytesMax <= kSendBytesMin);

constexpr uint32_t kMessageBytesMost = 1 << 30;

Status Invalid(const char* sentence) { return Status::Error(Code::kInvalidArgument, "engine", sentence); }

Status NoSession(const char* operation) {
  return Status::Error(Code::kClosed, operation, "the session is closed; connect again");
}

Status Validate(const EngineOptions& options) {
  if (options.node_id == NodeId{}) return Invalid("node_id is zero; make a random one");
  if (options.identity.size() > kIdentityBytesMax) return Invalid("identity has more than 255 bytes");
  if (options.credentials.size() > kCredentialsBytesMax)
    return Invalid("credentials have more than 4096 bytes");
  if (options.encodings.empty() || options.encodings.size() > kEncodingsMax) {
    return Invalid("there must be 1 to 16 encodings");
  }
  for (const std::string& encoding : options.encodings) {
    if (encoding.empty() || encoding.size() > kEncodingNameBytesMax) {
      return Invalid("the name of an encoding has 1 to 32 bytes");
    }
  }
  if (options.message_bytes_max == 0 || options.message_bytes_max > kMessageBytesMost) {
    return Invalid("message_bytes_max is 1 to 2^30");
  }
  if (options.window_messages == 0 || options.window_bytes < options.message_bytes_max) {
    return Invalid("the window must have room for one message of message_bytes_max at least");
  }
  if (options.queue_messages_max == 0 || options.operations_queued_max == 0) {
    return Invalid("queues must have room for one at least");
  }
  if (options.keepalive_ms == 0 || options.peer_timeout_ms <= options.keepalive_ms ||
      options.connect_timeout_ms == 0 || options.route_timeout_ms == 0) {
    return Invalid(
        "keepalive_ms must be above 0 and below peer_timeout_ms, connect_timeout_ms and route_timeout_ms "
        "above "
        "0");
  }
  if (options.reconnect_min_ms == 0 || options.reconnect_max_ms < options.reconnect_min_ms) {
    return Invalid("reconnect_min_ms must be above 0 and not above reconnect_max_ms");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::Make(EngineOptions options,
                                             std::span<const TransportEntry> transports,
                                             EngineEvents& events) {
  if (Status status = Validate(options); !status.ok()) return status;
  auto engine = std::make_unique<EngineImpl>(std::move(options), events);
  engine->MakeTransports(transports);
  return Result<std::unique_ptr<Engine>>(std::move(engine));
}

EngineImpl::EngineImpl(EngineOptions options, EngineEvents& events)
    : core_(std::move(options), events, *this) {
  core_.pool.set_observer([this](Region& region, RegionChange change) {
    for (NamedTransport& entry : transports_) {
      if (!entry.transport) continue;
      if (change != RegionChange::kAdded) entry.transport->RemoveRegion(region);
      // A transport that could not register memory says so when an operation needs it.
      if (change != RegionChange::kRemoved) (void)entry.transport->AddRegion(region);
    }
    if (change == RegionChange::kRemoved) core_.told.RegionGone(region.id());
  });
}

EngineImpl::~EngineImpl() {
  // What holds endpoints goes before the transports, what transports look at after them.
  core_.tags.set_observer(nullptr);
  core_.links.Clear();
  core_.sessions.Clear();
  listeners_.clear();
  core_.pool.set_observer(nullptr);
  transports_.clear();
}

void EngineImpl::MakeTransports(std::span<const TransportEntry> entries) {
  for (const TransportEntry& entry : entries) {
    auto made =
        entry.make(TransportContext{core_.tags, core_.pool, core_.random, core_.options.peer_timeout_ms});
    NamedTransport named{entry.name, nullptr, made.status()};
    if (made.ok()) {
      named.transport = std::move(made).value();
      SPLITPLANE_CHECK(named.transport->capabilities().send_bytes_max >= kSendBytesMin);
    }
    transports_.push_back(std::move(named));
  }
}

Transport* EngineImpl::transport(std::string_view name) {
  for (NamedTransport& entry : transports_) {
    if (entry.name == name) return entry.transport.get();
  }
  return nullptr;
}

Status EngineImpl::transport_status(std::string_view name) const {
  for (const NamedTransport& entry : transports_) {
    if (entry.name == name) return entry.status;
  }
  return Status::Error(Code::kTransportUnavailable, "transport",
                       "there is no transport \"" + std::string(name) + "\" in this build");
}

Result<ListenerId> EngineImpl::Listen(std::string_view name, const std::string& address,
                                      ListenOptions options) {
  Transport* used = transport(name);
  if (!used) return transport_status(name);
  Result<std::unique_ptr<Listener>> listener = used->Listen(address, options);
  if (!listener.ok()) return listener.status();
  const ListenerId id = ++last_listener_;
  (*listener)->context = reinterpret_cast<void*>(uintptr_t{id});
  listeners_[id] = {used, std::move(listener).value()};
  return id;
}

std::string EngineImpl::ListenerAddress(ListenerId listener) const {
  const auto found = listeners_.find(listener);
  return found == listeners_.end() ? std::string() : found->second.listener->address();
}

void EngineImpl::CloseListener(ListenerId listener) { listeners_.erase(listener); }

Result<SessionId> EngineImpl::Connect(std::span<const Route> routes, ConnectOptions options,
                                      const NodeId& expected_peer) {
  if (routes.empty() || routes.size() > kRoutesMax) return Invalid("there must be 1 to 8 routes to a peer");
  std::vector<Routes::Entry> entries;
  for (const Route& route : routes) {
    Routes::Entry entry{route.transport, route.address, transport(route.transport)};
    if (!entry.transport) entry.why = transport_status(route.transport);
    entries.push_back(std::move(entry));
  }
  if (core_.sessions.size() >= core_.options.sessions_max) {
    return Status::Error(Code::kLimitExceeded, "connect", "as many sessions as allowed are open; close some");
  }
  auto session = std::make_unique<Session>(core_, core_.sessions.NewId());
  Status status = session->Dial(Routes(std::move(entries)), options, expected_peer);
  if (!status.ok()) return status;
  return core_.sessions.Add(std::move(session)).id();
}

Status EngineImpl::Accept(SessionId id, std::string principal) {
  Session* session = core_.sessions.Find(id);
  return session ? session->Accept(std::move(principal)) : NoSession("accept");
}

Status EngineImpl::Reject(SessionId id, Code code, std::string_view sentence) {
  Session* session = core_.sessions.Find(id);
  if (!session) return NoSession("reject");
  if (code == Code::kOk || code == Code::kNoResource)
    return Invalid("a peer is refused with the code of an error");
  session->End(Status::Error(code, "reject", std::string(sentence)), Session::Farewell::kReject);
  return {};
}

Result<MessageId> EngineImpl::Send(SessionId id, const OutgoingMessage& message) {
  Session* session = core_.sessions.Find(id);
  if (!session) return NoSession("send");
  return session->Send(message);
}

Result<MessageId> EngineImpl::SendBatch(SessionId id, const OutgoingBatch& batch) {
  Session* session = core_.sessions.Find(id);
  if (!session) return NoSession("send");
  return session->SendBatch(batch);
}

bool EngineImpl::CancelMessage(SessionId id, MessageId message) {
  Session* session = core_.sessions.Find(id);
  return session && session->CancelMessage(message);
}

void EngineImpl::Consume(SessionId id, uint32_t count, uint64_t bytes) {
  if (Session* session = core_.sessions.Find(id)) session->Consume(count, bytes);
}

void EngineImpl::ReleaseTags(SessionId id, std::span<const Tag> tags) {
  if (Session* session = core_.sessions.Find(id)) session->ReleaseTags(tags);
}

Result<OperationId> EngineImpl::Read(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                                     std::vector<Slice> into, TransferOptions options) {
  return StartOperation(session, Operation::Kind::kRead, tag, grant, offset, std::move(into), options, {});
}

Result<OperationId> EngineImpl::Write(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                                      std::vector<Slice> from, TransferOptions options) {
  return StartOperation(session, Operation::Kind::kWrite, tag, grant, offset, std::move(from), options, {});
}

Result<OperationId> EngineImpl::Atomic(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                                       AtomicRequest request) {
  return StartOperation(session, Operation::Kind::kAtomic, tag, grant, offset, {}, {}, request);
}

Result<OperationId> EngineImpl::StartOperation(SessionId id, Operation::Kind kind, const Tag& tag,
                                               ConstBytes grant, uint64_t offset, std::vector<Slice> slices,
                                               TransferOptions options, AtomicRequest request) {
  Session* session = core_.sessions.Find(id);
  if (!session) return NoSession("transfer");
  Operation* operation = core_.operations.Add();
  operation->kind = kind;
  operation->offset = offset;
  operation->tag = tag;
  operation->grant.assign(grant.begin(), grant.end());
  operation->slices = std::move(slices);
  operation->options = options;
  operation->request = request;
  const OperationId started = operation->id;
  if (Status status = session->Start(*operation); !status.ok()) {
    core_.operations.Remove(operation);
    return status;
  }
  return started;
}

Result<BufferRef> EngineImpl::View(SessionId id, const Tag& tag, uint64_t offset, uint64_t length) {
  Session* session = core_.sessions.Find(id);
  return session ? session->View({tag.span(), offset, length}) : NoSession("transfer");
}

bool EngineImpl::ReadNow(SessionId id, const Tag& tag, uint64_t offset, std::span<const Slice> into) {
  Session* session = core_.sessions.Find(id);
  if (!session) return false;
  uint64_t length = 0;
  for (const Slice& slice : into) length += slice.length;
  return session->ReadNow({tag.span(), offset, length}, into);
}

void EngineImpl::CancelOperation(OperationId id) {
  if (Operation* operation = core_.operations.Find(id)) operation->session->CancelOperation(*operation);
}

void EngineImpl::Close(SessionId id) {
  if (Session* session = core_.sessions.Find(id)) session->Close();
}

void EngineImpl::Destroy(SessionId id, Status why) {
  Session* session = core_.sessions.Find(id);
  if (!session) return;
  if (why.ok()) why = Status::Error(Code::kAborted, "session", "destroyed");
  session->End(std::move(why), Session::Farewell::kReject);
}

bool EngineImpl::Info(SessionId id, SessionInfo& out) const {
  const Session* session = core_.sessions.Find(id);
  if (session) session->Info(out);
  return session != nullptr;
}

bool EngineImpl::Poll(MonotonicNs now, uint64_t bytes_budget) {
  core_.now = now;
  core_.round++;
  core_.polling = true;
  StartTimers();
  bool happened = core_.told.Drain();
  // Before the transports, so that what the user posted leaves in this round.
  happened |= FlushDirty();
  for (NamedTransport& entry : transports_) {
    if (entry.transport) happened |= entry.transport->Poll(*this, now, bytes_budget);
  }
  happened |= EndFailing();
  // After the transports: somebody who was not asked for a while must not take its own silence for the
  // peers'.
  happened |= core_.timers.RunDue(now);
  if (core_.tags.next_expiry() <= now) {
    core_.tags.Expire(now);
    happened = true;
  }
  happened |= FlushDirty();
  happened |= core_.told.Drain();
  StartTimers();
  Reap();
  core_.polling = false;
  return happened;
}

bool EngineImpl::FlushDirty() {
  if (core_.dirty.empty()) return false;
  std::swap(core_.dirty, flushing_);
  bool posted = false;
  for (Session* session : flushing_) posted |= session->Flush();
  flushing_.clear();
  return posted;
}

void EngineImpl::Reap() {
  core_.links.Reap();
  if (!core_.sessions.has_ended()) return;
  std::erase_if(core_.dirty, [](const Session* session) { return session->closed(); });
  core_.sessions.Reap();
}

bool EngineImpl::has_work() const {
  return !core_.told.empty() || !core_.dirty.empty() || !core_.links.idle() || core_.sessions.has_ended();
}

uint64_t EngineImpl::arrivals() const {
  uint64_t sum = 0;
  for (const NamedTransport& entry : transports_) {
    if (!entry.transport) continue;
    const TransportStats& stats = entry.transport->stats();
    sum += stats.frames_received + stats.bytes_received + stats.operations_served;
  }
  return sum;
}

bool EngineImpl::Arm() {
  if (has_work()) return false;
  for (NamedTransport& entry : transports_) {
    if (entry.transport && !entry.transport->Arm()) return false;
  }
  return true;
}

std::vector<int> EngineImpl::wake_fds() const {
  std::vector<int> fds;
  for (const NamedTransport& entry : transports_) {
    if (entry.transport) fds.push_back(entry.transport->event_fd());
  }
  return fds;
}

MonotonicNs EngineImpl::next_timeout() const {
  if (has_work()) return core_.now;
  MonotonicNs next = std::min(core_.timers.next(), core_.tags.next_expiry());
  for (const NamedTransport& entry : transports_) {
    if (entry.transport) next = std::min(next, entry.transport->next_timeout());
  }
  return next;
}

}  // namespace splitplane

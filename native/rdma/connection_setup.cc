// How a connection comes to stand: the connection manager's events, the queue pairs, the path.
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "native/rdma/connection.h"
#include "native/rdma/door.h"

#if SPLITPLANE_HAS_VERBS

#include "native/rdma/works.h"

namespace splitplane::rdma {
namespace {

constexpr int kResolveTimeoutMs = 5000;
// The device sends a packet again this often before it gives up; the most there is.
constexpr uint8_t kRetries = 7;
// A receiver without a buffer is against the protocol; but there is a device in between. 7 would be forever.
constexpr uint8_t kReceiverRetries = 6;
constexpr uint8_t kReceiverPause = 12;  // 0.64 ms
constexpr uint32_t kInlineBytes = 256;
// Reasons of a refusal in the connection manager's own count.
constexpr int kRejectedNobodyListens = 8;
constexpr int kRejectedByPeer = 28;

Address AddressOf(const sockaddr& from) {
  Address address;
  address.length = from.sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  std::memcpy(&address.storage, &from, address.length);
  return address;
}

// The exponent that makes all tries together end within the time after which a peer is dead.
uint8_t AckTimeout(uint32_t peer_timeout_ms) {
  constexpr uint64_t kUnitNs = 4096;
  constexpr uint8_t kLeast = 10, kMost = 20;
  uint8_t exponent = kLeast;
  while (exponent < kMost &&
         (kUnitNs << (exponent + 1)) * (kRetries + 1) <= uint64_t{peer_timeout_ms} * 1'000'000) {
    exponent++;
  }
  return exponent;
}

Status NoDevice(const std::string& address) {
  return Status::Error(Code::kTransportUnavailable, "connect",
                       "no RDMA device is on the way to " + address +
                           ": use tcp, or give the network interface a device (rdma link)");
}

}  // namespace

Result<std::shared_ptr<Connection>> Connection::Dial(Reactor& reactor, const Address& address,
                                                     const ConnectOptions& options) {
  auto connection = std::make_shared<Connection>(reactor);
  Result<std::unique_ptr<ConnectionId>> id =
      ConnectionId::Make(reactor.channel, static_cast<ConnectionTarget*>(connection.get()));
  if (!id.ok()) return id.status();
  connection->id_ = std::move(*id);
  connection->trusted_ = options.trusted_peer;
  connection->info_.remote_address = address.ToString();
  connection->deadline_ = std::min(options.deadline, NowNs() + kConnectTimeoutNs);
  Address to = address;
  if (reactor.library.verbs.resolve_addr(connection->id_->get(), nullptr,
                                         reinterpret_cast<sockaddr*>(&to.storage), kResolveTimeoutMs) != 0) {
    if (errno == ENODEV) return NoDevice(address.ToString());
    return Status::Errno("connect", errno, "there is no way to " + address.ToString());
  }
  connection->MakeRestless();
  reactor.connections.emplace(connection.get(), connection);
  return connection;
}

Result<std::shared_ptr<Connection>> Connection::Accept(Reactor& reactor, std::unique_ptr<ConnectionId> id,
                                                       Door& door) {
  auto connection = std::make_shared<Connection>(reactor);
  connection->id_ = std::move(id);
  connection->id_->set_owner(static_cast<ConnectionTarget*>(connection.get()));
  connection->trusted_ = door.trusts_peers();
  connection->state_ = State::kAccepting;
  connection->deadline_ = reactor.now + kConnectTimeoutNs;
  Status status = connection->MakeWorks();
  if (status.ok()) status = connection->ConnectQueuePair();
  if (status.ok()) status = connection->Answer();
  if (!status.ok()) {
    Door::Refuse(*connection->id_, status.code());
    return status;
  }
  connection->door_ = door.weak_from_this();
  connection->open_count_ = door.open_count();
  ++*connection->open_count_;
  connection->MakeRestless();
  reactor.connections.emplace(connection.get(), connection);
  return connection;
}

Status Connection::Answer() {
  uint8_t greeting[kGreetingBytes];
  EncodeGreeting(Code::kOk, greeting);
  rdma_conn_param parameters{};
  parameters.private_data = greeting;
  parameters.private_data_len = sizeof(greeting);
  parameters.responder_resources = works_->path.receive.max_dest_rd_atomic;
  parameters.initiator_depth = works_->path.send.max_rd_atomic;
  parameters.rnr_retry_count = kReceiverRetries;
  parameters.qp_num = works_->control->number();
  if (reactor_.library.verbs.accept(id_->get(), &parameters) == 0) return {};
  return Status::Errno("rdma_accept", errno, "the connection could not be accepted");
}

void Connection::OnEvent(const ConnectionEvent& event) {
  reactor_.progressed = true;
  if (closed()) return;
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      return OnResolved();
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      return OnRouted();
    case RDMA_CM_EVENT_CONNECT_RESPONSE:
      return OnAnswered(event);
    case RDMA_CM_EVENT_ESTABLISHED:
      if (state_ != State::kAccepting) return;
      if (Status status = Begin(); !status.ok()) return Break(std::move(status));
      return Opened();
    case RDMA_CM_EVENT_DISCONNECTED: {
      // What the peer said before it left may still be unread.
      const int64_t budget = std::exchange(reactor_.budget, INT64_MAX);
      Status status = state_ >= State::kOpen ? PollQueue() : Status();
      reactor_.budget = budget;
      if (status.ok()) {
        status = Status::Error(Code::kConnectionLost, "disconnect",
                               "the peer closed the connection without a word");
      }
      return Break(std::move(status));
    }
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      Device::Leave(reactor_, id_->get()->verbs);
      return OnDeviceError();
    default:
      return OnFailed(event);
  }
}

void Connection::OnResolved() {
  if (reactor_.library.verbs.resolve_route(id_->get(), kResolveTimeoutMs) != 0)
    Break(Status::Errno("connect", errno, "there is no route to " + info_.remote_address));
}

void Connection::OnRouted() {
  if (Status status = MakeWorks(); !status.ok()) return Break(std::move(status));
  uint8_t greeting[kGreetingBytes];
  EncodeGreeting(Code::kOk, greeting);
  rdma_conn_param parameters{};
  parameters.private_data = greeting;
  parameters.private_data_len = sizeof(greeting);
  parameters.responder_resources = device_->reads_in_max();
  parameters.initiator_depth = device_->reads_out_max();
  parameters.retry_count = kRetries;
  parameters.rnr_retry_count = kReceiverRetries;
  parameters.qp_num = works_->control->number();
  state_ = State::kConnecting;
  if (reactor_.library.verbs.connect(id_->get(), &parameters) != 0)
    Break(Status::Errno("connect", errno, "cannot connect to " + info_.remote_address));
}

void Connection::OnAnswered(const ConnectionEvent& event) {
  Status status = DecodeGreeting({event.greeting.data(), event.greeting_bytes});
  if (status.ok()) status = ConnectQueuePair();
  if (status.ok() && reactor_.library.verbs.establish(id_->get()) != 0) {
    status = Status::Errno("rdma_establish", errno, "the connection could not be confirmed");
  }
  if (status.ok()) status = Begin();
  if (!status.ok()) return Break(std::move(status));
  Opened();
}

void Connection::OnFailed(const ConnectionEvent& event) {
  const std::string where = info_.remote_address;
  const int error = event.status < 0 ? -event.status : event.status;
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
      if (error == ENODEV || error == ENXIO) return Break(NoDevice(where));
      return Break(Status::Errno("connect", error, "there is no way to " + where));
    case RDMA_CM_EVENT_UNREACHABLE:
      return Break(
          Status::Error(Code::kConnectTimeout, "connect", "the peer at " + where + " does not answer"));
    case RDMA_CM_EVENT_REJECTED: {
      Status why;
      if (event.status == kRejectedByPeer) {
        why = DecodeGreeting({event.greeting.data(), event.greeting_bytes});
      }
      // Nobody's words: of a listener that went, or of one that is not ours.
      if (why.ok() || why.code() == Code::kProtocolViolation) {
        why = Status::Error(
            Code::kConnectionRefused, "connect",
            event.status == kRejectedNobodyListens
                ? "nobody listens for RDMA connections on " + where
                : "the peer at " + where + " refused the connection, reason " + std::to_string(event.status));
      }
      return Break(std::move(why));
    }
    case RDMA_CM_EVENT_CONNECT_ERROR:
      return Break(Status::Error(Code::kConnectionLost, "connect",
                                 "the connection to " + where + " broke while it was made"));
    default:
      return;  // what is left over from a connection that is gone
  }
}

// The objects of a connection, as soon as its device is known.
Status Connection::MakeWorks() {
  Result<std::shared_ptr<Device>> device = Device::For(reactor_, *id_->get());
  if (!device.ok()) return device.status();
  device_ = std::move(*device);
  Result<std::shared_ptr<ProtectionDomain>> domain = ProtectionDomain::Make(device_->context());
  if (!domain.ok()) return domain.status();
  const int remote = trusted_ ? IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE : 0;
  works_ = std::make_unique<Works>(reactor_, std::move(*domain), IBV_ACCESS_LOCAL_WRITE | remote);
  // As many as there can be, so that it cannot overflow; twice the parts, because those of a queue pair that
  // was replaced may still be in it.
  constexpr int kEntries = kSendBuffers + kReceiveBuffers + 2 * int(kPartsMax);
  Result<std::shared_ptr<CompletionQueue>> queue = CompletionQueue::Make(device_->channel(), kEntries, this);
  if (!queue.ok()) return queue.status();
  works_->queue = std::move(*queue);
  const QueuePair::Limits limits{
      .sends = kSendBuffers, .receives = kReceiveBuffers, .pieces = 1, .inline_bytes = kInlineBytes};
  Result<std::unique_ptr<QueuePair>> control = QueuePair::Make(works_->domain, works_->queue, limits, this);
  if (!control.ok()) return control.status();
  works_->control = std::move(*control);
  Path& path = works_->path;
  path.init.qp_state = IBV_QPS_INIT;
  if (reactor_.library.verbs.init_qp_attr(id_->get(), &path.init, &path.init_mask) != 0)
    return Status::Errno("rdma_init_qp_attr", errno, "the device has no path for the connection");
  path.init.qp_access_flags = 0;
  if (Status status = works_->control->Modify(path.init, path.init_mask); !status.ok()) return status;
  Result<std::unique_ptr<Messenger>> messenger =
      Messenger::Make(works_->domain, *works_->control, *this, reactor_.stats);
  if (!messenger.ok()) return messenger.status();
  works_->messenger = std::move(*messenger);
  return {};
}

// The peer's queue pair is known: ours can receive, and send.
Status Connection::ConnectQueuePair() {
  if (Status status = FindPath(); !status.ok()) return status;
  Path& path = works_->path;
  Status status = works_->control->Modify(path.receive, path.receive_mask);
  return status.ok() ? works_->control->Modify(path.send, path.send_mask) : status;
}

Status Connection::FindPath() {
  Path& path = works_->path;
  const Verbs& verbs = reactor_.library.verbs;
  path.receive.qp_state = IBV_QPS_RTR;
  path.send.qp_state = IBV_QPS_RTS;
  if (verbs.init_qp_attr(id_->get(), &path.receive, &path.receive_mask) != 0 ||
      verbs.init_qp_attr(id_->get(), &path.send, &path.send_mask) != 0) {
    return Status::Errno("rdma_init_qp_attr", errno, "the device has no path for the connection");
  }
  path.receive.min_rnr_timer = kReceiverPause;
  path.receive.max_dest_rd_atomic =
      std::min<uint8_t>(path.receive.max_dest_rd_atomic, device_->reads_in_max());
  path.send.max_rd_atomic = std::min<uint8_t>(path.send.max_rd_atomic, device_->reads_out_max());
  path.send.timeout = AckTimeout(reactor_.context.peer_timeout_ms);
  path.send.retry_cnt = kRetries;
  path.send.rnr_retry = kReceiverRetries;
  info_.local_address = AddressOf(id_->get()->route.addr.src_addr).ToString();
  info_.remote_address = AddressOf(id_->get()->route.addr.dst_addr).ToString();
  info_.device = device_->Describe(path.receive);
  info_.local_only = device_->IsLoop(path.receive);
  return {};
}

// Both queue pairs for packets are connected: the one for bulk data is next.
Status Connection::Begin() {
  const QueuePair::Limits limits{
      .sends = kPartsMax, .receives = 0, .pieces = device_->pieces_max(), .inline_bytes = kInlineBytes};
  works_->lane = std::make_unique<Lane>(works_->domain, works_->queue, works_->path, limits,
                                        *works_->messenger, reactor_.context.random, this);
  works_->Join(device_->pieces_max(), trusted_, *this);
  return works_->lane->Restart();
}

void Connection::Opened() {
  const bool accepted = state_ == State::kAccepting;
  state_ = State::kOpen;
  deadline_ = kNever;
  Wake();
  if (!accepted) {
    if (handle_) reactor_.events->OnConnected(*handle_);
    return;
  }
  const std::shared_ptr<Door> door = door_.lock();
  if (!door || !door->open()) {
    return End(Status::Error(Code::kClosed, "accept", "the listener was closed"));
  }
  const auto self = reactor_.connections.find(this);
  door->HandOver(MakeEndpoint(self->second));
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

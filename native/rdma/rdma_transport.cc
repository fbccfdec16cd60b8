// Poll, Arm, and the handles that users own.
#include "native/rdma/rdma_transport.h"

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>
#include <cerrno>

#include "native/rdma/connection.h"
#include "native/rdma/device.h"
#include "native/rdma/door.h"
#include "native/rdma/ports.h"
#include "native/rdma/reactor.h"
#include "native/rdma/table_transport.h"

namespace splitplane {
namespace rdma {
namespace {

// Every so often channels are looked at although nobody slept: for new connections, and for those that sleep
// while others work.
constexpr uint32_t kQuietRounds = 16;
// In one round; the rest waits for the next.
constexpr int kEventsMax = 64;

class RdmaEndpoint final : public Endpoint {
 public:
  explicit RdmaEndpoint(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {
    connection_->set_handle(this);
  }
  ~RdmaEndpoint() override { connection_->Abandon(); }

  Status PostSend(std::span<const ConstBytes> pieces) override { return connection_->PostSend(pieces); }
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                  TransferOptions options) override {
    return connection_->PostTransfer(Kind::kRead, operation, remote, std::move(local), options);
  }
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                   TransferOptions options) override {
    return connection_->PostTransfer(Kind::kWrite, operation, remote, std::move(local), options);
  }
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) override {
    return connection_->PostAtomic(operation, remote, request);
  }
  void Cancel(uint64_t operation) override { connection_->Cancel(operation); }
  void Bind(Requester who) override { connection_->Bind(std::move(who)); }
  void Close(Status why) override { connection_->Close(std::move(why)); }
  const EndpointInfo& info() const override { return connection_->info(); }

 private:
  const std::shared_ptr<Connection> connection_;
};

class RdmaListener final : public Listener {
 public:
  explicit RdmaListener(std::shared_ptr<Door> door) : door_(std::move(door)) { door_->set_handle(this); }
  ~RdmaListener() override { door_->Close(); }
  const std::string& address() const override { return door_->address(); }

 private:
  const std::shared_ptr<Door> door_;
};

class RdmaTransport final : public Transport, public TagWatcher {
 public:
  RdmaTransport(const Verbs& verbs, TransportContext context, Fd epoll)
      : reactor_(verbs, context, std::move(epoll)) {
    context.tags.AddWatcher(*this);
  }
  ~RdmaTransport() override;
  Status Start();

  const char* name() const override { return "rdma"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  const TransportStats& stats() const override { return reactor_.stats; }
  std::vector<TransportFact> facts() const override { return DescribePorts(reactor_.library); }
  std::vector<TransportGauge> gauges() const override;
  Result<std::unique_ptr<Listener>> Listen(const std::string& address, ListenOptions options) override;
  Result<std::unique_ptr<Endpoint>> Connect(const std::string& address, ConnectOptions options) override;
  // Memory is registered when a connection first touches it.
  Status AddRegion(Region&) override { return {}; }
  void RemoveRegion(Region& region) override;
  bool Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) override;
  bool Arm() override;
  int event_fd() const override { return reactor_.epoll.get(); }
  MonotonicNs next_timeout() const override;
  void OnTagEnded(uint32_t index) override;

 private:
  void DrainChannels();
  void DrainConnectionEvents();
  void WorkAll();
  void Settle();
  void Part();

  const Capabilities capabilities_{.remote_read = true,
                                   .remote_write = true,
                                   .write_notification = true,
                                   .remote_atomics = true,
                                   .checksums_transfers = true,
                                   .send_bytes_max = kFrameBytesMax,
                                   .operations_max = kOperationsMax};
  Reactor reactor_;
  bool armed_ = false;  // since the last Poll
  uint32_t rounds_ = 0;
};

Status RdmaTransport::Start() {
  int count = 0;
  ibv_device** devices = reactor_.library.verbs.get_device_list(&count);
  if (devices) reactor_.library.verbs.free_device_list(devices);
  if (!devices || count == 0) {
    return Status::Error(Code::kTransportUnavailable, "rdma",
                         "this host has no RDMA device, or its driver is not loaded; use tcp "
                         "(`splitplane doctor` looks for the reason)");
  }
  Result<std::shared_ptr<EventChannel>> channel = EventChannel::Make(reactor_.library);
  if (!channel.ok()) return channel.status();
  reactor_.channel = std::move(*channel);
  return reactor_.Watch(reactor_.channel->get()->fd);
}

RdmaTransport::~RdmaTransport() {
  reactor_.context.tags.RemoveWatcher(*this);
  for (auto& [key, connection] : reactor_.connections) connection->Orphan();
  const std::vector<std::shared_ptr<Door>> doors = reactor_.doors;
  for (const std::shared_ptr<Door>& door : doors) door->Close();
}

std::vector<TransportGauge> RdmaTransport::gauges() const {
  const Gauges& alive = reactor_.library.gauges;
  return {{"protectionDomains", alive.protection_domains}, {"queuePairs", alive.queue_pairs},
          {"completionQueues", alive.completion_queues},   {"memoryRegions", alive.memory_regions},
          {"registeredBytes", alive.registered_bytes},     {"connectionIds", alive.connection_ids}};
}

Result<std::unique_ptr<Listener>> RdmaTransport::Listen(const std::string& address, ListenOptions options) {
  Result<std::shared_ptr<Door>> door = Door::Open(reactor_, address, options);
  if (!door.ok()) return door.status();
  return std::unique_ptr<Listener>(std::make_unique<RdmaListener>(std::move(*door)));
}

Result<std::unique_ptr<Endpoint>> RdmaTransport::Connect(const std::string& address, ConnectOptions options) {
  Result<Address> parsed = ParseAddress(address);
  if (!parsed.ok()) return parsed.status();
  if (parsed->family() == AF_UNIX) {
    return Status::Error(Code::kAddressInvalid, "connect",
                         "RDMA connects to IP addresses, not to " + address);
  }
  Result<std::shared_ptr<Connection>> connection = Connection::Dial(reactor_, *parsed, options);
  if (!connection.ok()) return connection.status();
  return MakeEndpoint(std::move(*connection));
}

void RdmaTransport::RemoveRegion(Region& region) {
  for (auto& [key, connection] : reactor_.connections) connection->ForgetRegion(region);
}

void RdmaTransport::OnTagEnded(uint32_t index) {
  // They go last, when nobody up the stack is at work.
  std::vector<TagTable::Use> over;
  for (auto& [key, connection] : reactor_.connections) connection->OnTagEnded(index, over);
}

bool RdmaTransport::Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) {
  reactor_.events = &events;
  reactor_.now = now;
  reactor_.budget = int64_t(std::min<uint64_t>(bytes_budget, INT64_MAX));
  reactor_.progressed = false;
  if (armed_ || ++rounds_ % kQuietRounds == 0) DrainChannels();
  armed_ = false;
  WorkAll();
  Settle();
  reactor_.ended.clear();
  Part();
  reactor_.events = nullptr;
  return reactor_.progressed;
}

void RdmaTransport::DrainChannels() {
  DrainConnectionEvents();
  const std::vector<std::shared_ptr<Device>> devices = reactor_.devices;
  for (const std::shared_ptr<Device>& device : devices) {
    device->DrainCompletions();
    device->DrainEvents();
  }
}

void RdmaTransport::DrainConnectionEvents() {
  const Verbs& verbs = reactor_.library.verbs;
  for (int i = 0; i < kEventsMax; i++) {
    rdma_cm_event* said = nullptr;
    if (verbs.get_cm_event(reactor_.channel->get(), &said) != 0) return;
    ConnectionEvent event;
    event.type = said->event;
    event.status = said->status;
    event.id = said->id;
    const rdma_conn_param& parameters = said->param.conn;
    if (parameters.private_data) {
      event.greeting_bytes = std::min<size_t>(parameters.private_data_len, event.greeting.size());
      std::copy_n(static_cast<const uint8_t*>(parameters.private_data), event.greeting_bytes,
                  event.greeting.begin());
    }
    const bool request = said->event == RDMA_CM_EVENT_CONNECT_REQUEST;
    auto* target = static_cast<ConnectionTarget*>(request ? said->listen_id->context : said->id->context);
    verbs.ack_cm_event(said);
    if (target) {
      target->OnEvent(event);
    } else if (event.type == RDMA_CM_EVENT_DISCONNECTED || event.type == RDMA_CM_EVENT_TIMEWAIT_EXIT ||
               event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
      std::erase_if(reactor_.parting, [&](const auto& parting) { return parting.id->get() == event.id; });
    }
  }
}

void RdmaTransport::WorkAll() {
  std::vector<Connection*> awake;
  awake.swap(reactor_.awake);
  for (Connection* connection : awake) connection->Work();
  std::erase_if(awake, [](const Connection* connection) { return connection->closed(); });
  // Those who woke meanwhile come first in the next round, and everybody comes first once.
  if (awake.size() > 1) std::rotate(awake.begin(), awake.begin() + 1, awake.end());
  reactor_.awake.insert(reactor_.awake.end(), awake.begin(), awake.end());
}

void RdmaTransport::Settle() {
  std::vector<Connection*> restless;
  restless.swap(reactor_.restless);
  for (Connection* connection : restless) {
    if (connection->Settle()) reactor_.restless.push_back(connection);
  }
  std::erase_if(reactor_.awake, [](const Connection* connection) { return connection->closed(); });
}

void RdmaTransport::Part() {
  std::erase_if(reactor_.parting, [&](const auto& parting) { return parting.deadline <= reactor_.now; });
}

bool RdmaTransport::Arm() {
  for (const Connection* connection : reactor_.restless) {
    if (connection->urgent()) return false;
  }
  while (!reactor_.awake.empty()) {
    Connection* connection = reactor_.awake.back();
    if (!connection->closed() && !connection->Arm()) return false;
    connection->set_awake(false);
    reactor_.awake.pop_back();
  }
  armed_ = true;
  return true;
}

MonotonicNs RdmaTransport::next_timeout() const {
  MonotonicNs first = kNever;
  for (const Connection* connection : reactor_.restless) first = std::min(first, connection->deadline());
  for (const auto& parting : reactor_.parting) first = std::min(first, parting.deadline);
  return first;
}

}  // namespace

std::unique_ptr<Endpoint> MakeEndpoint(std::shared_ptr<Connection> connection) {
  return std::make_unique<RdmaEndpoint>(std::move(connection));
}

Result<std::unique_ptr<Transport>> MakeTransport(const Verbs& verbs, TransportContext context) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid())
    return Status::Errno("epoll_create1", errno, "the RDMA transport needs an epoll instance");
  auto transport = std::make_unique<RdmaTransport>(verbs, context, std::move(epoll));
  if (Status status = transport->Start(); !status.ok()) return status;
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace rdma

Result<std::unique_ptr<Transport>> MakeRdmaTransport(TransportContext context) {
  Result<const rdma::Verbs*> verbs = rdma::LoadVerbs();
  if (!verbs.ok()) return verbs.status();
  return rdma::MakeTransport(**verbs, context);
}

}  // namespace splitplane

#else

namespace splitplane {

Result<std::unique_ptr<Transport>> MakeRdmaTransport(TransportContext) {
  return Status::Error(
      Code::kTransportUnavailable, "rdma",
      "splitplane was built without RDMA: install libibverbs-dev and librdmacm-dev and build "
      "it again, or use tcp");
}

}  // namespace splitplane

#endif  // SPLITPLANE_HAS_VERBS

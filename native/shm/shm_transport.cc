// Poll, Arm, and the handles that users own.
#include "native/shm/shm_transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "native/memory/mapping.h"
#include "native/shm/connection.h"
#include "native/shm/door.h"

namespace splitplane {
namespace shm {
namespace {

constexpr int kEventsMax = 64;
// Whoever polls without sleeping asks epoll so often: for new connections, and the dead. A system call takes
// longer than ten rounds without one.
constexpr MonotonicNs kEpollEveryNs = 50'000;

class ShmEndpoint final : public Endpoint {
 public:
  explicit ShmEndpoint(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {
    connection_->set_handle(this);
  }
  ~ShmEndpoint() override { connection_->Abandon(); }

  Status PostSend(std::span<const ConstBytes> pieces) override { return connection_->PostSend(pieces); }
  void Flush() override { connection_->Ring(); }
  // Bytes that never leave memory are not checked against damage on the way: there is none.
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                  TransferOptions) override {
    return connection_->PostRead(operation, remote, std::move(local));
  }
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                   TransferOptions options) override {
    return connection_->PostWrite(operation, std::move(local), remote, options.notify);
  }
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) override {
    return connection_->PostAtomic(operation, remote, request);
  }
  void Cancel(uint64_t operation) override { connection_->Cancel(operation); }
  Result<BufferRef> View(const RemoteSlice& remote) override { return connection_->View(remote); }
  bool ReadNow(const RemoteSlice& remote, std::span<const Slice> local) override {
    return connection_->ReadNow(remote, local);
  }
  void Forget(const Tag& tag) override { connection_->Forget(tag); }
  void Bind(Requester who) override { connection_->Bind(std::move(who)); }
  void Close(Status why) override { connection_->Close(std::move(why)); }
  const EndpointInfo& info() const override { return connection_->info(); }

 private:
  const std::shared_ptr<Connection> connection_;
};

class ShmListener final : public Listener {
 public:
  explicit ShmListener(std::shared_ptr<Door> door) : door_(std::move(door)) { door_->set_handle(this); }
  ~ShmListener() override { door_->Close(); }
  const std::string& address() const override { return door_->address(); }

 private:
  const std::shared_ptr<Door> door_;
};

class ShmTransport final : public Transport, private TagWatcher {
 public:
  ShmTransport(TransportContext context, Fd epoll) : reactor_(context, std::move(epoll)) {
    reactor_.context.tags.AddWatcher(*this);
  }
  ~ShmTransport() override;

  const char* name() const override { return "shm"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  const TransportStats& stats() const override { return reactor_.stats; }
  Result<std::unique_ptr<Listener>> Listen(const std::string& address, ListenOptions options) override;
  Result<std::unique_ptr<Endpoint>> Connect(const std::string& address, ConnectOptions options) override;
  Status AddRegion(Region&) override { return {}; }
  void RemoveRegion(Region& region) override;
  bool Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) override;
  bool Arm() override;
  int event_fd() const override { return reactor_.epoll.get(); }
  MonotonicNs next_timeout() const override;

 private:
  void OnTagExported(const Tag& tag, const TagOptions& options) override;
  void OnTagEnded(uint32_t index) override;
  void PollEpoll();
  void WorkAwake();

  const Capabilities capabilities_{.remote_read = true,
                                   .remote_write = true,
                                   .write_notification = true,
                                   .remote_atomics = true,
                                   .checksums_transfers = true,
                                   .send_bytes_max = kBodyBytesMax,
                                   .operations_max = kOperationsMax};
  Reactor reactor_;
  bool armed_ = false;  // since the last Poll
  MonotonicNs epoll_due_ = 0;
  std::vector<Connection*> working_;  // empty between calls; keeps its memory
};

ShmTransport::~ShmTransport() {
  reactor_.context.tags.RemoveWatcher(*this);
  for (auto& [key, connection] : reactor_.connections) connection->Orphan();
  const std::vector<std::shared_ptr<Door>> doors = reactor_.doors;
  for (const std::shared_ptr<Door>& door : doors) door->Close();
}

Result<std::unique_ptr<Listener>> ShmTransport::Listen(const std::string& address, ListenOptions options) {
  Result<std::shared_ptr<Door>> door = Door::Open(reactor_, address, options);
  if (!door.ok()) return door.status();
  return std::unique_ptr<Listener>(std::make_unique<ShmListener>(std::move(*door)));
}

Result<std::unique_ptr<Endpoint>> ShmTransport::Connect(const std::string& text, ConnectOptions options) {
  Result<Address> address = ParseAddress(text);
  if (!address.ok()) return address.status();
  Result<std::shared_ptr<Connection>> connection = Connection::Dial(reactor_, *address, options);
  if (!connection.ok()) return connection.status();
  return MakeEndpoint(std::move(*connection));
}

void ShmTransport::RemoveRegion(Region& region) {
  if (region.kind() != Region::Kind::kSlab) return;
  for (auto& [key, connection] : reactor_.connections) connection->OnRegionRemoved(region);
}

void ShmTransport::OnTagExported(const Tag& tag, const TagOptions& options) {
  if (options.audience.kind != Audience::Kind::kSession) return;
  const auto bound = reactor_.bound.find(options.audience.session);
  if (bound == reactor_.bound.end() || !bound->second->OnTagExported(tag, options)) return;
  reactor_.lenders[LoadLittle<uint32_t>(tag.bytes.data() + Tag::kIndexAt)] = bound->second;
}

void ShmTransport::OnTagEnded(uint32_t index) {
  const auto lender = reactor_.lenders.find(index);
  if (lender == reactor_.lenders.end()) return;
  Connection& connection = *lender->second;
  reactor_.lenders.erase(lender);
  connection.OnTagEnded(index);
}

bool ShmTransport::Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) {
  reactor_.events = &events;
  reactor_.round = {now, int64_t(std::min<uint64_t>(bytes_budget, INT64_MAX)), false};
  if (armed_) {
    for (Connection* connection : reactor_.awake) connection->WakeUp();
  }
  if (armed_ || now >= epoll_due_) {
    epoll_due_ = now + kEpollEveryNs;
    PollEpoll();
  }
  armed_ = false;
  WorkAwake();
  if (!reactor_.greeting.empty()) {
    std::erase_if(reactor_.greeting, [](const Connection* connection) { return !connection->greeting(); });
    for (Connection* connection : std::vector<Connection*>(reactor_.greeting)) connection->CheckDeadline();
  }
  for (size_t i = 0; i < reactor_.doors.size(); i++) {
    if (reactor_.doors[i]->resting()) continue;
    const std::shared_ptr<Door> door = reactor_.doors[i];  // what it tells may close it
    door->Settle();
  }
  reactor_.ended.clear();
  reactor_.closed_doors.clear();
  reactor_.events = nullptr;
  return reactor_.round.progressed;
}

void ShmTransport::PollEpoll() {
  epoll_event ready[kEventsMax];
  const int count = epoll_wait(reactor_.epoll.get(), ready, kEventsMax, 0);
  for (int i = 0; i < count; i++) static_cast<Watched*>(ready[i].data.ptr)->OnReady();
}

void ShmTransport::WorkAwake() {
  working_.swap(reactor_.awake);
  const size_t count = working_.size();
  // The next round begins behind who spent this one, or whoever comes first would leave the others nothing
  // for as long as it has bulk data: not even their frames would be read.
  std::optional<size_t> behind;
  for (Connection* connection : working_) {
    const bool any = reactor_.round.budget > 0;
    connection->Work();
    const bool spent = any && reactor_.round.budget <= 0;
    if (spent) behind = reactor_.awake.size();
    if (connection->gone()) continue;
    // It sleeps from here on, unless something comes at this very moment.
    if (count > kAwakeMax && connection->idle() && connection->Sleep()) {
      connection->LeaveAwake();
    } else {
      reactor_.awake.push_back(connection);
      if (spent) ++*behind;
    }
  }
  working_.clear();
  if (behind)
    std::rotate(reactor_.awake.begin(), reactor_.awake.begin() + long(*behind), reactor_.awake.end());
}

bool ShmTransport::Arm() {
  for (Connection* connection : reactor_.awake) {
    if (connection->Sleep()) continue;
    for (Connection* awake : reactor_.awake) awake->WakeUp();
    return false;
  }
  armed_ = true;
  return true;
}

MonotonicNs ShmTransport::next_timeout() const {
  MonotonicNs first = kNever;
  for (const Connection* connection : reactor_.greeting) first = std::min(first, connection->deadline());
  for (const std::shared_ptr<Door>& door : reactor_.doors) first = std::min(first, door->deadline());
  return first;
}

}  // namespace

std::unique_ptr<Endpoint> MakeEndpoint(std::shared_ptr<Connection> connection) {
  return std::make_unique<ShmEndpoint>(std::move(connection));
}

}  // namespace shm

Result<std::unique_ptr<Transport>> MakeShmTransport(TransportContext context) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return Status::Errno("epoll_create1", errno, "shared memory needs an epoll instance");
  // Learned here rather than with the first connection.
  Fd probe;
  Result<std::shared_ptr<Mapping>> mapping = Mapping::Create(4096, probe);
  Status able = mapping.ok() ? SealAgainstWriting(probe) : mapping.status();
  if (!able.ok()) return able;
  return std::unique_ptr<Transport>(std::make_unique<shm::ShmTransport>(context, std::move(epoll)));
}

}  // namespace splitplane

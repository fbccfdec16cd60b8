// Poll, Arm, and the handles that users own.
#include "native/tcp/tcp_transport.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "native/tcp/connection.h"
#include "native/tcp/door.h"
#include "native/tcp/reactor.h"

namespace splitplane {
namespace tcp {
namespace {

// With so few sockets a polling caller is served faster by trying each of them than by asking epoll first.
constexpr size_t kDirectSocketsMax = 4;
// So often epoll is asked all the same: for new connections, and for room in sockets. A system call takes
// longer than ten rounds without one.
constexpr MonotonicNs kEpollEveryNs = 50'000;
// While something comes on one socket, those on which nothing has come for so long are tried this often only:
// each costs a system call, for which a message that is already here would wait.
constexpr MonotonicNs kSilentNs = 5'000'000;
constexpr MonotonicNs kTrySilentEveryNs = 10'000;
constexpr int kEventsMax = 64;

class TcpEndpoint final : public Endpoint {
 public:
  explicit TcpEndpoint(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {
    connection_->set_handle(this);
  }
  ~TcpEndpoint() override { connection_->Abandon(); }

  Status PostSend(std::span<const ConstBytes> pieces) override { return connection_->PostSend(pieces); }
  void Flush() override { connection_->FlushFrames(); }
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                  TransferOptions options) override {
    return connection_->PostRead(operation, remote, std::move(local), options);
  }
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                   TransferOptions options) override {
    return connection_->PostWrite(operation, std::move(local), remote, options);
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

class TcpListener final : public Listener {
 public:
  explicit TcpListener(std::shared_ptr<Door> door) : door_(std::move(door)) { door_->set_handle(this); }
  ~TcpListener() override { door_->Close(); }
  const std::string& address() const override { return door_->address(); }

 private:
  const std::shared_ptr<Door> door_;
};

class TcpTransport final : public Transport {
 public:
  TcpTransport(TransportContext context, Fd epoll) : reactor_(context, std::move(epoll)) {}
  ~TcpTransport() override;

  const char* name() const override { return "tcp"; }
  const Capabilities& capabilities() const override { return capabilities_; }
  const TransportStats& stats() const override { return reactor_.stats; }
  Result<std::unique_ptr<Listener>> Listen(const std::string& address, ListenOptions options) override;
  Result<std::unique_ptr<Endpoint>> Connect(const std::string& address, ConnectOptions options) override;
  Status AddRegion(Region&) override { return {}; }
  void RemoveRegion(Region&) override {}
  bool Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) override;
  bool Arm() override;
  int event_fd() const override { return reactor_.epoll.get(); }
  MonotonicNs next_timeout() const override;

 private:
  void FlushPosted();
  void FlushBlocked();
  bool PollDirectly();
  void PollEpoll();
  template <typename Work>
  void Serve(Watched& who, Work work);
  void Settle();
  void Bury();

  const Capabilities capabilities_{.remote_read = true,
                                   .remote_write = true,
                                   .write_notification = true,
                                   .remote_atomics = true,
                                   .checksums_transfers = true,
                                   .send_bytes_max = kFrameBytesMax,
                                   .operations_max = kOperationsMax};
  Reactor reactor_;
  bool armed_ = false;  // since the last Poll
  MonotonicNs epoll_due_ = 0;
  MonotonicNs silent_due_ = 0;
  // Who spent what a round gives to reading. The next one begins behind it, or whoever comes first would
  // leave the others nothing for as long as it gets bulk data. Compared and never followed: it may be gone.
  const Watched* spender_ = nullptr;
  uint64_t turns_ = 0;  // of writing bulk data
};

// Of those that something may have come for: behind the one that spent the last round.
template <typename Sockets, typename IsSpender>
void BeginBehind(Sockets first, Sockets end, IsSpender is_spender) {
  const auto spender = std::find_if(first, end, is_spender);
  if (spender != end) std::rotate(first, spender + 1, end);
}

TcpTransport::~TcpTransport() {
  for (auto& [key, connection] : reactor_.connections) connection->Orphan();
  const std::vector<std::shared_ptr<Door>> doors = reactor_.doors;
  for (const std::shared_ptr<Door>& door : doors) door->Close();
}

Result<std::unique_ptr<Listener>> TcpTransport::Listen(const std::string& address, ListenOptions options) {
  Result<std::shared_ptr<Door>> door = Door::Open(reactor_, address, options);
  if (!door.ok()) return door.status();
  return std::unique_ptr<Listener>(std::make_unique<TcpListener>(std::move(*door)));
}

Result<std::unique_ptr<Endpoint>> TcpTransport::Connect(const std::string& address, ConnectOptions options) {
  Result<Address> parsed = ParseAddress(address);
  if (!parsed.ok()) return parsed.status();
  Result<std::shared_ptr<Connection>> connection = Connection::Dial(reactor_, *parsed, options);
  if (!connection.ok()) return connection.status();
  return MakeEndpoint(std::move(*connection));
}

bool TcpTransport::Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) {
  reactor_.events = &events;
  reactor_.now = now;
  reactor_.budget = int64_t(std::min<uint64_t>(bytes_budget, INT64_MAX));
  reactor_.progressed = false;
  // What is written first leaves half of the budget to what is read. One write may take more than the other
  // half; that is missing after reading, when there is writing again.
  const int64_t reserved = reactor_.budget / 2;
  reactor_.budget -= reserved;
  FlushPosted();
  // Whoever polls without arming in between has not told the kernel which sockets it waits to write to.
  if (!armed_) FlushBlocked();
  const int64_t overdrawn = std::min<int64_t>(reactor_.budget, 0);
  reactor_.budget += reserved - overdrawn;
  if (armed_ || now >= epoll_due_ || !PollDirectly()) {
    epoll_due_ = now + kEpollEveryNs;
    PollEpoll();
  }
  armed_ = false;
  reactor_.budget += overdrawn;
  FlushPosted();
  Settle();
  FlushPosted();
  Bury();
  reactor_.events = nullptr;
  return reactor_.progressed;
}

void TcpTransport::FlushPosted() {
  std::vector<Channel*> posted;
  posted.swap(reactor_.posted);
  const auto is_of = [](Channel::Urgency urgency) {
    return [urgency](const Channel* channel) { return channel->urgency() == urgency; };
  };
  const auto frames = std::partition(posted.begin(), posted.end(), is_of(Channel::Urgency::kRequests));
  const auto bulk = std::partition(frames, posted.end(), is_of(Channel::Urgency::kFrames));
  // One of them can write as much as a round may, so they take turns.
  std::sort(bulk, posted.end(), [](const Channel* a, const Channel* b) { return a->turn < b->turn; });
  for (Channel* channel : posted) {
    if (reactor_.budget > 0) channel->turn = ++turns_;
    channel->FlushPosted();
  }
  // Whatever was posted meanwhile waits for the next round. Keeps the larger buffer, which saves allocating
  // it.
  if (reactor_.posted.empty()) {
    posted.clear();
    reactor_.posted.swap(posted);
  }
}

void TcpTransport::FlushBlocked() {
  for (Channel* channel : std::vector<Channel*>(reactor_.interest)) {
    if (channel->blocked()) channel->Flush();
  }
}

// False: too many sockets for this.
bool TcpTransport::PollDirectly() {
  // Callbacks may connect, which would disturb the iteration.
  std::array<Channel*, kDirectSocketsMax> channels;
  size_t count = 0;
  for (const auto& [key, connection] : reactor_.connections) {
    for (const auto& channel : connection->channels()) {
      if (count == kDirectSocketsMax) return false;
      channels[count++] = channel.get();
    }
  }
  if (count == 0) return true;
  BeginBehind(channels.begin(), channels.begin() + count,
              [this](const Channel* channel) { return channel == spender_; });
  const MonotonicNs silent_since = reactor_.now - kSilentNs;
  const bool tries_all = reactor_.received_at < silent_since || reactor_.now >= silent_due_;
  if (tries_all) silent_due_ = reactor_.now + kTrySilentEveryNs;
  for (size_t i = 0; i < count; i++) {
    Channel& channel = *channels[i];
    if (tries_all || channel.received_at() >= silent_since) Serve(channel, [&] { channel.Receive(); });
  }
  return true;
}

void TcpTransport::PollEpoll() {
  epoll_event ready[kEventsMax];
  const int count = epoll_wait(reactor_.epoll.get(), ready, kEventsMax, 0);
  BeginBehind(ready, ready + std::max(count, 0),
              [this](const epoll_event& event) { return event.data.ptr == spender_; });
  for (int i = 0; i < count; i++) {
    Watched& who = *static_cast<Watched*>(ready[i].data.ptr);
    Serve(who, [&] { who.OnReady(ready[i].events); });
  }
}

template <typename Work>
void TcpTransport::Serve(Watched& who, Work work) {
  const bool any = reactor_.budget > 0;
  work();
  if (any && reactor_.budget <= 0) spender_ = &who;
}

void TcpTransport::Settle() {
  std::vector<Connection*> restless;
  restless.swap(reactor_.restless);
  for (Connection* connection : restless) {
    if (connection->Settle()) reactor_.restless.push_back(connection);
  }
  for (size_t i = 0; i < reactor_.doors.size(); i++) {
    if (reactor_.doors[i]->resting()) continue;
    const std::shared_ptr<Door> door = reactor_.doors[i];  // what it tells may close it
    door->Settle();
  }
}

// What ended during this round goes; nobody has a pointer to it any more.
void TcpTransport::Bury() {
  reactor_.ended.clear();
  reactor_.closed_doors.clear();
}

bool TcpTransport::Arm() {
  std::vector<Channel*> interest;
  interest.swap(reactor_.interest);
  for (Channel* channel : interest) channel->SyncListedInterest();
  if (!reactor_.posted.empty()) return false;
  for (const Connection* connection : reactor_.restless) {
    if (connection->urgent()) return false;
  }
  armed_ = true;
  return true;
}

MonotonicNs TcpTransport::next_timeout() const {
  MonotonicNs first = kNever;
  for (const Connection* connection : reactor_.restless) first = std::min(first, connection->deadline());
  for (const std::shared_ptr<Door>& door : reactor_.doors) first = std::min(first, door->deadline());
  return first;
}

}  // namespace

std::unique_ptr<Endpoint> MakeEndpoint(std::shared_ptr<Connection> connection) {
  return std::make_unique<TcpEndpoint>(std::move(connection));
}

}  // namespace tcp

Result<std::unique_ptr<Transport>> MakeTcpTransport(TransportContext context) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid())
    return Status::Errno("epoll_create1", errno, "the TCP transport needs an epoll instance");
  return std::unique_ptr<Transport>(std::make_unique<tcp::TcpTransport>(context, std::move(epoll)));
}

}  // namespace splitplane

// Endpoints in memory that find their peer by pointer: what is posted at one arrives in the queue of the
// other, where Poll finds it. Knows nothing of frames.
#include "test/native/fake_transport.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "native/base/check.h"

namespace splitplane {
namespace {

// Tests run one after the other.
constexpr const char* kNames[] = {"fake", "spare"};
FakeNetwork* g_networks[std::size(kNames)] = {};

template <size_t kSlot>
Result<std::unique_ptr<Transport>> MakeFake(TransportContext context) {
  return Result<std::unique_ptr<Transport>>(std::make_unique<FakeTransport>(*g_networks[kSlot], context));
}

Status Lost() { return Status::Error(Code::kConnectionLost, "fake", "the link was cut"); }

class FakeListener final : public Listener {
 public:
  FakeListener(std::map<std::string, std::pair<FakeTransport*, Listener*>>& listeners, std::string address)
      : listeners_(listeners), address_(std::move(address)) {}
  ~FakeListener() override { listeners_.erase(address_); }
  const std::string& address() const override { return address_; }

 private:
  std::map<std::string, std::pair<FakeTransport*, Listener*>>& listeners_;
  std::string address_;
};

// The bytes of `slices` one after the other, copied from or to `flat`.
void Gather(const std::vector<Slice>& slices, std::vector<uint8_t>& flat) {
  for (const Slice& slice : slices) flat.insert(flat.end(), slice.data(), slice.data() + slice.length);
}
void Scatter(const std::vector<uint8_t>& flat, const std::vector<Slice>& slices) {
  size_t at = 0;
  for (const Slice& slice : slices) {
    std::memcpy(slice.data(), flat.data() + at, slice.length);
    at += slice.length;
  }
}

Completion Failed(Status why) {
  Completion completion;
  completion.status = std::move(why);
  return completion;
}

}  // namespace

FakeNetwork::FakeNetwork() {
  while (slot_ < std::size(g_networks) && g_networks[slot_]) slot_++;
  SPLITPLANE_CHECK(slot_ < std::size(g_networks));
  g_networks[slot_] = this;
}

FakeNetwork::~FakeNetwork() { g_networks[slot_] = nullptr; }

TransportEntry FakeNetwork::Entry() { return {kNames[0], &MakeFake<0>}; }
TransportEntry FakeNetwork::SpareEntry() { return {kNames[1], &MakeFake<1>}; }

const char* FakeNetwork::name() const { return kNames[slot_]; }

std::vector<uint8_t> FakeNetwork::GrantOf(const Tag& tag) const {
  std::vector<uint8_t> grant(tag.bytes.begin(), tag.bytes.end());
  grant.push_back(uint8_t(slot_));
  return grant;
}

std::optional<Tag> FakeNetwork::TagIn(ConstBytes grant) const {
  if (grant.size() == Tag::kSize) return Tag::From(grant);
  if (grant.size() != Tag::kSize + 1 || grant.back() != slot_) return std::nullopt;
  return Tag::From(grant.first(Tag::kSize));
}

void FakeNetwork::CutAll() {
  for (FakeTransport* transport : transports_) {
    for (FakeEndpoint* endpoint : transport->endpoints_) endpoint->Break(Lost(), Lost(), true);
  }
}

FakeEndpoint::~FakeEndpoint() {
  Break(Lost(), Lost(), false);
  std::erase(transport_.endpoints_, this);
}

void FakeEndpoint::End(Status why, bool lose_what_is_on_the_way) {
  if (closed_) return;
  if (lose_what_is_on_the_way) arrivals_.clear();
  Arrive({.kind = Arrival::Kind::kClosed, .why = std::move(why)});
  closed_ = true;
  peer_ = nullptr;
}

void FakeEndpoint::Break(Status here, Status there, bool lose_what_is_on_the_way) {
  if (FakeEndpoint* peer = peer_) peer->End(std::move(there), lose_what_is_on_the_way);
  End(std::move(here), true);
}

void FakeEndpoint::Close(Status why) {
  network_.calls_++;
  if (closed_) return;
  Status closed = Status::Error(Code::kClosed, "fake", "closed");
  Break(closed, why.ok() ? closed : Lost(), false);
}

void FakeEndpoint::Bind(Requester who) {
  bound_ = true;
  who_ = std::move(who);
}

Status FakeEndpoint::PostSend(std::span<const ConstBytes> pieces) {
  network_.calls_++;
  if (!peer_) return Lost();
  if (!HasRoom()) {
    wants_writable_ = true;
    return Status::NoResource();
  }
  std::vector<uint8_t> frame;
  for (const ConstBytes& piece : pieces) frame.insert(frame.end(), piece.begin(), piece.end());
  SPLITPLANE_CHECK(!frame.empty() && frame.size() <= network_.send_bytes_max);
  const bool cut = ++network_.frames_posted_ == network_.cut_at_;
  transport_.stats_.frames_sent++;
  std::vector<std::vector<uint8_t>> frames;
  if (network_.fault) {
    frames = network_.fault(std::move(frame));
  } else {
    frames.push_back(std::move(frame));
  }
  for (std::vector<uint8_t>& arriving : frames) {
    if (cut && !network_.cut_after_arrival_) break;
    frames_queued_++;
    peer_->Arrive({.kind = Arrival::Kind::kFrame, .frame = std::move(arriving)});
  }
  if (cut) Break(Lost(), Lost(), false);
  return {};
}

Status FakeEndpoint::PostRequest(uint64_t operation, std::function<Completion(FakeEndpoint& server)> serve) {
  network_.calls_++;
  if (!peer_) return Lost();
  if (outstanding_.size() >= network_.operations_max) {
    wants_writable_ = true;
    return Status::NoResource();
  }
  outstanding_.push_back(operation);
  network_.operations_posted.push_back(operation);
  peer_->Arrive(
      {.kind = Arrival::Kind::kRequest, .serve = [serve, operation](FakeEndpoint& server) {
         Completion completion;
         if (!server.peer_ || !server.peer_->Awaits(operation)) return;  // broken or canceled meanwhile
         if (!server.bound_) {
           return server.Break(Status::Error(Code::kProtocolViolation, "fake", "an operation before Bind"),
                               Lost(), false);
         }
         if (server.network_.serve_fault) completion.status = server.network_.serve_fault(operation);
         if (completion.status.ok()) completion = serve(server);
         completion.operation = operation;
         server.peer_->Arrive({.kind = Arrival::Kind::kCompletion, .completion = std::move(completion)});
       }});
  return {};
}

Result<TagTable::Use> FakeEndpoint::Begin(const std::vector<uint8_t>& grant, Access access, uint64_t offset,
                                          uint64_t length, uint64_t operation) {
  const std::optional<Tag> tag = network_.TagIn(grant);
  if (!tag) return Status::Error(Code::kTagUnknown, "fake", "the grant of another network");
  return transport_.context_.tags.Begin(*tag, who_, access, offset, length, operation, transport_.now_);
}

Status FakeEndpoint::PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                              TransferOptions) {
  std::vector<uint8_t> grant(remote.grant.begin(), remote.grant.end());
  const uint64_t offset = remote.offset, length = remote.length;
  return PostRequest(operation, [=](FakeEndpoint& server) {
    auto use = server.Begin(grant, Access::kRead, offset, length, operation);
    if (!use.ok()) return Failed(use.status());
    std::vector<uint8_t> bytes;
    Gather(use->slices(), bytes);
    Scatter(bytes, local);
    return Completion{};
  });
}

Status FakeEndpoint::PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                               TransferOptions options) {
  std::vector<uint8_t> grant(remote.grant.begin(), remote.grant.end());
  const uint64_t offset = remote.offset, length = remote.length;
  return PostRequest(operation, [=](FakeEndpoint& server) {
    auto use = server.Begin(grant, Access::kWrite, offset, length, operation);
    if (!use.ok()) return Failed(use.status());
    std::vector<uint8_t> bytes;
    Gather(local, bytes);
    Scatter(bytes, use->slices());
    if (options.notify) server.Arrive({.kind = Arrival::Kind::kNotified, .tag_index = use->index()});
    return Completion{};
  });
}

Status FakeEndpoint::PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) {
  if (!transport_.capabilities().remote_atomics) {
    return Status::Error(Code::kUnsupported, "fake", "this network has no atomics");
  }
  std::vector<uint8_t> grant(remote.grant.begin(), remote.grant.end());
  const uint64_t offset = remote.offset;
  return PostRequest(operation, [=](FakeEndpoint& server) {
    auto use = server.Begin(grant, Access::kAtomic, offset, 8, operation);
    if (!use.ok()) return Failed(use.status());
    uint8_t* word = use->slices()[0].data();
    const uint64_t before = LoadLittle<uint64_t>(word);
    if (request.operation == AtomicOperation::kFetchAndAdd) {
      StoreLittle(word, before + request.operand);
    } else if (before == request.compare) {
      StoreLittle(word, request.operand);
    }
    Completion completion;
    completion.atomic_value = before;
    return completion;
  });
}

// As over a wire: what was not served yet is dropped here, and ends with kAborted.
void FakeEndpoint::Cancel(uint64_t operation) {
  network_.calls_++;
  if (!Awaits(operation)) return;
  Completion completion;
  completion.operation = operation;
  completion.status = Status::Error(Code::kAborted, "fake", "canceled");
  Arrive({.kind = Arrival::Kind::kCompletion, .completion = std::move(completion)});
}

bool FakeEndpoint::Deliver(TransportEvents& events) {
  if (wants_writable_ && HasRoom() && outstanding_.size() < network_.operations_max && peer_) {
    wants_writable_ = false;
    events.OnWritable(*this);
    return true;
  }
  if (arrivals_.empty()) return false;
  Arrival arrival = std::move(arrivals_.front());
  arrivals_.pop_front();
  switch (arrival.kind) {
    case Arrival::Kind::kConnected:
      events.OnConnected(*this);
      break;
    case Arrival::Kind::kFrame:
      if (peer_) peer_->frames_queued_--;
      transport_.stats_.frames_received++;
      events.OnFrame(*this, arrival.frame);
      break;
    case Arrival::Kind::kRequest:
      arrival.serve(*this);
      break;
    case Arrival::Kind::kCompletion:
      // Canceled and completed: the first of both counts.
      if (std::erase(outstanding_, arrival.completion.operation) > 0) {
        events.OnCompletion(*this, std::move(arrival.completion));
      }
      break;
    case Arrival::Kind::kNotified:
      events.OnNotified(*this, arrival.tag_index);
      break;
    case Arrival::Kind::kClosed: {
      std::vector<uint64_t> outstanding;
      std::swap(outstanding, outstanding_);
      for (uint64_t operation : outstanding) {
        Completion completion;
        completion.operation = operation;
        completion.status = arrival.why;
        events.OnCompletion(*this, std::move(completion));
      }
      events.OnClosed(*this, std::move(arrival.why));
      break;
    }
  }
  return true;
}

FakeTransport::FakeTransport(FakeNetwork& network, TransportContext context)
    : network_(network), context_(context) {
  capabilities_.remote_read = capabilities_.remote_write = capabilities_.write_notification = true;
  capabilities_.remote_atomics = network.remote_atomics;
  capabilities_.checksums_transfers = true;
  capabilities_.send_bytes_max = network.send_bytes_max;
  capabilities_.operations_max = network.operations_max;
  network.transports_.push_back(this);
}

FakeTransport::~FakeTransport() {
  knocks_.clear();
  SPLITPLANE_CHECK(endpoints_.empty());  // they hold us
  std::erase(network_.transports_, this);
}

Result<std::unique_ptr<Listener>> FakeTransport::Listen(const std::string& address, ListenOptions) {
  if (network_.listeners_.count(address) > 0) {
    return Status::Error(Code::kAddressInUse, "listen", "somebody listens there");
  }
  auto listener = std::make_unique<FakeListener>(network_.listeners_, address);
  network_.listeners_[address] = {this, listener.get()};
  return Result<std::unique_ptr<Listener>>(std::move(listener));
}

Result<std::unique_ptr<Endpoint>> FakeTransport::Connect(const std::string& address, ConnectOptions) {
  if (network_.gone) return Status::Error(Code::kTransportUnavailable, "connect", "the device is gone");
  if (network_.refuse_later) {
    auto refused = std::make_unique<FakeEndpoint>(network_, *this);
    endpoints_.push_back(refused.get());
    refused->End(Status::Error(Code::kConnectionRefused, "connect", "nobody listens there"), false);
    return Result<std::unique_ptr<Endpoint>>(std::move(refused));
  }
  const auto found = network_.listeners_.find(address);
  if (network_.refuse || found == network_.listeners_.end()) {
    return Status::Error(Code::kConnectionRefused, "connect", "nobody listens there");
  }
  FakeTransport& there = *found->second.first;
  auto ours = std::make_unique<FakeEndpoint>(network_, *this);
  auto theirs = std::make_unique<FakeEndpoint>(network_, there);
  ours->peer_ = theirs.get();
  theirs->peer_ = ours.get();
  ours->info_.remote_address = theirs->info_.local_address = address;
  ours->info_.local_only = theirs->info_.local_only = true;
  ours->Arrive({.kind = FakeEndpoint::Arrival::Kind::kConnected});
  endpoints_.push_back(ours.get());
  there.endpoints_.push_back(theirs.get());
  there.knocks_.push_back({found->second.second, std::move(theirs)});
  return Result<std::unique_ptr<Endpoint>>(std::move(ours));
}

bool FakeTransport::Poll(TransportEvents& events, MonotonicNs now, uint64_t) {
  now_ = now;
  if (network_.stalled) return false;
  bool happened = false;
  while (!knocks_.empty()) {
    Knock knock = std::move(knocks_.front());
    knocks_.pop_front();
    events.OnAccepted(*knock.listener, std::move(knock.endpoint));
    happened = true;
  }
  // Those that come meanwhile have their turn in the next round; none goes inside a callback.
  const std::vector<FakeEndpoint*> endpoints = endpoints_;
  for (FakeEndpoint* endpoint : endpoints) {
    while (endpoint->Deliver(events)) happened = true;
  }
  return happened;
}

bool FakeTransport::Arm() {
  if (network_.stalled) return true;
  return knocks_.empty() &&
         std::all_of(endpoints_.begin(), endpoints_.end(), [](const FakeEndpoint* endpoint) {
           return endpoint->arrivals_.empty() &&
                  !(endpoint->wants_writable_ && endpoint->HasRoom() && endpoint->peer_);
         });
}

}  // namespace splitplane

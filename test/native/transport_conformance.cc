// The list of transports under test, and the two engines.
#include "test/native/transport_conformance.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "native/rdma/rdma_transport.h"
#include "native/rdma/table_transport.h"
#include "native/shm/shm_transport.h"
#include "native/tcp/tcp_transport.h"
#include "test/native/rdma_fake_verbs.h"

namespace splitplane::conformance {
namespace {

constexpr MonotonicNs kPatienceNs = 30'000'000'000;

std::string NextSocketPath() {
  static int number = 0;
  return "unix:/tmp/splitplane-test-" + std::to_string(getpid()) + "-" + std::to_string(++number);
}

bool HasIpv6() {
  RandomSource random;
  TagTable tags({}, 1, random);
  MemoryPool pool{PoolOptions{}};
  auto transport = MakeTcpTransport({tags, pool, random});
  return transport.ok() && (*transport)->Listen("[::1]:0", {}).ok();
}

// The last one again, with both sides trusting each other: nobody who keeps to the rules sees a difference.
void AddTrusted(std::vector<Kind>& kinds) {
  Kind kind = kinds.back();
  kind.name += "_trusted";
  kind.listener_trusts = kind.dialer_trusts = true;
  kinds.push_back(std::move(kind));
}

void AddRdma(std::vector<Kind>& kinds) {
  const std::optional<std::string> address = RdmaAddress();
  if (!address) {
    std::fprintf(stderr, "transport conformance: RDMA is skipped, SPLITPLANE_RDMA_ADDRESS names no device\n");
    return;
  }
  kinds.push_back({"rdma", MakeRdmaTransport, [address] { return *address; }});
  AddTrusted(kinds);
}

#if SPLITPLANE_HAS_VERBS

// After every test, when its fixture is gone: nothing of the fake device is left, and everything was used by
// the rules.
class FakeDeviceAudit final : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo& test) override {
    // A device keeps the pages that a user takes away from under it; nobody sees what it does there.
    const bool takes_memory_away = std::strstr(test.name(), "DetachedMemory") != nullptr;
    const std::string wrong = rdma::fake::Fabric::Renew(takes_memory_away);
    EXPECT_TRUE(wrong.empty()) << wrong;
  }
};

void AddFakeRdma(std::vector<Kind>& kinds) {
  testing::UnitTest::GetInstance()->listeners().Append(new FakeDeviceAudit);
  kinds.push_back(
      {kFakeDevice,
       [](TransportContext context) { return rdma::MakeTransport(rdma::fake::Fabric::Table(), context); },
       [] { return std::string(rdma::fake::kAddress) + ":0"; }});
  AddTrusted(kinds);
}

#else

void AddFakeRdma(std::vector<Kind>&) {
  std::fprintf(stderr, "transport conformance: RDMA is skipped, the headers of verbs are not here\n");
}

#endif

std::vector<Kind> MakeKinds() {
  // What Node.js does for its process.
  signal(SIGPIPE, SIG_IGN);
  std::vector<Kind> kinds;
  kinds.push_back({"tcp_ipv4", MakeTcpTransport, [] { return std::string("127.0.0.1:0"); }});
  kinds.push_back({"tcp_ipv4_4_channels", MakeTcpTransport, [] { return std::string("127.0.0.1:0"); }, 4});
  if (HasIpv6()) {
    kinds.push_back({"tcp_ipv6", MakeTcpTransport, [] { return std::string("[::1]:0"); }});
  } else {
    std::fprintf(stderr, "transport conformance: IPv6 is skipped, this host has none\n");
  }
  kinds.push_back({"tcp_unix", MakeTcpTransport, NextSocketPath});
  kinds.push_back({"shm", MakeShmTransport, [] { return std::string("127.0.0.1:0"); }, 1, 1});
  AddTrusted(kinds);
  AddFakeRdma(kinds);
  AddRdma(kinds);
  return kinds;
}

}  // namespace

std::optional<std::string> RdmaAddress() {
  const char* host = std::getenv("SPLITPLANE_RDMA_ADDRESS");
  if (!host) return std::nullopt;
  const bool v6 = std::strchr(host, ':') != nullptr;
  return v6 ? "[" + std::string(host) + "]:0" : std::string(host) + ":0";
}

const std::vector<Kind>& Kinds() {
  static const std::vector<Kind> kinds = MakeKinds();
  return kinds;
}

uint8_t Pattern(uint64_t seed, uint64_t at) {
  return uint8_t((at * 0x9e3779b97f4a7c15u + seed * 0x85ebca6b) >> 29);
}

Side::Side(const Kind& kind, uint64_t number) : tags({uint8_t(number)}, 10'000, random) {
  auto made = kind.make({tags, pool, random});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  transport = std::move(*made);
  pool.set_observer([this](Region& region, RegionChange change) {
    if (change != RegionChange::kAdded) transport->RemoveRegion(region);
    const bool there = change == RegionChange::kRemoved || transport->AddRegion(region).ok();
    EXPECT_TRUE(there);
  });
}

Side::~Side() {
  accepted.clear();
  pool.set_observer(nullptr);
  transport.reset();
}

BufferRef Side::Buffer(uint64_t bytes) {
  Result<BufferRef> buffer = pool.Allocate(bytes);
  EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
  std::memset((*buffer)->data(), 0, bytes);
  return *buffer;
}

BufferRef Side::Filled(uint64_t bytes, uint64_t seed) {
  BufferRef buffer = Buffer(bytes);
  for (uint64_t i = 0; i < bytes; i++) buffer->data()[i] = Pattern(seed, i);
  return buffer;
}

Tag Side::Export(Access access, std::vector<Slice> slices, uint32_t uses) {
  TagOptions options;
  options.audience.kind = Audience::Kind::kBearer;
  options.access = access;
  options.slices = std::move(slices);
  options.uses = uses;
  Result<Tag> tag = tags.Export(std::move(options));
  EXPECT_TRUE(tag.ok()) << tag.status().ToString();
  return *tag;
}

void Side::OnAccepted(Listener&, std::unique_ptr<Endpoint> endpoint) {
  accepted.push_back(std::move(endpoint));
  if (on_accepted) on_accepted(*accepted.back());
}

void Side::OnFrame(Endpoint& endpoint, ConstBytes frame) {
  frames.emplace_back(frame.begin(), frame.end());
  if (on_frame) on_frame(endpoint);
}

void Side::OnCompletion(Endpoint& endpoint, Completion completion) {
  EXPECT_FALSE(closed.contains(&endpoint)) << "a completion after OnClosed";
  const bool first = completions.emplace(completion.operation, completion).second;
  EXPECT_TRUE(first) << "operation " << completion.operation << " completed twice";
  if (on_completion) on_completion(endpoint);
}

void Side::OnClosed(Endpoint& endpoint, Status why) {
  EXPECT_TRUE(closed.emplace(&endpoint, why).second) << "OnClosed twice";
}

std::vector<uint8_t> Contents(const BufferRef& buffer) {
  return {buffer->data(), buffer->data() + buffer->length()};
}

std::vector<uint8_t> PatternBytes(uint64_t seed, uint64_t offset, uint64_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint64_t i = 0; i < length; i++) bytes[i] = Pattern(seed, offset + i);
  return bytes;
}

Slice Whole(const BufferRef& buffer) { return {buffer, 0, buffer->length()}; }

ConstBytes AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

bool RunUntil(Side& a, Side& b, const std::function<bool()>& done) {
  const MonotonicNs give_up = NowNs() + kPatienceNs;
  while (!done()) {
    const MonotonicNs now = NowNs();
    if (now > give_up) return false;
    const bool a_moved = a.transport->Poll(a, now, a.budget);
    const bool b_moved = b.transport->Poll(b, now, b.budget);
    if (a_moved || b_moved) continue;
    if (done()) return true;
    if (!a.transport->Arm() || !b.transport->Arm()) continue;
    pollfd descriptors[2] = {{a.transport->event_fd(), POLLIN, 0}, {b.transport->event_fd(), POLLIN, 0}};
    const MonotonicNs until = std::min({give_up, a.transport->next_timeout(), b.transport->next_timeout()});
    const int wait_ms = until <= now ? 0 : int((until - now) / 1'000'000) + 1;
    poll(descriptors, 2, wait_ms);
  }
  return true;
}

void TransportTest::Connect() {
  auto listening =
      server.transport->Listen(GetParam().address(), {.trusted_peers = GetParam().listener_trusts});
  ASSERT_TRUE(listening.ok()) << listening.status().ToString();
  listener = std::move(*listening);
  auto connecting = client.transport->Connect(
      listener->address(),
      {.data_channels = GetParam().data_channels, .trusted_peer = GetParam().dialer_trusts});
  ASSERT_TRUE(connecting.ok()) << connecting.status().ToString();
  endpoint = std::move(*connecting);
  ASSERT_TRUE(Run([&] { return client.connected == 1 && server.accepted.size() == 1; }));
  remote = server.accepted.front().get();
  endpoint->Bind({.session = 1, .principal = "server"});
  remote->Bind({.session = 2, .principal = "client"});
}

void TransportTest::Forget() {
  endpoint.reset();
  listener.reset();
  for (Side* side : {&client, &server}) {
    side->accepted.clear();
    side->completions.clear();
    side->closed.clear();
    side->connected = 0;
  }
}

uint64_t TransportTest::Read(const Tag& tag, uint64_t offset, std::vector<Slice> into,
                             TransferOptions options) {
  uint64_t length = 0;
  for (const Slice& slice : into) length += slice.length;
  const Status posted =
      endpoint->PostRead(next_operation, {tag.span(), offset, length}, std::move(into), options);
  EXPECT_TRUE(posted.ok()) << posted.ToString();
  return next_operation++;
}

uint64_t TransportTest::Write(const Tag& tag, uint64_t offset, std::vector<Slice> from,
                              TransferOptions options) {
  uint64_t length = 0;
  for (const Slice& slice : from) length += slice.length;
  const Status posted =
      endpoint->PostWrite(next_operation, std::move(from), {tag.span(), offset, length}, options);
  EXPECT_TRUE(posted.ok()) << posted.ToString();
  return next_operation++;
}

Completion TransportTest::End(uint64_t operation) {
  EXPECT_TRUE(Run([&] { return client.completions.contains(operation); })) << "operation " << operation;
  return client.completions[operation];
}

}  // namespace splitplane::conformance

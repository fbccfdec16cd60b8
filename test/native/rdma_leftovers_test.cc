// That an engine over RDMA, however many peers it has had, ends with nothing of theirs: no registration,
// queue pair, protection domain, or pinned page. Over the fake device as often as it takes to believe it;
// over a real one, which may be emulated, less often: --gtest_repeat is for more.
#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <gtest/gtest.h>

#include "test/native/transport_conformance.h"

namespace splitplane::conformance {
namespace {

constexpr int kTransfersPerConnection = 10;
constexpr int kFakeConnections = 1000;
constexpr int kRealConnections = 30;
// Inline, kept by the peer, and in two spans.
constexpr uint64_t kSizes[] = {64, 4096, 1'500'000};

class RdmaLeftoversTest : public TransportTest {
 protected:
  // Reads and writes of all sizes, on fresh tags and on one that stands; then the end, by either side.
  void LiveOneConnection(int number) {
    Connect();
    const uint64_t length = kSizes[number % std::size(kSizes)];
    const BufferRef here = client.Buffer(length), there = server.Buffer(length);
    const Tag stands = server.Export(Access::kRead, {Whole(there)});
    for (int i = 0; i < kTransfersPerConnection; i++) {
      const bool writes = i % 2 == 1;
      const Tag once = server.Export(Access::kWrite, {Whole(there)}, 1);
      const Completion end = End(writes ? Write(once, 0, {Whole(here)}) : Read(stands, 0, {Whole(here)}));
      ASSERT_TRUE(end.status.ok()) << end.status.ToString();
      server.tags.Revoke(once);
    }
    server.tags.Revoke(stands);
    (number % 2 == 0 ? endpoint.get() : remote)->Close(Status());
    ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
    Forget();
  }
  // What is left, as text; empty when nothing is.
  static std::string Left(const Side& side) {
    std::string left;
    for (const TransportGauge& gauge : side.transport->gauges()) {
      if (gauge.value != 0) left += std::string(gauge.name) + " " + std::to_string(gauge.value) + " ";
    }
    return left;
  }
};

// Goal: registrations, queue pairs, protection domains and pinned pages go back to zero. Method: connections
// that come, move and go; what is alive is counted where it is made and destroyed.
TEST_P(RdmaLeftoversTest, NothingIsLeftOfManyConnections) {
  const int connections = GetParam().name == kFakeDevice ? kFakeConnections : kRealConnections;
  for (int i = 0; i < connections && !HasFatalFailure(); i++) LiveOneConnection(i);
  EXPECT_TRUE(Run([&] { return Left(client).empty() && Left(server).empty(); }))
      << "client: " << Left(client) << "server: " << Left(server);
}

std::vector<Kind> Devices() {
  std::vector<Kind> devices;
  for (const Kind& kind : Kinds()) {
    if (kind.name.starts_with("rdma") || kind.name == kFakeDevice) devices.push_back(kind);
  }
  return devices;
}

INSTANTIATE_TEST_SUITE_P(Devices, RdmaLeftoversTest, testing::ValuesIn(Devices()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace splitplane::conformance

#endif  // SPLITPLANE_HAS_VERBS

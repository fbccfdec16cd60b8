// Two engines over the fake device, and what tests of its faults have in common.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <vector>

#include "test/native/rdma_fake_verbs.h"
#include "test/native/transport_conformance.h"

namespace splitplane::rdma {

using conformance::Contents;
using conformance::Pattern;
using conformance::PatternBytes;
using conformance::RunUntil;
using conformance::Side;
using conformance::Whole;
using fake::Fabric;
using fake::Work;

// The one line of conformance::Kinds() that is the fake device.
inline const conformance::Kind& FakeKind() {
  for (const conformance::Kind& kind : conformance::Kinds()) {
    if (kind.name == conformance::kFakeDevice) return kind;
  }
  std::abort();
}

class FakeRdmaTest : public conformance::TransportTest {
 protected:
  // The client opens the device first.
  static constexpr size_t kClient = 0, kServer = 1;

  fake::Faults& faults() { return Fabric::Get().faults; }
  fake::Device& device() { return Fabric::Get().device; }

  // Whether a transfer goes through, whole.
  void Goes() {
    const BufferRef into = client.Buffer(300'000);
    const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(300'000, 7))});
    const Completion end = End(Read(tag, 0, {Whole(into)}));
    ASSERT_TRUE(end.status.ok()) << end.status.ToString();
    EXPECT_TRUE(Contents(into) == PatternBytes(7, 0, 300'000));
  }
  // Both sides hear of the end; what the client was told.
  Status Closes() {
    EXPECT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
    return client.closed[endpoint.get()];
  }
};

#define SPLITPLANE_OVER_THE_FAKE_DEVICE(suite)                         \
  INSTANTIATE_TEST_SUITE_P(Faults, suite, testing::Values(FakeKind()), \
                           [](const auto& param) { return param.param.name; })

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

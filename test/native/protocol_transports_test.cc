// The protocol over real transports: what the fake one cannot show is how both layers fit together. RDMA is
// among them where a device is named (transport_conformance.h). Waits for events; time is the clock's.
#include "native/rdma/rdma_transport.h"
#include "native/tcp/tcp_transport.h"
#include "test/native/protocol_fixture.h"
#include "test/native/transport_conformance.h"

namespace splitplane {
namespace {

struct Carrier {
  TransportEntry entry;
  std::string address;
};

std::vector<Carrier> Carriers() {
  std::vector<Carrier> carriers = {{{"tcp", &MakeTcpTransport}, "127.0.0.1:0"}};
  if (const std::optional<std::string> address = conformance::RdmaAddress()) {
    carriers.push_back({{"rdma", &MakeRdmaTransport}, *address});
  }
  return carriers;
}

class ProtocolOver : public testing::TestWithParam<Carrier> {
 protected:
  void SetUp() override {
    alice = std::make_unique<Node>(Node::Options("alice"), std::vector{GetParam().entry});
    bob = std::make_unique<Node>(Node::Options("bob"), std::vector{GetParam().entry});
    const char* name = GetParam().entry.name;
    auto listener = bob->engine->Listen(name, GetParam().address, {});
    ASSERT_TRUE(listener.ok()) << listener.status().ToString();
    auto session =
        alice->engine->Connect(Over(name, bob->engine->ListenerAddress(*listener)), {.data_channels = 2}, {});
    ASSERT_TRUE(session.ok()) << session.status().ToString();
  }
  // Polls both until `done`; gives up only when the test has long been lost.
  void Until(const std::function<bool()>& done) {
    const MonotonicNs lost = NowNs() + 60'000 * kMs;
    while (!done()) {
      ASSERT_LT(NowNs(), lost) << "what was waited for never came";
      for (Node* node : {alice.get(), bob.get()}) {
        if (node->engine) node->engine->Poll(NowNs(), 1 << 20);
      }
    }
  }
  void Open() {
    Until([&] { return !alice->opened.empty() && !bob->opened.empty(); });
  }

  std::unique_ptr<Node> alice, bob;
};

// Alice reads the moment she may: her request must not overtake the START that lets her.
TEST_P(ProtocolOver, OperationsMayBePostedAsSoonAsTheSessionIsOpen) {
  BufferRef memory = bob->Memory(4 << 20, 7), local = alice->Memory(4 << 20, 0);
  Tag tag;
  Until([&] { return !bob->hello_sessions.empty(); });
  TagOptions options;
  options.audience.session = bob->hello_sessions[0];
  options.slices = {{memory, 0, memory->length()}};
  tag = *bob->engine->tags().Export(std::move(options));
  Until([&] { return !alice->opened.empty(); });
  auto read = alice->engine->Read(alice->session(), tag, {}, 0, {{local, 0, local->length()}}, {});
  ASSERT_TRUE(read.ok());
  Until([&] { return alice->operations.count(*read) > 0; });
  EXPECT_EQ(alice->operations[*read].first, Code::kOk);
  EXPECT_EQ(std::memcmp(local->data(), memory->data(), memory->length()), 0);
}

TEST_P(ProtocolOver, MessagesOfEverySizeArriveBeforeTheClose) {
  Open();
  for (size_t size = 1; size <= 1 << 20; size *= 4) {
    ASSERT_NE(alice->Send(std::string(size, 'a')), 0u);
    ASSERT_NE(bob->Send(std::string(size, 'b')), 0u);
  }
  alice->engine->Close(alice->session());
  Until([&] { return !alice->closed.empty() && !bob->closed.empty(); });
  EXPECT_EQ(alice->ClosedWith(), Code::kClosed);
  EXPECT_EQ(bob->ClosedWith(), Code::kClosed);
  ASSERT_EQ(bob->received.size(), 11u);
  ASSERT_EQ(alice->received.size(), 11u);
  EXPECT_EQ(bob->received.back().envelope, std::string(1 << 20, 'a'));
}

TEST_P(ProtocolOver, ARefusalReachesThePeer) {
  bob->on_hello = [&](SessionId session) {
    EXPECT_TRUE(bob->engine->Reject(session, Code::kAuthenticationFailed, "unknown key").ok());
  };
  Until([&] { return !alice->closed.empty(); });
  EXPECT_EQ(alice->ClosedWith(), Code::kAuthenticationFailed);
}

TEST_P(ProtocolOver, APeerThatGoesIsNoticedAndWaitedFor) {
  Open();
  bob->engine.reset();
  Until([&] { return !alice->interrupted.empty(); });
  EXPECT_EQ(alice->interrupted[0], Code::kConnectionLost);
  EXPECT_NE(alice->Send("kept"), 0u);
  alice->engine->Destroy(alice->session(), {});
  Until([&] { return !alice->closed.empty(); });
  EXPECT_EQ(alice->ClosedWith(), Code::kAborted);
}

INSTANTIATE_TEST_SUITE_P(Transports, ProtocolOver, testing::ValuesIn(Carriers()),
                         [](const auto& param) { return std::string(param.param.entry.name); });

}  // namespace
}  // namespace splitplane

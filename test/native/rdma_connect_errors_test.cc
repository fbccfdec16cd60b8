// Connecting over RDMA when something fails, on either side: every call of the libraries, every word of the
// connection manager. Whoever connects gets an error that says what to do, nothing is left, and the next
// attempt is as good as the first. Over the fake device, which fails on demand.
#include <gmock/gmock.h>

#include <cerrno>

#include "native/rdma/table_transport.h"
#include "test/native/rdma_fake_fixture.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {
namespace {

using testing::HasSubstr;

// Two engines that connect and read a little, once or more.
class Attempt {
 public:
  // The first error that either side was told, ok if there was none.
  Status Connect() {
    auto listening = server_.transport->Listen(FakeKind().address(), {});
    if (!listening.ok()) return listening.status();
    auto connecting = client_.transport->Connect((*listening)->address(), {});
    if (!connecting.ok()) return connecting.status();
    const int connected = client_.connected;
    const size_t closed = client_.closed.size();
    EXPECT_TRUE(RunUntil(client_, server_, [&] {
      return client_.closed.size() > closed ||
             (client_.connected > connected && server_.accepted.size() > server_.closed.size());
    }));
    Status status = Told(**connecting);
    if (status.ok()) status = Read(**connecting);
    connecting->reset();
    EXPECT_TRUE(RunUntil(client_, server_, [&] { return server_.closed.size() == server_.accepted.size(); }));
    return status;
  }

 private:
  Status Told(Endpoint& endpoint) {
    const auto found = client_.closed.find(&endpoint);
    return found == client_.closed.end() ? Status() : found->second;
  }
  Status Read(Endpoint& endpoint) {
    server_.accepted.back()->Bind({.session = 2, .principal = "client"});
    const Tag tag = server_.Export(Access::kRead, {Whole(server_.Filled(1000, 1))});
    const BufferRef into = client_.Buffer(1000);
    const uint64_t id = ++operations_;
    const Status posted = endpoint.PostRead(id, {tag.span(), 0, 1000}, {Whole(into)}, {});
    if (!posted.ok()) return posted;
    EXPECT_TRUE(RunUntil(client_, server_, [&] { return client_.completions.contains(id); }));
    const Status status = client_.completions[id].status;
    EXPECT_TRUE(!status.ok() || Contents(into) == PatternBytes(1, 0, 1000));
    return status;
  }

  Side client_{FakeKind(), 1};
  Side server_{FakeKind(), 2};
  uint64_t operations_ = 0;
};

class RdmaCallsTest : public testing::TestWithParam<const char*> {};

// Goal: any call may fail once, at any time; it ends in an error with a sentence, and is forgotten. Method:
// fail the first, the second, ... until a connection and a read came through without that many calls.
TEST_P(RdmaCallsTest, AnyMayFail) {
  uint32_t nth = 0;
  for (;; nth++) {
    SCOPED_TRACE(testing::Message() << "call " << nth);
    {
      Attempt attempt;
      fake::Faults& faults = Fabric::Get().faults;
      faults.FailCall(GetParam(), nth, ENOMEM);
      const Status status = attempt.Connect();
      if (!faults.call_failed()) {
        EXPECT_TRUE(status.ok()) << status.ToString();
        break;
      }
      EXPECT_TRUE(status.ok() || !status.detail().empty()) << CodeName(status.code());
      EXPECT_NE(status.code(), Code::kProtocolViolation) << status.ToString();
      EXPECT_NE(status.code(), Code::kConnectTimeout) << status.ToString();
      const Status again = attempt.Connect();
      EXPECT_TRUE(again.ok()) << again.ToString();
    }
    EXPECT_EQ(Fabric::Renew(false), "");
    ASSERT_LT(nth, 10'000u) << "no end";
  }
  EXPECT_GT(nth, 0u) << "the call is never made";
}

INSTANTIATE_TEST_SUITE_P(Faults, RdmaCallsTest,
                         testing::Values("open_device", "query_device", "create_comp_channel", "alloc_pd",
                                         "create_cq", "create_qp", "reg_mr", "modify_qp", "init_qp_attr",
                                         "query_gid_entry", "post_recv", "post_send", "poll_cq",
                                         "req_notify_cq", "create_id", "bind_addr", "listen", "resolve_addr",
                                         "resolve_route", "connect", "accept", "establish"),
                         [](const auto& param) { return std::string(param.param); });

class RdmaConnectErrorsTest : public FakeRdmaTest {
 protected:
  // What whoever connects is told.
  Status Try() {
    auto listening = server.transport->Listen(GetParam().address(), {});
    EXPECT_TRUE(listening.ok());
    auto connecting = client.transport->Connect((*listening)->address(), {});
    if (!connecting.ok()) return connecting.status();
    EXPECT_TRUE(Run([&] { return client.closed.size() == 1; }));
    return client.closed[connecting->get()];
  }
};

// Goal: what the connection manager may say instead of what is hoped for has a code of its own. Method: each.
TEST_P(RdmaConnectErrorsTest, EveryWordOfTheManager) {
  const struct {
    rdma_cm_event_type event, instead;
    int status;
    Code code;
  } words[] = {
      {RDMA_CM_EVENT_ADDR_RESOLVED, RDMA_CM_EVENT_ADDR_ERROR, -ENODEV, Code::kTransportUnavailable},
      {RDMA_CM_EVENT_ADDR_RESOLVED, RDMA_CM_EVENT_ADDR_ERROR, -ETIMEDOUT, Code::kConnectTimeout},
      {RDMA_CM_EVENT_ROUTE_RESOLVED, RDMA_CM_EVENT_ROUTE_ERROR, -EHOSTUNREACH, Code::kConnectionRefused},
      {RDMA_CM_EVENT_CONNECT_RESPONSE, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, Code::kConnectTimeout},
      {RDMA_CM_EVENT_CONNECT_RESPONSE, RDMA_CM_EVENT_CONNECT_ERROR, -EINVAL, Code::kConnectionLost},
      // A refusal with somebody else's words.
      {RDMA_CM_EVENT_CONNECT_RESPONSE, RDMA_CM_EVENT_REJECTED, 24, Code::kConnectionRefused},
      {RDMA_CM_EVENT_ROUTE_RESOLVED, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, Code::kConnectionLost},
  };
  for (const auto& word : words) {
    SCOPED_TRACE(testing::Message() << "event " << word.instead);
    faults().ReplaceEvent(word.event, word.instead, word.status);
    const Status status = Try();
    EXPECT_EQ(status.code(), word.code) << status.ToString();
    EXPECT_FALSE(status.detail().empty());
    client.closed.clear();
  }
  EXPECT_TRUE(server.accepted.empty());
}

// Goal: a connection that breaks while it is accepted is handed to nobody. Method: an error instead of the
// last word.
TEST_P(RdmaConnectErrorsTest, NobodyIsHandedWhatBroke) {
  faults().ReplaceEvent(RDMA_CM_EVENT_ESTABLISHED, RDMA_CM_EVENT_CONNECT_ERROR, -EINVAL);
  EXPECT_EQ(Try().code(), Code::kConnectionLost);
  EXPECT_TRUE(server.accepted.empty());
}

// Goal: the limit on locked memory is named, whichever side has no room for a connection. Method: room for
// the buffers of neither, then of one.
TEST_P(RdmaConnectErrorsTest, LockedMemory) {
  for (const uint64_t room : {100'000, 200'000}) {
    faults().LimitRegistrations(room);
    const Status status = Try();
    EXPECT_EQ(status.code(), Code::kOutOfMemory);
    EXPECT_THAT(std::string(status.detail()), HasSubstr("RLIMIT_MEMLOCK")) << room;
    client.closed.clear();
  }
  faults().LimitRegistrations(UINT64_MAX);
  Connect();
  Goes();
}

// Goal: requests that a listener did not come to are refused when it goes. Method: it goes before its engine
// looks.
TEST_P(RdmaConnectErrorsTest, ListenersMayGo) {
  auto listening = server.transport->Listen(GetParam().address(), {});
  ASSERT_TRUE(listening.ok());
  auto connecting = client.transport->Connect((*listening)->address(), {});
  ASSERT_TRUE(connecting.ok());
  for (int i = 0; i < 40; i++) {
    (void)client.transport->Arm();
    client.transport->Poll(client, NowNs(), UINT64_MAX);
  }
  listening->reset();
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1; }));
  EXPECT_EQ(client.closed.begin()->second.code(), Code::kConnectionRefused);
}

// Goal: handles may outlive their transport. Method: destroy a listener and endpoints after it.
TEST_P(RdmaConnectErrorsTest, HandlesMayOutliveTheTransport) {
  Connect();
  client.pool.set_observer(nullptr);
  server.pool.set_observer(nullptr);
  client.transport.reset();
  server.transport.reset();
  EXPECT_EQ(Fabric::Renew(false), "") << "handles hold nothing of the device";
  EXPECT_EQ(endpoint->PostSend({}).code(), Code::kClosed);
  endpoint->Close({});
  endpoint.reset();
  listener.reset();
}

SPLITPLANE_OVER_THE_FAKE_DEVICE(RdmaConnectErrorsTest);

// Goal: without a device, or without its manager, there is no transport, and it says what to do.
TEST(RdmaMissingTest, SaysWhatToDo) {
  RandomSource random;
  TagTable tags({}, 1, random);
  MemoryPool pool{PoolOptions{}};
  const TransportContext context{tags, pool, random};
  Fabric::Get().faults.FailCall("create_event_channel", 0, ENODEV);
  Status status = MakeTransport(Fabric::Table(), context).status();
  EXPECT_EQ(status.code(), Code::kTransportUnavailable);
  EXPECT_THAT(std::string(status.detail()), HasSubstr("rdma_ucm"));
  Fabric::Get().Unplug();
  status = MakeTransport(Fabric::Table(), context).status();
  EXPECT_EQ(status.code(), Code::kTransportUnavailable);
  EXPECT_THAT(std::string(status.detail()), HasSubstr("doctor"));
}

}  // namespace
}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

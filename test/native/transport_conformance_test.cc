// Conformance of transports, first part: connecting, frames, closing, going to sleep, and what callbacks may
// do.
#include "test/native/transport_conformance.h"

#include <gmock/gmock.h>
#include <poll.h>

namespace splitplane::conformance {
namespace {

using testing::ElementsAre;

std::vector<uint8_t> FrameOf(const std::string& text) { return {text.begin(), text.end()}; }

Status Send(Endpoint& endpoint, const std::string& text) {
  const ConstBytes pieces[] = {AsBytes(text)};
  return endpoint.PostSend(pieces);
}

// Goal: both ends open, and know where they are. Method: connect and compare what they say.
TEST_P(TransportTest, Connects) {
  Connect();
  EXPECT_TRUE(endpoint->info().local_only);
  EXPECT_TRUE(remote->info().local_only);
  EXPECT_EQ(endpoint->info().remote_address, listener->address());
  EXPECT_EQ(remote->info().local_address, listener->address());
  if (listener->address().starts_with("unix:")) {
    EXPECT_EQ(remote->info().peer_uid, int64_t(getuid()));
  }
}

// Goal: a frame that the acceptor sends at once is not lost, and comes after OnConnected. Method: it posts
// while it is being handed the endpoint.
TEST_P(TransportTest, TheAcceptorMaySpeakFirst) {
  server.on_accepted = [&](Endpoint& accepted) { EXPECT_TRUE(Send(accepted, "welcome").ok()); };
  client.on_frame = [&](Endpoint&) { EXPECT_EQ(client.connected, 1); };
  Connect();
  ASSERT_TRUE(Run([&] { return !client.frames.empty(); }));
}

// Goal: an address where nobody listens is refused, whenever that shows. Method: close the listener first.
TEST_P(TransportTest, RefusesWhereNobodyListens) {
  auto listening = server.transport->Listen(GetParam().address(), {});
  ASSERT_TRUE(listening.ok());
  const std::string address = (*listening)->address();
  listening->reset();
  auto connecting = client.transport->Connect(address, {});
  Status why = connecting.status();
  if (connecting.ok()) {
    ASSERT_TRUE(Run([&] { return client.closed.size() == 1; }));
    why = client.closed.begin()->second;
  }
  EXPECT_EQ(why.code(), Code::kConnectionRefused) << why.ToString();
  EXPECT_EQ(client.connected, 0);
}

// Goal: two listeners cannot have one address. Method: listen twice.
TEST_P(TransportTest, AnAddressIsTakenOnce) {
  auto first = server.transport->Listen(GetParam().address(), {});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(client.transport->Listen((*first)->address(), {}).status().code(), Code::kAddressInUse);
}

// Goal: frames arrive whole and in order both ways, whatever their size. Method: sizes around every boundary.
TEST_P(TransportTest, FramesArriveInOrder) {
  Connect();
  const size_t longest = client.transport->capabilities().send_bytes_max;
  std::vector<std::vector<uint8_t>> sent;
  for (size_t length :
       {size_t(1), size_t(2), size_t(63), size_t(64), size_t(4096), longest - 1, longest, size_t(5)}) {
    std::string text(length, '\0');
    for (size_t i = 0; i < length; i++) text[i] = char(Pattern(length, i));
    const ConstBytes whole = AsBytes(text);
    const ConstBytes pieces[] = {whole.first(length / 2), {}, whole.subspan(length / 2)};
    for (Endpoint* end : {endpoint.get(), remote}) {
      ASSERT_TRUE(Run([&] { return end->PostSend(pieces).ok(); })) << length;
    }
    sent.push_back(FrameOf(text));
  }
  ASSERT_TRUE(
      Run([&] { return server.frames.size() == sent.size() && client.frames.size() == sent.size(); }));
  EXPECT_EQ(server.frames, sent);
  EXPECT_EQ(client.frames, sent);
}

// Goal: a frame that is too long, or empty, is refused and nothing else happens. Method: one byte beyond.
TEST_P(TransportTest, FramesHaveABound) {
  Connect();
  const std::string text(client.transport->capabilities().send_bytes_max + 1, 'x');
  EXPECT_EQ(Send(*endpoint, text).code(), Code::kInvalidArgument);
  EXPECT_EQ(endpoint->PostSend({}).code(), Code::kInvalidArgument);
  ASSERT_TRUE(Send(*endpoint, "after").ok());
  ASSERT_TRUE(Run([&] { return !server.frames.empty(); }));
  EXPECT_THAT(server.frames, ElementsAre(FrameOf("after")));
}

// Goal: a sender is stopped while nobody takes what it sends, and told when there is room; nothing is lost.
// Method: send without polling the peer until refused, then let the peer read.
TEST_P(TransportTest, BackPressure) {
  Connect();
  const std::string text(64 * 1024, 'x');
  size_t sent = 0;
  Status posted;
  for (int refused_polls = 0; refused_polls < 3;) {
    posted = Send(*endpoint, text);
    if (posted.ok()) {
      sent++;
    } else {
      refused_polls++;
    }
    client.transport->Poll(client, NowNs(), UINT64_MAX);
    ASSERT_LT(sent, 10'000u) << "no bound";
  }
  EXPECT_TRUE(posted.no_resource());
  ASSERT_TRUE(Run([&] { return client.writable > 0; }));
  ASSERT_TRUE(Send(*endpoint, text).ok());
  ASSERT_TRUE(Run([&] { return server.frames.size() == sent + 1; }));
}

// Goal: after Arm, whatever arrives makes the descriptor readable. Method: arm, let the peer post each kind
// of thing, look at the descriptor alone.
TEST_P(TransportTest, ArmLosesNothing) {
  Connect();
  for (int round = 0; round < 20; round++) {
    while (server.transport->Poll(server, NowNs(), UINT64_MAX) || !server.transport->Arm()) {
    }
    ASSERT_TRUE(Send(*endpoint, "wake up").ok());
    client.transport->Poll(client, NowNs(), UINT64_MAX);
    pollfd descriptor = {server.transport->event_fd(), POLLIN, 0};
    ASSERT_EQ(poll(&descriptor, 1, 10'000), 1) << "round " << round;
    ASSERT_TRUE(Run([&] { return server.frames.size() == size_t(round + 1); }));
  }
}

// Goal: Arm refuses to sleep on what was posted and not sent. Method: post, then arm; if it lets us sleep,
// the peer gets it without our help.
TEST_P(TransportTest, ArmSeesWhatWasPosted) {
  Connect();
  while (client.transport->Poll(client, NowNs(), UINT64_MAX) || !client.transport->Arm()) {
  }
  ASSERT_TRUE(Send(*endpoint, "not sent yet").ok());
  if (!client.transport->Arm()) return;
  for (int i = 0; i < 1000 && server.frames.empty(); i++) {
    server.transport->Poll(server, NowNs(), UINT64_MAX);
  }
  EXPECT_EQ(server.frames.size(), 1u);
}

// Goal: closing in good order loses nothing that was posted, and both sides learn that all was well. Method:
// several large frames, as many as are taken, then Close before anything was polled.
TEST_P(TransportTest, ClosesInGoodOrder) {
  Connect();
  // Of this size each transport queues several.
  const std::string text(std::min<size_t>(32 * 1024, client.transport->capabilities().send_bytes_max), 'x');
  size_t sent = 0;
  while (sent < 5 && Send(*endpoint, text).ok()) sent++;
  ASSERT_GE(sent, 2u);
  endpoint->Close({});
  EXPECT_EQ(Send(*endpoint, "too late").code(), Code::kClosed);
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
  EXPECT_EQ(server.frames.size(), sent);
  EXPECT_EQ(client.closed[endpoint.get()].code(), Code::kClosed);
  EXPECT_EQ(server.closed[remote].code(), Code::kClosed);
}

// Goal: both may close at once. Method: they do.
TEST_P(TransportTest, BothClose) {
  Connect();
  endpoint->Close({});
  remote->Close({});
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
  EXPECT_EQ(client.closed[endpoint.get()].code(), Code::kClosed);
  EXPECT_EQ(server.closed[remote].code(), Code::kClosed);
}

// Goal: a broken connection is told from one that was closed. Method: Close with a reason; the other side
// sees a loss.
TEST_P(TransportTest, AbortIsALossForThePeer) {
  Connect();
  endpoint->Close(Status::Error(Code::kPeerUnresponsive, "test", "for a reason"));
  EXPECT_TRUE(client.closed.empty()) << "a callback outside Poll";
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
  EXPECT_EQ(client.closed[endpoint.get()].code(), Code::kPeerUnresponsive);
  EXPECT_EQ(server.closed[remote].code(), Code::kConnectionLost);
}

// Goal: destroying an endpoint tells its owner nothing and the peer everything. Method: destroy one with work
// under way.
TEST_P(TransportTest, DestroyingIsALossForThePeer) {
  Connect();
  const BufferRef source = server.Filled(8 << 20, 1);
  Read(server.Export(Access::kRead, {Whole(source)}), 0, {Whole(client.Buffer(8 << 20))});
  endpoint.reset();
  ASSERT_TRUE(Run([&] { return server.closed.size() == 1; }));
  EXPECT_EQ(server.closed[remote].code(), Code::kConnectionLost);
  EXPECT_TRUE(client.completions.empty());
  EXPECT_TRUE(client.closed.empty());
}

// Goal: everything outstanding ends before OnClosed, with the reason. Method: reads of which no byte can have
// come.
TEST_P(TransportTest, ClosingEndsWhatIsOutstanding) {
  Connect();
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(1 << 20, 1))});
  const BufferRef target = client.Buffer(1 << 20);
  for (int i = 0; i < 10; i++) Read(tag, 0, {Whole(target)});
  endpoint->Close(Status::Error(Code::kPeerUnresponsive, "test", "for a reason"));
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1; }));
  ASSERT_EQ(client.completions.size(), 10u);
  for (const auto& [id, completion] : client.completions) {
    EXPECT_EQ(completion.status.code(), Code::kPeerUnresponsive);
  }
  EXPECT_EQ(target->holders(), 1u) << "slices are let go";
}

// Goal: an endpoint may go inside its own callbacks. Method: destroy the acceptor's in OnFrame with more
// frames queued, and the connector's in OnCompletion with more reads outstanding.
TEST_P(TransportTest, CallbacksMayDestroy) {
  Connect();
  for (int i = 0; i < 10; i++) ASSERT_TRUE(Send(*endpoint, "frame").ok());
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(4096, 1))});
  for (int i = 0; i < 4; i++) Read(tag, 0, {Whole(client.Buffer(4096))});
  client.on_completion = [&](Endpoint&) { endpoint.reset(); };
  server.on_frame = [&](Endpoint&) {
    if (server.frames.size() == 5) server.accepted.clear();
  };
  ASSERT_TRUE(Run([&] {
    return server.frames.size() == 5 && (client.completions.size() == 1 || client.closed.size() == 1);
  }));
  for (int i = 0; i < 3; i++) {
    server.transport->Poll(server, NowNs(), UINT64_MAX);
    client.transport->Poll(client, NowNs(), UINT64_MAX);
  }
  EXPECT_EQ(server.frames.size(), 5u);
  EXPECT_TRUE(server.closed.empty());
}

// Goal: callbacks may close, and nothing is told after OnClosed. Method: close in OnFrame with frames behind
// it.
TEST_P(TransportTest, CallbacksMayClose) {
  Connect();
  for (int i = 0; i < 10; i++) ASSERT_TRUE(Send(*endpoint, "frame").ok());
  server.on_frame = [&](Endpoint& where) { where.Close(Status::Error(Code::kAborted, "test", "enough")); };
  ASSERT_TRUE(Run([&] { return server.closed.size() == 1 && client.closed.size() == 1; }));
  EXPECT_EQ(server.frames.size(), 1u);
}

// Goal: a listener's bound on endpoints holds, and is told. Method: one more than allowed; then one goes.
TEST_P(TransportTest, EndpointsHaveABound) {
  auto listening = server.transport->Listen(GetParam().address(), {.endpoints_max = 1});
  ASSERT_TRUE(listening.ok());
  const ConnectOptions options{.data_channels = GetParam().data_channels};
  auto first = client.transport->Connect((*listening)->address(), options);
  ASSERT_TRUE(Run([&] { return client.connected == 1; }));
  auto second = client.transport->Connect((*listening)->address(), options);
  ASSERT_TRUE(second.ok());
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1; }));
  EXPECT_EQ(client.closed[second->get()].code(), Code::kLimitExceeded);
  first->reset();
  ASSERT_TRUE(Run([&] { return server.closed.size() == 1; }));
  auto third = client.transport->Connect((*listening)->address(), options);
  EXPECT_TRUE(Run([&] { return client.connected == 2; }));
}

// Goal: a listener may go while endpoints live. Method: frames go on afterwards.
TEST_P(TransportTest, EndpointsOutliveTheListener) {
  Connect();
  listener.reset();
  ASSERT_TRUE(Send(*endpoint, "still here").ok());
  EXPECT_TRUE(Run([&] { return server.frames.size() == 1; }));
}

// Goal: a deadline ends the attempt. Method: a deadline that has passed.
TEST_P(TransportTest, ConnectHasADeadline) {
  auto listening = server.transport->Listen(GetParam().address(), {});
  ASSERT_TRUE(listening.ok());
  auto connecting = client.transport->Connect((*listening)->address(), {.deadline = NowNs()});
  ASSERT_TRUE(connecting.ok());
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1; }));
  EXPECT_EQ(client.closed[connecting->get()].code(), Code::kConnectTimeout);
}

INSTANTIATE_TEST_SUITE_P(Transports, TransportTest, testing::ValuesIn(Kinds()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace splitplane::conformance

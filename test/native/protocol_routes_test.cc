// Several transports to one peer: which one carries a session, that nothing else is taken silently, and that
// a session whose transport dies goes on over the next one without losing or doubling anything.
#include "native/protocol/routes.h"
#include "test/native/protocol_script.h"

namespace splitplane {
namespace {

// Two networks; Bob listens on both. "fake" is the better one.
class ProtocolRoutes : public ScriptedTest {
 protected:
  ProtocolRoutes() {
    network.send_bytes_max = 8 * 1024;
    network.operations_max = 8;
    spare.send_bytes_max = 16 * 1024;
    spare.operations_max = 2;
  }
  // Engines go before their networks.
  ~ProtocolRoutes() override {
    alice.reset();
    bob.reset();
    mallory.reset();
  }

  void MakeNodes(EngineOptions alices = Node::Options("alice"),
                 EngineOptions bobs = Node::Options("bob")) override {
    const std::vector<TransportEntry> both = {FakeNetwork::Entry(), FakeNetwork::SpareEntry()};
    alice = std::make_unique<Node>(std::move(alices), both);
    bob = std::make_unique<Node>(std::move(bobs), both);
    for (const char* transport : {"fake", "spare"}) {
      ASSERT_TRUE(bob->engine->Listen(transport, "bob:1", {}).ok());
    }
  }
  Result<SessionId> TryToDial() { return alice->engine->Connect(routes, {}, {}); }
  SessionId Dial(NodeId expected = {}) override {
    auto session = alice->engine->Connect(routes, {}, expected);
    EXPECT_TRUE(session.ok()) << session.status().ToString();
    return session.ok() ? *session : 0;
  }
  // What carries the session, as both sides see it.
  std::string Carrier() const {
    EXPECT_EQ(alice->Info().transport, bob->Info().transport);
    return alice->Info().transport;
  }
  // Why the better transport does not carry it; kOk: it does.
  Code PassedOverFor() const {
    const SessionInfo info = alice->Info();
    if (info.passed_over.empty()) return Code::kOk;
    EXPECT_EQ(info.passed_over.size(), 1u);
    EXPECT_EQ(info.passed_over[0].transport, "fake");
    EXPECT_FALSE(info.passed_over[0].why.detail().empty());
    EXPECT_TRUE(bob->Info().passed_over.empty()) << "who was called cannot know";
    return info.passed_over[0].why.code();
  }
  // The next dial over the better network fails, and over the spare one does not.
  void TakeDeviceAway() {
    network.gone = true;
    network.CutAll();
  }

  FakeNetwork spare;
  std::vector<Route> routes = {{"fake", "bob:1"}, {"spare", "bob:1"}};
};

TEST_F(ProtocolRoutes, TheBestIsTaken) {
  Open();
  EXPECT_EQ(Carrier(), "fake");
  EXPECT_EQ(PassedOverFor(), Code::kOk);
  EXPECT_EQ(bob->hellos[0].transport, "fake");
  EXPECT_EQ(spare.calls(), 0u);
}

TEST_F(ProtocolRoutes, ARouteThatReachesNobodyIsPassedOverWithItsReason) {
  const std::pair<Code, std::function<void()>> cases[] = {
      {Code::kTransportUnavailable, [&] { network.gone = true; }},
      {Code::kConnectionRefused, [&] { network.refuse = true; }},
      {Code::kConnectionRefused, [&] { network.refuse_later = true; }},
      // It answers, and breaks before the peer has said a word.
      {Code::kConnectionLost, [&] { network.CutAtFrame(1, false); }},
      {Code::kConnectionLost, [&] { network.CutAtFrame(1, true); }},
  };
  for (const auto& [code, prepare] : cases) {
    SCOPED_TRACE(CodeName(code));
    network.gone = network.refuse = network.refuse_later = false;
    prepare();
    Open();
    EXPECT_EQ(Carrier(), "spare");
    EXPECT_EQ(PassedOverFor(), code);
    EXPECT_EQ(alice->opened.size(), 1u);
    EXPECT_TRUE(alice->closed.empty());
    alice.reset();
    bob.reset();
  }
}

TEST_F(ProtocolRoutes, ATransportThatIsNotAvailableIsPassedOverWithItsReason) {
  MakeNodes();
  alice = std::make_unique<Node>(
      Node::Options("alice"),
      std::vector<TransportEntry>{{"fake",
                                   [](TransportContext) -> Result<std::unique_ptr<Transport>> {
                                     return Status::Error(Code::kTransportUnavailable, "fake", "no device");
                                   }},
                                  FakeNetwork::SpareEntry()});
  Dial();
  Settle();
  EXPECT_EQ(Carrier(), "spare");
  EXPECT_EQ(PassedOverFor(), Code::kTransportUnavailable);
  EXPECT_EQ(alice->Info().passed_over[0].why.detail(), "no device");
}

// Whoever has another way does not wait as long for an answer as whoever has none; a greeting has its full
// time again once somebody is there.
TEST_F(ProtocolRoutes, ARouteThatDoesNotAnswerIsPassedOverSoon) {
  MakeNodes();
  network.stalled = true;
  Dial();
  Pass(1'990);
  EXPECT_EQ(spare.calls(), 0u);
  Pass(20);
  ASSERT_EQ(alice->opened.size(), 1u);
  EXPECT_EQ(Carrier(), "spare");
  EXPECT_EQ(PassedOverFor(), Code::kConnectTimeout);
}

TEST_F(ProtocolRoutes, AUserWhoThinksForLongIsNotPassedOver) {
  MakeNodes();
  bob->on_hello = [](SessionId) {};
  const SessionId session = Dial();
  Pass(9'000);
  ASSERT_EQ(bob->hello_sessions.size(), 1u);
  EXPECT_TRUE(bob->engine->Accept(bob->hello_sessions[0], "alice").ok());
  Settle();
  EXPECT_EQ(alice->opened, std::vector<SessionId>{session});
  EXPECT_EQ(Carrier(), "fake");
}

TEST_F(ProtocolRoutes, WhenNoneReachesAnybodyTheSentenceNamesAll) {
  MakeNodes();
  network.gone = spare.refuse = true;
  const Status at_once = TryToDial().status();
  EXPECT_EQ(at_once.code(), Code::kConnectionRefused);
  EXPECT_EQ(at_once.ToString(),
            "connect: over fake: connect: the device is gone; over spare: nobody listens there");
  network.gone = spare.refuse = false;
  network.refuse_later = spare.refuse_later = true;
  const SessionId session = Dial();
  Settle();
  EXPECT_EQ(alice->ClosedWith(session), Code::kConnectionRefused);
  EXPECT_EQ(alice->closed[session].ToString(),
            "connect: over fake: connect: nobody listens there; over spare: nobody listens there");
  EXPECT_EQ(alice->engine->Connect({}, {}, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(alice->engine->Connect(std::vector<Route>(kRoutesMax + 1, routes[0]), {}, {}).status().code(),
            Code::kInvalidArgument);
}

TEST_F(ProtocolRoutes, TheOnlyRouteIsNeverReplaced) {
  MakeNodes();
  routes.resize(1);
  network.gone = true;
  EXPECT_EQ(TryToDial().status().ToString(), "connect: the device is gone");
  network.gone = false;
  Dial();
  Settle();
  TakeDeviceAway();
  Pass(29'000);
  EXPECT_EQ(alice->resumed, 0);
  EXPECT_TRUE(alice->closed.empty());
  Pass(1'100);
  EXPECT_EQ(alice->ClosedWith(), Code::kConnectionLost);
  EXPECT_EQ(spare.calls(), 0u);
}

TEST_F(ProtocolRoutes, WhatThePeerSaysCountsForAllRoutes) {
  MakeNodes();
  bob->on_hello = [&](SessionId session) {
    EXPECT_TRUE(bob->engine->Reject(session, Code::kAuthenticationFailed, "unknown key").ok());
  };
  const SessionId session = Dial();
  Settle();
  EXPECT_EQ(alice->ClosedWith(session), Code::kAuthenticationFailed);
  EXPECT_EQ(spare.calls(), 0u);
}

TEST_F(ProtocolRoutes, ALostLinkIsDialedAgainFirst) {
  Open();
  network.CutAll();
  Pass(1'000);
  EXPECT_EQ(alice->resumed, 1);
  EXPECT_EQ(Carrier(), "fake");
  EXPECT_EQ(alice->Info().failed_over, 0u);
  EXPECT_EQ(spare.calls(), 0u);
}

TEST_F(ProtocolRoutes, EverythingArrivesOnceWhereverTheTransportDies) {
  for (const bool after : {false, true}) {
    for (uint64_t frame = 1; frame <= 24; frame++) {
      SCOPED_TRACE(testing::Message() << "frame " << frame << (after ? " arrived" : " lost"));
      network.gone = false;
      Open();
      Script script = Begin();
      const uint64_t posted = network.frames_posted();
      network.CutAtFrame(frame, after);
      Play(script);
      network.gone = true;
      Pass(30'000);
      if (alice->resumed == 0) {
        EXPECT_LT(network.frames_posted(), posted + frame) << "the script has fewer frames";
        EXPECT_GT(frame, 10u);
      } else {
        EXPECT_EQ(Carrier(), "spare");
        EXPECT_EQ(PassedOverFor(), Code::kTransportUnavailable);
        EXPECT_EQ(alice->Info().failed_over, 1u);
        EXPECT_EQ(bob->Info().failed_over, 1u);
      }
      Check(script);
      alice.reset();
      bob.reset();
      if (HasFailure()) return;
    }
  }
}

TEST_F(ProtocolRoutes, EverythingArrivesOnceWhenTransportsTakeTurns) {
  Open();
  Script script = Begin();
  Play(script);
  for (int cuts = 0; cuts < 20; cuts++) {
    (cuts % 2 == 0 ? spare : network).gone = false;
    (cuts % 2 == 0 ? network : spare).gone = true;
    (cuts % 2 == 0 ? network : spare).CutAtFrame(3, cuts % 4 < 2);
    Pass(5'000);
    (cuts % 2 == 0 ? network : spare).CutAll();
    Pass(5'000);
  }
  Check(script);
  EXPECT_GT(alice->Info().failed_over, 10u);
  EXPECT_EQ(alice->Info().failed_over, bob->Info().failed_over);
}

TEST_F(ProtocolRoutes, TheBetterOneComesBackWhenTheWorseIsLost) {
  Open();
  Pass(20'000);
  TakeDeviceAway();
  Pass(1'000);
  EXPECT_EQ(Carrier(), "spare");
  network.gone = false;
  Pass(60'000);
  EXPECT_EQ(Carrier(), "spare") << "a session that works is left alone";
  spare.CutAll();
  Pass(1'000);
  EXPECT_EQ(Carrier(), "fake");
  EXPECT_EQ(PassedOverFor(), Code::kOk);
  EXPECT_EQ(alice->Info().failed_over, 2u);
  EXPECT_EQ(alice->resumed, 2);
}

TEST_F(ProtocolRoutes, ARouteThatConnectsAndNeverCarriesDoesNotKeepTheSession) {
  Open();
  for (uint32_t i = 0; i < Routes::kUnprovenMax; i++) {
    EXPECT_EQ(Carrier(), "fake");
    network.CutAll();
    Pass(1'000);
  }
  EXPECT_EQ(Carrier(), "spare");
  EXPECT_EQ(PassedOverFor(), Code::kConnectionLost);
  // It is still there for when nothing else is.
  spare.gone = true;
  spare.CutAll();
  Pass(1'000);
  EXPECT_EQ(Carrier(), "fake");
  // And once it has carried for a while it comes first again.
  Pass(Routes::kProvenNs / kMs);
  spare.gone = false;
  network.CutAll();
  Pass(1'000);
  EXPECT_EQ(Carrier(), "fake");
}

TEST_F(ProtocolRoutes, AGrantDoesNotLeaveItsLink) {
  Open();
  BufferRef memory = bob->Memory(64, 3), local = alice->Memory(64, 0);
  const Tag tag = bob->Export(memory, Access::kRead);
  const std::vector<uint8_t> grant = network.GrantOf(tag);
  const auto read = [&] {
    return *alice->engine->Read(alice->session(), tag, grant, 0, {{local, 0, 64}}, {});
  };
  std::vector<OperationId> operations = {read()};
  Settle();
  // More than are posted at once: some are under way and some wait when the link is lost.
  network.stalled = true;
  for (int i = 0; i < 20; i++) operations.push_back(read());
  alice->engine->Poll(now, 0);
  EXPECT_EQ(network.operations_posted.size(), 9u);
  network.stalled = false;
  TakeDeviceAway();
  Settle();
  EXPECT_EQ(alice->interrupted.size(), 1u);
  operations.push_back(read());
  Pass(1'000);
  EXPECT_EQ(Carrier(), "spare");
  operations.push_back(read());
  Settle();
  for (OperationId operation : operations) {
    ASSERT_EQ(alice->operations.count(operation), 1u);
    EXPECT_EQ(alice->operations[operation].first, Code::kOk);
  }
}

TEST_F(ProtocolRoutes, WhatTheNewTransportCannotDoEndsWithAReason) {
  spare.remote_atomics = false;
  Open();
  const Tag tag = bob->Export(bob->Memory(8, 0), Access::kAtomic);
  TakeDeviceAway();
  Settle();
  auto atomic = alice->engine->Atomic(alice->session(), tag, {}, 0, {AtomicOperation::kFetchAndAdd, 1, 0});
  ASSERT_TRUE(atomic.ok());
  Pass(1'000);
  EXPECT_EQ(Carrier(), "spare");
  EXPECT_EQ(alice->operations[*atomic].first, Code::kUnsupported);
  EXPECT_EQ(alice->engine->Atomic(alice->session(), tag, {}, 0, {AtomicOperation::kFetchAndAdd, 1, 0})
                .status()
                .code(),
            Code::kUnsupported);
}

// Another process may have the same port of another transport: it does not know the session and gets nothing.
TEST_F(ProtocolRoutes, AStrangerOnTheOtherTransportGetsNothing) {
  MakeNodes();
  bob = std::make_unique<Node>(Node::Options("bob"));
  ASSERT_TRUE(bob->engine->Listen("fake", "bob:1", {}).ok());
  mallory = std::make_unique<Node>(Node::Options("mallory"), std::vector{FakeNetwork::SpareEntry()});
  ASSERT_TRUE(mallory->engine->Listen("spare", "bob:1", {}).ok());
  Dial();
  Settle();
  ASSERT_EQ(alice->opened.size(), 1u);
  alice->Send("secret");
  TakeDeviceAway();
  Pass(1'000);
  EXPECT_EQ(alice->ClosedWith(), Code::kSessionExpired);
  EXPECT_TRUE(mallory->hellos.empty());
  EXPECT_TRUE(mallory->received.empty());
}

}  // namespace
}  // namespace splitplane

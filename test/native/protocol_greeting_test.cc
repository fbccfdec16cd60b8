// The handshake: who gets in, who does not, and what the other side is told.
#include "native/protocol/hello.h"
#include "test/native/protocol_fixture.h"

namespace splitplane {
namespace {

using ProtocolGreeting = ProtocolTest;

// Changes frames of one type on their way, with a checksum that is right again.
FrameFault Change(FrameType type, std::function<void(std::vector<uint8_t>&)> change) {
  return [=](std::vector<uint8_t> frame) {
    if (FrameType(frame[kFrameTypeAt]) == type) {
      change(frame);
      SealFrame(frame, FrameType(frame[kFrameTypeAt]),
                LoadLittle<uint64_t>(frame.data() + kFrameAcknowledgedAt));
    }
    return std::vector<std::vector<uint8_t>>{std::move(frame)};
  };
}

TEST_F(ProtocolGreeting, TellsEachSideWhoTheOtherIs) {
  Open();
  ASSERT_EQ(alice->hellos.size(), 1u);
  ASSERT_EQ(bob->hellos.size(), 1u);
  EXPECT_TRUE(alice->hellos[0].dialed);
  EXPECT_EQ(alice->hellos[0].identity, "bob");
  EXPECT_EQ(alice->hellos[0].node_id, Node::Options("bob").node_id);
  EXPECT_FALSE(bob->hellos[0].dialed);
  EXPECT_EQ(bob->hellos[0].identity, "alice");
  EXPECT_EQ(bob->hellos[0].listener, listener);
  EXPECT_EQ(bob->hellos[0].credentials, (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(bob->hellos[0].transport, "fake");
  EXPECT_TRUE(bob->hellos[0].endpoint.local_only);
  EXPECT_EQ(bob->Info().principal, "alice");
  EXPECT_EQ(bob->Info().peer_identity, "alice");
}

TEST_F(ProtocolGreeting, ChoosesTheDialersFirstEncodingThatTheListenerHas) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  alices.encodings = {"cbor", "fastinfoset", "xml"};
  bobs.encodings = {"xml", "fastinfoset"};
  Open(alices, bobs);
  EXPECT_EQ(alice->hellos[0].encoding, "fastinfoset");
  EXPECT_EQ(bob->Info().encoding, "fastinfoset");
}

TEST_F(ProtocolGreeting, RefusesWhenThereIsNoEncodingInCommon) {
  EngineOptions alices = Node::Options("alice");
  alices.encodings = {"cbor"};
  MakeNodes(alices);
  Dial();
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kEncodingUnsupported);
  EXPECT_TRUE(bob->hellos.empty());
}

TEST_F(ProtocolGreeting, RefusesVersionsItDoesNotSpeak) {
  for (const uint16_t version : {uint16_t{0}, uint16_t{2}}) {
    MakeNodes();
    network.fault = Change(FrameType::kHello, [=](std::vector<uint8_t>& frame) {
      StoreLittle(frame.data() + kHelloVersionMinAt, version);
      StoreLittle(frame.data() + kHelloVersionMaxAt, version);
    });
    Dial();
    Settle();
    EXPECT_EQ(alice->ClosedWith(), Code::kVersionUnsupported);
    EXPECT_TRUE(bob->hellos.empty());
    alice.reset();
    bob.reset();
  }
}

TEST_F(ProtocolGreeting, AcceptsARangeOfVersionsThatHoldsItsOwn) {
  MakeNodes();
  network.fault = Change(FrameType::kHello, [](std::vector<uint8_t>& frame) {
    StoreLittle(frame.data() + kHelloVersionMaxAt, uint16_t{9});
  });
  Dial();
  Settle();
  EXPECT_EQ(alice->opened.size(), 1u);
}

TEST_F(ProtocolGreeting, RefusesMoreSessionsThanAllowed) {
  EngineOptions bobs = Node::Options("bob");
  bobs.sessions_max = 2;
  MakeNodes(Node::Options("alice"), bobs);
  Dial();
  Dial();
  Settle();
  const SessionId third = Dial();
  Settle();
  EXPECT_EQ(alice->opened.size(), 2u);
  EXPECT_EQ(alice->ClosedWith(third), Code::kLimitExceeded);
  EXPECT_EQ(bob->engine->Connect(Over("fake", "bob:1"), {}, {}).status().code(), Code::kLimitExceeded);
}

TEST_F(ProtocolGreeting, WaitsForAUserWhoAnswersLate) {
  MakeNodes();
  bob->on_hello = [](SessionId) {};
  Dial();
  Settle();
  Pass(5'000);
  EXPECT_TRUE(alice->opened.empty());
  ASSERT_EQ(bob->hello_sessions.size(), 1u);
  EXPECT_TRUE(bob->engine->Accept(bob->hello_sessions[0], "somebody").ok());
  EXPECT_EQ(bob->engine->Accept(bob->hello_sessions[0], "somebody").code(), Code::kInvalidArgument);
  Settle();
  EXPECT_EQ(alice->opened.size(), 1u);
  EXPECT_EQ(bob->Info().principal, "somebody");
}

TEST_F(ProtocolGreeting, EndsWhenTheUserDoesNotAnswerInTime) {
  MakeNodes();
  bob->on_hello = [](SessionId) {};
  Dial();
  Settle();
  Pass(10'001);
  EXPECT_EQ(alice->ClosedWith(), Code::kConnectTimeout);
  EXPECT_NE(bob->ClosedWith(), Code::kOk);
  EXPECT_EQ(bob->engine->Accept(bob->hello_sessions[0], "late").code(), Code::kClosed);
}

TEST_F(ProtocolGreeting, TellsTheDialerWhyTheListenersUserRefused) {
  MakeNodes();
  bob->on_hello = [&](SessionId session) {
    EXPECT_TRUE(bob->engine->Reject(session, Code::kAuthenticationFailed, "unknown key").ok());
  };
  const SessionId session = Dial();
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kAuthenticationFailed);
  EXPECT_EQ(alice->closed[session].detail(), "unknown key");
  EXPECT_EQ(bob->ClosedWith(), Code::kAuthenticationFailed);
  EXPECT_TRUE(alice->hellos.empty());
}

TEST_F(ProtocolGreeting, TellsTheListenerWhyTheDialersUserRefused) {
  MakeNodes();
  alice->on_hello = [&](SessionId session) {
    EXPECT_TRUE(alice->engine->Reject(session, Code::kPermissionDenied, "not you").ok());
  };
  Dial();
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kPermissionDenied);
  EXPECT_EQ(bob->ClosedWith(), Code::kPermissionDenied);
  EXPECT_TRUE(bob->opened.empty());
}

TEST_F(ProtocolGreeting, SendsNothingToSomebodyElseThanExpected) {
  MakeNodes();
  const SessionId session = Dial(Node::Options("carol").node_id);
  Settle();
  EXPECT_EQ(alice->ClosedWith(session), Code::kIdentityMismatch);
  EXPECT_EQ(network.frames_posted(), 2u);  // hello and welcome
  EXPECT_TRUE(alice->hellos.empty());
  EXPECT_TRUE(bob->opened.empty());
}

TEST_F(ProtocolGreeting, SaysWhenNobodyAnswers) {
  MakeNodes();
  network.stalled = true;
  Dial();
  Settle();
  Pass(9'999);
  EXPECT_TRUE(alice->closed.empty());
  Pass(2);
  EXPECT_EQ(alice->ClosedWith(), Code::kConnectTimeout);
}

TEST_F(ProtocolGreeting, SaysAtOnceWhenNobodyListens) {
  MakeNodes();
  EXPECT_EQ(alice->engine->Connect(Over("fake", "nobody:1"), {}, {}).status().code(),
            Code::kConnectionRefused);
  EXPECT_EQ(alice->engine->Connect(Over("smoke", "bob:1"), {}, {}).status().code(),
            Code::kTransportUnavailable);
  bob->engine->CloseListener(listener);
  EXPECT_EQ(alice->engine->Connect(Over("fake", "bob:1"), {}, {}).status().code(), Code::kConnectionRefused);
}

TEST_F(ProtocolGreeting, CutAnywhereEndsBothSidesWithAReason) {
  for (const bool after : {false, true}) {
    for (int frame = 1; frame <= 3; frame++) {
      SCOPED_TRACE(testing::Message() << "frame " << frame << (after ? " arrived" : " lost"));
      EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
      alices.resume_ms = bobs.resume_ms = 0;
      MakeNodes(alices, bobs);
      network.CutAtFrame(frame, after);
      Dial();
      Settle();
      Pass(11'000);
      EXPECT_EQ(alice->ClosedWith(), Code::kConnectionLost);
      // Bob knows of a session only when the hello arrived.
      if (frame > 1 || after) {
        EXPECT_EQ(bob->ClosedWith(), Code::kConnectionLost);
      }
      alice.reset();
      bob.reset();
    }
  }
}

TEST_F(ProtocolGreeting, RefusesOptionsThatMakeNoSense) {
  const TransportEntry entries[] = {FakeNetwork::Entry()};
  Node node(Node::Options("alice"));
  const auto code = [&](std::function<void(EngineOptions&)> change) {
    EngineOptions options = Node::Options("alice");
    change(options);
    return Engine::Make(options, entries, node).status().code();
  };
  EXPECT_EQ(code([](EngineOptions&) {}), Code::kOk);
  EXPECT_EQ(code([](EngineOptions& o) { o.node_id = {}; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.identity.resize(256); }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.credentials.resize(4097); }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.encodings.clear(); }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.encodings = {std::string(33, 'x')}; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.window_bytes = o.message_bytes_max - 1; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.peer_timeout_ms = o.keepalive_ms; }), Code::kInvalidArgument);
  EXPECT_EQ(code([](EngineOptions& o) { o.reconnect_max_ms = 0; }), Code::kInvalidArgument);
}

}  // namespace
}  // namespace splitplane

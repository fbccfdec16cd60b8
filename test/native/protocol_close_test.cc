// The end of sessions: in good order with work left to do, at once, and when the peer does not play along.
#include "test/native/protocol_fixture.h"

namespace splitplane {
namespace {

using ProtocolClose = ProtocolTest;

TEST_F(ProtocolClose, DeliversWhatWasQueuedAndEndsBothSides) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 2;
  Open(Node::Options("alice"), bobs);
  for (int i = 0; i < 20; i++) alice->Send("a");
  bob->Send("b");
  BufferRef local = alice->Memory(64, 0);
  auto read = alice->engine->Read(alice->session(), bob->Export(bob->Memory(64, 7), Access::kRead, 1, 5), {},
                                  0, {{local, 0, 64}}, {});
  alice->engine->Close(alice->session());
  EXPECT_EQ(alice->Send("late"), 0u);
  Settle();
  EXPECT_EQ(bob->received.size(), 20u);
  EXPECT_EQ(alice->received.size(), 1u);
  EXPECT_EQ(alice->operations[*read].first, Code::kOk);
  EXPECT_EQ(alice->ClosedWith(), Code::kClosed);
  EXPECT_EQ(bob->ClosedWith(), Code::kClosed);
  EXPECT_EQ(bob->tags_ended, (std::vector<std::pair<uint64_t, Code>>{{5, Code::kTagRevoked}}));
  SessionInfo info;
  EXPECT_FALSE(alice->engine->Info(alice->session(), info));
}

TEST_F(ProtocolClose, BothAtOnce) {
  Open();
  for (int i = 0; i < 5; i++) {
    alice->Send("a");
    bob->Send("b");
  }
  alice->engine->Close(alice->session());
  bob->engine->Close(bob->session());
  Settle();
  EXPECT_EQ(alice->received.size(), 5u);
  EXPECT_EQ(bob->received.size(), 5u);
  EXPECT_EQ(alice->ClosedWith(), Code::kClosed);
  EXPECT_EQ(bob->ClosedWith(), Code::kClosed);
}

TEST_F(ProtocolClose, EndsWhenThePeerDoesNotConsume) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 1;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  alice->Send("1");
  alice->Send("2");
  alice->engine->Close(alice->session());
  Pass(9'900);
  EXPECT_TRUE(alice->closed.empty());
  Pass(200);
  EXPECT_EQ(alice->ClosedWith(), Code::kDeadlineExceeded);
  EXPECT_EQ(bob->ClosedWith(), Code::kDeadlineExceeded);
  EXPECT_EQ(alice->delivered, 1u);
}

TEST_F(ProtocolClose, SurvivesAnInterruption) {
  for (int frame = 1; frame < 8; frame++) {
    SCOPED_TRACE(frame);
    Open();
    for (int i = 0; i < 3; i++) alice->Send("a");
    alice->engine->Close(alice->session());
    network.CutAtFrame(frame, false);
    Pass(40'000);
    EXPECT_EQ(bob->received.size(), 3u);
    EXPECT_EQ(alice->ClosedWith(), Code::kClosed);
    EXPECT_NE(bob->ClosedWith(), Code::kOk);
    alice.reset();
    bob.reset();
  }
}

TEST_F(ProtocolClose, WithNothingToDoWhileInterruptedEndsAtOnce) {
  Open();
  network.refuse = true;
  network.CutAll();
  Settle();
  alice->engine->Close(alice->session());
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kClosed);
}

TEST_F(ProtocolClose, BeforeItIsOpenTellsThePeer) {
  MakeNodes();
  bob->on_hello = [](SessionId) {};
  const SessionId session = Dial();
  Settle();
  alice->engine->Close(session);
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kClosed);
  EXPECT_EQ(bob->ClosedWith(), Code::kClosed);
}

TEST_F(ProtocolClose, DestroyEndsEverythingWithItsReason) {
  Open();
  bob->consume = false;
  BufferRef local = alice->Memory(64, 0);
  const Tag tag = bob->Export(bob->Memory(64, 7), Access::kRead);
  const Tag ours = alice->Export(local, Access::kRead, 1, 77);
  std::vector<OperationId> ids;
  for (int i = 0; i < 20; i++)
    ids.push_back(*alice->engine->Read(alice->session(), tag, {}, 0, {{local, 0, 64}}, {}));
  alice->engine->Poll(now, 0);
  alice->Send("a");
  alice->engine->Destroy(alice->session(), Status::Error(Code::kAborted, "test", "enough"));
  EXPECT_TRUE(alice->closed.empty()) << "told inside Poll only";
  EXPECT_LE(alice->engine->next_timeout(), now);
  EXPECT_FALSE(alice->engine->Arm());
  EXPECT_EQ(alice->engine->Send(alice->session(), {}).status().code(), Code::kClosed);
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kAborted);
  for (OperationId id : ids) EXPECT_EQ(alice->operations[id].first, Code::kAborted);
  EXPECT_EQ(alice->tags_ended, (std::vector<std::pair<uint64_t, Code>>{{77, Code::kTagRevoked}}));
  EXPECT_TRUE(bob->received.empty());
  EXPECT_EQ(local->holders(), 1u);
  (void)ours;
  Pass(40'000);
  EXPECT_NE(bob->ClosedWith(), Code::kOk);
}

TEST_F(ProtocolClose, DestroyTellsThePeerWhereItCan) {
  Open();
  alice->engine->Destroy(alice->session(), Status::Error(Code::kQuotaExceeded, "test", "too much"));
  Settle();
  EXPECT_EQ(bob->ClosedWith(), Code::kQuotaExceeded);
}

TEST_F(ProtocolClose, FromInsideAnEvent) {
  Open();
  bob->on_message = [&](const Node::Received& message) {
    bob->engine->Destroy(message.session, Status::Error(Code::kAborted, "test", "seen enough"));
  };
  for (int i = 0; i < 5; i++) alice->Send("a");
  Settle();
  EXPECT_EQ(bob->received.size(), 1u) << "nothing comes after the end";
  EXPECT_EQ(bob->ClosedWith(), Code::kAborted);
  EXPECT_EQ(alice->ClosedWith(), Code::kAborted);
}

TEST_F(ProtocolClose, APeerThatDoesNotTakeTheFarewellIsLeft) {
  network.frames_in_flight_max = 4;
  Open();
  network.stalled = true;
  alice->engine->Destroy(alice->session(), {});
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kAborted);
  Pass(1'100);  // the endpoint is let go of
  network.stalled = false;
  Pass(30'000);
  EXPECT_NE(bob->ClosedWith(), Code::kOk);
}

TEST_F(ProtocolClose, EnginesGoWithWorkLeft) {
  Open();
  const Tag tag = bob->Export(bob->Memory(64, 7), Access::kRead);
  BufferRef local = alice->Memory(64, 0);
  for (int i = 0; i < 20; i++) (void)alice->engine->Read(alice->session(), tag, {}, 0, {{local, 0, 64}}, {});
  for (int i = 0; i < 20; i++) alice->Send("a");
  alice->engine->Poll(now, 0);
  alice->engine.reset();
  EXPECT_TRUE(alice->closed.empty()) << "an engine that goes says nothing";
  Settle();
  EXPECT_EQ(local->holders(), 1u);
  EXPECT_EQ(bob->interrupted.size(), 1u);
}

// What a Poll costs must not depend on how many sessions do nothing: their endpoints are not touched.
TEST_F(ProtocolClose, TenThousandIdleSessionsAreLeftAlone) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  alices.keepalive_ms = bobs.keepalive_ms = 1'000'000;
  alices.peer_timeout_ms = bobs.peer_timeout_ms = 3'000'000;
  MakeNodes(alices, bobs);
  for (int i = 0; i < 10'000; i++) Dial();
  Settle();
  ASSERT_EQ(bob->opened.size(), 10'000u);
  Pass(10'000);
  const uint64_t calls = network.calls();
  for (int i = 0; i < 100; i++) {
    now += kMs;
    EXPECT_FALSE(alice->engine->Poll(now, UINT64_MAX));
    EXPECT_TRUE(alice->engine->Arm());
    EXPECT_GT(alice->engine->next_timeout(), now + 900'000 * kMs);
  }
  EXPECT_EQ(network.calls(), calls);
  alice->Send("a");
  Settle();
  EXPECT_EQ(network.calls() - calls, 2u) << "a message and its acknowledgement";
}

}  // namespace
}  // namespace splitplane

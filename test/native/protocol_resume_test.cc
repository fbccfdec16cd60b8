// Interruptions: links cut anywhere, peers that fall silent, strangers on the peer's address, sessions nobody
// knows. Every message is delivered exactly once and every operation ends exactly once.
#include "native/protocol/hello.h"
#include "test/native/protocol_script.h"

namespace splitplane {
namespace {

using ProtocolResume = ScriptedTest;

TEST_F(ProtocolResume, EverythingArrivesOnceWhereverTheLinkIsCut) {
  network.send_bytes_max = 8 * 1024;
  uint64_t frames_cut = 0;
  for (const bool after : {false, true}) {
    for (uint64_t frame = 0;; frame++) {
      SCOPED_TRACE(testing::Message() << "frame " << frame << (after ? " arrived" : " lost"));
      Open();
      Script script = Begin();
      const uint64_t posted = network.frames_posted();
      if (frame > 0) network.CutAtFrame(frame, after);
      Play(script);
      Settle();
      Pass(30'000);
      const bool cut = alice->resumed > 0;
      if (frame > 0 && !cut) {
        // The script has fewer frames: only keepalives were left to cut, or none was.
        EXPECT_GT(frame, 10u);
        break;
      }
      Check(script);
      EXPECT_EQ(alice->interrupted.size(), size_t(cut));
      EXPECT_EQ(bob->interrupted.size(), size_t(cut));
      EXPECT_EQ(bob->resumed, int(cut));
      if (HasFailure() || network.frames_posted() - posted < frame) break;
      frames_cut++;
      if (frame > 60) break;
      alice.reset();
      bob.reset();
    }
    alice.reset();
    bob.reset();
    network.CutAtFrame(0, false);
  }
  EXPECT_GT(frames_cut, 30u);
}

TEST_F(ProtocolResume, EverythingArrivesOnceWhenTheLinkIsCutAgainAndAgain) {
  network.send_bytes_max = 8 * 1024;
  for (uint64_t every = 4; every < 12; every++) {
    SCOPED_TRACE(testing::Message() << "every " << every);
    Open();
    Script script = Begin();
    Play(script);
    for (int cuts = 0; cuts < 20; cuts++) {
      network.CutAtFrame(every, cuts % 2 == 0);
      Settle();
      Pass(1'000);
    }
    network.CutAtFrame(0, false);
    Pass(20'000);
    Check(script);
    EXPECT_GT(alice->resumed, 0);
    alice.reset();
    bob.reset();
  }
}

TEST_F(ProtocolResume, MessagesSentWhileInterruptedArriveAfterwards) {
  Open();
  network.refuse = true;
  network.CutAll();
  Settle();
  EXPECT_EQ(alice->interrupted, std::vector<Code>{Code::kConnectionLost});
  EXPECT_EQ(bob->interrupted, std::vector<Code>{Code::kConnectionLost});
  alice->Send("a");
  bob->Send("b");
  BufferRef memory = bob->Memory(64, 3), local = alice->Memory(64, 0);
  auto read =
      alice->engine->Read(alice->session(), bob->Export(memory, Access::kRead), {}, 0, {{local, 0, 64}}, {});
  Pass(5'000);
  EXPECT_EQ(alice->resumed, 0);
  network.refuse = false;
  Pass(5'000);
  EXPECT_EQ(alice->resumed, 1);
  EXPECT_EQ(bob->Envelopes(), std::vector<std::string>{"a"});
  EXPECT_EQ(alice->Envelopes(), std::vector<std::string>{"b"});
  EXPECT_EQ(alice->operations[*read].first, Code::kOk);
  EXPECT_EQ(local->data()[63], 3);
  EXPECT_EQ(alice->hellos.size(), 1u) << "the user is not asked again";
}

TEST_F(ProtocolResume, GivesUpAfterItsTime) {
  Open();
  const SessionId alices = alice->session(), bobs = bob->session();
  auto read = alice->engine->Read(alices, bob->Export(bob->Memory(64, 3), Access::kRead, 1, 5), {}, 0,
                                  {{alice->Memory(64, 0), 0, 64}}, {});
  network.refuse = true;
  network.CutAll();
  Pass(29'000);
  EXPECT_TRUE(alice->closed.empty());
  EXPECT_TRUE(bob->closed.empty());
  EXPECT_TRUE(bob->tags_ended.empty()) << "tags outlive an interruption";
  Pass(1'100);
  EXPECT_EQ(alice->ClosedWith(alices), Code::kConnectionLost);
  EXPECT_EQ(bob->ClosedWith(bobs), Code::kConnectionLost);
  EXPECT_EQ(alice->operations[*read].first, Code::kConnectionLost);
  EXPECT_EQ(bob->tags_ended, (std::vector<std::pair<uint64_t, Code>>{{5, Code::kTagRevoked}}));
}

TEST_F(ProtocolResume, WithoutPatienceALostLinkCloses) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  alices.resume_ms = bobs.resume_ms = 0;
  Open(alices, bobs);
  network.CutAll();
  Settle();
  EXPECT_EQ(alice->ClosedWith(), Code::kConnectionLost);
  EXPECT_EQ(bob->ClosedWith(), Code::kConnectionLost);
  EXPECT_TRUE(alice->interrupted.empty());
}

TEST_F(ProtocolResume, ASessionThatTheListenerForgotCloses) {
  EngineOptions bobs = Node::Options("bob");
  bobs.resume_ms = 1;
  Open(Node::Options("alice"), bobs);
  network.refuse = true;
  network.CutAll();
  Pass(10);
  EXPECT_EQ(bob->ClosedWith(), Code::kConnectionLost);
  network.refuse = false;
  Pass(5'000);
  EXPECT_EQ(alice->ClosedWith(), Code::kSessionExpired);
}

TEST_F(ProtocolResume, AStrangerOnThePeersAddressGetsNothing) {
  Open();
  alice->Send("secret");
  network.stalled = true;
  alice->engine->Poll(now, 0);
  network.CutAll();
  network.stalled = false;
  bob->engine->CloseListener(listener);
  // Mallory even calls herself Bob, and welcomes whoever comes: she relays nothing, she only does not know
  // the secret.
  mallory = std::make_unique<Node>(Node::Options("bob"));
  ASSERT_TRUE(mallory->engine->Listen("fake", "bob:1", {}).ok());
  network.fault = [](std::vector<uint8_t> frame) {
    if (FrameType(frame[kFrameTypeAt]) == FrameType::kHello) {
      std::memset(frame.data() + kHelloSessionAt, 0, 16);
      SealFrame(frame, FrameType::kHello, 0);
    }
    return std::vector<std::vector<uint8_t>>{frame};
  };
  const uint64_t posted = network.frames_posted();
  Pass(5'000);
  EXPECT_EQ(alice->ClosedWith(), Code::kIdentityMismatch);
  EXPECT_EQ(network.frames_posted() - posted, 2u) << "a hello and a welcome";
  ASSERT_EQ(mallory->hellos.size(), 1u);
  EXPECT_TRUE(mallory->hellos[0].credentials.empty());
  EXPECT_TRUE(mallory->received.empty());
}

TEST_F(ProtocolResume, NobodyElseTakesASessionOver) {
  Open();
  network.CutAll();
  Settle();
  network.fault = [](std::vector<uint8_t> frame) {
    if (FrameType(frame[kFrameTypeAt]) == FrameType::kStart) {
      frame[kStartSecretAt] ^= 1;
      SealFrame(frame, FrameType::kStart, 0);
    }
    return std::vector<std::vector<uint8_t>>{frame};
  };
  Pass(200);
  EXPECT_EQ(alice->ClosedWith(), Code::kIdentityMismatch);
  EXPECT_TRUE(bob->closed.empty()) << "whoever it was, it does not harm the session";
  EXPECT_EQ(bob->resumed, 0);
}

TEST_F(ProtocolResume, AnotherNodeIsNotLetIntoASession) {
  Open();
  network.CutAll();
  Settle();
  network.fault = [](std::vector<uint8_t> frame) {
    if (FrameType(frame[kFrameTypeAt]) == FrameType::kHello) {
      frame[kHelloNodeAt] ^= 1;
      SealFrame(frame, FrameType::kHello, 0);
    }
    return std::vector<std::vector<uint8_t>>{frame};
  };
  Pass(200);
  EXPECT_EQ(alice->ClosedWith(), Code::kIdentityMismatch);
  EXPECT_TRUE(bob->closed.empty());
}

TEST_F(ProtocolResume, SilenceIsALostLink) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  alices.resume_ms = bobs.resume_ms = 0;
  Open(alices, bobs);
  Pass(100'000);
  EXPECT_TRUE(alice->closed.empty()) << "pings keep an idle session alive";
  network.stalled = true;
  Pass(20'001);
  EXPECT_EQ(alice->ClosedWith(), Code::kPeerUnresponsive);
  EXPECT_EQ(bob->ClosedWith(), Code::kPeerUnresponsive);
}

TEST_F(ProtocolResume, BusyLinksAreNotPinged) {
  Open();
  uint64_t pings = 0;
  network.fault = [&](std::vector<uint8_t> frame) {
    pings += FrameType(frame[kFrameTypeAt]) == FrameType::kPing;
    return std::vector<std::vector<uint8_t>>{frame};
  };
  for (int i = 0; i < 100; i++) {
    alice->Send("a");
    Settle();
    Pass(1'000);
  }
  EXPECT_EQ(pings, 0u);
}

// Many sessions that have nothing to say wake their engines no more often than one, although they fell silent
// at different times; and of two sides only the one that dialed asks.
TEST_F(ProtocolResume, IdleLinksAreLookedAtTogether) {
  constexpr int kSessions = 500;
  MakeNodes();
  for (int i = 0; i < kSessions; i++) {
    Dial();
    Settle();
    now += 11 * kMs;
  }
  ASSERT_EQ(bob->opened.size(), size_t(kSessions));
  uint64_t pings = 0;
  network.fault = [&](std::vector<uint8_t> frame) {
    pings += FrameType(frame[kFrameTypeAt]) == FrameType::kPing;
    return std::vector<std::vector<uint8_t>>{frame};
  };
  const MonotonicNs end = now + 60'000 * kMs;
  int wakes = 0;
  while (now < end) {
    now = std::max(std::min(alice->engine->next_timeout(), bob->engine->next_timeout()), now + 1);
    wakes++;
    Settle();
  }
  // Twelve times in a minute each, on a sixteenth of a keepalive; once more where both ends of the minute are
  // such a time.
  EXPECT_LE(wakes, 12 * 16 + 16);
  EXPECT_GE(pings, uint64_t{kSessions} * 10);
  EXPECT_LE(pings, uint64_t{kSessions} * 12 + kSessions / 8);
  EXPECT_TRUE(alice->interrupted.empty() && bob->interrupted.empty());
}

// A peer that was stopped: it missed that its session went on elsewhere, and its old link says nothing any
// more.
TEST_F(ProtocolResume, ALaterLinkReplacesTheOneThatIsStillUp) {
  Open();
  // Only Alice sees the cut: Bob's end of it stays up until she is back.
  alice->Send("a");
  Settle();
  network.stalled = true;
  alice->Send("b");
  alice->engine->Poll(now, 0);
  Pass(16'000);  // both notice; Alice dials again when the network is back
  network.stalled = false;
  Pass(5'000);
  EXPECT_EQ(alice->resumed, 1);
  EXPECT_EQ(bob->resumed, 1);
  EXPECT_EQ(bob->Envelopes(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(bob->Info().messages_repeated, 0u);
}

}  // namespace
}  // namespace splitplane

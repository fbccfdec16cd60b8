// Peers that are broken or mean: every frame cut at any byte, every bit flipped, lengths and numbers that
// lie, frames that have no place. Nothing of it is delivered, the session ends with a typed reason that the
// peer is told.
#include "test/native/protocol_fixture.h"
#include "test/native/protocol_raw_peer.h"

namespace splitplane {
namespace {

using Frames = std::vector<std::vector<uint8_t>>;

class ProtocolHostile : public ProtocolTest {
 protected:
  ProtocolHostile() : raw(network) {}

  void MakeBob(EngineOptions options = Node::Options("bob")) {
    options.resume_ms = 0;
    bob = std::make_unique<Node>(std::move(options));
    listener = *bob->engine->Listen("fake", "bob:1", {});
  }
  void Run() {
    bool happened = true;
    for (int round = 0; happened; round++) {
      ASSERT_LT(round, kRoundsMax);
      happened = raw.Poll(now);
      Settle();
    }
    raw.Poll(now);
  }
  // A session with Bob that is fine so far; the raw peer has sent nothing in sequence.
  void Enter() {
    bob->received.clear();
    bob->batches.clear();
    bob->closed.clear();
    bob->opened.clear();
    raw.Dial("bob:1");
    raw.Post(raw.MakeHello());
    Run();
    ASSERT_NE(raw.Last(FrameType::kWelcome), nullptr);
    raw.Post(raw.MakeStart());
    Run();
    ASSERT_EQ(bob->opened.size(), 1u);
  }
  // Sends the frames in a session that is fine, and gives what it ended with (kOk: it did not).
  Code Try(const Frames& frames) {
    Enter();
    for (const auto& frame : frames) raw.Post(frame);
    Run();
    const Code code = bob->ClosedWith();
    // Told the same, unless it was the one that left.
    const bool left = !frames.empty() && (FrameType(frames[0][kFrameTypeAt]) == FrameType::kReject ||
                                          FrameType(frames[0][kFrameTypeAt]) == FrameType::kClose);
    EXPECT_TRUE(left || raw.RejectedWith() == code) << CodeName(raw.RejectedWith()) << " " << CodeName(code);
    if (code == Code::kOk) {
      bob->engine->Destroy(bob->session(), {});
      Run();
    }
    return code;
  }
  // One of every type that is legal in a session, as the first after the greeting.
  Frames OneOfEach() {
    return {raw.MakeMessage(1, 1, "<e/>"),
            raw.MakeBatch(1, 1, 2, Node::Pack({"ab", "c"})),
            raw.MakeAck(0, 0),
            raw.MakeCancel(1, 1),
            raw.MakeRelease(1, 1, 1),
            raw.MakeBare(FrameType::kPing),
            raw.MakeBare(FrameType::kPong),
            raw.MakeBare(FrameType::kClose),
            EncodeReject(Code::kAborted, "bye", 0)};
  }

  RawPeer raw;
};

TEST_F(ProtocolHostile, CutAtAnyByte) {
  MakeBob();
  for (const auto& frame : OneOfEach()) {
    for (size_t length = 1; length < frame.size(); length++) {
      const std::vector<uint8_t> cut(frame.begin(), frame.begin() + long(length));
      const Code code = Try({cut});
      EXPECT_TRUE(code == Code::kProtocolViolation || code == Code::kChecksumMismatch) << CodeName(code);
      EXPECT_TRUE(bob->received.empty() && bob->batches.empty());
    }
  }
}

TEST_F(ProtocolHostile, AnyBitFlipped) {
  MakeBob();
  for (const auto& frame : OneOfEach()) {
    for (size_t bit = 0; bit < frame.size() * 8; bit++) {
      std::vector<uint8_t> flipped = frame;
      flipped[bit / 8] ^= uint8_t(1 << bit % 8);
      EXPECT_EQ(Try({flipped}), Code::kChecksumMismatch);
      EXPECT_TRUE(bob->received.empty() && bob->batches.empty());
    }
  }
}

// The same with a checksum that is right: whatever the bit means now, Bob stays sane and a message is whole
// or nothing.
TEST_F(ProtocolHostile, AnyBitFlippedOnPurpose) {
  MakeBob();
  Frames frames = OneOfEach();
  frames.push_back(raw.MakeHello());
  frames.push_back(raw.MakeStart());
  for (const auto& frame : frames) {
    for (size_t bit = 0; bit < frame.size() * 8; bit++) {
      if (bit / 8 >= kFrameCrcAt && bit / 8 < kFrameAcknowledgedAt) continue;
      std::vector<uint8_t> flipped = frame;
      flipped[bit / 8] ^= uint8_t(1 << bit % 8);
      const uint64_t acknowledged = LoadLittle<uint64_t>(flipped.data() + kFrameAcknowledgedAt);
      const uint8_t flags = flipped[kFrameFlagsAt];
      const uint16_t reserved = LoadLittle<uint16_t>(flipped.data() + kFrameReservedAt);
      SealFrame(flipped, FrameType(flipped[kFrameTypeAt]), acknowledged);
      if (flags != 0 || reserved != 0) continue;  // ReservedBits has these
      (void)Try({flipped});
      EXPECT_TRUE(acknowledged == 0 || !bob->closed.empty());
      for (const Node::Received& message : bob->received) EXPECT_EQ(message.envelope.size(), 4u);
      for (const Node::ReceivedBatch& batch : bob->batches) EXPECT_EQ(Node::Pack(batch.messages).size(), 7u);
    }
  }
}

TEST_F(ProtocolHostile, ReservedBits) {
  MakeBob();
  for (size_t bit = kFrameFlagsAt * 8; bit < kFrameCrcAt * 8; bit++) {
    std::vector<uint8_t> frame = raw.MakeBare(FrameType::kPing);
    frame[bit / 8] ^= uint8_t(1 << bit % 8);
    // By hand: SealFrame clears them.
    StoreLittle(frame.data() + kFrameCrcAt, uint32_t(0));
    StoreLittle(frame.data() + kFrameCrcAt, Crc32c(0, frame.data(), frame.size()));
    EXPECT_EQ(Try({frame}), Code::kProtocolViolation);
  }
}

TEST_F(ProtocolHostile, UnknownTypes) {
  MakeBob();
  for (int type = 0; type < 256; type++) {
    if (type >= 1 && type <= kFrameTypeLast) continue;
    EXPECT_EQ(Try({raw.MakeBare(FrameType(type))}), Code::kProtocolViolation) << type;
  }
}

TEST_F(ProtocolHostile, FramesOfTheGreetingInASession) {
  MakeBob();
  EXPECT_EQ(Try({raw.MakeHello()}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeStart()}), Code::kProtocolViolation);
  Hello welcome = raw.hello;
  welcome.session = {1};
  EXPECT_EQ(Try({EncodeHello(FrameType::kWelcome, welcome, 0)}), Code::kProtocolViolation);
}

TEST_F(ProtocolHostile, FramesOfASessionInTheGreeting) {
  MakeBob();
  Frames frames = OneOfEach();
  frames.pop_back();  // whoever has said nothing yet may leave
  frames.push_back(raw.MakeStart());
  for (const auto& frame : frames) {
    for (const bool after_hello : {false, true}) {
      if (after_hello && FrameType(frame[0]) == FrameType::kStart) continue;
      raw.Dial("bob:1");
      if (after_hello) raw.Post(raw.MakeHello());
      Run();
      raw.Post(frame);
      Run();
      EXPECT_EQ(raw.RejectedWith(), Code::kProtocolViolation);
      EXPECT_TRUE(raw.closed);
    }
  }
  // While the user thinks.
  bob->on_hello = [](SessionId) {};
  raw.Dial("bob:1");
  raw.Post(raw.MakeHello());
  raw.Post(raw.MakeStart());
  Run();
  EXPECT_EQ(raw.RejectedWith(), Code::kProtocolViolation);
  EXPECT_TRUE(bob->received.empty() && bob->batches.empty());
  EXPECT_TRUE(bob->opened.empty());
}

TEST_F(ProtocolHostile, NumbersThatLie) {
  MakeBob();
  const auto change = [&](std::vector<uint8_t> frame, size_t at, auto value) {
    StoreLittle(frame.data() + at, value);
    return raw.Sealed(frame, FrameType(frame[kFrameTypeAt]));
  };
  const auto message = raw.MakeMessage(1, 1, "<e/>");
  EXPECT_EQ(Try({change(message, kMessageTotalAt, uint32_t(3))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageTotalAt, UINT32_MAX)}), Code::kLimitExceeded);
  EXPECT_EQ(Try({change(message, kMessageOffsetAt, uint32_t(1))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageOffsetAt, UINT32_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageEnvelopeAt, uint32_t(5))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageEnvelopeAt, uint32_t(3))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageEnvelopeAt, UINT32_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageAttachmentsAt, uint16_t(1))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageAttachmentsAt, UINT16_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageReservedAt, uint8_t(1))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kMessageIdAt, uint64_t(0))}), Code::kProtocolViolation);
  EXPECT_EQ(Try({change(message, kSequenceAt, uint64_t(2))}), Code::kProtocolViolation) << "one is missing";
  EXPECT_EQ(Try({change(message, kSequenceAt, UINT64_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeMessage(1, 5, "a"), raw.MakeMessage(2, 5, "b")}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeRelease(1, 2, 1)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeRelease(1, 0, 0)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeRelease(1, kTagsPerReleaseMax + 1, kTagsPerReleaseMax + 1)}),
            Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeRelease(1, UINT32_MAX, 1)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeAck(1, 0)}), Code::kProtocolViolation) << "credit for what was never sent";
  EXPECT_EQ(Try({raw.MakeAck(0, UINT64_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeBare(FrameType::kPong)}), Code::kOk);
  raw.heard = 1;
  const auto ping = raw.MakeBare(FrameType::kPing), start = raw.MakeStart();
  raw.heard = 0;
  EXPECT_EQ(Try({ping}), Code::kProtocolViolation) << "acknowledges what was never sent";
  raw.Dial("bob:1");
  raw.Post(raw.MakeHello());
  Run();
  raw.Post(start);
  Run();
  EXPECT_EQ(raw.RejectedWith(), Code::kProtocolViolation);
}

TEST_F(ProtocolHostile, AttachmentTablesThatLie) {
  MakeBob();
  const auto make = [&](uint8_t kind, uint32_t length, uint8_t reserved = 0) {
    std::vector<uint8_t> frame = raw.MakeMessage(1, 1, std::string(12, '\0'));
    StoreLittle(frame.data() + kMessageEnvelopeAt, uint32_t(0));
    StoreLittle(frame.data() + kMessageAttachmentsAt, uint16_t(1));
    frame[kMessageHeadBytes + kRowKindAt] = kind;
    frame[kMessageHeadBytes + kRowReservedAt] = reserved;
    StoreLittle(frame.data() + kMessageHeadBytes + kRowLengthAt, length);
    return raw.Sealed(frame, FrameType::kMessage);
  };
  EXPECT_EQ(Try({make(1, 4)}), Code::kOk);
  EXPECT_EQ(Try({make(0, 4)}), Code::kOk);
  EXPECT_EQ(Try({make(2, 4)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({make(1, 4, 1)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({make(1, 3)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({make(1, 5)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({make(1, UINT32_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({make(0, kGrantBytesMax + 1)}), Code::kProtocolViolation);
}

TEST_F(ProtocolHostile, PartsThatDoNotFit) {
  MakeBob();
  const auto part = [&](uint64_t sequence, MessageId id, uint32_t total, uint32_t offset, size_t length) {
    return raw.MakeMessage(sequence, id, std::string(length, 'x'), total, offset);
  };
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(1, 1, 10, 4, 6)}), Code::kOk);
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(1, 1, 10, 5, 5)}), Code::kProtocolViolation) << "a hole";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(1, 1, 10, 3, 5)}), Code::kProtocolViolation) << "an overlap";
  EXPECT_EQ(Try({part(1, 1, 10, 4, 6)}), Code::kProtocolViolation) << "no beginning";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(1, 1, 11, 4, 7)}), Code::kProtocolViolation) << "another length";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(1, 2, 10, 4, 6)}), Code::kProtocolViolation) << "another message";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(2, 2, 4, 0, 4)}), Code::kProtocolViolation) << "the next message";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), raw.MakeRelease(1, 1, 1)}), Code::kProtocolViolation)
      << "something else";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), part(1, 1, 4, 0, 4)}), Code::kProtocolViolation)
      << "another whole one";
  EXPECT_EQ(Try({part(1, 1, 10, 0, 4), raw.MakeBare(FrameType::kPing), part(1, 1, 10, 4, 6)}), Code::kOk);
}

TEST_F(ProtocolHostile, WhatCameBeforeIsDroppedAndCounted) {
  MakeBob();
  Enter();
  for (int i = 0; i < 3; i++) raw.Post(raw.MakeMessage(1, 1, "once"));
  for (int i = 0; i < 3; i++) raw.Post(raw.MakeCancel(2, 1));
  Run();
  EXPECT_EQ(bob->Envelopes(), std::vector<std::string>{"once"});
  EXPECT_EQ(bob->canceled, std::vector<MessageId>{1});
  EXPECT_EQ(bob->Info().messages_repeated, 2u);
}

TEST_F(ProtocolHostile, MoreThanTheCreditsAllow) {
  EngineOptions options = Node::Options("bob");
  options.message_bytes_max = 100;
  options.window_bytes = 250;
  options.window_messages = 4;
  MakeBob(options);
  bob->consume = false;
  Frames frames;
  for (uint64_t i = 1; i <= 4; i++) frames.push_back(raw.MakeMessage(i, i, "x"));
  EXPECT_EQ(Try(frames), Code::kOk);
  frames.push_back(raw.MakeMessage(5, 5, "x"));
  EXPECT_EQ(Try(frames), Code::kProtocolViolation);
  EXPECT_EQ(bob->received.size(), 4u);
  frames.clear();
  for (uint64_t i = 1; i <= 3; i++) frames.push_back(raw.MakeMessage(i, i, std::string(100, 'x')));
  EXPECT_EQ(Try(frames), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeMessage(1, 1, std::string(101, 'x'))}), Code::kLimitExceeded);
}

// A peer that names a window without end and acknowledges nothing makes nobody keep more than its own queue.
// Any frame acknowledges.
TEST_F(ProtocolHostile, WindowsWithoutEnd) {
  EngineOptions options = Node::Options("bob");
  options.message_bytes_max = options.queue_bytes_max = 1000;
  MakeBob(options);
  raw.hello.window_bytes = raw.hello.window_messages = UINT32_MAX;
  Enter();
  for (size_t sent : {10, 20}) {
    while (bob->Send(std::string(100, 'x')) != 0) Run();
    EXPECT_EQ(bob->Info().messages_sent, sent);
    raw.heard = sent;
    raw.Post(raw.MakeBare(FrameType::kPing));
    Run();
  }
  EXPECT_EQ(bob->Info().messages_sent, 30u);
  EXPECT_EQ(bob->ClosedWith(), Code::kOk);
}

// A peer that brings tags and never acknowledges that they were given back gets no more credit: what it makes
// us keep is bounded by our queue and one window. Whoever acknowledges goes on for ever.
TEST_F(ProtocolHostile, ReleasesThatAreNotAcknowledged) {
  EngineOptions options = Node::Options("bob");
  options.queue_messages_max = 4;
  options.window_messages = 8;
  MakeBob(options);
  const std::vector<Tag> tags(kTagsPerReleaseMax);
  bob->on_message = [&](const Node::Received& message) { bob->engine->ReleaseTags(message.session, tags); };
  const auto bring = [&](uint64_t first, uint64_t last) {
    for (uint64_t i = first; i <= last && bob->ClosedWith() == Code::kOk; i++) {
      raw.Post(raw.MakeMessage(i, i, "x"));
      Run();
    }
  };
  Enter();
  for (uint64_t i = 1; i <= 100; i++) {
    bring(i, i);
    raw.heard = SequenceOf({.bytes = *raw.Last(FrameType::kRelease)});
  }
  EXPECT_EQ(bob->received.size(), 100u);
  // What is acknowledged once more is enough.
  bring(101, 106);
  raw.heard = SequenceOf({.bytes = *raw.Last(FrameType::kRelease)});
  raw.Post(raw.MakeBare(FrameType::kPing));
  Run();
  bring(107, 200);
  EXPECT_EQ(bob->ClosedWith(), Code::kProtocolViolation);
  EXPECT_LE(bob->received.size(), size_t{106} + 4 + 1 + 8);
}

TEST_F(ProtocolHostile, GreetingsThatLie) {
  MakeBob();
  const Hello good = raw.hello;
  const auto refused = [&](std::function<void(std::vector<uint8_t>&)> change) {
    std::vector<uint8_t> frame = raw.MakeHello();
    change(frame);
    raw.Dial("bob:1");
    raw.Post(raw.Sealed(frame, FrameType::kHello));
    Run();
    return raw.RejectedWith();
  };
  const auto with = [&](std::function<void(Hello&)> change) {
    raw.hello = good;
    change(raw.hello);
    const Code code = refused([](std::vector<uint8_t>&) {});
    raw.hello = good;
    return code;
  };
  const Code kBad = Code::kProtocolViolation;
  EXPECT_EQ(with([](Hello& hello) { hello.message_bytes_max = 0; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.window_messages = 0; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.window_bytes = hello.message_bytes_max - 1; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.secret = {1}; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.epoch = 1; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.identity = "a\nb"; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.encodings = {""}; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.encodings = {std::string(33, 'x')}; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.encodings = std::vector<std::string>(17, "x"); }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.encodings = {}; }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.credentials.resize(4097); }), kBad);
  EXPECT_EQ(with([](Hello& hello) { hello.session = {1}; }), Code::kSessionExpired);
  EXPECT_EQ(with([](Hello& hello) { hello.encodings = {"other"}; }), Code::kEncodingUnsupported);
  EXPECT_EQ(refused([](auto& frame) { frame.push_back(0); }), kBad);
  EXPECT_EQ(refused([](auto& frame) { frame.pop_back(); }), kBad);
  EXPECT_EQ(refused([](auto& frame) { frame[kHelloIdentityLengthAt] = 255; }), kBad);
  EXPECT_EQ(refused([](auto& frame) { frame[kHelloCredentialsLengthAt] = 255; }), kBad);
  EXPECT_EQ(refused([](auto& frame) { frame[kHelloEncodingsAt] = 2; }), kBad);
  EXPECT_EQ(refused([](auto& frame) { frame[kHelloReservedAt] = 1; }), kBad);
  EXPECT_TRUE(bob->hellos.empty());
}

TEST_F(ProtocolHostile, WelcomesThatLie) {
  raw.Listen("raw:1");
  alice = std::make_unique<Node>(Node::Options("alice"));
  const auto refused = [&](std::function<void(Hello&)> change) {
    Hello welcome = raw.hello;
    welcome.session = {1};
    change(welcome);
    const SessionId session = *alice->engine->Connect(Over("fake", "raw:1"), {}, {});
    Run();
    raw.Post(EncodeHello(FrameType::kWelcome, welcome, 0));
    Run();
    return alice->ClosedWith(session);
  };
  EXPECT_EQ(refused([](Hello&) {}), Code::kOk);
  EXPECT_EQ(refused([](Hello& welcome) { welcome.session = {}; }), Code::kProtocolViolation);
  EXPECT_EQ(refused([](Hello& welcome) { welcome.features = 1; }), Code::kProtocolViolation);
  EXPECT_EQ(refused([](Hello& welcome) { welcome.encodings = {"other"}; }), Code::kProtocolViolation);
  EXPECT_EQ(refused([](Hello& welcome) { welcome.encodings = {"xml", "xml"}; }), Code::kProtocolViolation);
  EXPECT_EQ(refused([](Hello& welcome) { welcome.version_min = welcome.version_max = 2; }),
            Code::kVersionUnsupported);
}

TEST_F(ProtocolHostile, RefusalsAreCleanedBeforeTheyReachATerminal) {
  MakeBob();
  Enter();
  raw.Post(EncodeReject(Code::kOk, "\x1b[2Jgone", 0));
  Run();
  EXPECT_EQ(bob->ClosedWith(), Code::kProtocolViolation);
  EXPECT_EQ(bob->closed.begin()->second.detail(), "?[2Jgone");
}

TEST_F(ProtocolHostile, OperationsBeforeTheGreetingIsOver) {
  MakeBob();
  raw.Dial("bob:1");
  raw.PostRead(Tag{});
  Run();
  EXPECT_TRUE(raw.closed);
  EXPECT_TRUE(bob->opened.empty());
}

TEST_F(ProtocolHostile, StrangersThatSayNothingAreShownTheDoor) {
  MakeBob();
  raw.Dial("bob:1");
  Run();
  Pass(10'001);
  Run();
  EXPECT_TRUE(raw.closed);
  EXPECT_TRUE(bob->hellos.empty());
}

}  // namespace
}  // namespace splitplane

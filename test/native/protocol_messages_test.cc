// Messages over a session: order, credits, back-pressure, parts, cancellation, releases.
#include "test/native/protocol_fixture.h"

namespace splitplane {
namespace {

using ProtocolMessages = ProtocolTest;

TEST_F(ProtocolMessages, ArriveInOrderBothWays) {
  Open();
  for (int i = 0; i < 100; i++) {
    alice->Send("a" + std::to_string(i));
    bob->Send("b" + std::to_string(i));
  }
  Settle();
  ASSERT_EQ(alice->received.size(), 100u);
  ASSERT_EQ(bob->received.size(), 100u);
  for (int i = 0; i < 100; i++) {
    EXPECT_EQ(alice->received[i].envelope, "b" + std::to_string(i));
    EXPECT_EQ(bob->received[i].envelope, "a" + std::to_string(i));
  }
  EXPECT_EQ(alice->delivered, 100u);
  EXPECT_EQ(bob->delivered, 100u);
  EXPECT_EQ(alice->Info().messages_unacknowledged, 0u);
}

TEST_F(ProtocolMessages, CarryAttachmentsInTheirOrder) {
  Open();
  const std::string envelope = "<e/>", first = "inline", second(3000, 'x');
  const auto bytes = [](const std::string& text) {
    return ConstBytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  const OutgoingAttachment attachments[] = {
      {true, bytes(first)}, {false, {}}, {true, {}}, {true, bytes(second)}};
  auto id = alice->engine->Send(alice->session(), {bytes(envelope), attachments, 1500});
  ASSERT_TRUE(id.ok());
  Settle();
  ASSERT_EQ(bob->received.size(), 1u);
  EXPECT_EQ(bob->received[0].id, *id);
  EXPECT_EQ(bob->received[0].envelope, envelope);
  EXPECT_EQ(bob->received[0].attachments, (std::vector<std::string>{first, "grant:", "", second}));
  EXPECT_EQ(bob->received[0].deadline_ms, 1500u);
}

TEST_F(ProtocolMessages, OfEverySizeArriveWhole) {
  network.send_bytes_max = 8 * 1024;
  Open();
  const size_t part = 8 * 1024 - 56;
  for (size_t size :
       {size_t{0}, size_t{1}, part - 1, part, part + 1, 2 * part, 2 * part + 1, size_t{1} << 20}) {
    std::string envelope(size, 'x');
    for (size_t i = 0; i < size; i++) envelope[i] = char('a' + i * 7 % 26);
    ASSERT_NE(alice->Send(envelope), 0u);
    Settle();
    ASSERT_EQ(bob->received.size(), 1u);
    EXPECT_EQ(bob->received[0].envelope, envelope);
    bob->received.clear();
  }
}

TEST_F(ProtocolMessages, LargerThanEitherSideAllowsAreRefusedHere) {
  EngineOptions bobs = Node::Options("bob");
  bobs.message_bytes_max = 100;
  Open(Node::Options("alice"), bobs);
  const std::string envelope(101, 'x');
  const ConstBytes bytes(reinterpret_cast<const uint8_t*>(envelope.data()), envelope.size());
  EXPECT_EQ(alice->engine->Send(alice->session(), {bytes, {}, 0}).status().code(), Code::kLimitExceeded);
  EXPECT_EQ(bob->engine->Send(bob->session(), {bytes, {}, 0}).status().code(), Code::kLimitExceeded);
  EXPECT_TRUE(alice->engine->Send(alice->session(), {bytes.first(100), {}, 0}).ok());
  const std::vector<OutgoingAttachment> attachments(kAttachmentsMax + 1, {true, {}});
  EXPECT_EQ(alice->engine->Send(alice->session(), {{}, attachments, 0}).status().code(),
            Code::kLimitExceeded);
  EXPECT_TRUE(
      alice->engine->Send(alice->session(), {{}, std::span(attachments).first(kAttachmentsMax), 0}).ok());
  Settle();
  ASSERT_EQ(bob->received.size(), 2u);
  EXPECT_EQ(bob->received[1].attachments.size(), kAttachmentsMax);
}

TEST_F(ProtocolMessages, TellWhatIsLeftOfTheirDeadline) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 1;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  for (int i = 0; i < 3; i++) alice->Send("x", 2000);
  Settle();
  ASSERT_EQ(bob->received.size(), 1u);
  EXPECT_EQ(bob->received[0].deadline_ms, 2000u);
  for (const uint32_t left : {1500u, 1u}) {
    Pass(left == 1 ? 5000 : 500);
    bob->engine->Consume(bob->session(), 1, 1);
    Settle();
    EXPECT_EQ(bob->received.back().deadline_ms, left);
  }
}

TEST_F(ProtocolMessages, StopWhenThePeerDoesNotConsume) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  bobs.window_messages = 10;
  alices.queue_messages_max = 20;
  Open(alices, bobs);
  bob->consume = false;
  int taken = 0;
  for (int i = 0; i < 100; i++) {
    if (alice->Send("x") != 0) taken++;
    Settle();
  }
  EXPECT_EQ(bob->received.size(), 10u);
  EXPECT_EQ(taken, 30);
  EXPECT_EQ(alice->Info().messages_queued, 20u);
  EXPECT_EQ(alice->Info().messages_unacknowledged, 0u);
  EXPECT_EQ(alice->writable, 0);
  bob->engine->Consume(bob->session(), 10, 10);
  Settle();
  EXPECT_EQ(bob->received.size(), 20u);
  EXPECT_EQ(alice->writable, 1);
  bob->engine->Consume(bob->session(), 10, 10);
  Settle();
  EXPECT_EQ(bob->received.size(), 30u);
  EXPECT_EQ(alice->writable, 1);
}

TEST_F(ProtocolMessages, StopAtTheWindowInBytes) {
  EngineOptions bobs = Node::Options("bob");
  bobs.message_bytes_max = 1000;
  bobs.window_bytes = 2500;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  for (int i = 0; i < 5; i++) alice->Send(std::string(1000, 'x'));
  Settle();
  EXPECT_EQ(bob->received.size(), 2u);
  for (size_t count = 3; count <= 5; count++) {
    bob->engine->Consume(bob->session(), 1, 1000);
    Settle();
    EXPECT_EQ(bob->received.size(), count);
  }
}

// A window that is wider than what the sender keeps is used all the same, and credit comes by it: were the
// sender's bound one on what is not consumed, a receiver that took everything would owe no credit, and both
// sides would wait for ever.
TEST_F(ProtocolMessages, PassAWindowWiderThanTheSendersQueue) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  alices.message_bytes_max = alices.queue_bytes_max = 1000;
  bobs.message_bytes_max = 1000;
  bobs.window_bytes = 10'000;
  Open(alices, bobs);
  bob->consume = false;
  const auto send = [&] {
    EXPECT_NE(alice->Send(std::string(500, 'x')), 0u);
    Settle();
  };
  for (int i = 0; i < 20; i++) send();
  EXPECT_EQ(bob->received.size(), 20u);
  send();
  EXPECT_EQ(bob->received.size(), 20u) << "the window is full";
  bob->engine->Consume(bob->session(), 20, 20 * 500);
  Settle();
  EXPECT_EQ(bob->received.size(), 21u);
}

// A window of exactly one message: credit must be told after every one, or both sides wait for ever.
TEST_F(ProtocolMessages, PassASmallWindowOneByOne) {
  EngineOptions bobs = Node::Options("bob");
  bobs.message_bytes_max = bobs.window_bytes = 64;
  bobs.window_messages = 1;
  Open(Node::Options("alice"), bobs);
  for (int i = 0; i < 50; i++) alice->Send(std::string(size_t(i) % 65, 'x'));
  Settle();
  EXPECT_EQ(bob->received.size(), 50u);
}

TEST_F(ProtocolMessages, WaitForAFullTransport) {
  network.frames_in_flight_max = 1;
  network.send_bytes_max = 8 * 1024;
  Open();
  for (int i = 0; i < 20; i++) {
    alice->Send(std::to_string(i) + std::string(20'000, 'x'));
    bob->Send(std::to_string(i));
  }
  Settle();
  ASSERT_EQ(bob->received.size(), 20u);
  ASSERT_EQ(alice->received.size(), 20u);
  EXPECT_EQ(bob->received[19].envelope.substr(0, 3), "19x");
}

TEST_F(ProtocolMessages, CanceledBeforeTheyWereSentAreNeverSeen) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 2;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  for (int i = 1; i <= 6; i++) alice->Send(std::to_string(i));
  Settle();
  const SessionId session = alice->session();
  EXPECT_TRUE(alice->engine->CancelMessage(session, 3));
  EXPECT_FALSE(alice->engine->CancelMessage(session, 3)) << "it is gone already";
  EXPECT_TRUE(alice->engine->CancelMessage(session, 5));
  EXPECT_FALSE(alice->engine->CancelMessage(session, 7)) << "it never was";
  EXPECT_EQ(alice->Info().messages_queued, 2u);
  bob->consume = true;
  bob->engine->Consume(bob->session(), 2, 2);
  Settle();
  EXPECT_EQ(bob->Envelopes(), (std::vector<std::string>{"1", "2", "4", "6"}));
  EXPECT_EQ(alice->delivered, 6u);
}

// Canceling most of what waits leaves the others their order and their deadlines, whether those run already
// or not yet.
TEST_F(ProtocolMessages, CanceledInGreatNumberLeaveTheOthersAsTheyWere) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 1;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  for (int i = 1; i <= 20; i++) alice->Send("x", 2000);
  Pass(500);
  for (int i = 21; i <= 30; i++) alice->Send("x", 2000);
  const std::map<MessageId, uint32_t> kept = {{10, 1000}, {20, 1000}, {25, 1500}, {30, 1500}};
  for (MessageId id = 2; id <= 30; id++) {
    if (kept.contains(id)) continue;
    EXPECT_TRUE(alice->engine->CancelMessage(alice->session(), id));
  }
  Pass(500);
  for (const auto& [id, deadline_ms] : kept) {
    bob->engine->Consume(bob->session(), 1, 1);
    Settle();
    EXPECT_EQ(bob->received.back().id, id);
    EXPECT_EQ(bob->received.back().deadline_ms, deadline_ms);
  }
  EXPECT_EQ(alice->Info().messages_queued, 0u);
}

TEST_F(ProtocolMessages, CanceledAfterTheyWereSentAreTold) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 1;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  alice->Send("1");
  alice->Send("2");
  Settle();
  // It overtakes the message that waits for credits.
  EXPECT_FALSE(alice->engine->CancelMessage(alice->session(), 1));
  Settle();
  EXPECT_EQ(bob->canceled, std::vector<MessageId>{1});
  EXPECT_EQ(bob->received.size(), 1u);
}

TEST_F(ProtocolMessages, GiveTagsBack) {
  Open();
  BufferRef memory = bob->Memory(64, 1);
  std::vector<Tag> tags;
  for (uint64_t i = 0; i < 200; i++) tags.push_back(bob->Export(memory, Access::kRead, 1, i));
  Tag invented = tags[0];
  invented.bytes[Tag::kSecretAt] ^= 1;
  tags.insert(tags.begin(), invented);
  alice->engine->ReleaseTags(alice->session(), tags);
  Settle();
  ASSERT_EQ(bob->tags_ended.size(), 200u);
  for (uint64_t i = 0; i < 200; i++) EXPECT_EQ(bob->tags_ended[i], std::make_pair(i, Code::kOk));
  EXPECT_EQ(bob->engine->tags().stats().live, 0u);
}

// More releases than the queue holds, both ways and under a window that they outlast, hold up nobody for
// good.
TEST_F(ProtocolMessages, GiveManyTagsBackAndGoOn) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  alices.queue_messages_max = bobs.queue_messages_max = 4;
  alices.window_messages = bobs.window_messages = 2;
  Open(alices, bobs);
  const std::vector<Tag> tags(1000);
  for (int i = 0; i < 50; i++) {
    for (Node* node : {alice.get(), bob.get()}) {
      EXPECT_NE(node->Send("x"), 0u);
      node->engine->ReleaseTags(node->session(), tags);
    }
    if (i % 2 == 1) Settle();
  }
  EXPECT_EQ(alice->received.size(), 50u);
  EXPECT_EQ(bob->received.size(), 50u);
}

// Who sends much before it lets Poll run does not keep its peer waiting until then: frames are posted
// meanwhile.
TEST_F(ProtocolMessages, LeaveEarlyWhenThereAreMany) {
  Open();
  const uint64_t before = network.frames_posted();
  for (int i = 0; i < 31; i++) alice->Send("few");
  EXPECT_EQ(network.frames_posted(), before);
  alice->Send("many");
  EXPECT_EQ(network.frames_posted(), before + 32);
  alice->Send(std::string(70'000, 'x'));
  EXPECT_GT(network.frames_posted(), before + 32);
  Settle();
  EXPECT_EQ(bob->received.size(), 33u);
  EXPECT_EQ(alice->delivered, 33u);
}

// What is sent from inside an event of Poll waits for the end of it, however much it is.
TEST_F(ProtocolMessages, SentWhilePollRunsLeaveWithIt) {
  Open();
  bob->on_message = [this](const Node::Received&) {
    bob->on_message = nullptr;
    const uint64_t before = network.frames_posted();
    for (int i = 0; i < 100; i++) bob->Send("answer");
    EXPECT_EQ(network.frames_posted(), before);
  };
  alice->Send("question");
  Settle();
  EXPECT_EQ(alice->received.size(), 100u);
}

// An answer goes before the release of what it answers, though it was queued later; but no more than 64 of
// them.
TEST_F(ProtocolMessages, GoBeforeReleases) {
  Open();
  const BufferRef memory = bob->Memory(64, 1);
  size_t received_before = 0;
  const auto release = [&](uint64_t cookie) {
    const Tag tag = bob->Export(memory, Access::kRead, 1, cookie);
    alice->engine->ReleaseTags(alice->session(), std::span(&tag, 1));
  };
  bob->on_message = [&](const Node::Received&) { received_before += bob->tags_ended.empty() ? 1 : 0; };
  release(1);
  alice->Send("answer");
  Settle();
  EXPECT_EQ(received_before, 1u);
  EXPECT_EQ(bob->tags_ended.size(), 1u);

  bob->tags_ended.clear();
  received_before = 0;
  // What is sent while messages are delivered waits, so that the release finds all of it before it.
  alice->on_message = [&](const Node::Received&) {
    release(2);
    for (int i = 0; i < 200; i++) alice->Send("answer");
  };
  bob->Send("question");
  Settle();
  EXPECT_EQ(received_before, 64u);
  EXPECT_EQ(bob->received.size(), 201u);
}

TEST_F(ProtocolMessages, OfOneSessionDoNotReachAnother) {
  Open();
  Dial();
  Settle();
  ASSERT_EQ(bob->opened.size(), 2u);
  alice->Send("first");
  Settle();
  ASSERT_EQ(bob->received.size(), 1u);
  EXPECT_EQ(bob->received[0].session, bob->opened[0]);
  // Nor does one session give back what was exported for the other.
  const Tag tag = bob->Export(bob->Memory(64, 1), Access::kRead);
  alice->engine->ReleaseTags(alice->opened[1], std::span(&tag, 1));
  Settle();
  EXPECT_TRUE(bob->tags_ended.empty());
}

TEST_F(ProtocolMessages, AcknowledgementsTravelInAnswers) {
  Open();
  bob->on_message = [&](const Node::Received&) { bob->Send("pong"); };
  alice->Send("ping");
  Settle();
  const uint64_t before = network.frames_posted();
  alice->Send("ping");
  Settle();
  // The message, the answer, and one acknowledgement for the answer.
  EXPECT_EQ(network.frames_posted() - before, 3u);
}

TEST_F(ProtocolMessages, ReadsWritesAndAtomicsReachTheMemoryBehindATag) {
  Open();
  BufferRef source = bob->Memory(1000, 7), target = bob->Memory(1000, 0), word = bob->Memory(8, 0);
  BufferRef local = alice->Memory(1000, 0);
  const Tag read = bob->Export(source, Access::kRead), write = bob->Export(target, Access::kWrite, 1, 42),
            atomic = bob->Export(word, Access::kAtomic);
  const SessionId session = alice->session();
  auto first = alice->engine->Read(session, read, {}, 0, {{local, 0, 500}, {local, 500, 500}}, {});
  ASSERT_TRUE(first.ok());
  Settle();
  EXPECT_EQ(alice->operations[*first].first, Code::kOk);
  EXPECT_EQ(std::memcmp(local->data(), source->data(), 1000), 0);
  auto second = alice->engine->Write(session, write, {}, 0, {{local, 0, 1000}}, {.notify = true});
  auto third = alice->engine->Atomic(session, atomic, {}, 0, {AtomicOperation::kFetchAndAdd, 5, 0});
  Settle();
  EXPECT_EQ(alice->operations[*second].first, Code::kOk);
  EXPECT_EQ(alice->operations[*third].first, Code::kOk);
  EXPECT_EQ(std::memcmp(target->data(), source->data(), 1000), 0);
  EXPECT_EQ(LoadLittle<uint64_t>(word->data()), 5u);
  EXPECT_EQ(bob->notified, std::vector<uint64_t>{42});
}

}  // namespace
}  // namespace splitplane

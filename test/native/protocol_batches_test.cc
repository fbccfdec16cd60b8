// Batches over a session: they are messages to order, credits, parts, cancellation and acknowledgement, and
// what a peer says of them is not believed.
#include "test/native/protocol_fixture.h"
#include "test/native/protocol_raw_peer.h"

namespace splitplane {
namespace {

using Strings = std::vector<std::string>;
using ProtocolBatches = ProtocolTest;

TEST_F(ProtocolBatches, ArriveInOrderWithMessages) {
  Open();
  for (int i = 0; i < 50; i++) {
    const std::string number = std::to_string(i);
    EXPECT_EQ(alice->Send("m" + number), MessageId(2 * i + 1));
    EXPECT_EQ(alice->SendBatch({number, "", number + "!"}), MessageId(2 * i + 2));
  }
  Settle();
  ASSERT_EQ(bob->received.size(), 50u);
  ASSERT_EQ(bob->batches.size(), 50u);
  for (int i = 0; i < 50; i++) {
    const std::string number = std::to_string(i);
    EXPECT_EQ(bob->received[i].id, MessageId(2 * i + 1));
    EXPECT_EQ(bob->batches[i].id, MessageId(2 * i + 2));
    EXPECT_EQ(bob->batches[i].messages, (Strings{number, "", number + "!"}));
  }
  EXPECT_EQ(alice->delivered, 100u);
  EXPECT_EQ(alice->Info().messages_sent, 100u);
  EXPECT_EQ(bob->Info().messages_received, 100u);
  EXPECT_EQ(alice->Info().messages_unacknowledged, 0u);
}

TEST_F(ProtocolBatches, OfEverySizeArriveWhole) {
  network.send_bytes_max = 8 * 1024;
  Open();
  const size_t part = 8 * 1024 - 56;
  std::vector<Strings> sent = {
      {""}, {"", ""}, Strings(kBatchMessagesMax, ""), {std::string(kBatchedBytesMax, 'z')}};
  for (size_t bytes : {part - 1, part, part + 1, 2 * part, 2 * part + 1})
    sent.push_back({std::string(bytes - 2, 'x')});
  sent.push_back({});
  for (size_t i = 0; i < 999; i++) sent.back().push_back(std::string(i % 7, char('a' + i % 26)));
  for (const Strings& messages : sent) {
    ASSERT_NE(alice->SendBatch(messages), 0u);
    Settle();
    ASSERT_EQ(bob->batches.size(), 1u);
    EXPECT_EQ(bob->batches[0].messages, messages);
    bob->batches.clear();
  }
}

TEST_F(ProtocolBatches, ThatNoPeerWouldTakeAreRefusedHere) {
  EngineOptions bobs = Node::Options("bob");
  bobs.message_bytes_max = 100;
  Open(Node::Options("alice"), bobs);
  EXPECT_EQ(alice->TrySendBatch({std::string(99, 'x')}).status().code(), Code::kLimitExceeded);
  EXPECT_EQ(alice->TrySendBatch({}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(alice->TrySendBatch(Strings(kBatchMessagesMax + 1)).status().code(), Code::kInvalidArgument);
  const uint8_t lies[] = {1, 0, 0xaa, 0xbb};
  for (uint32_t count = 0; count < 4; count++) {
    EXPECT_EQ(alice->engine->SendBatch(alice->session(), {count, lies}).status().code(),
              Code::kInvalidArgument);
  }
  EXPECT_EQ(alice->engine->SendBatch(99, {1, lies}).status().code(), Code::kClosed);
  EXPECT_NE(alice->SendBatch({std::string(98, 'x')}), 0u);
  Settle();
  EXPECT_EQ(bob->batches.size(), 1u);
}

TEST_F(ProtocolBatches, AreOneMessageToTheWindowAndTheQueue) {
  EngineOptions alices = Node::Options("alice"), bobs = Node::Options("bob");
  bobs.window_messages = 4;
  alices.queue_messages_max = 2;
  Open(alices, bobs);
  bob->consume = false;
  int taken = 0;
  for (int i = 0; i < 10; i++) {
    if (alice->SendBatch(Strings(100, "x")) != 0) taken++;
    Settle();
  }
  EXPECT_EQ(taken, 6);
  EXPECT_EQ(bob->batches.size(), 4u);
  EXPECT_EQ(alice->TrySendBatch({"x"}).status().code(), Code::kNoResource);
  bob->engine->Consume(bob->session(), 4, 4 * 300);
  Settle();
  EXPECT_EQ(bob->batches.size(), 6u);
  EXPECT_EQ(alice->writable, 1);
}

TEST_F(ProtocolBatches, CountAllTheirBytesAgainstTheWindow) {
  EngineOptions bobs = Node::Options("bob");
  bobs.message_bytes_max = 1000;
  bobs.window_bytes = 2500;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  for (int i = 0; i < 4; i++) ASSERT_NE(alice->SendBatch(Strings(10, std::string(98, 'x'))), 0u);
  Settle();
  EXPECT_EQ(bob->batches.size(), 2u);
  bob->engine->Consume(bob->session(), 1, 1000);
  Settle();
  EXPECT_EQ(bob->batches.size(), 3u);
}

TEST_F(ProtocolBatches, ThatWaitCanBeCanceled) {
  EngineOptions bobs = Node::Options("bob");
  bobs.window_messages = 1;
  Open(Node::Options("alice"), bobs);
  bob->consume = false;
  const MessageId first = alice->SendBatch({"first"}), second = alice->SendBatch({"second"});
  ASSERT_NE(alice->SendBatch({"third"}), 0u);
  Settle();
  EXPECT_TRUE(alice->engine->CancelMessage(alice->session(), second));
  EXPECT_FALSE(alice->engine->CancelMessage(alice->session(), first));
  bob->engine->Consume(bob->session(), 1, 7);
  Settle();
  ASSERT_EQ(bob->batches.size(), 2u);
  EXPECT_EQ(bob->batches[1].messages, Strings{"third"});
  EXPECT_EQ(bob->canceled, std::vector<MessageId>{first});
}

class HostileBatches : public ProtocolTest {
 protected:
  HostileBatches() : raw(network) {}

  // Sends the frames in a session that is fine, and gives what it ended with (kOk: it did not).
  Code Try(const std::vector<std::vector<uint8_t>>& frames) {
    EngineOptions options = Node::Options("bob");
    options.resume_ms = 0;
    options.message_bytes_max = 1000;
    options.window_messages = 2;
    options.window_bytes = 1500;
    bob = std::make_unique<Node>(std::move(options));
    bob->consume = false;
    listener = *bob->engine->Listen("fake", "bob:1", {});
    raw.Dial("bob:1");
    raw.Post(raw.MakeHello());
    Run();
    raw.Post(raw.MakeStart());
    for (const auto& frame : frames) raw.Post(frame);
    Run();
    EXPECT_EQ(raw.RejectedWith(), bob->ClosedWith());
    return bob->ClosedWith();
  }
  void Run() {
    do {
      Settle();
    } while (raw.Poll(now));
  }

  RawPeer raw;
};

TEST_F(HostileBatches, WhoseLengthsLie) {
  const std::vector<uint8_t> good = Node::Pack({"ab", "c"});
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 2, good)}), Code::kOk);
  ASSERT_EQ(bob->batches.size(), 1u);
  // Of any message, and of the whole: too long by one, by all that fits the field; too short.
  for (size_t at : {0, 1, 2, 3}) {
    for (uint8_t lie : {0, 1, 3, 0xff}) {
      std::vector<uint8_t> content = good;
      if (content[at] == lie) continue;
      content[at] = lie;
      EXPECT_EQ(Try({raw.MakeBatch(1, 1, 2, content)}), Code::kProtocolViolation) << at << " " << int(lie);
      EXPECT_TRUE(bob->batches.empty());
    }
  }
  for (uint32_t count : {0u, 1u, 3u, 4u, kBatchMessagesMax, kBatchMessagesMax + 1, UINT32_MAX}) {
    EXPECT_EQ(Try({raw.MakeBatch(1, 1, count, good)}), Code::kProtocolViolation) << count;
  }
  for (uint32_t total : {1u, 6u, 8u, 999u}) {
    const Code code = Try({raw.MakeBatch(1, 1, 2, good, total)});
    // A longer whole is one that has not come yet: nothing is delivered of it.
    EXPECT_EQ(code, total < good.size() ? Code::kProtocolViolation : Code::kOk) << total;
    EXPECT_TRUE(bob->batches.empty());
  }
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 2, good, UINT32_MAX)}), Code::kLimitExceeded);
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 2, good, 0, UINT32_MAX)}), Code::kProtocolViolation);
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 1, {})}), Code::kProtocolViolation);
}

TEST_F(HostileBatches, BeyondWhatThisSideTakes) {
  const auto of = [](size_t bytes) { return Node::Pack({std::string(bytes - 2, 'x')}); };
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 1, of(1000))}), Code::kOk);
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 1, of(1001))}), Code::kLimitExceeded);
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 1, of(1000)), raw.MakeBatch(2, 2, 1, of(501))}),
            Code::kProtocolViolation);
  EXPECT_EQ(bob->batches.size(), 1u);
  EXPECT_EQ(Try({raw.MakeBatch(1, 1, 1, of(2)), raw.MakeMessage(2, 2, "x"), raw.MakeBatch(3, 3, 1, of(2))}),
            Code::kProtocolViolation);
  EXPECT_EQ(bob->batches.size(), 1u);
}

TEST_F(HostileBatches, WhosePartsDoNotBelongTogether) {
  const std::vector<uint8_t> good = Node::Pack({"ab", "c"});
  const std::vector<uint8_t> head(good.begin(), good.begin() + 3), tail(good.begin() + 3, good.end());
  const auto first = raw.MakeBatch(1, 1, 2, head, 7);
  EXPECT_EQ(Try({first, raw.MakeBatch(1, 1, 2, tail, 7, 3)}), Code::kOk);
  EXPECT_EQ(bob->batches.size(), 1u);
  const std::vector<std::vector<uint8_t>> wrong = {
      raw.MakeBatch(1, 1, 3, tail, 7, 3),   // another number of messages
      raw.MakeBatch(1, 2, 2, tail, 7, 3),   // another id
      raw.MakeBatch(1, 1, 2, tail, 8, 3),   // another length
      raw.MakeBatch(1, 1, 2, tail, 7, 2),   // some of it twice
      raw.MakeMessage(1, 1, "abcd", 7, 3),  // a message in the middle
      raw.MakeCancel(2, 1),                 // or something else in sequence
      raw.MakeBatch(3, 1, 2, tail, 7, 3),   // another place in the sequence
  };
  for (size_t i = 0; i < wrong.size(); i++) {
    EXPECT_EQ(Try({first, wrong[i]}), Code::kProtocolViolation) << i;
    EXPECT_TRUE(bob->batches.empty() && bob->received.empty());
  }
  // The reverse: a part of a batch where a message is to go on.
  EXPECT_EQ(Try({raw.MakeMessage(1, 1, "abc", 7, 0), raw.MakeBatch(1, 1, 2, tail, 7, 3)}),
            Code::kProtocolViolation);
}

TEST_F(HostileBatches, WithReservedBytesThatAreNotZero) {
  for (size_t at = kBatchReservedAt; at < kBatchHeadBytes; at++) {
    std::vector<uint8_t> frame = raw.MakeBatch(1, 1, 2, Node::Pack({"ab", "c"}));
    frame[at] = 1;
    EXPECT_EQ(Try({raw.Sealed(frame, FrameType::kBatch)}), Code::kProtocolViolation);
  }
}

}  // namespace
}  // namespace splitplane

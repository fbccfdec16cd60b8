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
  const Tag tag{};
  const auto bytes = [](const std::string& text) {
    return ConstBytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  const OutgoingAttachment attachments[] = {
      {true, bytes(first), nullptr}, {false, {}, &tag}, {true, {}, nullptr}, {true, bytes(second), nullptr}};
  auto id = alice->engine->Send(alice->session(), {bytes(envelope), attachments, 1500});
  ASSERT_TRUE(id.ok());
  Settle();
  ASSERT_EQ(bob->received.size(), 1u);
  EXPECT_EQ(bob->received[0].id, *id);
  EXPECT_EQ(bob->received[0].envelope, envelope);
  EXPECT_EQ(bob->received[0].attachments, (std::vector<std::string>{first, "grant:", "", second}));
  EXPECT_EQ(bob->received[0].deadline_ms, 1500u);
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

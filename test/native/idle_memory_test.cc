// What a connection keeps once nothing happens on it: counted by the allocator, over real sockets, after each
// has carried more than any buffer of its own would hold. Under sanitizers nobody counts, so it is not built
// there.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <malloc.h>

#include "native/tcp/tcp_transport.h"
#include "test/native/protocol_fixture.h"

namespace splitplane {
namespace {

class IdleMemory : public testing::Test {
 protected:
  static constexpr TransportEntry kTcp = {"tcp", &MakeTcpTransport};

  IdleMemory() : alice(Node::Options("alice"), {kTcp}), bob(Node::Options("bob"), {kTcp}) {
    address = bob.engine->ListenerAddress(*bob.engine->Listen("tcp", "127.0.0.1:0", {}));
  }
  // Polls both until `done`; gives up only when the test has long been lost.
  void Until(const std::function<bool()>& done) {
    const MonotonicNs lost = NowNs() + 60'000 * kMs;
    while (!done()) {
      ASSERT_LT(NowNs(), lost) << "what was waited for never came";
      for (Node* node : {&alice, &bob}) node->engine->Poll(NowNs(), 1 << 20);
    }
  }
  // One more connection: messages and batches that fill frames, both ways, and a write and a read of what
  // takes several parts.
  void OpenAndUse() {
    const size_t opened = alice.opened.size() + 1;
    ASSERT_TRUE(alice.engine->Connect(Over("tcp", address), {}, {}).ok());
    Until([&] { return alice.opened.size() == opened && bob.opened.size() == opened; });
    const std::string large(100'000, 'x');
    const std::vector<std::string> batch(1000, "small");
    for (Node* node : {&alice, &bob}) {
      const SessionId session = node->opened.back();
      const std::vector<uint8_t> content = Node::Pack(batch);
      const ConstBytes envelope(reinterpret_cast<const uint8_t*>(large.data()), large.size());
      ASSERT_TRUE(node->engine->Send(session, {envelope, {}, 0}).ok());
      ASSERT_TRUE(node->engine->SendBatch(session, {uint32_t(batch.size()), content}).ok());
    }
    TagOptions options;
    options.audience.session = bob.opened.back();
    options.slices = {{theirs, 0, theirs->length()}};
    const Tag tag = *bob.engine->tags().Export(std::move(options));
    auto read = alice.engine->Read(alice.opened.back(), tag, {}, 0, {{ours, 0, ours->length()}}, {});
    Until([&] {
      return alice.operations.count(*read) > 0 && alice.delivered == 2 && bob.delivered == 2 &&
             alice.batches.size() == 1 && bob.batches.size() == 1;
    });
    // What the test itself wrote down.
    for (Node* node : {&alice, &bob}) {
      node->received = {};
      node->batches = {};
      node->hellos = {};
      node->operations.clear();
      node->tags_ended = {};
      node->delivered = 0;
    }
  }
  static uint64_t Allocated() {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  }

  Node alice, bob;
  BufferRef ours = alice.Memory(2 << 20, 0), theirs = bob.Memory(2 << 20, 7);
  std::string address;
};

TEST_F(IdleMemory, OfAConnectionIsSmallWhateverItCarried) {
  constexpr uint64_t kConnections = 200;
  // Below 20 kB at each end with what JavaScript keeps, of which this is the larger part.
  constexpr uint64_t kBytesMax = 8'000;
  for (int i = 0; i < 20; i++) OpenAndUse();
  const uint64_t before = Allocated();
  for (uint64_t i = 0; i < kConnections; i++) OpenAndUse();
  const uint64_t each = (Allocated() - before) / kConnections / 2;
  EXPECT_LT(each, kBytesMax);
  // Or nobody counted.
  EXPECT_GT(each, 500u);
  EXPECT_TRUE(alice.closed.empty() && bob.closed.empty());
}

// Messages that were canceled keep nothing, although the one before them still waits for credit.
TEST_F(IdleMemory, OfCanceledMessagesIsNone) {
  constexpr int kCanceled = 100'000;
  constexpr int64_t kBytesMax = 100'000;  // a chunk of the queue, and little more
  OpenAndUse();
  bob.consume = false;
  while (alice.Info().messages_queued == 0) {
    ASSERT_NE(alice.Send("x"), 0u);
    alice.engine->Poll(NowNs(), 1 << 20);
  }
  const uint64_t before = Allocated();
  for (int i = 0; i < kCanceled; i++) {
    const MessageId id = alice.Send("x");
    ASSERT_TRUE(alice.engine->CancelMessage(alice.session(), id));
  }
  EXPECT_LT(int64_t(Allocated() - before), kBytesMax);
}

}  // namespace
}  // namespace splitplane
#endif

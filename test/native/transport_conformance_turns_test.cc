// Conformance of transports: connections share a round. Bulk data on one of them, as much as a round may move
// and more, leaves the others their turn. The two engines are polled with the bound on a round that a loop
// sets, and rounds are counted instead of time.
#include "test/native/transport_conformance.h"

namespace splitplane::conformance {
namespace {

constexpr uint64_t kBulkBytes = 8 * kMiB;
constexpr int kBulkReads = 8;
// Far more than it takes until everybody had his turn.
constexpr int kRoundsMax = 500;

class TurnsTest : public TransportTest {
 protected:
  void SetUp() override {
    Connect();
    auto connecting = client.transport->Connect(
        listener->address(),
        {.data_channels = GetParam().data_channels, .trusted_peer = GetParam().dialer_trusts});
    ASSERT_TRUE(connecting.ok()) << connecting.status().ToString();
    second_ = std::move(*connecting);
    ASSERT_TRUE(Run([&] { return client.connected == 2 && server.accepted.size() == 2; }));
    second_remote_ = server.accepted.back().get();
    second_->Bind({.session = 3, .principal = "server"});
    second_remote_->Bind({.session = 4, .principal = "client"});
    bulk_ = TagFor(2, kBulkBytes);
    other_bulk_ = TagFor(4, kBulkBytes);
    little_ = TagFor(4, 1000);
    ASSERT_TRUE(second_remote_->PostSend(std::vector<ConstBytes>{AsBytes("heard")}).ok());
    ASSERT_TRUE(remote->PostSend(std::vector<ConstBytes>{AsBytes("heard")}).ok());
    ASSERT_TRUE(Run([&] { return client.frames.size() == 2; }));
  }

  // Memory that this session of the client may look at where it can be looked at.
  Tag TagFor(uint64_t session, uint64_t bytes) {
    Result<BufferRef> memory = server.pool.Allocate(bytes, session);
    EXPECT_TRUE(memory.ok());
    std::memset((*memory)->data(), 1, bytes);
    TagOptions options;
    options.audience = {Audience::Kind::kSession, session, {}};
    options.slices = {Whole(*memory)};
    options.uses = kUnlimitedUses;
    Result<Tag> tag = server.tags.Export(std::move(options));
    EXPECT_TRUE(tag.ok());
    return *tag;
  }
  void ReadOn(Endpoint& from, const Tag& tag, uint64_t bytes) {
    const Status posted =
        from.PostRead(next_operation++, {tag.span(), 0, bytes}, {{into_, 0, bytes}}, {.checksum = checksum_});
    EXPECT_TRUE(posted.ok()) << posted.ToString();
  }
  // A round of either side. Bulk reads are under way before and after it.
  void Round() {
    for (; reading_ < kBulkReads; reading_++) ReadOn(*endpoint, bulk_, kBulkBytes);
    client.transport->Poll(client, NowNs(), client.budget);
    server.transport->Poll(server, NowNs(), server.budget);
  }
  // False if it took too many of them.
  bool RoundsUntil(const std::function<bool()>& done) {
    for (int i = 0; i < kRoundsMax && !done(); i++) Round();
    return done();
  }

  std::unique_ptr<Endpoint> second_;
  Endpoint* second_remote_ = nullptr;
  Tag bulk_, other_bulk_, little_;
  const BufferRef into_ = client.Buffer(kBulkBytes);
  bool checksum_ = false;
  int reading_ = 0;        // of the first connection
  size_t other_ends_ = 0;  // reads of the second one that have ended
};

// Goal: a connection gets its frames, in either direction, and what it reads, while another one has more bulk
// data under way than a round moves; and so does that other one itself. Method: now the reader is who can
// move the least in a round, and now the owner.
TEST_P(TurnsTest, BulkLeavesOthersTheirTurn) {
  client.on_completion = [&](Endpoint& from) {
    if (&from == second_.get()) {
      other_ends_++;
    } else {
      reading_--;
    }
  };
  for (const bool reader_is_slow : {true, false}) {
    SCOPED_TRACE(reader_is_slow ? "the reader's rounds are short" : "the owner's rounds are short");
    client.budget = reader_is_slow ? kMiB : 8 * kMiB;
    server.budget = reader_is_slow ? 8 * kMiB : kMiB;
    for (int i = 0; i < kBulkReads; i++) Round();
    for (Endpoint* sender : {remote, second_remote_, endpoint.get(), second_.get()}) {
      Side& receiver = sender == remote || sender == second_remote_ ? client : server;
      const size_t frames = receiver.frames.size();
      ASSERT_TRUE(sender->PostSend(std::vector<ConstBytes>{AsBytes("a word")}).ok());
      EXPECT_TRUE(RoundsUntil([&] { return receiver.frames.size() > frames; }));
    }
    for (const auto& [tag, bytes] :
         {std::pair(little_, uint64_t{1000}), std::pair(other_bulk_, kBulkBytes)}) {
      const size_t ends = other_ends_;
      ReadOn(*second_, tag, bytes);
      EXPECT_TRUE(RoundsUntil([&] { return other_ends_ > ends; })) << bytes;
    }
  }
  // It was bulk all the time, and ends well.
  EXPECT_GT(reading_, 0);
  client.budget = server.budget = UINT64_MAX;
  EXPECT_TRUE(Run([&] { return client.completions.size() == next_operation - 1; }));
  for (const auto& [operation, completion] : client.completions) EXPECT_TRUE(completion.status.ok());
}

// Goal: who serves bulk data comes to what he asks for himself, on the same connection, too. Method: reads
// with checksums keep the owner's processor busy for more than its rounds give, and the owner reads from the
// reader.
TEST_P(TurnsTest, ServingLeavesAskingItsTurn) {
  client.on_completion = [&](Endpoint&) { reading_--; };
  client.budget = 8 * kMiB;
  server.budget = kMiB;
  checksum_ = true;
  for (int i = 0; i < kBulkReads; i++) Round();
  const BufferRef into = server.Buffer(1000);
  const Tag tag = client.Export(Access::kRead, {Whole(client.Filled(1000, 3))});
  ASSERT_TRUE(remote->PostRead(1, {tag.span(), 0, 1000}, {Whole(into)}, {}).ok());
  EXPECT_TRUE(RoundsUntil([&] { return server.completions.contains(1); }));
  EXPECT_GT(reading_, 0);
  client.budget = server.budget = UINT64_MAX;
  EXPECT_TRUE(
      Run([&] { return server.completions.contains(1) && client.completions.size() == next_operation - 1; }));
}

INSTANTIATE_TEST_SUITE_P(Transports, TurnsTest, testing::ValuesIn(Kinds()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace splitplane::conformance

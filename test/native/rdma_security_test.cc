// What a peer reaches over RDMA, measured: an attacker with the raw verbs of a connected queue pair holds
// real grants and tries everything that a grant is not for. Each attempt ends with an error at the attacker,
// brings it not one byte, and changes not one; the engine goes on serving others. Each test first shows that
// the attacker's means work, by what it is allowed. Over the fake device, and over a real one where
// SPLITPLANE_RDMA_ADDRESS names it.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "native/rdma/table_transport.h"
#include "test/native/rdma_attacker.h"
#include "test/native/rdma_fake_fixture.h"

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma {
namespace {

constexpr MonotonicNs kPatienceNs = 30'000'000'000;
constexpr uint64_t kBufferBytes = 8192, kSliceAt = 3000, kSliceBytes = 1000;

struct Range {
  uint64_t address;
  uint32_t length;
};

class RdmaSecurityTest : public conformance::TransportTest {
 protected:
  void SetUp() override {
    // Somebody honest, who has to be served whatever happens.
    ASSERT_NO_FATAL_FAILURE(Connect());
    memory = server.Filled(kBufferBytes, 1);
  }
  // Nobody else's memory was changed, and nobody else suffers.
  void TearDown() override {
    EXPECT_TRUE(client.closed.empty());
    const BufferRef into = client.Buffer(300'000);
    const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(300'000, 7))});
    const Completion end = End(Read(tag, 0, {Whole(into)}));
    EXPECT_TRUE(end.status.ok()) << end.status.ToString();
    EXPECT_TRUE(Contents(into) == PatternBytes(7, 0, 300'000));
    attackers.clear();
  }

  const Verbs& Table() const {
    if (GetParam().name == conformance::kFakeDevice) return Fabric::Table();
    return **LoadVerbs();
  }
  bool Until(const std::function<bool()>& done) {
    const MonotonicNs give_up = NowNs() + kPatienceNs;
    while (!done()) {
      const MonotonicNs now = NowNs();
      if (now > give_up) return false;
      client.transport->Poll(client, now, UINT64_MAX);
      server.transport->Poll(server, now, UINT64_MAX);
      for (const auto& attacker : attackers) attacker->Step();
    }
    return true;
  }
  Attacker& Intrude(uint64_t session) {
    const size_t before = server.accepted.size();
    Attacker& attacker = *attackers.emplace_back(std::make_unique<Attacker>(Table(), listener->address()));
    EXPECT_TRUE(Until([&] { return server.accepted.size() > before; }));
    server.accepted.back()->Bind({.session = session, .principal = "attacker"});
    EXPECT_TRUE(Until([&] { return attacker.connected(); }));
    return attacker;
  }
  Slice Middle() const { return {memory, kSliceAt, kSliceBytes}; }
  // The number of an operation that was granted, and where.
  std::pair<uint32_t, Piece> Granted(Attacker& attacker, Kind kind, const Tag& tag, uint8_t flags = 0) {
    const uint32_t number = attacker.Ask(kind, flags, tag, 0, kSliceBytes);
    EXPECT_TRUE(Until([&] { return attacker.grants.contains(number) || attacker.ends.contains(number); }));
    EXPECT_FALSE(attacker.ends.contains(number)) << CodeName(attacker.ends[number]);
    return {number, attacker.grants[number]};
  }
  Code Refused(Attacker& attacker, Kind kind, const Tag& tag, uint64_t offset = 0) {
    const uint32_t number = attacker.Ask(kind, 0, tag, offset, kSliceBytes);
    EXPECT_TRUE(Until([&] { return attacker.ends.contains(number); }));
    EXPECT_FALSE(attacker.grants.contains(number));
    return attacker.ends[number];
  }
  ibv_wc_status Move(Attacker& attacker, ibv_wr_opcode opcode, Range at, uint32_t key) {
    EXPECT_TRUE(Until([&] { return attacker.connected(); }));
    attacker.Move(opcode, at.address, at.length, key);
    EXPECT_TRUE(Until([&] { return attacker.moved().has_value(); }));
    return attacker.moved().value_or(IBV_WC_SUCCESS);
  }
  void ExpectReads(Attacker& attacker, const Piece& piece) {
    std::fill(attacker.memory.begin(), attacker.memory.end(), 0);
    EXPECT_EQ(Move(attacker, IBV_WR_RDMA_READ, {piece.address, piece.length}, piece.key), IBV_WC_SUCCESS);
    EXPECT_EQ(std::memcmp(attacker.memory.data(), memory->data() + kSliceAt, kSliceBytes), 0);
  }
  void ExpectNoRead(Attacker& attacker, Range at, uint32_t key) {
    std::fill(attacker.memory.begin(), attacker.memory.end(), 0);
    EXPECT_NE(Move(attacker, IBV_WR_RDMA_READ, at, key), IBV_WC_SUCCESS);
    EXPECT_TRUE(
        std::all_of(attacker.memory.begin(), attacker.memory.end(), [](uint8_t b) { return b == 0; }));
  }
  void ExpectNoWrite(Attacker& attacker, Range at, uint32_t key) {
    const std::vector<uint8_t> before = Contents(memory);
    std::fill(attacker.memory.begin(), attacker.memory.end(), 0xee);
    EXPECT_NE(Move(attacker, IBV_WR_RDMA_WRITE, at, key), IBV_WC_SUCCESS);
    EXPECT_TRUE(Contents(memory) == before);
  }
  // Over the edges of a granted piece by as little as there is, and far away.
  static std::vector<Range> Outside(const Piece& piece) {
    return {{piece.address + piece.length, 1},
            {piece.address - 1, 1},
            {piece.address, piece.length + 1},
            {piece.address - 1, piece.length + 1},
            {piece.address + piece.length - 1, 2},
            {piece.address - kSliceAt, uint32_t(kBufferBytes)},
            {piece.address + 4096, 8},
            {0, 8},
            {UINT64_MAX - 3, 8}};
  }

  BufferRef memory;
  std::vector<std::unique_ptr<Attacker>> attackers;
};

// Goal: a grant to read reaches its slice and not one byte before or beyond.
TEST_P(RdmaSecurityTest, NotOneByteOutsideIsRead) {
  Attacker& attacker = Intrude(2);
  const auto [number, piece] = Granted(attacker, Kind::kRead, server.Export(Access::kRead, {Middle()}));
  ExpectReads(attacker, piece);
  for (const Range& at : Outside(piece)) {
    SCOPED_TRACE(testing::Message() << int64_t(at.address - piece.address) << ", " << at.length << " bytes");
    ExpectNoRead(attacker, at, piece.key);
  }
  ExpectReads(attacker, piece);
}

// Goal: the same for writing, and what lies around is as it was.
TEST_P(RdmaSecurityTest, NotOneByteOutsideIsWritten) {
  Attacker& attacker = Intrude(2);
  const auto [number, piece] = Granted(attacker, Kind::kWrite, server.Export(Access::kWrite, {Middle()}));
  for (const Range& at : Outside(piece)) {
    SCOPED_TRACE(testing::Message() << int64_t(at.address - piece.address) << ", " << at.length << " bytes");
    ExpectNoWrite(attacker, at, piece.key);
  }
  EXPECT_EQ(Move(attacker, IBV_WR_RDMA_WRITE, {piece.address, piece.length}, piece.key), IBV_WC_SUCCESS);
  std::vector<uint8_t> expected = PatternBytes(1, 0, kBufferBytes);
  std::fill_n(expected.begin() + kSliceAt, kSliceBytes, uint8_t(0xee));
  EXPECT_TRUE(Contents(memory) == expected);
}

// Goal: a tag of one use is used once: neither does its key live on, nor is it granted again.
TEST_P(RdmaSecurityTest, NotTwice) {
  Attacker& attacker = Intrude(2);
  const Tag once = server.Export(Access::kRead, {Middle()}, 1);
  const auto [number, piece] = Granted(attacker, Kind::kRead, once);
  ExpectReads(attacker, piece);
  attacker.SayDone(number, 0);
  // Whatever was said before is heard before the answer to this.
  EXPECT_EQ(Refused(attacker, Kind::kRead, once), Code::kTagExhausted);
  ExpectNoRead(attacker, {piece.address, piece.length}, piece.key);

  const auto [writing, place] = Granted(attacker, Kind::kWrite, server.Export(Access::kWrite, {Middle()}, 1));
  attacker.SayDone(writing, 0);
  EXPECT_TRUE(Until([&, number = writing] { return attacker.ends.contains(number); }));
  ExpectNoWrite(attacker, {place.address, place.length}, place.key);
}

// Goal: what was granted, or may be kept, ends with its tag, at once: revoked, or expired.
TEST_P(RdmaSecurityTest, NotAfterTheEnd) {
  Attacker& attacker = Intrude(2);
  for (const uint8_t flags : {uint8_t(0), kFlagKeep}) {
    const Tag tag = server.Export(Access::kRead, {Middle()});
    const auto [number, piece] = Granted(attacker, Kind::kRead, tag, flags);
    ExpectReads(attacker, piece);
    server.tags.Revoke(tag);
    ExpectNoRead(attacker, {piece.address, piece.length}, piece.key);
    EXPECT_EQ(Refused(attacker, Kind::kRead, tag), Code::kTagUnknown);
  }
  TagOptions options;
  options.audience.kind = Audience::Kind::kBearer;
  options.access = Access::kWrite;
  options.slices = {Middle()};
  options.expires_at = NowNs() + kPatienceNs;
  const MonotonicNs later = options.expires_at;
  const Tag tag = *server.tags.Export(std::move(options));
  const auto [number, piece] = Granted(attacker, Kind::kWrite, tag);
  server.tags.Expire(later);
  ExpectNoWrite(attacker, {piece.address, piece.length}, piece.key);
  EXPECT_NE(Refused(attacker, Kind::kWrite, tag), Code::kOk);
}

// Goal: a key is of use on the connection that it was granted to and no other, and a tag to its audience.
TEST_P(RdmaSecurityTest, NotFromElsewhere) {
  Attacker& friendly = Intrude(2);
  Attacker& attacker = Intrude(3);
  TagOptions options;
  options.audience = {Audience::Kind::kSession, 2, {}};
  options.slices = {Middle()};
  const Tag tag = *server.tags.Export(std::move(options));
  const auto [number, piece] = Granted(friendly, Kind::kRead, tag);
  EXPECT_EQ(Refused(attacker, Kind::kRead, tag), Code::kTagUnknown);
  ExpectNoRead(attacker, {piece.address, piece.length}, piece.key);
  ExpectReads(friendly, piece);
  const auto [writing, place] = Granted(friendly, Kind::kWrite, server.Export(Access::kWrite, {Middle()}));
  ExpectNoWrite(attacker, {place.address, place.length}, place.key);
}

// Goal: what was granted to be read is not written, and the reverse.
TEST_P(RdmaSecurityTest, NotInTheOtherDirection) {
  Attacker& attacker = Intrude(2);
  const Tag readable = server.Export(Access::kRead, {Middle()}),
            writable = server.Export(Access::kWrite, {Middle()});
  EXPECT_EQ(Refused(attacker, Kind::kWrite, readable), Code::kTagDirection);
  EXPECT_EQ(Refused(attacker, Kind::kRead, writable), Code::kTagDirection);
  EXPECT_EQ(Refused(attacker, Kind::kRead, readable, 1), Code::kTagBounds);
  const auto [reading, piece] = Granted(attacker, Kind::kRead, readable);
  ExpectNoWrite(attacker, {piece.address, piece.length}, piece.key);
  ExpectReads(attacker, piece);
  const auto [writing, place] = Granted(attacker, Kind::kWrite, writable);
  ExpectNoRead(attacker, {place.address, place.length}, place.key);
}

// Goal: the queue pair for packets moves nothing else, whatever key it is given. Method: a good one.
TEST_P(RdmaSecurityTest, NotOverTheQueuePairForPackets) {
  Attacker& attacker = Intrude(2);
  const auto [number, piece] = Granted(attacker, Kind::kRead, server.Export(Access::kRead, {Middle()}));
  std::fill(attacker.memory.begin(), attacker.memory.end(), 0);
  attacker.Move(IBV_WR_RDMA_READ, piece.address, piece.length, piece.key, false);
  EXPECT_TRUE(Until([&] { return attacker.moved().has_value(); }));
  EXPECT_NE(*attacker.moved(), IBV_WC_SUCCESS);
  EXPECT_TRUE(std::all_of(attacker.memory.begin(), attacker.memory.end(), [](uint8_t b) { return b == 0; }));
}

// Goal: a peer that grants more than was asked of it, or more often, is found out, and nothing is moved.
TEST_P(RdmaSecurityTest, LyingOwnersAreFoundOut) {
  const Tag tag = server.Export(Access::kRead, {Middle()});
  for (int lie = 0; lie < 3; lie++) {
    SCOPED_TRACE(testing::Message() << "lie " << lie);
    Attacker& attacker = Intrude(2);
    Endpoint* victim = server.accepted.back().get();
    const BufferRef own = server.Filled(4096, 2);
    const Status posted = lie == 2
                              ? victim->PostWrite(1, {Whole(own)}, {tag.span(), 0, 4096}, {})
                              : victim->PostRead(1, {tag.span(), 0, 4096}, {Whole(own)}, {.checksum = false});
    ASSERT_TRUE(posted.ok());
    ASSERT_TRUE(Until([&] { return !attacker.asked.empty(); }));
    const uint32_t number = attacker.asked.front().second;
    if (lie == 0) attacker.Grant(number, {0x1000, 4097, 5});
    for (int i = 0; lie == 1 && i < 3; i++) attacker.Grant(number, {0x1000, 1, 5});
    if (lie == 2) attacker.Say(Kind::kEnded, number);
    EXPECT_TRUE(Until([&] { return server.closed.contains(victim); }));
    EXPECT_EQ(server.closed[victim].code(), Code::kProtocolViolation);
    EXPECT_EQ(server.completions[1].status.code(), Code::kProtocolViolation);
    EXPECT_TRUE(Contents(own) == PatternBytes(2, 0, 4096));
    EXPECT_EQ(own->holders(), 1u);
    server.completions.clear();
  }
}

// Goal: what may be kept is taken back by its number, and no operation starts again that did not run over it.
// Method: an owner that takes back what has no number, after it granted, and then grants the whole once more.
TEST_P(RdmaSecurityTest, NothingIsWithdrawnThatWasNotKept) {
  for (const uint32_t nothing : {uint32_t(0), UINT32_MAX}) {
    Attacker& attacker = Intrude(2);
    Endpoint* victim = server.accepted.back().get();
    const BufferRef own = server.Filled(4096, 2);
    const Tag tag = server.Export(Access::kRead, {Middle()});
    ASSERT_TRUE(victim->PostWrite(1, {Whole(own)}, {tag.span(), 0, 4096}, {.checksum = false}).ok());
    ASSERT_TRUE(Until([&] { return !attacker.asked.empty(); }));
    const uint32_t number = attacker.asked.front().second;
    attacker.Grant(number, attacker.Own(4096));
    attacker.Say(Kind::kWithdraw, nothing);
    attacker.Grant(number, attacker.Own(4096));
    EXPECT_TRUE(Until([&] { return server.closed.contains(victim); }));
    EXPECT_EQ(server.closed[victim].code(), Code::kProtocolViolation);
    EXPECT_EQ(server.completions[1].status.code(), Code::kProtocolViolation);
    EXPECT_EQ(own->holders(), 1u);
    server.completions.clear();
  }
}

// Goal: what may be kept comes instead of grants and never after one: an operation of which something was
// moved does not begin again. Method: an owner that grants a part, lets it be moved, lets the whole be kept
// and takes that back.
TEST_P(RdmaSecurityTest, NothingIsKeptAfterAGrant) {
  Attacker& attacker = Intrude(2);
  Endpoint* victim = server.accepted.back().get();
  const BufferRef own = server.Buffer(4096);
  const Tag tag = server.Export(Access::kRead, {Middle()});
  std::fill(attacker.memory.begin(), attacker.memory.end(), 0xee);
  ASSERT_TRUE(victim->PostRead(1, {tag.span(), 0, 4096}, {Whole(own)}, {.checksum = false}).ok());
  ASSERT_TRUE(Until([&] { return !attacker.asked.empty(); }));
  const uint32_t number = attacker.asked.front().second;
  attacker.Grant(number, attacker.Own(1000));
  ASSERT_TRUE(Until([&] { return attacker.done == 1; }));
  attacker.Keep(number, 7, attacker.Own(4096));
  attacker.Say(Kind::kWithdraw, 7);
  ASSERT_TRUE(Until([&] { return attacker.dropped == 1; }));
  EXPECT_EQ(attacker.asked.size(), 1u);
  // It goes on as if nothing had been said.
  attacker.Grant(number, attacker.Own(3096));
  ASSERT_TRUE(Until([&] { return server.completions.contains(1); }));
  EXPECT_TRUE(server.completions[1].status.ok());
  EXPECT_THAT(Contents(own), testing::Each(0xee));
}

// Goal: nothing that a peer says makes answers pile up here, not even before anybody knows who it is. Method:
// it lets us keep what nobody asked for, which is declined, and never returns a credit.
TEST_P(RdmaSecurityTest, AnswersDoNotPileUp) {
  constexpr size_t kRecords = (kPacketBytes - kPacketHeadBytes) / (kGrantBytes + kPieceBytes);
  constexpr size_t kLength = kPacketHeadBytes + kRecords * (kGrantBytes + kPieceBytes);
  constexpr int kPacketsMax = 5000;
  Attacker& attacker = Intrude(2);
  Endpoint* victim = server.accepted.back().get();
  uint8_t* out = attacker.memory.data() + kPacketHeadBytes;
  for (size_t i = 0; i < kRecords; i++) {
    out += EncodeGrant(Kind::kKeep, 0, 99, 7, 1, out);
    EncodePiece({0x1000, 1, 5}, out);
    out += kPieceBytes;
  }
  SealPacket({attacker.memory.data(), kLength}, 0);
  attacker.TurnDeaf();
  int packets = 0;
  for (; packets < kPacketsMax && !server.closed.contains(victim); packets++) {
    attacker.SendRaw(kLength);
    ASSERT_TRUE(Until([&] { return attacker.moved().has_value(); }));
  }
  EXPECT_LT(packets, kPacketsMax);
  EXPECT_EQ(server.closed[victim].code(), Code::kProtocolViolation);
  EXPECT_THAT(std::string(server.closed[victim].detail()), testing::HasSubstr("hears"));
}

std::vector<conformance::Kind> Devices() {
  std::vector<conformance::Kind> devices;
  for (const conformance::Kind& kind : conformance::Kinds()) {
    if (kind.name == conformance::kFakeDevice || kind.name == "rdma") devices.push_back(kind);
  }
  return devices;
}

INSTANTIATE_TEST_SUITE_P(Devices, RdmaSecurityTest, testing::ValuesIn(Devices()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

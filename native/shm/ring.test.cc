// Rings between two sides of one process: every record arrives once, whole and in order, wherever in the ring
// it lies, and a side that lies about positions or lengths ends the ring and nothing else. Each side has its
// own mapping of the other one's segment, as two processes have.
#include "native/shm/ring.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

namespace splitplane::shm {
namespace {

struct Pair {
  Segment own, seen;  // by its owner, and by the other side
};

Pair MakeSegment() {
  Fd fd;
  Result<Segment> own = Segment::Create(fd);
  EXPECT_TRUE(own.ok()) << own.status().ToString();
  Result<Segment> seen = Segment::Map(fd);
  EXPECT_TRUE(seen.ok()) << seen.status().ToString();
  return {*own, *seen};
}

class RingTest : public testing::Test {
 protected:
  Pair a = MakeSegment(), b = MakeSegment();
  RingWriter writer{a.own, b.seen};
  RingReader reader{b.own, a.seen};

  // Writes a record in which each byte is `seed`.
  bool Write(uint32_t bytes, uint8_t seed, bool last = false) {
    uint8_t* at = writer.Begin(RecordKind::kFrame, bytes, last);
    if (!at) return false;
    std::memset(at, seed, bytes);
    writer.Commit();
    return true;
  }
  // Takes the next record, which must be that one.
  void Expect(uint32_t bytes, uint8_t seed) {
    RingReader::Record record;
    ASSERT_TRUE(reader.Next(record));
    ASSERT_EQ(record.kind, RecordKind::kFrame);
    ASSERT_EQ(record.body_bytes, bytes);
    for (uint32_t i = 0; i < bytes; i++) ASSERT_EQ(record.body[i], seed) << i;
    reader.Advance();
  }
  void Lie(uint64_t written) { a.own.words().written.store(written, std::memory_order_release); }
  void PutHead(uint64_t at, RecordHead head) { std::memcpy(a.own.ring() + at, &head, sizeof(head)); }
  void ExpectBroken() {
    RingReader::Record record;
    EXPECT_FALSE(reader.Next(record));
    EXPECT_TRUE(reader.broken());
    // For good, whatever is said from now on.
    Lie(0);
    EXPECT_FALSE(reader.Next(record));
    EXPECT_TRUE(reader.broken());
  }
};

// Goal: nothing is there before it is committed, and everything is there then, in order.
TEST_F(RingTest, RecordsArriveInOrder) {
  RingReader::Record record;
  EXPECT_FALSE(reader.HasRecord());
  EXPECT_FALSE(reader.Next(record));
  ASSERT_NE(writer.Begin(RecordKind::kFrame, 24), nullptr);
  EXPECT_FALSE(reader.HasRecord());
  writer.Commit();
  EXPECT_TRUE(reader.HasRecord());
  ASSERT_TRUE(Write(1, 2));
  ASSERT_TRUE(reader.Next(record));
  EXPECT_EQ(record.body_bytes, 24u);
  reader.Advance();
  Expect(1, 2);
  EXPECT_FALSE(reader.HasRecord());
  EXPECT_FALSE(reader.broken());
}

// Goal: what does not fit is refused, and the refusal ends when the reader has told how far it is, and not
// before. The last record has room where no other has.
TEST_F(RingTest, RoomIsTheReadersToGive) {
  uint32_t written = 0;
  while (Write(1000, uint8_t(written))) written++;
  ASSERT_GE(written, kRingBytes / RecordBytes(1000) - 1);
  while (Write(8, 255)) continue;
  EXPECT_FALSE(writer.HasRoom(RecordBytes(8) + kLastBytes));
  ASSERT_TRUE(Write(sizeof(Outcome), 254, true));
  for (uint32_t i = 0; i < written; i++) Expect(1000, uint8_t(i));
  EXPECT_FALSE(Write(1000, 9));
  EXPECT_EQ(reader.unpublished(), written * RecordBytes(1000));
  reader.Publish();
  EXPECT_EQ(reader.unpublished(), 0u);
  EXPECT_TRUE(Write(1000, 9));
}

// Goal: a record that does not fit before the end begins at the beginning, whatever is left at the end, from
// nothing but a head on. Method: one record up to each distance from the end, then a long one.
TEST_F(RingTest, GoesAroundAtEveryDistanceFromTheEnd) {
  uint64_t at = 0;
  for (uint64_t left = 0; left <= 256; left += 8) {
    while (at % kRingBytes != kRingBytes - left && !(left == 0 && at % kRingBytes == 0 && at > 0)) {
      const uint64_t to_go = kRingBytes - left - at % kRingBytes;
      const auto bytes = uint32_t(std::min<uint64_t>(to_go, 16 * 1024) - sizeof(RecordHead));
      ASSERT_TRUE(Write(bytes, 1));
      Expect(bytes, 1);
      reader.Publish();
      at += RecordBytes(bytes);
    }
    ASSERT_TRUE(Write(300, 2)) << left;
    Expect(300, 2);
    reader.Publish();
    at += RecordBytes(300) + left;
    ASSERT_EQ(writer.written(), at) << left;
    // Around, to be below the next distance again.
    while (at % kRingBytes > kRingBytes / 2 || kRingBytes - at % kRingBytes < 1024) {
      ASSERT_TRUE(Write(8, 3));
      Expect(8, 3);
      reader.Publish();
      at += RecordBytes(8);
    }
  }
}

// Goal: the last record always fits, also where part of what is kept for it lies before the end of the ring
// and has to be skipped. Method: a ring that is as full as it gets, at each distance from its end.
TEST_F(RingTest, TheLastRecordAlwaysFits) {
  for (uint64_t left = 0; left <= kLastBytes; left += 8) {
    SCOPED_TRACE(left);
    a = MakeSegment(), b = MakeSegment();
    writer = RingWriter(a.own, b.seen);
    reader = RingReader(b.own, a.seen);
    const auto write = [&](uint64_t bytes) { ASSERT_TRUE(Write(uint32_t(bytes - sizeof(RecordHead)), 1)); };
    // What is free at the end lies, but for `left`, where this was read.
    const uint64_t read = kLastBytes - left;
    if (read > 0) {
      write(read);
      Expect(uint32_t(read - sizeof(RecordHead)), 1);
      reader.Publish();
    }
    while (writer.written() < kRingBytes - left) {
      write(std::min<uint64_t>(kRingBytes - left - writer.written(), 16 * 1024));
    }
    ASSERT_TRUE(writer.HasRoom(kLastBytes));
    ASSERT_FALSE(writer.HasRoom(kLastBytes + 8));
    EXPECT_TRUE(writer.Put(RecordKind::kGoodbye, Outcome{}, true));
  }
}

// Goal: two threads that know of each other only by the ring lose nothing, double nothing and see no byte
// that was not written. Method: random lengths from a seed that both have, 200 times around.
TEST_F(RingTest, TwoThreads) {
  constexpr uint64_t kTotal = 200 * uint64_t{kRingBytes};
  const auto length_of = [](std::mt19937& random) {
    return uint32_t(1 + random() % (random() % 4 == 0 ? kBodyBytesMax : 256));
  };
  std::thread producer([&] {
    std::mt19937 random(11);
    uint8_t seed = 0;
    for (uint64_t sent = 0; sent < kTotal;) {
      const uint32_t bytes = length_of(random);
      seed++;
      while (!Write(bytes, seed)) {
        if (writer.broken()) return;
        std::this_thread::yield();
      }
      sent += bytes;
    }
  });
  std::mt19937 random(11);
  uint8_t seed = 0;
  bool right = true;
  for (uint64_t got = 0; got < kTotal && right;) {
    RingReader::Record record;
    while (!reader.Next(record) && !reader.broken()) std::this_thread::yield();
    if (reader.broken()) break;
    const uint32_t bytes = length_of(random);
    seed++;
    right = record.body_bytes == bytes && record.body[0] == seed && record.body[bytes - 1] == seed &&
            std::memcmp(record.body, record.body + 1, bytes - 1) == 0;
    got += bytes;
    reader.Advance();
    if (got % 3 == 0 || reader.unpublished() > kRingBytes / 8) reader.Publish();
  }
  EXPECT_TRUE(right);
  EXPECT_FALSE(reader.broken());
  // The producer would wait for ever for room that nobody gives.
  if (!right || reader.broken()) b.own.words().read.store(UINT64_MAX);
  producer.join();
}

// Goal: a position that cannot be breaks the ring: no byte beyond it is looked at.
TEST_F(RingTest, PositionsThatCannotBe) {
  ASSERT_TRUE(Write(8, 1));
  Expect(8, 1);
  const uint64_t good = writer.written();
  for (const uint64_t lie : {good - 8, uint64_t{0}, good + 1, good + kRingBytes + 8, UINT64_MAX - 7}) {
    Lie(lie);
    RingReader fresh(b.own, a.seen);
    RingReader::Record record;
    // One that has come as far as the other.
    Lie(good);
    ASSERT_TRUE(fresh.Next(record));
    fresh.Advance();
    Lie(lie);
    EXPECT_TRUE(fresh.HasRecord());
    EXPECT_FALSE(fresh.Next(record)) << lie;
    EXPECT_TRUE(fresh.broken()) << lie;
  }
  Lie(good - 8);
  ExpectBroken();
}

// Goal: a record that would go beyond what is written, beyond the end of the ring, or is longer than any,
// breaks the ring.
TEST_F(RingTest, LengthsThatLie) {
  const struct {
    RecordHead head;
    uint64_t written;
  } lies[] = {
      {{17, RecordKind::kFrame}, 24},                         // one byte more than is there
      {{UINT32_MAX, RecordKind::kFrame}, kRingBytes},         // around several times
      {{UINT32_MAX, RecordKind::kPad}, kRingBytes},           // the same, of what is skipped
      {{kBodyBytesMax + 1, RecordKind::kFrame}, kRingBytes},  // within, and longer than any
      {{kRingBytes, RecordKind::kPad}, kRingBytes},           // over the end by its head
  };
  for (const auto& [head, written] : lies) {
    PutHead(0, head);
    Lie(written);
    RingReader fresh(b.own, a.seen);
    RingReader::Record record;
    EXPECT_FALSE(fresh.Next(record)) << head.body_bytes;
    EXPECT_TRUE(fresh.broken()) << head.body_bytes;
  }
}

// Goal: padding alone is no record, a ring full of it ends, and the longest record that can be is one.
TEST_F(RingTest, PaddingAndTheLongest) {
  for (uint64_t at = 0; at < kRingBytes; at += 8) PutHead(at, {0, RecordKind::kPad});
  Lie(kRingBytes);
  RingReader::Record record;
  EXPECT_FALSE(reader.Next(record));
  EXPECT_FALSE(reader.broken());
  EXPECT_EQ(reader.unpublished(), kRingBytes);
  reader.Publish();
  PutHead(0, {kBodyBytesMax, RecordKind::kFrame});
  Lie(kRingBytes + RecordBytes(kBodyBytesMax));
  ASSERT_TRUE(reader.Next(record));
  EXPECT_EQ(record.body_bytes, kBodyBytesMax);
}

// Goal: a reader that says it has read what was never written, or less than before, gets nothing more.
TEST_F(RingTest, ReadersThatLie) {
  ASSERT_TRUE(Write(1000, 1));
  ASSERT_TRUE(Write(1000, 1));
  for (const uint64_t lie : {writer.written() + 8, UINT64_MAX}) {
    RingWriter fresh(a.own, b.seen);
    b.own.words().read.store(lie);
    // Nobody looks while it is plenty.
    EXPECT_TRUE(fresh.HasRoom(kRingBytes));
    EXPECT_FALSE(fresh.HasRoom(kRingBytes + 1)) << lie;
    EXPECT_TRUE(fresh.broken()) << lie;
  }
  b.own.words().read.store(1008);
  EXPECT_TRUE(writer.HasRoom(kRingBytes - 1008));
  b.own.words().read.store(0);
  EXPECT_FALSE(writer.HasRoom(kRingBytes - 1000));
  EXPECT_TRUE(writer.broken());
}

// Goal: a body of another length than its kind has is not looked at.
TEST_F(RingTest, BodiesHaveTheirLength) {
  const Outcome outcome{1, 2, 3, 0};
  ASSERT_TRUE(writer.Put(RecordKind::kReadDone, outcome));
  RingReader::Record record;
  ASSERT_TRUE(reader.Next(record));
  Outcome copy;
  Take other;
  EXPECT_TRUE(CopyBody(record, copy));
  EXPECT_EQ(copy.value, 2u);
  EXPECT_FALSE(CopyBody(record, other));
}

}  // namespace
}  // namespace splitplane::shm

// Conformance of transports, second part: reads, writes and atomics that succeed. Every size class, scatter
// and gather, parts of what a tag stands for, files, checksums, notifications, and that bulk is not copied.
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test/native/transport_conformance.h"

namespace splitplane::conformance {
namespace {

using testing::Each;
using testing::ElementsAre;

constexpr uint64_t kSizes[] = {1, 63, 4096, 4097, (64 << 10) - 1, 256 << 10, (1 << 20) + 3, 33 << 20};

Fd FileOf(const std::vector<uint8_t>& bytes) {
  Fd file(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(write(file.get(), bytes.data(), bytes.size()), ssize_t(bytes.size()));
  return file;
}

// Goal: reads of every size bring every byte, with and without checksum. Method: patterns that differ by
// size.
TEST_P(TransportTest, Reads) {
  Connect();
  for (uint64_t size : kSizes) {
    for (bool checksum : {false, true}) {
      const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(size, size))});
      const BufferRef target = client.Buffer(size);
      const Completion end = End(Read(tag, 0, {Whole(target)}, {.checksum = checksum}));
      ASSERT_TRUE(end.status.ok()) << size << ": " << end.status.ToString();
      ASSERT_TRUE(Contents(target) == PatternBytes(size, 0, size)) << size;
      EXPECT_EQ(target->holders(), 1u);
    }
  }
}

// Goal: the same for writes.
TEST_P(TransportTest, Writes) {
  Connect();
  for (uint64_t size : kSizes) {
    for (bool checksum : {false, true}) {
      const BufferRef target = server.Buffer(size);
      const Tag tag = server.Export(Access::kWrite, {Whole(target)});
      const Completion end = End(Write(tag, 0, {Whole(client.Filled(size, size))}, {.checksum = checksum}));
      ASSERT_TRUE(end.status.ok()) << size << ": " << end.status.ToString();
      ASSERT_TRUE(Contents(target) == PatternBytes(size, 0, size)) << size;
    }
  }
}

// Goal: bulk is placed where it belongs, and is copied in user space no more often than it has to be, alone
// and with others beside it. Method: the transport's counter of copied bytes after reads and writes both
// ways.
TEST_P(TransportTest, BulkIsNotCopied) {
  Connect();
  const uint64_t size = 5 << 20;
  const Tag source = server.Export(Access::kRead, {Whole(server.Filled(size, 1))});
  const Tag target = server.Export(Access::kWrite, {Whole(server.Buffer(size))});
  for (bool checksum : {false, true}) {
    std::vector<uint64_t> reads, writes;
    for (int i = 0; i < 4; i++) {
      reads.push_back(Read(source, 0, {Whole(client.Buffer(size))}, {.checksum = checksum}));
    }
    for (uint64_t id : reads) ASSERT_TRUE(End(id).status.ok());
    for (int i = 0; i < 4; i++) {
      writes.push_back(Write(target, 0, {Whole(client.Filled(size, 2))}, {.checksum = checksum}));
    }
    for (uint64_t id : writes) ASSERT_TRUE(End(id).status.ok());
  }
  EXPECT_EQ(client.transport->stats().bytes_copied, 8 * size * GetParam().copies);
  EXPECT_EQ(server.transport->stats().bytes_copied, 16 * size * GetParam().copies);
  EXPECT_EQ(client.transport->stats().bytes_received, 8 * size);
  EXPECT_EQ(client.transport->stats().bytes_sent, 8 * size);
  EXPECT_EQ(server.transport->stats().bytes_received, 8 * size);
  EXPECT_EQ(server.transport->stats().operations_served, 16u);
}

// Goal: a tag may stand for many slices and an operation may have many, cut differently. Method: prime
// lengths on both sides, both directions.
TEST_P(TransportTest, ScattersAndGathers) {
  Connect();
  const uint64_t total = 300'007;
  const auto cut = [](Side& side, const BufferRef& buffer, uint64_t step) {
    std::vector<Slice> slices;
    for (uint64_t at = 0; at < buffer->length(); at += step) {
      slices.push_back({buffer, at, std::min(step, buffer->length() - at)});
    }
    EXPECT_LT(slices.size(), kSlicesPerTagMax);
    (void)side;
    return slices;
  };
  const BufferRef remote_memory = server.Filled(total, 5);
  const Tag readable = server.Export(Access::kRead, cut(server, remote_memory, 1009));
  const BufferRef local = client.Buffer(total);
  ASSERT_TRUE(End(Read(readable, 0, cut(client, local, 1511))).status.ok());
  EXPECT_TRUE(Contents(local) == PatternBytes(5, 0, total));

  const Tag writable = server.Export(Access::kWrite, cut(server, remote_memory, 1013));
  ASSERT_TRUE(End(Write(writable, 0, cut(client, client.Filled(total, 6), 1511))).status.ok());
  EXPECT_TRUE(Contents(remote_memory) == PatternBytes(6, 0, total));
}

// Goal: a range of what a tag stands for can be read and written alone. Method: ranges across the slices'
// borders; the bytes around stay.
TEST_P(TransportTest, SubRanges) {
  Connect();
  const BufferRef memory = server.Filled(10'000, 3);
  const std::vector<Slice> slices = {{memory, 0, 4000}, {memory, 4000, 1}, {memory, 4001, 5999}};
  const Tag readable = server.Export(Access::kRead, slices);
  for (uint64_t offset : {0u, 1u, 3999u, 4000u, 4001u, 9990u}) {
    const BufferRef local = client.Buffer(10);
    ASSERT_TRUE(End(Read(readable, offset, {Whole(local)})).status.ok());
    EXPECT_EQ(Contents(local), PatternBytes(3, offset, 10)) << offset;
  }
  const Tag writable = server.Export(Access::kWrite, slices);
  ASSERT_TRUE(End(Write(writable, 3995, {Whole(client.Filled(10, 4))})).status.ok());
  std::vector<uint8_t> expected = PatternBytes(3, 0, 10'000);
  const std::vector<uint8_t> written = PatternBytes(4, 0, 10);
  std::copy(written.begin(), written.end(), expected.begin() + 3995);
  EXPECT_TRUE(Contents(memory) == expected);
}

// Goal: a write with notify tells the owner which tag, after the bytes are there; one without does not.
TEST_P(TransportTest, Notifies) {
  Connect();
  const Tag quiet = server.Export(Access::kWrite, {Whole(server.Buffer(1000))});
  const Tag loud = server.Export(Access::kWrite, {Whole(server.Buffer(1000))});
  ASSERT_TRUE(End(Write(quiet, 0, {Whole(client.Filled(1000, 1))})).status.ok());
  ASSERT_TRUE(End(Write(loud, 0, {Whole(client.Filled(1000, 1))}, {.notify = true})).status.ok());
  EXPECT_THAT(server.notified, ElementsAre(LoadLittle<uint32_t>(loud.bytes.data() + Tag::kIndexAt)));
}

// Goal: atomics give the word before and change it once. Method: the defined cases of both operations.
TEST_P(TransportTest, Atomics) {
  Connect();
  const BufferRef memory = server.Buffer(64);
  const Tag tag = server.Export(Access::kAtomic, {Whole(memory)});
  const auto run = [&](AtomicRequest request) {
    const Status posted = endpoint->PostAtomic(next_operation, {tag.span(), 8, 8}, request);
    EXPECT_TRUE(posted.ok()) << posted.ToString();
    const Completion end = End(next_operation++);
    EXPECT_TRUE(end.status.ok()) << end.status.ToString();
    return end.atomic_value;
  };
  EXPECT_EQ(run({AtomicOperation::kFetchAndAdd, 5, 0}), 0u);
  EXPECT_EQ(run({AtomicOperation::kFetchAndAdd, UINT64_MAX, 0}), 5u);
  EXPECT_EQ(run({AtomicOperation::kCompareAndSwap, 100, 4}), 4u);
  EXPECT_EQ(run({AtomicOperation::kCompareAndSwap, 200, 4}), 100u);
  EXPECT_EQ(LoadLittle<uint64_t>(memory->data() + 8), 100u);
  EXPECT_EQ(LoadLittle<uint64_t>(memory->data()), 0u);
}

// Goal: a file is read from where it is, with and without checksum, in parts of any size; nothing can be read
// into it.
TEST_P(TransportTest, ReadsFiles) {
  Connect();
  const uint64_t size = (3 << 20) + 17;
  auto file = server.pool.RegisterFile(FileOf(PatternBytes(9, 0, size)), 1000, size - 1000);
  ASSERT_TRUE(file.ok());
  const BufferRef memory = server.Filled(100, 10);
  const Tag tag = server.Export(Access::kRead, {Whole(memory), {*file, 10, size - 1010}, Whole(memory)});
  std::vector<uint8_t> expected = PatternBytes(10, 0, 100);
  const std::vector<uint8_t> middle = PatternBytes(9, 1010, size - 1010);
  expected.insert(expected.end(), middle.begin(), middle.end());
  const std::vector<uint8_t> tail = PatternBytes(10, 0, 100);
  expected.insert(expected.end(), tail.begin(), tail.end());
  for (bool checksum : {false, true}) {
    const BufferRef local = client.Buffer(expected.size());
    const Completion end = End(Read(tag, 0, {Whole(local)}, {.checksum = checksum}));
    ASSERT_TRUE(end.status.ok()) << end.status.ToString();
    EXPECT_TRUE(Contents(local) == expected);
  }
  const Status into = endpoint->PostRead(next_operation, {tag.span(), 0, 10}, {{*file, 0, 10}}, {});
  EXPECT_EQ(into.code(), Code::kInvalidArgument);
}

// Goal: a file is written to a peer's memory from where it is.
TEST_P(TransportTest, WritesFiles) {
  Connect();
  const uint64_t size = (2 << 20) + 5;
  auto file = client.pool.RegisterFile(FileOf(PatternBytes(9, 0, size)), 0, size);
  ASSERT_TRUE(file.ok());
  for (bool checksum : {false, true}) {
    const BufferRef target = server.Buffer(size);
    const Tag tag = server.Export(Access::kWrite, {Whole(target)});
    ASSERT_TRUE(End(Write(tag, 0, {Whole(*file)}, {.checksum = checksum})).status.ok());
    EXPECT_TRUE(Contents(target) == PatternBytes(9, 0, size));
  }
}

// Goal: many operations of all kinds in both directions at once end right. Method: fill the operations limit
// with a mix of sizes, a small budget per Poll so that everything interleaves.
TEST_P(TransportTest, EverythingAtOnce) {
  Connect();
  client.budget = server.budget = 100'000;
  struct Expected {
    uint64_t id;
    BufferRef buffer;
    uint64_t seed;
  };
  const std::string between = "between";
  std::vector<Expected> expected;
  const BufferRef word = server.Buffer(8);
  const Tag counter = server.Export(Access::kAtomic, {Whole(word)});
  for (uint64_t i = 0; i < 60; i++) {
    const uint64_t size = i % 3 == 0 ? 1 + i : i % 3 == 1 ? 10'000 + i : 400'000 + i;
    const BufferRef into = client.Buffer(size);
    expected.push_back(
        {Read(server.Export(Access::kRead, {Whole(server.Filled(size, i))}), 0, {Whole(into)}), into, i});
    const BufferRef target = server.Buffer(size);
    expected.push_back({Write(server.Export(Access::kWrite, {Whole(target)}), 0,
                              {Whole(client.Filled(size, 1000 + i))}, {.checksum = i % 2 == 0}),
                        target, 1000 + i});
    ASSERT_TRUE(endpoint->PostAtomic(next_operation++, {counter.span(), 0, 8}, {.operand = 1}).ok());
    // The other way round.
    const Tag ours = client.Export(Access::kRead, {Whole(client.Filled(size, 2000 + i))});
    const BufferRef theirs = server.Buffer(size);
    ASSERT_TRUE(remote->PostRead(i + 1, {ours.span(), 0, size}, {Whole(theirs)}, {}).ok());
    expected.push_back({0, theirs, 2000 + i});
    const ConstBytes pieces[] = {AsBytes(between)};
    ASSERT_TRUE(endpoint->PostSend(pieces).ok());
  }
  ASSERT_TRUE(Run([&] {
    return client.completions.size() == 180 && server.completions.size() == 60 && server.frames.size() == 60;
  }));
  for (const auto& [id, completion] : client.completions) EXPECT_TRUE(completion.status.ok()) << id;
  for (const auto& [id, completion] : server.completions) EXPECT_TRUE(completion.status.ok()) << id;
  for (const Expected& one : expected) {
    EXPECT_TRUE(Contents(one.buffer) == PatternBytes(one.seed, 0, one.buffer->length())) << one.seed;
  }
  EXPECT_EQ(LoadLittle<uint64_t>(word->data()), 60u);
}

// Goal: a small read does not wait for a large one that was posted before it. Method: which completes first.
TEST_P(TransportTest, SmallReadsOvertakeLargeOnes) {
  Connect();
  const uint64_t size = 33 << 20;
  const Tag large = server.Export(Access::kRead, {Whole(server.Filled(size, 1))});
  const Tag small = server.Export(Access::kRead, {Whole(server.Filled(64, 2))});
  const uint64_t first = Read(large, 0, {Whole(client.Buffer(size))});
  const uint64_t second = Read(small, 0, {Whole(client.Buffer(64))});
  ASSERT_TRUE(End(second).status.ok());
  EXPECT_FALSE(client.completions.contains(first));
  ASSERT_TRUE(End(first).status.ok());
}

// Goal: a read that was cut off by the end of a connection is the same use of its tag when it is driven again
// over the next one. Method: a tag with one use; the end comes in the middle of the read.
TEST_P(TransportTest, AReadDrivenAgainIsTheSameUse) {
  constexpr uint64_t kBytes = 8 * kMiB, kSession = 2;
  Connect();
  Result<BufferRef> memory = server.pool.Allocate(kBytes, kSession);
  ASSERT_TRUE(memory.ok());
  for (uint64_t i = 0; i < kBytes; i++) (*memory)->data()[i] = Pattern(8, i);
  TagOptions options;
  options.audience = {Audience::Kind::kSession, kSession, {}};
  options.slices = {Whole(*memory)};
  const Tag tag = *server.tags.Export(std::move(options));
  ASSERT_TRUE(remote->PostSend(std::vector<ConstBytes>{AsBytes("heard")}).ok());
  ASSERT_TRUE(Run([&] { return client.frames.size() == 1; }));
  client.budget = server.budget = 64 * 1024;
  const BufferRef into = client.Buffer(kBytes);
  const uint64_t read = Read(tag, 0, {Whole(into)});
  ASSERT_TRUE(Run([&] { return client.transport->stats().bytes_received > kMiB; }));
  ASSERT_FALSE(client.completions.contains(read));
  remote->Close(Status::Error(Code::kConnectionLost, "test", "in the middle"));
  EXPECT_EQ(End(read).status.code(), Code::kConnectionLost);
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
  Forget();
  Connect();
  remote->Bind({.session = kSession, .principal = "client", .link = 1});
  client.budget = server.budget = UINT64_MAX;
  next_operation = read;
  EXPECT_EQ(Read(tag, 0, {Whole(into)}), read);
  EXPECT_TRUE(End(read).status.ok()) << client.completions[read].status.ToString();
  EXPECT_TRUE(Contents(into) == PatternBytes(8, 0, kBytes));
}

}  // namespace
}  // namespace splitplane::conformance

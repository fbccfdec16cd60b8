// Conformance of transports, third part: operations that must not succeed, or stop on the way. Each ends
// exactly once with its own code, and the endpoint stays good for the next.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "test/native/transport_conformance.h"

namespace splitplane::conformance {
namespace {

bool AllAre(const BufferRef& buffer, uint8_t value) {
  const std::vector<uint8_t> bytes = Contents(buffer);
  return std::all_of(bytes.begin(), bytes.end(), [value](uint8_t byte) { return byte == value; });
}

// Large enough that a small budget per Poll leaves it under way for many rounds.
constexpr uint64_t kLong = 33 << 20;
constexpr uint64_t kSmallBudget = 128 * 1024;

class RefusalTest : public TransportTest {
 protected:
  // Polls a few rounds with a small budget, so that `operation` has begun and not ended.
  void Begin(uint64_t operation) {
    client.budget = server.budget = kSmallBudget;
    const auto moved = [&] {
      return client.transport->stats().bytes_received + server.transport->stats().bytes_received;
    };
    const uint64_t before = moved();
    ASSERT_TRUE(Run([&] { return moved() > before + kSmallBudget; }));
    ASSERT_FALSE(client.completions.contains(operation));
  }
  void Goes() {
    const BufferRef into = client.Buffer(100'000);
    ASSERT_TRUE(End(Read(server.Export(Access::kRead, {Whole(server.Filled(100'000, 77))}), 0, {Whole(into)}))
                    .status.ok());
    EXPECT_TRUE(Contents(into) == PatternBytes(77, 0, 100'000));
  }
};

// Goal: every refusal of the tag table arrives as itself, for reads, writes and atomics; not one byte moves.
TEST_P(RefusalTest, TagsAreChecked) {
  Connect();
  const BufferRef memory = server.Filled(4096, 1);
  const Tag readable = server.Export(Access::kRead, {Whole(memory)});
  const Tag writable = server.Export(Access::kWrite, {Whole(memory)});
  const Tag atomic = server.Export(Access::kAtomic, {Whole(memory)});
  Tag forged = readable;
  forged.bytes[Tag::kSecretAt] ^= 1;
  TagOptions foreign_options;
  foreign_options.slices = {Whole(memory)};
  foreign_options.audience = {Audience::Kind::kSession, 999, {}};
  const Tag foreign = *server.tags.Export(foreign_options);
  TagOptions expired_options;
  expired_options.slices = {Whole(memory)};
  expired_options.expires_at = NowNs();
  expired_options.audience.kind = Audience::Kind::kBearer;
  const Tag expired = *server.tags.Export(expired_options);
  const Tag once = server.Export(Access::kRead, {Whole(memory)}, 1);

  const BufferRef local = client.Buffer(4096);
  const auto read = [&](const Tag& tag, uint64_t offset) {
    return End(Read(tag, offset, {Whole(local)})).status.code();
  };
  const auto write = [&](const Tag& tag, uint64_t offset) {
    return End(Write(tag, offset, {Whole(client.Filled(4096, 2))})).status.code();
  };
  const auto add = [&](const Tag& tag, uint64_t offset) {
    EXPECT_TRUE(endpoint->PostAtomic(next_operation, {tag.span(), offset, 8}, {.operand = 1}).ok());
    return End(next_operation++).status.code();
  };
  EXPECT_EQ(read(forged, 0), Code::kTagUnknown);
  EXPECT_EQ(read(foreign, 0), Code::kTagUnknown);
  EXPECT_EQ(read(expired, 0), Code::kTagExpired);
  EXPECT_EQ(read(writable, 0), Code::kTagDirection);
  EXPECT_EQ(read(readable, 1), Code::kTagBounds);
  EXPECT_EQ(read(readable, UINT64_MAX - 5000), Code::kTagBounds);
  EXPECT_EQ(write(forged, 0), Code::kTagUnknown);
  EXPECT_EQ(write(readable, 0), Code::kTagDirection);
  EXPECT_EQ(write(writable, 4096), Code::kTagBounds);
  EXPECT_EQ(add(readable, 0), Code::kTagDirection);
  EXPECT_EQ(add(atomic, 4), Code::kTagBounds);
  EXPECT_EQ(add(atomic, 4096), Code::kTagBounds);
  EXPECT_TRUE(AllAre(local, 0));
  EXPECT_EQ(Contents(memory), PatternBytes(1, 0, 4096));
  EXPECT_EQ(read(once, 0), Code::kOk);
  EXPECT_EQ(read(once, 0), Code::kTagExhausted);
  EXPECT_EQ(server.transport->stats().operations_refused, 13u);
  Goes();
}

// Goal: a use is not had again under the number of an operation that has ended.
TEST_P(RefusalTest, ANumberThatComesAgainIsAnotherUse) {
  Connect();
  const BufferRef memory = server.Filled(4096, 1), local = client.Filled(4096, 2);
  const Tag readable = server.Export(Access::kRead, {Whole(memory)}, 1);
  const Tag writable = server.Export(Access::kWrite, {Whole(memory)}, 1);
  for (const bool reading : {false, true}) {
    const auto move = [&] {
      next_operation = reading ? 1 : 2;
      client.completions.clear();
      return End(reading ? Read(readable, 0, {Whole(local)}) : Write(writable, 0, {Whole(local)}))
          .status.code();
    };
    EXPECT_EQ(move(), Code::kOk);
    EXPECT_EQ(move(), Code::kTagExhausted);
  }
  Goes();
}

// Goal: a large write that is refused stops early and leaves nothing behind. Method: several, then ones that
// succeed.
TEST_P(RefusalTest, RefusedWritesStop) {
  Connect();
  const BufferRef target = server.Buffer(kLong);
  const Tag readable = server.Export(Access::kRead, {Whole(target)});
  const BufferRef source = client.Filled(kLong, 1);
  for (int i = 0; i < 3; i++)
    EXPECT_EQ(End(Write(readable, 0, {Whole(source)})).status.code(), Code::kTagDirection);
  EXPECT_EQ(source->holders(), 1u);
  EXPECT_LT(client.transport->stats().bytes_sent, 3 * kLong);
  const Tag writable = server.Export(Access::kWrite, {Whole(target)});
  ASSERT_TRUE(End(Write(writable, 0, {Whole(source)})).status.ok());
  EXPECT_TRUE(Contents(target) == PatternBytes(1, 0, kLong));
}

// Goal: what is posted wrongly is refused at once and completes nothing.
TEST_P(RefusalTest, PostsAreValidated) {
  Connect();
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(100, 1))});
  const BufferRef local = client.Buffer(100);
  const RemoteSlice remote_slice{tag.span(), 0, 100};
  const auto code = [&](const RemoteSlice& from, std::vector<Slice> into) {
    return endpoint->PostRead(1, from, std::move(into), {}).code();
  };
  EXPECT_EQ(code(remote_slice, {}), Code::kInvalidArgument);
  EXPECT_EQ(code(remote_slice, {{local, 0, 99}}), Code::kInvalidArgument);
  EXPECT_EQ(code(remote_slice, {{local, 1, 100}}), Code::kInvalidArgument);
  EXPECT_EQ(code(remote_slice, {{local, UINT64_MAX, 100}}), Code::kInvalidArgument);
  EXPECT_EQ(code(remote_slice, {{local, 0, 100}, {local, 0, 0}}), Code::kInvalidArgument);
  EXPECT_EQ(code({tag.span(), UINT64_MAX, 100}, {Whole(local)}), Code::kInvalidArgument);
  EXPECT_EQ(endpoint->PostAtomic(1, {tag.span(), 0, 4}, {}).code(), Code::kInvalidArgument);
  next_operation = 5;
  const uint64_t id = Read(tag, 0, {Whole(local)});
  EXPECT_EQ(endpoint->PostRead(id, remote_slice, {Whole(local)}, {}).code(), Code::kInvalidArgument);
  EXPECT_TRUE(End(id).status.ok());
  EXPECT_EQ(client.completions.size(), 1u);
}

// Goal: operations have a bound, are admitted again when there is room, and all of them end. Method: one more
// than the bound.
TEST_P(RefusalTest, OperationsHaveABound) {
  Connect();
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(1000, 1))});
  const BufferRef local = client.Buffer(1000);
  const uint32_t bound = client.transport->capabilities().operations_max;
  for (uint32_t i = 0; i < bound; i++) Read(tag, 0, {Whole(local)});
  EXPECT_TRUE(endpoint->PostRead(next_operation, {tag.span(), 0, 1000}, {Whole(local)}, {}).no_resource());
  ASSERT_TRUE(Run([&] { return client.writable > 0; }));
  Read(tag, 0, {Whole(local)});
  ASSERT_TRUE(Run([&] { return client.completions.size() == bound + 1; }));
  for (const auto& [id, completion] : client.completions) EXPECT_TRUE(completion.status.ok()) << id;
}

// Goal: nothing reaches the memory of who has not said who the peer is. Method: operate before Bind.
TEST_P(RefusalTest, NothingBeforeBind) {
  auto listening = server.transport->Listen(GetParam().address(), {});
  ASSERT_TRUE(listening.ok());
  auto connecting =
      client.transport->Connect((*listening)->address(), {.data_channels = GetParam().data_channels});
  ASSERT_TRUE(Run([&] { return client.connected == 1 && server.accepted.size() == 1; }));
  endpoint = std::move(*connecting);
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(10, 1))});
  const BufferRef local = client.Buffer(10);
  const uint64_t id = Read(tag, 0, {Whole(local)});
  EXPECT_EQ(End(id).status.code(), Code::kConnectionLost);
  ASSERT_TRUE(Run([&] { return server.closed.size() == 1; }));
  EXPECT_EQ(server.closed.begin()->second.code(), Code::kProtocolViolation);
  EXPECT_TRUE(AllAre(local, 0));
}

// Goal: a read that is canceled under way ends once with kAborted, and its memory is not touched after that.
TEST_P(RefusalTest, CancelsReadsUnderWay) {
  Connect();
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(kLong, 1))});
  const BufferRef local = client.Buffer(kLong);
  const uint64_t id = Read(tag, 0, {Whole(local)});
  Begin(id);
  endpoint->Cancel(id);
  EXPECT_FALSE(client.completions.contains(id)) << "a callback outside Poll";
  EXPECT_EQ(End(id).status.code(), Code::kAborted);
  EXPECT_EQ(local->holders(), 1u);
  std::memset(local->data(), 0xee, kLong);
  Goes();
  EXPECT_TRUE(AllAre(local, 0xee));
  endpoint->Cancel(id);
  endpoint->Cancel(12345);
  Goes();
}

// Goal: the same for writes: after the completion no byte is placed at the peer.
TEST_P(RefusalTest, CancelsWritesUnderWay) {
  Connect();
  const BufferRef target = server.Buffer(kLong);
  const Tag tag = server.Export(Access::kWrite, {Whole(target)});
  const BufferRef source = client.Filled(kLong, 1);
  const uint64_t id = Write(tag, 0, {Whole(source)}, {.notify = true});
  Begin(id);
  endpoint->Cancel(id);
  EXPECT_EQ(End(id).status.code(), Code::kAborted);
  EXPECT_EQ(source->holders(), 1u);
  std::memset(target->data(), 0xee, kLong);
  Goes();
  EXPECT_TRUE(AllAre(target, 0xee));
  EXPECT_TRUE(server.notified.empty());
}

// Goal: what was not begun is canceled at once, and costs the tag no use. Method: cancel right after posting
// a write under a tag of one use.
TEST_P(RefusalTest, CancelsWhatHasNotBegun) {
  Connect();
  const Tag once = server.Export(Access::kWrite, {Whole(server.Buffer(100))}, 1);
  const BufferRef source = client.Filled(100, 1);
  const uint64_t first = Write(once, 0, {Whole(source)});
  endpoint->Cancel(first);
  EXPECT_EQ(End(first).status.code(), Code::kAborted);
  EXPECT_TRUE(End(Write(once, 0, {Whole(source)})).status.ok());
}

// Goal: revoking a tag ends the operations under it with kTagRevoked before another byte moves. Method:
// revoke while a read, and then a write, is under way.
TEST_P(RefusalTest, RevokingStopsWhatIsUnderWay) {
  Connect();
  for (bool checksum : {true, false}) {
    const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(kLong, 1))});
    const uint64_t id = Read(tag, 0, {Whole(client.Buffer(kLong))}, {.checksum = checksum});
    Begin(id);
    server.tags.Revoke(tag);
    EXPECT_EQ(End(id).status.code(), Code::kTagRevoked);
  }
  const BufferRef target = server.Buffer(kLong);
  const Tag writable = server.Export(Access::kWrite, {Whole(target)});
  const uint64_t id = Write(writable, 0, {Whole(client.Filled(kLong, 2))}, {.notify = true});
  Begin(id);
  server.tags.Revoke(writable);
  std::memset(target->data(), 0xee, kLong);
  EXPECT_EQ(End(id).status.code(), Code::kTagRevoked);
  EXPECT_TRUE(AllAre(target, 0xee));
  EXPECT_TRUE(server.notified.empty());
  Goes();
}

// Goal: small operations under a tag that stands are checked like all others, also after many, also when the
// tag goes between or under them. Method: more tags than anybody would keep, words that are read back, ranges
// outside; then the tag is revoked with operations under way, and what its owner writes afterwards stays.
TEST_P(RefusalTest, SmallOperationsAgainAndAgain) {
  Connect();
  const TransferOptions quick{.checksum = false};
  std::vector<BufferRef> memories;
  std::vector<Tag> writable, readable;
  for (uint64_t i = 0; i < 40; i++) {
    memories.push_back(server.Filled(1000, i));
    const std::vector<Slice> slices = {{memories[i], 0, 500}, {memories[i], 600, 400}};
    writable.push_back(server.Export(Access::kWrite, slices));
    readable.push_back(server.Export(Access::kRead, slices));
  }
  for (uint64_t round = 0; round < 3; round++) {
    for (uint64_t i = 0; i < 40; i++) {
      const BufferRef word = client.Filled(8, 100 * round + i);
      ASSERT_TRUE(End(Write(writable[i], 496, {Whole(word)}, quick)).status.ok());
      const BufferRef back = client.Buffer(10);
      ASSERT_TRUE(End(Read(readable[i], 495, {Whole(back)}, quick)).status.ok());
      EXPECT_TRUE(std::equal(word->data(), word->data() + 8, back->data() + 1));
      EXPECT_EQ(back->data()[9], Pattern(i, 604));
    }
    const BufferRef word = client.Buffer(8);
    EXPECT_EQ(End(Write(writable[0], 893, {Whole(word)}, quick)).status.code(), Code::kTagBounds);
    EXPECT_EQ(End(Write(readable[0], 0, {Whole(word)}, quick)).status.code(), Code::kTagDirection);
  }
  for (uint64_t i = 0; i < 10; i++) {
    std::vector<uint64_t> ids;
    for (int n = 0; n < 20; n++) ids.push_back(Write(writable[i], 0, {Whole(client.Filled(900, n))}, quick));
    client.transport->Poll(client, NowNs(), UINT64_MAX);
    server.tags.Revoke(writable[i]);
    std::memset(memories[i]->data(), 0xee, 1000);
    for (uint64_t id : ids) {
      const Code code = End(id).status.code();
      EXPECT_TRUE(code == Code::kOk || code == Code::kTagUnknown || code == Code::kTagRevoked)
          << CodeName(code);
    }
    EXPECT_TRUE(AllAre(memories[i], 0xee));
    EXPECT_EQ(End(Write(writable[i], 0, {Whole(client.Filled(900, 1))}, quick)).status.code(),
              Code::kTagUnknown);
  }
  Goes();
}

// Goal: memory that a user takes away under an operation is not touched again, on either side. Method: the
// check of a registered region turns bad while a transfer is under way; AddressSanitizer sees a touch after
// the memory is freed.
TEST_P(RefusalTest, DetachedMemory) {
  Connect();
  bool there = true;
  uint8_t* memory = nullptr;
  const auto detachable = [&](Side& side) {
    there = true;
    memory = static_cast<uint8_t*>(std::calloc(1, kLong));
    const auto check = [&] {
      return there ? Status() : Status::Error(Code::kRegionDetached, "test", "detached");
    };
    auto buffer = side.pool.RegisterUser(memory, kLong, check, [] {});
    EXPECT_TRUE(buffer.ok());
    return *buffer;
  };
  const auto detach = [&] {
    there = false;
    std::free(memory);
  };
  uint64_t id =
      Read(server.Export(Access::kRead, {Whole(detachable(server))}), 0, {Whole(client.Buffer(kLong))});
  Begin(id);
  detach();
  EXPECT_EQ(End(id).status.code(), Code::kRegionDetached);

  id = Read(server.Export(Access::kRead, {Whole(server.Filled(kLong, 1))}), 0, {Whole(detachable(client))});
  Begin(id);
  detach();
  EXPECT_EQ(End(id).status.code(), Code::kRegionDetached);

  id = Write(server.Export(Access::kWrite, {Whole(server.Buffer(kLong))}), 0, {Whole(detachable(client))});
  Begin(id);
  detach();
  EXPECT_EQ(End(id).status.code(), Code::kRegionDetached);

  id = Write(server.Export(Access::kWrite, {Whole(detachable(server))}), 0, {Whole(client.Filled(kLong, 1))});
  Begin(id);
  detach();
  EXPECT_EQ(End(id).status.code(), Code::kRegionDetached);
  Goes();
}

// Goal: a file that became shorter ends the transfer with kFileChanged, both directions, with and without
// checksum.
TEST_P(RefusalTest, TruncatedFiles) {
  Connect();
  for (bool checksum : {false, true}) {
    for (bool reading : {true, false}) {
      Side& side = reading ? server : client;
      const int file = memfd_create("test", MFD_CLOEXEC);
      ASSERT_EQ(ftruncate(file, off_t(kLong)), 0);
      auto buffer = side.pool.RegisterFile(Fd(file), 0, kLong);
      ASSERT_TRUE(buffer.ok());
      const TransferOptions options{.checksum = checksum};
      const uint64_t id = reading ? Read(server.Export(Access::kRead, {Whole(*buffer)}), 0,
                                         {Whole(client.Buffer(kLong))}, options)
                                  : Write(server.Export(Access::kWrite, {Whole(server.Buffer(kLong))}), 0,
                                          {Whole(*buffer)}, options);
      Begin(id);
      ASSERT_EQ(ftruncate(file, 1 << 20), 0);
      EXPECT_EQ(End(id).status.code(), Code::kFileChanged) << checksum << reading;
    }
  }
  Goes();
}

// Goal: a peer that goes takes its outstanding operations along, each with its completion, before OnClosed.
TEST_P(RefusalTest, ThePeerGoesUnderWay) {
  Connect();
  const Tag tag = server.Export(Access::kRead, {Whole(server.Filled(kLong, 1))});
  const BufferRef local = client.Buffer(kLong);
  for (int i = 0; i < 5; i++) Read(tag, 0, {Whole(local)});
  Begin(1);
  server.accepted.clear();
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1; }));
  EXPECT_EQ(client.closed[endpoint.get()].code(), Code::kConnectionLost);
  EXPECT_EQ(client.completions.size(), 5u);
  for (const auto& [id, completion] : client.completions) {
    EXPECT_EQ(completion.status.code(), Code::kConnectionLost) << id;
  }
  EXPECT_EQ(local->holders(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Transports, RefusalTest, testing::ValuesIn(Kinds()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace splitplane::conformance

// Memory that a peer looks at where it is: views, reads at once and copies of lent memory follow the tag they
// belong to, and what is looked at is not reused before nobody looks. Both sides are real; what a side must
// say to be understood is heard by a peer that speaks by hand. The contract's own tests run over shared
// memory too (transport_conformance.cc); here is what only loans show.
#include <fcntl.h>
#include <sys/wait.h>

#include <algorithm>
#include <set>

#include "native/base/clock.h"
#include "test/native/shm_loans_fixture.h"
#include "test/native/shm_raw_peer.h"

namespace splitplane::conformance {
namespace {

// Goal: a view is the owner's memory itself, of any part of it, and costs no copy.
TEST_P(ShmLoansTest, AViewIsTheOwnersMemory) {
  const BufferRef memory = Lendable(kMiB, 1);
  const Tag tag = Lend(memory);
  const uint64_t copied = client.transport->stats().bytes_copied + server.transport->stats().bytes_copied;
  const BufferRef view = MustView(tag, 1000, 5000);
  EXPECT_TRUE(Contents(view) == PatternBytes(1, 1000, 5000));
  EXPECT_FALSE(view->region().writable());
  memory->data()[1000] ^= 0xff;
  EXPECT_EQ(view->data()[0], memory->data()[1000]);
  EXPECT_EQ(client.transport->stats().bytes_copied + server.transport->stats().bytes_copied, copied);
}

// Goal: bounds, uses, expiry, direction and revocation hold for looks as for every operation; what cannot be
// looked at is refused by the owner for the reason it has.
TEST_P(ShmLoansTest, WhatMayNotBeLookedAt) {
  const BufferRef memory = Lendable(4096, 1);
  const auto refused = [&](const Tag& tag, uint64_t offset, uint64_t length, Code why) {
    EXPECT_TRUE(View(tag, offset, length).status().no_resource());
    const BufferRef into = client.Buffer(length);
    const Slice slice = Whole(into);
    EXPECT_FALSE(endpoint->ReadNow({tag.span(), offset, length}, std::span(&slice, 1)));
    EXPECT_EQ(End(Read(tag, offset, {slice})).status.code(), why);
  };
  const Tag tag = Lend(memory);
  refused(tag, 0, 4097, Code::kTagBounds);
  refused(tag, 4096, 1, Code::kTagBounds);
  refused(tag, UINT64_MAX - 8, 8, Code::kTagBounds);
  EXPECT_TRUE(View(tag, 0, 0).status().no_resource());
  server.tags.Revoke(tag);
  refused(tag, 0, 1, Code::kTagUnknown);

  const MonotonicNs end = NowNs() + 1'000'000;
  const Tag brief = Lend(memory, kUnlimitedUses, end);
  while (NowNs() < end) continue;
  refused(brief, 0, 1, Code::kTagExpired);

  const Tag twice = Lend(memory, 2);
  MustView(twice, 0, 10);
  const Slice into = Whole(client.Buffer(10));
  EXPECT_TRUE(endpoint->ReadNow({twice.span(), 0, 10}, std::span(&into, 1)));
  refused(twice, 0, 1, Code::kTagExhausted);
  EXPECT_EQ(server.tags.stats().refused_exhausted, 1u);

  const Tag forgotten = Lend(memory);
  MustView(forgotten, 0, 1);
  endpoint->Forget(forgotten);
  EXPECT_TRUE(View(forgotten, 0, 1).status().no_resource());
}

// Goal: reads at once are whole, up to their bound, into any number of pieces.
TEST_P(ShmLoansTest, ReadsAtOnce) {
  const BufferRef memory = Lendable(kMiB, 4);
  const Tag tag = Lend(memory);
  for (const uint64_t length : {uint64_t{1}, uint64_t{64}, uint64_t{64 * 1024}}) {
    const BufferRef into = client.Buffer(length + 1);
    const std::vector<Slice> pieces = {{into, 0, length / 2 + 1},
                                       {into, length / 2 + 1, length - length / 2}};
    const std::vector<Slice> one = {{into, 0, 1}};
    const bool split = length > 1;
    const uint64_t wanted = split ? length + 1 : 1;
    if (wanted > 64 * 1024) {
      EXPECT_FALSE(endpoint->ReadNow({tag.span(), 7, wanted}, pieces));
      continue;
    }
    EXPECT_TRUE(endpoint->ReadNow({tag.span(), 7, wanted}, split ? pieces : one));
    for (uint64_t i = 0; i < wanted; i++) ASSERT_EQ(into->data()[i], Pattern(4, 7 + i));
  }
}

// Goal: what somebody looks at is neither changed nor handed out again, whatever became of its tag; once
// nobody does, it is. Method: the owner ends the tag, lets go, and allocates as much again and again.
TEST_P(ShmLoansTest, MemoryThatIsLookedAtIsNotReused) {
  for (const bool expires : {false, true}) {
    BufferRef memory = Lendable(100'000, 5);
    uint8_t* const at = memory->data();
    const MonotonicNs end = expires ? NowNs() + 50'000'000 : kNever;
    const Tag tag = Lend(memory, kUnlimitedUses, end);
    BufferRef view = MustView(tag, 0, 100'000);
    memory.Reset();
    if (expires) {
      while (NowNs() < end) continue;
      server.tags.Expire(NowNs());
    } else {
      server.tags.Revoke(tag);
    }
    EXPECT_EQ(server.tags.stats().live, 0u);
    std::vector<BufferRef> others;
    for (int i = 0; i < 100; i++) {
      others.push_back(Lendable(100'000, 6));
      ASSERT_NE(others.back()->data(), at);
      if (i % 10 == 0) Hear();
      if (i % 3 == 0) others.clear();
    }
    EXPECT_TRUE(Contents(view) == PatternBytes(5, 0, 100'000));
    EXPECT_TRUE(View(tag, 0, 1).status().no_resource());
    others.clear();
    EXPECT_EQ(server.pool.stats().buffer_count, 1u);
    view.Reset();
    ASSERT_TRUE(ServerIsEmpty());
    EXPECT_EQ(Lendable(100'000, 7)->data(), at);
  }
}

// Goal: a copy under way ends with the tag, and holds the memory no longer than that.
TEST_P(ShmLoansTest, ACopyEndsWithItsTag) {
  BufferRef memory = Lendable(8 * kMiB, 8);
  const BufferRef into = client.Buffer(8 * kMiB);
  const Tag tag = Lend(memory);
  client.budget = 64 * 1024;
  const uint64_t read = Read(tag, 0, {Whole(into)});
  const uint64_t before = client.transport->stats().bytes_copied;
  ASSERT_TRUE(Run([&] { return client.transport->stats().bytes_copied > before + kMiB; }));
  memory.Reset();
  server.tags.Revoke(tag);
  EXPECT_EQ(server.pool.stats().buffer_count, 1u);
  EXPECT_EQ(End(read).status.code(), Code::kTagRevoked);
  EXPECT_TRUE(ServerIsEmpty());
}

// Goal: a write out of memory that the peer may see is one copy, made by the receiver; the memory is
// free when the write has ended. What may not be seen, is in pieces or is little goes by the ring, two
// copies.
TEST_P(ShmLoansTest, AWriteOutOfLentMemory) {
  const BufferRef target = server.Buffer(kMiB);
  const Tag tag = server.Export(Access::kWrite, {Whole(target)});
  const auto copies = [&](std::vector<Slice> from, uint64_t length, uint64_t seed) {
    const uint64_t before = client.transport->stats().bytes_copied + server.transport->stats().bytes_copied;
    EXPECT_TRUE(End(Write(tag, 0, std::move(from), {.notify = true})).status.ok());
    EXPECT_TRUE(std::equal(target->data(), target->data() + length, PatternBytes(seed, 0, length).begin()));
    const uint64_t after = client.transport->stats().bytes_copied + server.transport->stats().bytes_copied;
    EXPECT_EQ((after - before) % length, 0u);
    return (after - before) / length;
  };
  {
    const BufferRef lendable = *client.pool.Allocate(kMiB, kServerSession);
    for (uint64_t i = 0; i < kMiB; i++) lendable->data()[i] = Pattern(20, i);
    EXPECT_EQ(copies({Whole(lendable)}, kMiB, 20), 1u);
    EXPECT_EQ(copies({{lendable, 0, 1000}}, 1000, 20), 2u);
    EXPECT_EQ(copies({{lendable, 0, kMiB / 2}, {lendable, kMiB / 2, kMiB / 2}}, kMiB, 20), 2u);
  }
  EXPECT_EQ(client.pool.stats().buffer_count, 0u);
  std::vector<uint8_t> own = PatternBytes(21, 0, 100'000);
  const BufferRef user = *client.pool.RegisterUser(own.data(), own.size(), nullptr, nullptr);
  EXPECT_EQ(copies({Whole(user)}, own.size(), 21), 2u);
  ASSERT_TRUE(Run([&] { return server.notified.size() == 4; }));
}

// Goal: a write out of lent memory ends with its tag, when it is canceled, and with the connection, and then
// nothing is written any more and the memory is free. Method: each in the middle of it.
TEST_P(ShmLoansTest, AWriteOutOfLentMemoryEndsEarly) {
  enum class By { kRevoking, kCanceling, kClosing };
  for (const By by : {By::kRevoking, By::kCanceling, By::kClosing}) {
    const BufferRef target = server.Buffer(8 * kMiB);
    const Tag tag = server.Export(Access::kWrite, {Whole(target)});
    server.budget = 64 * 1024;
    const uint64_t before = server.transport->stats().bytes_copied;
    const uint64_t write = Write(tag, 0, {Whole(*client.pool.Allocate(8 * kMiB, kServerSession))});
    ASSERT_TRUE(Run([&] { return server.transport->stats().bytes_copied > before + kMiB; }));
    EXPECT_EQ(client.pool.stats().buffer_count, 1u);
    switch (by) {
      case By::kRevoking:
        server.tags.Revoke(tag);
        EXPECT_EQ(End(write).status.code(), Code::kTagRevoked);
        break;
      case By::kCanceling:
        endpoint->Cancel(write);
        EXPECT_EQ(End(write).status.code(), Code::kAborted);
        break;
      case By::kClosing:
        remote->Close(Status::Error(Code::kAborted, "test", "in the middle"));
        EXPECT_EQ(End(write).status.code(), Code::kConnectionLost);
    }
    EXPECT_LT(server.transport->stats().bytes_copied, before + 8 * kMiB);
    EXPECT_TRUE(Run([&] { return client.pool.stats().buffer_count == 0; }));
    server.budget = UINT64_MAX;
  }
}

// Goal: a view belongs to who holds it: it lives on when the connection is closed, and when the owner is
// gone; the owner's memory is free when the view is, and then the connection is too.
TEST_P(ShmLoansTest, ViewsOutliveTheConnection) {
  BufferRef memory = Lendable(kMiB, 9);
  const Tag tag = Lend(memory);
  BufferRef view = MustView(tag, 0, kMiB);
  memory.Reset();
  endpoint->Close({});
  ASSERT_TRUE(Run([&] { return client.closed.size() == 1 && server.closed.size() == 1; }));
  server.tags.RevokeAll();
  EXPECT_EQ(server.pool.stats().buffer_count, 1u);
  EXPECT_TRUE(View(tag, 0, 1).status().no_resource());
  BufferRef part = view;
  view.Reset();
  EXPECT_TRUE(Contents(part) == PatternBytes(9, 0, kMiB));
  part.Reset();
  EXPECT_TRUE(ServerIsEmpty());
}

TEST_P(ShmLoansTest, ViewsOutliveTheOwner) {
  const shm::Holdings before = shm::CountHoldings();
  BufferRef view;
  {
    Side other(GetParam(), 3);
    auto listening = other.transport->Listen(GetParam().address(), {});
    ASSERT_TRUE(listening.ok());
    auto connecting = client.transport->Connect((*listening)->address(), {});
    ASSERT_TRUE(connecting.ok());
    ASSERT_TRUE(RunUntil(client, other, [&] { return client.connected == 2 && other.accepted.size() == 1; }));
    (*connecting)->Bind({.session = 5, .principal = "other"});
    other.accepted.front()->Bind({.session = 6, .principal = "client"});
    Result<BufferRef> memory = other.pool.Allocate(5000, 6);
    std::memset((*memory)->data(), 77, 5000);
    TagOptions options;
    options.audience = {Audience::Kind::kSession, 6, {}};
    options.slices = {Whole(*memory)};
    const Tag tag = *other.tags.Export(std::move(options));
    ASSERT_TRUE(RunUntil(client, other, [&] {
      Result<BufferRef> made = (*connecting)->View({tag.span(), 0, 5000});
      if (made.ok()) view = *made;
      return made.ok();
    }));
    other.tags.RevokeAll();
    memory->Reset();
    other.accepted.clear();
    (*connecting)->Close({});
    ASSERT_TRUE(RunUntil(client, other, [&] { return client.closed.size() == 1; }));
    connecting->reset();
  }
  EXPECT_EQ(Contents(view), std::vector<uint8_t>(5000, 77));
  view.Reset();
  EXPECT_TRUE(Run([&] { return shm::CountHoldings() == before; }));
}

// Goal: a mistake of who holds a view is seen by nobody else, and not by himself the next time.
TEST_P(ShmLoansTest, AWriteIntoAViewReachesNobody) {
  const BufferRef memory = Lendable(3 * 4096, 10);
  const Tag tag = Lend(memory);
  BufferRef view = MustView(tag, 0, 3 * 4096);
  const BufferRef bystander = MustView(tag, 4096, 4096);
  view->data()[5000] ^= 0xff;
  EXPECT_EQ(view->data()[5000], uint8_t(Pattern(10, 5000) ^ 0xff));
  EXPECT_TRUE(Contents(memory) == PatternBytes(10, 0, 3 * 4096));
  const BufferRef into = client.Buffer(100);
  const Slice slice = Whole(into);
  ASSERT_TRUE(endpoint->ReadNow({tag.span(), 4950, 100}, std::span(&slice, 1)));
  EXPECT_TRUE(Contents(into) == PatternBytes(10, 4950, 100));
  view->data()[5000] ^= 0xff;
  view.Reset();
  EXPECT_TRUE(Contents(MustView(tag, 0, 3 * 4096)) == PatternBytes(10, 0, 3 * 4096));
  EXPECT_TRUE(Contents(bystander) == PatternBytes(10, 4096, 4096));
}

// Goal: a view is memory like any other to read from, and none to fill.
TEST_P(ShmLoansTest, AViewIsReadOnly) {
  const BufferRef memory = Lendable(1000, 11), other = Lendable(1000, 12);
  const Tag tag = Lend(memory), from = Lend(other);
  const BufferRef view = MustView(tag, 0, 1000);
  const Status filled = endpoint->PostRead(900, {from.span(), 0, 1000}, {Whole(view)}, {});
  EXPECT_EQ(filled.code(), Code::kInvalidArgument) << filled.ToString();
  const BufferRef target = server.Buffer(1000);
  EXPECT_TRUE(End(Write(server.Export(Access::kWrite, {Whole(target)}), 0, {Whole(view)})).status.ok());
  EXPECT_TRUE(Contents(target) == PatternBytes(11, 0, 1000));
  const Tag onward = client.Export(Access::kRead, {Whole(view)});
  const BufferRef back = server.Buffer(1000);
  ASSERT_TRUE(remote->PostRead(901, {onward.span(), 0, 1000}, {Whole(back)}, {}).ok());
  ASSERT_TRUE(Run([&] { return server.completions.contains(901); }));
  EXPECT_TRUE(Contents(back) == PatternBytes(11, 0, 1000));
}

// Goal: nobody is taken for a bad peer because the other side was busy for a while. Method: more looks, and
// more loans, than there is room for anywhere, while the other side is not polled.
TEST_P(ShmLoansTest, ALongPauseOfThePeer) {
  constexpr int kTimes = 200'000;
  const BufferRef memory = Lendable(4096, 13);
  const Tag tag = Lend(memory);
  std::vector<BufferRef> views;
  int looks = 0;
  for (int i = 0; i < kTimes; i++) {
    if (i % 64 == 0) client.transport->Poll(client, NowNs(), client.budget);
    Result<BufferRef> view = View(tag, 0, 4096);
    if (!view.ok()) continue;
    looks++;
    // Some are kept for the end, when there is no room to give them back.
    if (i % 2 == 0) views.push_back(*view);
  }
  EXPECT_GT(looks, 10'000);
  views.clear();
  client.transport->Poll(client, NowNs(), client.budget);
  Hear();
  EXPECT_TRUE(client.closed.empty());
  EXPECT_TRUE(Run([&] { return server.transport->stats().operations_served == uint64_t(looks); }));
  MustView(tag, 0, 4096);
  for (int i = 0; i < kTimes; i++) {
    if (i % 64 == 0) server.transport->Poll(server, NowNs(), server.budget);
    TagOptions options;
    options.audience = {Audience::Kind::kSession, kClientSession, {}};
    options.slices = {Whole(memory)};
    server.tags.Revoke(*server.tags.Export(std::move(options)));
  }
  server.transport->Poll(server, NowNs(), server.budget);
  EXPECT_TRUE(Run([&] { return remote->PostSend(std::vector<ConstBytes>{AsBytes("heard")}).ok(); }));
  Hear();
  EXPECT_TRUE(client.closed.empty() && server.closed.empty());
  MustView(Lend(memory), 0, 4096);
}

// Goal: slabs that their owner gave up are not mapped here any more.
TEST_P(ShmLoansTest, SlabsGoWithTheirOwners) {
  const shm::Holdings before = shm::CountHoldings();
  BufferRef memory = Lendable(4096, 14);
  const Tag tag = Lend(memory);
  BufferRef view = MustView(tag, 0, 4096);
  EXPECT_GT(shm::CountHoldings().mappings, before.mappings + 1);
  server.tags.Revoke(tag);
  memory.Reset();
  server.pool.EndAudience(kClientSession);
  Hear();
  EXPECT_TRUE(Contents(view) == PatternBytes(14, 0, 4096));
  view.Reset();
  EXPECT_TRUE(Run([&] { return shm::CountHoldings() == before; }));
}

INSTANTIATE_TEST_SUITE_P(Loans, ShmLoansTest, testing::ValuesIn(ShmKinds()),
                         [](const testing::TestParamInfo<Kind>& kind) { return kind.param.name; });

}  // namespace
}  // namespace splitplane::conformance

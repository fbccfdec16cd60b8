// MemoryPool: whom memory is for. What is in a slab for one audience was never anybody else's, a slab that
// was shown is neither reused nor changed by others, and a peer's slab lives as long as a view of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "native/memory/mapping.h"
#include "native/memory/pool.h"
#include "test/native/pool_fixture.h"

namespace splitplane {
namespace {

// Goal: no slab ever holds memory of two audiences, in the course of its whole life. Method: buffers of four
// audiences and of nobody come and go at random, of all sizes; each byte that is found in a slab is of whose
// slab it is, or was never written.
TEST(PoolAudienceTest, SlabsAreNeverShared) {
  MemoryPool pool({});
  std::mt19937 random(5);
  std::map<uint32_t, AudienceId> of_region;
  std::vector<BufferRef> buffers;
  for (int i = 0; i < 4000; i++) {
    if (buffers.size() > 64 || (!buffers.empty() && random() % 2 == 0)) {
      std::swap(buffers[random() % buffers.size()], buffers.back());
      buffers.pop_back();
      continue;
    }
    const AudienceId audience = random() % 5;
    const uint64_t bytes = 1 + random() % (random() % 50 == 0 ? 70 * kMiB : 40'000);
    buffers.push_back(Take(pool, bytes, audience));
    Region& region = buffers.back()->region();
    ASSERT_EQ(region.audience(), audience);
    ASSERT_EQ(of_region.emplace(region.id(), audience).first->second, audience);
    const auto mark = uint8_t(audience + 1);
    ASSERT_TRUE(buffers.back()->data()[0] == 0 || buffers.back()->data()[0] == mark);
    std::memset(buffers.back()->data(), mark, std::min<uint64_t>(bytes, 4096));
  }
  std::set<AudienceId> seen;
  pool.ForEachRegion([&](Region& region) {
    seen.insert(region.audience());
    const auto mark = uint8_t(region.audience() + 1);
    for (uint64_t at = 0; at < region.length(); at += 256) {
      const uint8_t byte = region.data()[at];
      ASSERT_TRUE(byte == 0 || byte == mark) << region.audience() << " found " << int(byte);
    }
  });
  EXPECT_EQ(seen.size(), 5u);
}

// Goal: the slabs of an audience that has ended go, each with its last buffer, and another audience gets
// fresh ones.
TEST(PoolAudienceTest, EndsWithTheLastBuffer) {
  std::set<uint32_t> gone;
  MemoryPool pool({});
  pool.set_observer([&](Region& region, RegionChange change) {
    if (change == RegionChange::kRemoved) gone.insert(region.id());
  });
  BufferRef held = Take(pool, 4096, 3);
  const uint32_t small = held->region().id();
  const uint32_t large = Take(pool, 70 * kMiB, 3)->region().id();
  const uint32_t middle = Take(pool, kMiB, 3)->region().id();
  EXPECT_TRUE(gone.empty());
  pool.EndAudience(3);
  EXPECT_EQ(gone, (std::set<uint32_t>{large, middle}));
  held->data()[4095] = 1;
  pool.EndAudience(3);
  pool.EndAudience(99);
  EXPECT_EQ(gone.size(), 2u);
  held.Reset();
  EXPECT_EQ(gone, (std::set<uint32_t>{small, large, middle}));
  EXPECT_EQ(pool.stats().slab_count, 0u);
  EXPECT_EQ(pool.stats().slab_bytes, 0u);
  EXPECT_EQ(Take(pool, 4096, 4)->data()[0], 0);
}

// Goal: a slab becomes somebody's only when nothing but this buffer was ever in it.
TEST(PoolAudienceTest, Dedicate) {
  MemoryPool pool({});
  const BufferRef small = Take(pool, 4096);
  EXPECT_FALSE(pool.Dedicate(*small.get(), 3)) << "others will have slots there";
  const BufferRef own = Take(pool, 4096, 3);
  EXPECT_TRUE(pool.Dedicate(*own.get(), 3));
  EXPECT_FALSE(pool.Dedicate(*own.get(), 4));
  std::vector<uint8_t> bytes(100);
  const BufferRef user = *pool.RegisterUser(bytes.data(), bytes.size(), nullptr, nullptr);
  EXPECT_FALSE(pool.Dedicate(*user.get(), 3));
  for (const uint64_t size : {40 * kMiB, 64 * kMiB, 64 * kMiB + 1, 100 * kMiB}) {
    MemoryPool one({});
    BufferRef fresh = Take(one, size);
    EXPECT_TRUE(one.Dedicate(*fresh.get(), 3)) << size;
    EXPECT_EQ(fresh->region().audience(), 3u);
    EXPECT_TRUE(one.Dedicate(*fresh.get(), 3)) << size;
    const uint32_t region = fresh->region().id();
    fresh.Reset();
    EXPECT_NE(Take(one, size)->region().id(), region) << "it is for others again";
    EXPECT_EQ(Take(one, size, 3)->region().id(), region) << size;
    // The one that was made in between has had a user.
    EXPECT_FALSE(one.Dedicate(*Take(one, size).get(), 3)) << size;
  }
}

// Goal: sealed slabs do not keep memory for ever: beyond the bound of warm memory they go as a whole.
TEST(PoolAudienceTest, SealedSlabsAreUnmapped) {
  MemoryPool pool({});
  std::vector<BufferRef> buffers;
  for (uint64_t bytes = 0; bytes <= 2 * kWarmBytesMax; bytes += 64 * kMiB) {
    buffers.push_back(Take(pool, 64 * kMiB, 3));
    ASSERT_TRUE(buffers.back()->region().Seal().ok());
    ASSERT_TRUE(buffers.back()->region().Seal().ok());
    buffers.back()->data()[0] = 1;
  }
  buffers.clear();
  EXPECT_LE(pool.stats().slab_bytes, kWarmBytesMax);
  // What is left works as ever.
  for (int i = 0; i < 10; i++) buffers.push_back(Take(pool, 64 * kMiB, 3));
  std::set<uint8_t*> places;
  for (const BufferRef& buffer : buffers) places.insert(buffer->data());
  EXPECT_EQ(places.size(), buffers.size());
}

// A peer's slab, as another process would have made it.
struct PeerSlab {
  Fd fd;
  std::shared_ptr<Mapping> owner, seen;
};
PeerSlab MakePeerSlab(uint64_t bytes) {
  PeerSlab slab;
  Result<std::shared_ptr<Mapping>> owner = Mapping::Create(bytes, slab.fd);
  EXPECT_TRUE(owner.ok());
  Result<std::shared_ptr<Mapping>> seen = Mapping::OfPeer(slab.fd, bytes, Mapping::Sharing::kPrivate);
  EXPECT_TRUE(seen.ok());
  slab.owner = *owner;
  slab.seen = *seen;
  return slab;
}

struct Ends final : ViewOwner {
  void OnViewEnded(uint64_t number) override { ended.push_back(number); }
  std::vector<uint64_t> ended;
};

// Goal: views show the peer's memory, their end is told once each by their number, and their memory counts as
// that of every buffer.
TEST(PoolForeignTest, ViewsAreToldOf) {
  Ends ends;
  MemoryPool pool({});
  PeerSlab slab = MakePeerSlab(64 * 1024);
  Region& region = pool.AddForeign(slab.seen, ends);
  EXPECT_EQ(region.kind(), Region::Kind::kForeign);
  EXPECT_FALSE(region.writable());
  EXPECT_FALSE(region.Seal().ok());
  slab.owner->data()[5000] = 42;
  BufferRef first = pool.View(region, 5000, 100, 71);
  BufferRef second = pool.View(region, 0, 64 * 1024, 72);
  EXPECT_EQ(first->data()[0], 42);
  EXPECT_EQ(second->data()[5000], 42);
  EXPECT_EQ(pool.stats().buffer_count, 2u);
  EXPECT_EQ(pool.stats().buffer_bytes, 64 * 1024u + 100u);
  BufferRef again = first;
  first.Reset();
  EXPECT_TRUE(ends.ended.empty());
  again.Reset();
  EXPECT_EQ(ends.ended, std::vector<uint64_t>{71});
  first = pool.View(region, 1, 2, 73);
  EXPECT_EQ(first->length(), 2u);
  second.Reset();
  first.Reset();
  EXPECT_EQ(ends.ended, (std::vector<uint64_t>{71, 72, 73}));
  EXPECT_EQ(pool.stats().buffer_count, 0u);
  EXPECT_EQ(pool.stats().buffer_bytes, 0u);
  pool.EndForeign(region);
}

// Goal: a peer's slab is mapped as long as anybody looks, also without its owner and without the pool, and no
// longer.
TEST(PoolForeignTest, LivesAsLongAsAView) {
  Ends ends;
  auto pool = std::make_unique<MemoryPool>(PoolOptions{});
  PeerSlab slab = MakePeerSlab(4096);
  std::weak_ptr<Mapping> mapped = slab.seen;
  slab.owner->data()[7] = 9;
  BufferRef view = pool->View(pool->AddForeign(std::move(slab.seen), ends), 0, 4096, 1);
  pool->EndForeign(view->region());
  EXPECT_FALSE(mapped.expired());
  EXPECT_EQ(view->data()[7], 9);
  view.Reset();
  EXPECT_TRUE(mapped.expired());
  EXPECT_TRUE(ends.ended.empty()) << "nobody wanted to hear of it any more";

  slab = MakePeerSlab(4096);
  mapped = slab.seen;
  Region& region = pool->AddForeign(std::move(slab.seen), ends);
  view = pool->View(region, 0, 4096, 2);
  std::shared_ptr<void> kept = region.KeepAlive();
  pool->EndForeign(region);
  pool.reset();
  EXPECT_EQ(view->data()[0], 0);
  view.Reset();
  EXPECT_FALSE(mapped.expired()) << "an ArrayBuffer is still there";
  kept.reset();
  EXPECT_TRUE(mapped.expired());
}

// Goal: what was written into a view by mistake is private, and gone before somebody looks at it anew.
TEST(PoolForeignTest, WritesArePrivateAndPass) {
  Ends ends;
  MemoryPool pool({});
  PeerSlab slab = MakePeerSlab(64 * 1024);
  Region& region = pool.AddForeign(slab.seen, ends);
  std::memset(slab.owner->data(), 1, 64 * 1024);
  BufferRef view = pool.View(region, 0, 64 * 1024, 1);
  for (uint64_t at = 0; at < 64 * 1024; at += 1000) view->data()[at] = 2;
  EXPECT_EQ(view->data()[1000], 2);
  EXPECT_EQ(std::count(slab.owner->data(), slab.owner->data() + 64 * 1024, 1), 64 * 1024);
  const BufferRef part = pool.View(region, 5000, 10, 2);
  EXPECT_EQ(part->data()[0], 1);
  EXPECT_EQ(view->data()[1000], 2) << "nobody looks there anew";
  pool.RenewForeign(region, 999, 2);
  EXPECT_EQ(view->data()[1000], 1);
  view->data()[60'000] = 2;
  view.Reset();
  EXPECT_EQ(pool.View(region, 60'000, 1, 3)->data()[0], 1);
  // What the owner writes is seen in pages that were private.
  slab.owner->data()[60'000] = 3;
  EXPECT_EQ(pool.View(region, 60'000, 1, 4)->data()[0], 3);
  pool.EndForeign(region);
}

// Goal: where a write is not ours to forgive, the process ends as ever.
TEST(PoolForeignDeathTest, OtherFaultsStayFaults) {
  Ends ends;
  MemoryPool pool({});
  PeerSlab slab = MakePeerSlab(4096);
  const BufferRef view = pool.View(pool.AddForeign(slab.seen, ends), 0, 4096, 1);
  view->data()[0] = 1;
  void* const other = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_DEATH(*static_cast<volatile uint8_t*>(other) = 1, "");
  munmap(other, 4096);
}

}  // namespace
}  // namespace splitplane

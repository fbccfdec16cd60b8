// MemoryPool: memory is reused and bounded, held while anybody names it, and let go exactly once.
#include "native/memory/pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "test/native/pool_fixture.h"

namespace splitplane {
namespace {

// What the kernel holds for a slab at this moment.
uint64_t ResidentBytes(const Region& region) {
  struct stat found;
  EXPECT_EQ(fstat(region.fd(), &found), 0);
  return uint64_t(found.st_blocks) * 512;
}

// Goal: a buffer is what was asked for, writable to its last byte, at the promised alignment. Method: sizes
// around every class.
TEST(PoolTest, BuffersHaveTheirSizeAndAlignment) {
  MemoryPool pool({});
  for (uint64_t size = 1; size <= 128 * kMiB; size *= 2) {
    for (uint64_t bytes : {size - 1, size, size + 1}) {
      if (bytes == 0) continue;
      const BufferRef buffer = Take(pool, bytes);
      ASSERT_EQ(buffer->length(), bytes);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % (bytes >= 4096 ? 4096 : 64), 0u) << bytes;
      ASSERT_LE(buffer->offset() + bytes, buffer->region().length());
      buffer->data()[0] = 1;
      buffer->data()[bytes - 1] = 2;
    }
  }
}

// Goal: no two buffers share a byte. Method: random sizes, each filled with its own number, all checked at
// the end.
TEST(PoolTest, BuffersDoNotOverlap) {
  MemoryPool pool({});
  std::mt19937 generator(7);
  std::vector<BufferRef> buffers;
  for (int i = 0; i < 2000; i++) {
    if (i % 3 == 2) buffers.erase(buffers.begin() + generator() % buffers.size());
    buffers.push_back(Take(pool, 1 + generator() % (1u << (generator() % 17))));
  }
  for (size_t i = 0; i < buffers.size(); i++)
    std::memset(buffers[i]->data(), int(i % 251), buffers[i]->length());
  for (size_t i = 0; i < buffers.size(); i++) {
    for (uint64_t at = 0; at < buffers[i]->length(); at++) ASSERT_EQ(buffers[i]->data()[at], i % 251);
  }
}

// Goal: the next user finds warm memory. Method: what was freed last is given out first, also for another
// length of the class.
TEST(PoolTest, LastFreedIsNextUsed) {
  MemoryPool pool({});
  BufferRef first = Take(pool, 5000), second = Take(pool, 5000);
  uint8_t* const first_at = first->data();
  uint8_t* const second_at = second->data();
  first.Reset();
  second.Reset();
  EXPECT_EQ(Take(pool, 8192)->data(), second_at);
  const BufferRef again = Take(pool, 8192), other = Take(pool, 4097);
  EXPECT_EQ(again->data(), second_at);
  EXPECT_EQ(other->data(), first_at);
}

// Goal: memory is flat over any number of allocations. Method: a million of mixed sizes with up to 64 held at
// once; slabs after the first tenth are the slabs at the end, and nothing is left counted.
TEST(PoolTest, AMillionAllocationsAreFlat) {
  MemoryPool pool({});
  std::mt19937 generator(11);
  std::vector<BufferRef> held(64);
  uint64_t slab_bytes = 0, slab_count = 0;
  // Every class reaches its peak before the measurement begins.
  for (uint64_t bytes = kSlotBytesMin; bytes <= 4 * kMiB; bytes *= 2) {
    for (BufferRef& buffer : held) buffer = Take(pool, bytes);
  }
  for (int i = 0; i < 1'000'000; i++) {
    held[generator() % held.size()] = Take(pool, 1 + generator() % (1u << (8 + generator() % 15)));
    if (i == 100'000) {
      slab_bytes = pool.stats().slab_bytes;
      slab_count = pool.stats().slab_count;
    }
  }
  EXPECT_EQ(pool.stats().slab_bytes, slab_bytes);
  EXPECT_EQ(pool.stats().slab_count, slab_count);
  held.clear();
  EXPECT_EQ(pool.stats().buffer_count, 0u);
  EXPECT_EQ(pool.stats().buffer_bytes, 0u);
  EXPECT_EQ(pool.stats().allocation_count, 1'000'000u + 64 * 15);
}

// Goal: one request more than the limit is refused, with the limit named, before anything is mapped; room
// comes back. Method: fill it; sizes up to 2^64-1.
TEST(PoolTest, RefusesBeyondTheLimit) {
  MemoryPool pool({.bytes_max = 4 * kMiB});
  for (uint64_t bytes : {4 * kMiB + 1, 100 * kMiB, uint64_t{1} << 40, uint64_t{1} << 63, UINT64_MAX}) {
    const Result<BufferRef> refused = pool.Allocate(bytes);
    ASSERT_EQ(refused.status().code(), Code::kOutOfMemory) << bytes;
    EXPECT_NE(refused.status().detail().find("4194304"), std::string_view::npos);
  }
  EXPECT_EQ(pool.Allocate(0).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(pool.stats().slab_count, 0u);
  BufferRef whole = Take(pool, 4 * kMiB);
  EXPECT_EQ(pool.Allocate(1).status().code(), Code::kOutOfMemory);
  whole.Reset();
  EXPECT_TRUE(pool.Allocate(1).ok());
  // Counted at the size of the slot.
  const BufferRef half = Take(pool, 2 * kMiB - 1);
  const BufferRef most = Take(pool, kMiB + 1);
  EXPECT_EQ(pool.Allocate(1).status().code(), Code::kOutOfMemory);
}

// Goal: a limit of 2^64-1 does not let sums overflow. Method: ask for everything there is.
TEST(PoolTest, HighestLimitRefusesTheHighestRequests) {
  MemoryPool pool({.bytes_max = UINT64_MAX});
  EXPECT_FALSE(pool.Allocate(UINT64_MAX).ok());
  EXPECT_FALSE(pool.Allocate(UINT64_MAX - kMiB).ok());
  EXPECT_FALSE(pool.Allocate(uint64_t{1} << 60).ok());
  EXPECT_EQ(pool.stats().slab_count, 0u);
}

// Goal: after a burst the pages go back to the kernel, but for the warm ones. Method: 320 MiB in slabs of 16,
// written, then freed; what the kernel still holds.
TEST(PoolTest, PagesGoBackAfterABurst) {
  MemoryPool pool({});
  std::vector<BufferRef> burst;
  for (int i = 0; i < 320; i++) {
    burst.push_back(Take(pool, kMiB));
    std::memset(burst.back()->data(), 1, kMiB);
  }
  const auto resident = [&pool] {
    uint64_t bytes = 0;
    pool.ForEachRegion([&bytes](Region& region) { bytes += ResidentBytes(region); });
    return bytes;
  };
  EXPECT_EQ(resident(), 320 * kMiB);
  burst.clear();
  EXPECT_EQ(resident(), kWarmBytesMax);
  EXPECT_EQ(pool.stats().slab_bytes, 320 * kMiB);  // mapped as before, for ArrayBuffers over it
  // Reuse of what was given back: readable and writable as ever.
  for (int i = 0; i < 320; i++) {
    burst.push_back(Take(pool, kMiB));
    burst.back()->data()[kMiB - 1] = 3;
  }
  EXPECT_EQ(pool.stats().slab_bytes, 320 * kMiB);
}

// Goal: a buffer larger than the warm bound gives its pages back at once, and its mapping serves the next
// that fits. Method: one of 300 MiB of which a few pages are written, then smaller and larger requests.
TEST(PoolTest, LargeSlotsGivePagesBackAndAreReused) {
  MemoryPool pool({});
  BufferRef large = Take(pool, 300 * kMiB);
  Region& region = large->region();
  for (uint64_t at = 0; at < 300 * kMiB; at += kMiB) large->data()[at] = 1;
  EXPECT_GE(ResidentBytes(region), 300 * 4096u);
  large.Reset();
  EXPECT_EQ(ResidentBytes(region), 0u);
  EXPECT_EQ(&Take(pool, 290 * kMiB)->region(), &region);
  EXPECT_NE(&Take(pool, 100 * kMiB)->region(), &region) << "less than half: would waste the mapping";
  EXPECT_NE(&Take(pool, 301 * kMiB)->region(), &region);
}

// Goal: spare mappings are bounded, whatever sizes are asked for. Method: growing sizes, each freed at once;
// the observer hears of each that comes and goes.
TEST(PoolTest, SpareLargeSlabsAreBounded) {
  MemoryPool pool({});
  int mapped = 0;
  pool.set_observer([&mapped](Region&, RegionChange change) {
    if (change != RegionChange::kPagesGone) mapped += change == RegionChange::kAdded ? 1 : -1;
  });
  for (uint64_t i = 1; i <= 40; i++) Take(pool, 64 * kMiB + i * 4 * kMiB);
  EXPECT_EQ(pool.stats().slab_count, kSpareSlabsMax);
  EXPECT_EQ(mapped, int(kSpareSlabsMax));
}

// Goal: whoever registered the pages of a slab with a device hears before they are given back, because the
// slab will have others. Method: at the call, the pages are still there; at the next they are not.
TEST(PoolTest, TheObserverHearsBeforePagesGo) {
  std::vector<uint64_t> blocks_at;  // outlives the pool, which tells of the end of its slabs too
  MemoryPool pool({});
  pool.set_observer([&](Region& region, RegionChange) {
    struct stat file;
    ASSERT_EQ(fstat(region.fd(), &file), 0);
    blocks_at.push_back(uint64_t(file.st_blocks));
  });
  BufferRef buffer = Take(pool, kWarmBytesMax + 1);
  buffer->data()[0] = 1;
  ASSERT_EQ(blocks_at.size(), 1u);
  const int fd = dup(buffer->region().fd());
  buffer.Reset();
  ASSERT_EQ(blocks_at.size(), 2u);
  EXPECT_GT(blocks_at[1], 0u);
  struct stat file;
  ASSERT_EQ(fstat(fd, &file), 0);
  EXPECT_EQ(file.st_blocks, 0);
  close(fd);
}

// Goal: another process that gets the memfd cannot change its size under us. Method: try.
TEST(PoolTest, SlabsAreSealed) {
  MemoryPool pool({});
  const BufferRef buffer = Take(pool, 4096);
  const Region& region = buffer->region();
  EXPECT_EQ(region.kind(), Region::Kind::kSlab);
  EXPECT_NE(ftruncate(region.fd(), 0), 0);
  EXPECT_NE(ftruncate(region.fd(), off_t(region.length() * 2)), 0);
  EXPECT_NE(fcntl(region.fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(fcntl(region.fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

// Goal: transports hear of every region, before its first use and before it goes. Method: the observer keeps
// the books.
TEST(PoolTest, ObserverHearsOfEveryRegion) {
  std::set<uint32_t> known;
  static uint8_t user[100];
  {
    MemoryPool pool({});
    pool.set_observer([&known](Region& region, RegionChange change) {
      if (change == RegionChange::kAdded) {
        EXPECT_TRUE(known.insert(region.id()).second);
      } else if (change == RegionChange::kRemoved) {
        EXPECT_EQ(known.erase(region.id()), 1u);
        if (region.kind() == Region::Kind::kSlab) region.data()[0]++;  // still mapped
      }
    });
    const BufferRef slab = Take(pool, 1);
    {
      const Result<BufferRef> registered = pool.RegisterUser(user, sizeof(user), nullptr, nullptr);
      EXPECT_TRUE(known.contains(registered.value()->region().id()));
      EXPECT_EQ(known.size(), 2u);
      std::set<uint32_t> visited;
      pool.ForEachRegion([&visited](Region& region) { visited.insert(region.id()); });
      EXPECT_EQ(visited, known);
    }
    EXPECT_EQ(known, std::set<uint32_t>{slab->region().id()});
    EXPECT_TRUE(known.contains(slab->region().id()));
  }
  EXPECT_TRUE(known.empty());
}

// Goal: buffers that outlive the pool stay usable, and everything ends with the last. Method: one of each
// kind; AddressSanitizer and the end of the process see leaks.
TEST(PoolTest, BuffersOutliveThePool) {
  static uint8_t user[64];
  int ended = 0;
  BufferRef first, second, large, registered;
  {
    MemoryPool pool({});
    first = Take(pool, 1000);
    second = Take(pool, 1000);
    large = Take(pool, 65 * kMiB);
    Take(pool, 4096);  // its slab is empty and goes with the pool
    registered = *pool.RegisterUser(user, sizeof(user), nullptr, [&ended] { ended++; });
  }
  first->data()[999] = 1;
  first.Reset();
  second->data()[999] = 2;
  second.Reset();
  large->data()[65 * kMiB - 1] = 3;
  large.Reset();
  EXPECT_EQ(ended, 0);
  registered.Reset();
  EXPECT_EQ(ended, 1);
}

// Goal: an ArrayBuffer over a slab may outlive the engine. Method: what KeepAlive gave keeps the bytes after
// pool and buffers are gone, and lets them go itself.
TEST(PoolTest, KeepAliveOutlivesEverything) {
  std::shared_ptr<void> kept;
  uint8_t* data = nullptr;
  uint8_t* slab = nullptr;
  {
    MemoryPool pool({});
    const BufferRef buffer = Take(pool, 100);
    data = buffer->data();
    slab = buffer->region().data();
    data[0] = 42;
    kept = buffer->region().KeepAlive();
  }
  EXPECT_EQ(data[0], 42);
  kept.reset();
  EXPECT_EQ(msync(slab, 4096, MS_ASYNC), -1) << "the mapping should be gone";
}

// Goal: user memory is held until the last holder lets go and then ended once; the pool may be used from
// inside. Method: a slice holds it, the callback registers again.
TEST(PoolTest, UserMemoryEndsOnceAfterTheLastHolder) {
  MemoryPool pool({});
  uint8_t memory[32];
  int ended = 0;
  BufferRef again;
  BufferRef buffer = *pool.RegisterUser(memory, sizeof(memory), nullptr, [&] {
    ended++;
    again = *pool.RegisterUser(memory, sizeof(memory), nullptr, nullptr);
  });
  EXPECT_EQ(buffer->data(), memory);
  EXPECT_EQ(buffer->region().kind(), Region::Kind::kUser);
  EXPECT_EQ(buffer->region().KeepAlive(), nullptr);
  Slice slice{buffer, 8, 8};
  EXPECT_EQ(buffer->holders(), 2u);
  buffer.Reset();
  EXPECT_EQ(ended, 0);
  EXPECT_EQ(slice.data(), memory + 8);
  slice = {};
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(pool.stats().buffer_count, 1u);
  EXPECT_EQ(pool.stats().buffer_bytes, sizeof(memory));
}

// Goal: the same memory can be registered twice, each for itself. Method: end one, look at the other.
TEST(PoolTest, UserMemoryCanBeRegisteredTwice) {
  MemoryPool pool({});
  uint8_t memory[32];
  int first_ended = 0, second_ended = 0;
  BufferRef first = *pool.RegisterUser(memory, sizeof(memory), nullptr, [&] { first_ended++; });
  BufferRef second = *pool.RegisterUser(memory, sizeof(memory), nullptr, [&] { second_ended++; });
  EXPECT_NE(first->region().id(), second->region().id());
  first.Reset();
  EXPECT_EQ(first_ended, 1);
  EXPECT_EQ(second_ended, 0);
  EXPECT_EQ(second->data(), memory);
}

// Goal: memory that user code took away is noticed. Method: the check that the owner gave answers.
TEST(PoolTest, UserMemoryIsChecked) {
  MemoryPool pool({});
  uint8_t memory[32];
  bool detached = false;
  const BufferRef buffer = *pool.RegisterUser(
      memory, sizeof(memory),
      [&] { return detached ? Status::Error(Code::kRegionDetached, "check", "detached") : Status(); },
      nullptr);
  EXPECT_TRUE(buffer->region().Check().ok());
  detached = true;
  EXPECT_EQ(buffer->region().Check().code(), Code::kRegionDetached);
  EXPECT_EQ(pool.RegisterUser(nullptr, 1, nullptr, nullptr).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(pool.RegisterUser(memory, 0, nullptr, nullptr).status().code(), Code::kInvalidArgument);
}

class FilePoolTest : public testing::Test {
 protected:
  // An open file of `length` bytes, byte i is i modulo 251, without a name.
  static Fd MakeFile(size_t length) {
    Fd file(memfd_create("test", MFD_CLOEXEC));
    EXPECT_TRUE(file.valid());
    std::vector<uint8_t> bytes(length);
    for (size_t i = 0; i < length; i++) bytes[i] = uint8_t(i % 251);
    EXPECT_EQ(write(file.get(), bytes.data(), length), ssize_t(length));
    return file;
  }
  MemoryPool pool_{{}};
};

// Goal: any part of a registered range reads as in the file, and no more than is there. Method: ranges at
// both ends.
TEST_F(FilePoolTest, ReadsWhatTheSliceNames) {
  const BufferRef buffer = *pool_.RegisterFile(MakeFile(10'000), 1000, 5000);
  EXPECT_EQ(buffer->region().kind(), Region::Kind::kFile);
  EXPECT_EQ(buffer->data(), nullptr);
  EXPECT_EQ(buffer->offset(), 1000u);
  const Slice slice{buffer, 100, 200};
  EXPECT_EQ(slice.data(), nullptr);
  std::vector<uint8_t> out(300, 255);
  ASSERT_EQ(ReadFile(slice, 0, out).value(), 200u);
  for (size_t i = 0; i < 200; i++) ASSERT_EQ(out[i], (1100 + i) % 251);
  EXPECT_EQ(out[200], 255);
  ASSERT_EQ(ReadFile(slice, 190, Bytes(out).first(5)).value(), 5u);
  EXPECT_EQ(out[0], 1290 % 251);
  EXPECT_EQ(ReadFile(slice, 200, out).value(), 0u);
}

// Goal: a file that was cut is a typed error, not wrong bytes and no signal. Method: cut within the slice.
TEST_F(FilePoolTest, AFileThatWasCutIsNoticed) {
  Fd file = MakeFile(10'000);
  const Fd other(dup(file.get()));
  const BufferRef buffer = *pool_.RegisterFile(std::move(file), 0, 10'000);
  ASSERT_EQ(ftruncate(other.get(), 6000), 0);
  std::vector<uint8_t> out(10'000);
  const Slice slice{buffer, 0, 10'000};
  EXPECT_EQ(ReadFile(slice, 0, out).status().code(), Code::kFileChanged);
  EXPECT_EQ(ReadFile(slice, 0, Bytes(out).first(6000)).value(), 6000u);
}

// Goal: what cannot be a file region is refused. Method: ranges beyond the end up to 2^64-1, a pipe, a
// folder, a write-only file.
TEST_F(FilePoolTest, RefusesWhatIsNoRangeOfAFile) {
  const struct {
    uint64_t offset, length;
  } ranges[] = {
      {0, 101}, {100, 1}, {101, 1}, {0, 0}, {UINT64_MAX, 2}, {1, UINT64_MAX}, {50, UINT64_MAX - 49}};
  for (const auto& range : ranges) {
    EXPECT_EQ(pool_.RegisterFile(MakeFile(100), range.offset, range.length).status().code(),
              Code::kInvalidArgument)
        << range.offset << ", " << range.length;
  }
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Fd writer(ends[1]);
  EXPECT_EQ(pool_.RegisterFile(Fd(ends[0]), 0, 1).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(pool_.RegisterFile(Fd(open("/", O_RDONLY)), 0, 1).status().code(), Code::kInvalidArgument);
  const Fd file = MakeFile(10);
  Fd write_only(open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_WRONLY));
  EXPECT_EQ(pool_.RegisterFile(std::move(write_only), 0, 1).status().code(), Code::kInvalidArgument);
  EXPECT_FALSE(pool_.RegisterFile(Fd(), 0, 1).ok());
  EXPECT_EQ(pool_.stats().buffer_count, 0u);
}

// Goal: the descriptor goes with the last holder. Method: its number is free again.
TEST_F(FilePoolTest, ClosesTheFileWithTheLastHolder) {
  Fd file = MakeFile(10);
  const int number = file.get();
  BufferRef buffer = *pool_.RegisterFile(std::move(file), 0, 10);
  EXPECT_GE(fcntl(number, F_GETFD), 0);
  buffer.Reset();
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace splitplane

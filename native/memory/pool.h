// Where registered memory comes from: slabs by size class, handed out slot by slot and reused last-in
// first-out so that the next user finds warm pages; user memory; files. Slabs are memfd mappings (shared
// memory can hand them over), each for one audience. Slabs nobody uses give their pages back to the kernel
// beyond a bound. Buffers may outlive the pool: their regions live until the last one goes. Knows neither
// transports nor JavaScript. Engine's thread only.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "native/memory/region.h"

namespace splitplane {

// Slots are powers of two from the smallest to the largest; steps between them would save address space and
// little else, because a page of a slot that is never written is never there. Larger requests get a slab of
// their own.
inline constexpr uint64_t kSlotBytesMin = 256;
inline constexpr uint64_t kSlotBytesMax = uint64_t{64} << 20;
// Empty slabs that keep their pages, because fresh ones cost more than everything else that happens to a
// byte. Beyond this the one that has been empty longest gives its pages back.
inline constexpr uint64_t kWarmBytesMax = uint64_t{256} << 20;
// Slabs of one slot for one audience that stay mapped while nobody uses them; beyond this the oldest is
// unmapped.
inline constexpr size_t kSpareSlabsMax = 8;

struct PoolOptions {
  // Refuse to hand out more than this many bytes at once, slots counted at their class size (kOutOfMemory
  // names it).
  uint64_t bytes_max = uint64_t{16} << 30;
};

struct PoolStats {
  uint64_t slab_count = 0;
  uint64_t slab_bytes = 0;        // mapped address space
  uint64_t buffer_count = 0;      // handed out and not yet returned, of any kind
  uint64_t buffer_bytes = 0;      // what they asked for
  uint64_t allocation_count = 0;  // since the beginning
};

class Mapping;     // mapping.h
class PoolRegion;  // pool_regions.h
class SlabRegion;
class ForeignRegion;
struct PoolSlot;

// What becomes of a region, for those who keep something for each.
enum class RegionChange : uint8_t {
  kAdded,
  kPagesGone,  // the region stays, its contents are gone, and its pages will be others
  kRemoved,
};

// Who is told when the last holder of a view on a peer's memory let go.
class ViewOwner {
 public:
  virtual void OnViewEnded(uint64_t number) = 0;

 protected:
  ~ViewOwner() = default;
};

class MemoryPool {
 public:
  explicit MemoryPool(PoolOptions options);
  // The observer hears of every region going. Memory that buffers still name stays until they let go of it.
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // A buffer of exactly `bytes` bytes (1 or more) in some slab; contents are whatever was there. Slots begin
  // on a multiple of 64 bytes, of a page from one page up. Memory for an audience lies in slabs of its own,
  // which never held anything that was not for it.
  Result<BufferRef> Allocate(uint64_t bytes, AudienceId audience = kNoAudience);

  // Makes all of this buffer's slab memory for `audience` if nothing but this buffer has ever been in it.
  // True if it is now, or was before.
  bool Dedicate(const Buffer& buffer, AudienceId audience);
  // Nobody allocates for this audience any more: its slabs go, each when its last buffer does.
  void EndAudience(AudienceId audience);

  // A slab of a peer, to make views on. EndForeign() lets it go, when no view is left.
  Region& AddForeign(std::shared_ptr<Mapping> mapping, ViewOwner& owner);
  // A read-only buffer of `length` bytes from `offset`, which lie within. The owner hears of its end.
  BufferRef View(Region& foreign, uint64_t offset, uint64_t length, uint64_t number);
  void EndForeign(Region& foreign);
  // Before looking at it without a view: what somebody wrote into a view by mistake is not to be seen.
  void RenewForeign(Region& foreign, uint64_t offset, uint64_t length);

  // Registers memory that somebody else keeps alive. `check` says whether it is still there, `ended` runs
  // once when the last holder let go (then the owner may free it).
  Result<BufferRef> RegisterUser(uint8_t* data, uint64_t bytes, std::function<Status()> check,
                                 std::function<void()> ended);

  // `length` bytes of an open regular file from `offset` as a read-only buffer; its data() is null. Takes the
  // descriptor. kInvalidArgument when the range is not within the file.
  Result<BufferRef> RegisterFile(Fd file, uint64_t offset, uint64_t length);

  // Slabs and regions come and go; transports that must register memory hear of it here (before the first
  // use, and before pages or the mapping go). Set once, before the first allocation.
  void set_observer(std::function<void(Region&, RegionChange)> observer) { observer_ = std::move(observer); }

  // Every region that exists (ask for its kind), for a transport or an ArrayBuffer that comes late.
  void ForEachRegion(const std::function<void(Region&)>& visit) const;
  const PoolStats& stats() const { return stats_; }

 private:
  friend class PoolRegion;
  friend class SlabRegion;
  friend class ForeignRegion;
  struct SizeClass {
    PoolSlot* free = nullptr;       // last in, first out, over all slabs of the class
    SlabRegion* growing = nullptr;  // the slab that may still have slots nobody ever had
  };
  static constexpr size_t kClassCount = 19;
  static_assert(kSlotBytesMin << (kClassCount - 1) == kSlotBytesMax);

  // Where the memory of one audience comes from.
  struct Shelf {
    std::array<SizeClass, kClassCount> classes;
    std::vector<SlabRegion*> spare;  // slabs of one large slot that nobody uses, oldest first
  };

  Shelf& ShelfOf(AudienceId audience);
  Shelf* FindShelf(AudienceId audience);
  Result<PoolSlot*> TakeSlot(Shelf& shelf, uint64_t bytes, AudienceId audience);
  Result<PoolSlot*> TakeLargeSlot(Shelf& shelf, uint64_t bytes, AudienceId audience);
  void ReturnSlot(PoolSlot* slot);
  void TakeOffShelf(Shelf& shelf, SlabRegion* slab);
  void Unmap(SlabRegion* slab);
  Result<SlabRegion*> AddSlab(uint64_t slot_bytes, uint64_t slab_bytes, AudienceId audience);
  void AddRegion(std::unique_ptr<PoolRegion> region);
  std::unique_ptr<PoolRegion> RemoveRegion(PoolRegion* region);
  BufferRef HandOut(Buffer* buffer);
  void NoteReturned(const Buffer& buffer);
  void EnterWarm(SlabRegion* slab);
  void LeaveWarm(SlabRegion* slab);
  Status CheckRoom(uint64_t bytes) const;

  PoolOptions options_;
  PoolStats stats_;
  std::function<void(Region&, RegionChange)> observer_;
  Shelf shelf_;  // for nobody in particular
  std::unordered_map<AudienceId, Shelf> shelves_;
  std::vector<std::unique_ptr<PoolRegion>> regions_;
  std::list<SlabRegion*> warm_;  // empty slabs that keep their pages, the longest empty first
  uint64_t warm_bytes_ = 0;
  uint64_t charged_bytes_ = 0;  // handed out, at the size of the slots
  uint32_t next_region_id_ = 1;
};

}  // namespace splitplane

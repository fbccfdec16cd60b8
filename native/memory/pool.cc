// The policy of the MemoryPool: which slot a request gets, what counts against the limit, which pages stay
// warm. Taking and returning a slot touches a few words and never the allocator; making a slab costs system
// calls and is rare.
#include "native/memory/pool.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>

#include "native/base/check.h"
#include "native/memory/pool_regions.h"

namespace splitplane {
namespace {

// A slab holds 16 slots, within bounds: fewer would mean a system call and a descriptor for little memory,
// more would make one request map a lot.
constexpr uint64_t kSlotsPerSlab = 16;
constexpr uint64_t kSlabBytesMin = uint64_t{4} << 20;
constexpr uint64_t kSlabBytesMax = uint64_t{64} << 20;
static_assert(kSlabBytesMax >= kSlotBytesMax);

// Slabs of one slot are rounded to this, so that requests of about the same size share them.
constexpr uint64_t kLargeRounding = uint64_t{2} << 20;

// No limit is higher, so that sums and roundings of sizes that were checked cannot overflow.
constexpr uint64_t kPoolBytesMax = uint64_t{1} << 60;

constexpr size_t ClassOf(uint64_t bytes) {
  return bytes <= kSlotBytesMin ? 0 : size_t(std::bit_width(bytes - 1) - std::bit_width(kSlotBytesMin - 1));
}
static_assert(ClassOf(kSlotBytesMin + 1) == 1 && ClassOf(kSlotBytesMax) == 18);

Status InvalidRange(const char* operation, std::string detail) {
  return Status::Error(Code::kInvalidArgument, operation, std::move(detail));
}

}  // namespace

MemoryPool::MemoryPool(PoolOptions options) : options_(options) {
  options_.bytes_max = std::min(options_.bytes_max, kPoolBytesMax);
}

MemoryPool::~MemoryPool() {
  while (!regions_.empty()) {
    std::unique_ptr<PoolRegion> region = RemoveRegion(regions_.back().get());
    const bool empty_slab =
        region->kind() == Region::Kind::kSlab && static_cast<SlabRegion*>(region.get())->used_ == 0;
    if (empty_slab) continue;
    region->pool_ = nullptr;
    (void)region.release();  // its own from now on: the last buffer ends it
  }
}

Result<BufferRef> MemoryPool::Allocate(uint64_t bytes) {
  if (bytes == 0) return InvalidRange("allocate", "a buffer has at least one byte");
  Result<PoolSlot*> slot = bytes <= kSlotBytesMax ? TakeSlot(bytes) : TakeLargeSlot(bytes);
  if (!slot.ok()) return slot.status();
  (*slot)->length_ = bytes;
  charged_bytes_ += (*slot)->charged;
  if ((*slot)->slab().used_++ == 0) LeaveWarm(&(*slot)->slab());
  return HandOut(*slot);
}

Result<BufferRef> MemoryPool::RegisterUser(uint8_t* data, uint64_t bytes, std::function<Status()> check,
                                           std::function<void()> ended) {
  if (!data || bytes == 0) return InvalidRange("register", "registered memory has at least one byte");
  auto region =
      std::make_unique<UserRegion>(next_region_id_++, data, bytes, std::move(check), std::move(ended));
  Buffer* buffer = region->buffer();
  AddRegion(std::move(region));
  return HandOut(buffer);
}

Result<BufferRef> MemoryPool::RegisterFile(Fd file, uint64_t offset, uint64_t length) {
  struct stat found;
  if (fstat(file.get(), &found) != 0) return Status::Errno("fstat", errno, "the file cannot be examined");
  if (!S_ISREG(found.st_mode)) {
    return InvalidRange("register file",
                        "only regular files can be registered, not pipes, devices or folders");
  }
  if ((fcntl(file.get(), F_GETFL) & O_ACCMODE) == O_WRONLY) {
    return InvalidRange("register file", "the file is open for writing only; open it for reading");
  }
  const uint64_t file_bytes = uint64_t(found.st_size);
  if (length == 0) return InvalidRange("register file", "an empty range moves nothing and needs no region");
  if (offset > file_bytes || length > file_bytes - offset) {
    return InvalidRange("register file", std::to_string(length) + " bytes from " + std::to_string(offset) +
                                             " are not within the file of " + std::to_string(file_bytes) +
                                             " bytes");
  }
  auto region = std::make_unique<FileRegion>(next_region_id_++, file_bytes, std::move(file), offset, length);
  Buffer* buffer = region->buffer();
  AddRegion(std::move(region));
  return HandOut(buffer);
}

void MemoryPool::ForEachRegion(const std::function<void(Region&)>& visit) const {
  for (const std::unique_ptr<PoolRegion>& region : regions_) visit(*region);
}

Status MemoryPool::CheckRoom(uint64_t bytes) const {
  if (bytes <= options_.bytes_max - charged_bytes_) return {};
  return Status::Error(Code::kOutOfMemory, "allocate",
                       std::to_string(bytes) + " bytes more would pass the pool's limit of " +
                           std::to_string(options_.bytes_max) + " bytes, of which " +
                           std::to_string(charged_bytes_) +
                           " are in use; release buffers, or give the pool a higher limit");
}

Result<PoolSlot*> MemoryPool::TakeSlot(uint64_t bytes) {
  const size_t index = ClassOf(bytes);
  const uint64_t slot_bytes = kSlotBytesMin << index;
  if (Status room = CheckRoom(slot_bytes); !room.ok()) return room;
  SizeClass& size_class = classes_[index];
  if (PoolSlot* slot = size_class.free) {
    size_class.free = slot->next_free;
    return slot;
  }
  PoolSlot* slot = size_class.growing ? size_class.growing->NewSlot() : nullptr;
  if (!slot) {
    Result<SlabRegion*> slab =
        AddSlab(slot_bytes, std::clamp(slot_bytes * kSlotsPerSlab, kSlabBytesMin, kSlabBytesMax));
    if (!slab.ok()) return slab.status();
    size_class.growing = *slab;
    slot = (*slab)->NewSlot();
  }
  slot->charged = slot_bytes;
  return slot;
}

Result<PoolSlot*> MemoryPool::TakeLargeSlot(uint64_t bytes) {
  if (Status room = CheckRoom(bytes); !room.ok()) return room;
  const uint64_t rounded = (bytes + kLargeRounding - 1) / kLargeRounding * kLargeRounding;
  if (Status room = CheckRoom(rounded); !room.ok()) return room;
  // The smallest that fits; one of more than twice the size waits for somebody who needs it.
  auto best = spare_.end();
  for (auto slab = spare_.begin(); slab != spare_.end(); ++slab) {
    const uint64_t length = (*slab)->length();
    if (length < rounded || length / 2 > rounded) continue;
    if (best == spare_.end() || length < (*best)->length()) best = slab;
  }
  PoolSlot* slot = nullptr;
  if (best != spare_.end()) {
    slot = &(*best)->slots_.front();
    spare_.erase(best);
  } else {
    Result<SlabRegion*> slab = AddSlab(rounded, rounded);
    if (!slab.ok()) return slab.status();
    slot = (*slab)->NewSlot();
  }
  slot->charged = rounded;
  return slot;
}

void MemoryPool::ReturnSlot(PoolSlot* slot) {
  SlabRegion* slab = &slot->slab();
  NoteReturned(*slot);
  charged_bytes_ -= slot->charged;
  const bool large = slab->slot_bytes_ > kSlotBytesMax;
  if (large) {
    spare_.push_back(slab);
  } else {
    SizeClass& size_class = classes_[ClassOf(slab->slot_bytes_)];
    slot->next_free = size_class.free;
    size_class.free = slot;
  }
  if (--slab->used_ == 0) EnterWarm(slab);
  if (large && spare_.size() > kSpareSlabsMax) UnmapOldestSpare();
}

void MemoryPool::UnmapOldestSpare() {
  // All the others were emptied after it, so it has left the list of warm slabs already.
  static_assert(kSpareSlabsMax * kSlotBytesMax >= kWarmBytesMax);
  SlabRegion* slab = spare_.front();
  spare_.erase(spare_.begin());
  RemoveRegion(slab);
}

void MemoryPool::EnterWarm(SlabRegion* slab) {
  warm_.splice(warm_.end(), slab->own_node_);
  slab->warm_ = true;
  warm_bytes_ += slab->length();
  while (warm_bytes_ > kWarmBytesMax) {
    SlabRegion* coldest = warm_.front();
    LeaveWarm(coldest);
    // A device that knows these pages would go on using them, and the slab will have others.
    if (observer_) observer_(*coldest, false);
    coldest->GiveBackPages();
    if (observer_) observer_(*coldest, true);
  }
}

void MemoryPool::LeaveWarm(SlabRegion* slab) {
  if (!slab->warm_) return;
  slab->own_node_.splice(slab->own_node_.begin(), warm_, slab->place_);
  slab->warm_ = false;
  warm_bytes_ -= slab->length();
}

Result<SlabRegion*> MemoryPool::AddSlab(uint64_t slot_bytes, uint64_t slab_bytes) {
  Fd fd;
  Result<std::shared_ptr<Mapping>> mapping = Mapping::Create(slab_bytes, fd);
  if (!mapping.ok()) return mapping.status();
  auto region =
      std::make_unique<SlabRegion>(next_region_id_++, std::move(mapping).value(), std::move(fd), slot_bytes);
  SlabRegion* slab = region.get();
  stats_.slab_count++;
  stats_.slab_bytes += slab_bytes;
  AddRegion(std::move(region));
  return slab;
}

void MemoryPool::AddRegion(std::unique_ptr<PoolRegion> region) {
  PoolRegion& added = *region;
  added.pool_ = this;
  added.index_ = regions_.size();
  regions_.push_back(std::move(region));
  if (observer_) observer_(added, true);
}

std::unique_ptr<PoolRegion> MemoryPool::RemoveRegion(PoolRegion* region) {
  if (observer_) observer_(*region, false);
  if (region->kind() == Region::Kind::kSlab) {
    stats_.slab_count--;
    stats_.slab_bytes -= region->length();
  }
  std::unique_ptr<PoolRegion>& place = regions_[region->index_];
  std::unique_ptr<PoolRegion> removed = std::move(place);
  if (region->index_ + 1 < regions_.size()) {
    place = std::move(regions_.back());
    place->index_ = region->index_;
  }
  regions_.pop_back();
  return removed;
}

BufferRef MemoryPool::HandOut(Buffer* buffer) {
  stats_.buffer_count++;
  stats_.buffer_bytes += buffer->length();
  stats_.allocation_count++;
  return BufferRef(buffer);
}

void MemoryPool::NoteReturned(const Buffer& buffer) {
  stats_.buffer_count--;
  stats_.buffer_bytes -= buffer.length();
}

}  // namespace splitplane

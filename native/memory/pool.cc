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

Result<BufferRef> MemoryPool::Allocate(uint64_t bytes, AudienceId audience) {
  if (bytes == 0) return InvalidRange("allocate", "a buffer has at least one byte");
  Shelf& shelf = ShelfOf(audience);
  Result<PoolSlot*> slot =
      bytes <= kSlotBytesMax ? TakeSlot(shelf, bytes, audience) : TakeLargeSlot(shelf, bytes, audience);
  if (!slot.ok()) return slot.status();
  (*slot)->length_ = bytes;
  charged_bytes_ += (*slot)->charged;
  SlabRegion& slab = (*slot)->slab();
  if (slab.used_++ == 0) LeaveWarm(&slab);
  slab.uses_++;
  return HandOut(*slot);
}

MemoryPool::Shelf& MemoryPool::ShelfOf(AudienceId audience) {
  return audience == kNoAudience ? shelf_ : shelves_[audience];
}

MemoryPool::Shelf* MemoryPool::FindShelf(AudienceId audience) {
  if (audience == kNoAudience) return &shelf_;
  const auto found = shelves_.find(audience);
  return found == shelves_.end() ? nullptr : &found->second;
}

bool MemoryPool::Dedicate(const Buffer& buffer, AudienceId audience) {
  Region& region = buffer.region();
  if (region.audience() != kNoAudience || region.kind() != Region::Kind::kSlab) {
    return region.audience() == audience;
  }
  auto& slab = static_cast<SlabRegion&>(region);
  // More slots would be handed out to others later.
  const bool alone = slab.slot_bytes_ * 2 > slab.length();
  if (!alone || !slab.pristine()) return false;
  slab.Dedicate(audience);
  ShelfOf(audience);
  if (slab.slot_bytes_ > kSlotBytesMax) return true;
  SizeClass& size_class = shelf_.classes[ClassOf(slab.slot_bytes_)];
  if (size_class.growing == &slab) size_class.growing = nullptr;
  return true;
}

void MemoryPool::EndAudience(AudienceId audience) {
  const auto found = shelves_.find(audience);
  if (audience == kNoAudience || found == shelves_.end()) return;
  shelves_.erase(found);
  std::vector<SlabRegion*> idle;
  for (const std::unique_ptr<PoolRegion>& region : regions_) {
    if (region->kind() != Region::Kind::kSlab || region->audience() != audience) continue;
    auto* slab = static_cast<SlabRegion*>(region.get());
    if (slab->used_ == 0) idle.push_back(slab);
  }
  for (SlabRegion* slab : idle) Unmap(slab);
}

Region& MemoryPool::AddForeign(std::shared_ptr<Mapping> mapping, ViewOwner& owner) {
  auto region = std::make_unique<ForeignRegion>(next_region_id_++, std::move(mapping), owner);
  ForeignRegion& added = *region;
  AddRegion(std::move(region));
  return added;
}

BufferRef MemoryPool::View(Region& foreign, uint64_t offset, uint64_t length, uint64_t number) {
  SPLITPLANE_CHECK(foreign.kind() == Region::Kind::kForeign && offset <= foreign.length() &&
                   length <= foreign.length() - offset);
  auto& region = static_cast<ForeignRegion&>(foreign);
  RenewForeign(foreign, offset, length);
  ForeignRegion::View* view = region.free_;
  if (view) {
    region.free_ = view->next_free;
    view->offset_ = offset;
    view->length_ = length;
  } else {
    view = &region.views_.emplace_back(region, offset, length);
  }
  view->number = number;
  region.used_++;
  return HandOut(view);
}

void MemoryPool::RenewForeign(Region& foreign, uint64_t offset, uint64_t length) {
  static_cast<ForeignRegion&>(foreign).Renew(offset, length);
}

void MemoryPool::EndForeign(Region& foreign) {
  auto& region = static_cast<ForeignRegion&>(foreign);
  region.owner_ = nullptr;
  if (region.used_ == 0) RemoveRegion(&region);
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

Result<PoolSlot*> MemoryPool::TakeSlot(Shelf& shelf, uint64_t bytes, AudienceId audience) {
  const size_t index = ClassOf(bytes);
  const uint64_t slot_bytes = kSlotBytesMin << index;
  if (Status room = CheckRoom(slot_bytes); !room.ok()) return room;
  SizeClass& size_class = shelf.classes[index];
  if (PoolSlot* slot = size_class.free) {
    size_class.free = slot->next_free;
    return slot;
  }
  PoolSlot* slot = size_class.growing ? size_class.growing->NewSlot() : nullptr;
  if (!slot) {
    Result<SlabRegion*> slab =
        AddSlab(slot_bytes, std::clamp(slot_bytes * kSlotsPerSlab, kSlabBytesMin, kSlabBytesMax), audience);
    if (!slab.ok()) return slab.status();
    size_class.growing = *slab;
    slot = (*slab)->NewSlot();
  }
  slot->charged = slot_bytes;
  return slot;
}

Result<PoolSlot*> MemoryPool::TakeLargeSlot(Shelf& shelf, uint64_t bytes, AudienceId audience) {
  if (Status room = CheckRoom(bytes); !room.ok()) return room;
  const uint64_t rounded = (bytes + kLargeRounding - 1) / kLargeRounding * kLargeRounding;
  if (Status room = CheckRoom(rounded); !room.ok()) return room;
  // The smallest that fits; one of more than twice the size waits for somebody who needs it.
  std::vector<SlabRegion*>& spare = shelf.spare;
  auto best = spare.end();
  for (auto slab = spare.begin(); slab != spare.end(); ++slab) {
    const uint64_t length = (*slab)->length();
    if (length < rounded || length / 2 > rounded) continue;
    if (best == spare.end() || length < (*best)->length()) best = slab;
  }
  PoolSlot* slot = nullptr;
  if (best != spare.end()) {
    slot = &(*best)->slots_.front();
    spare.erase(best);
  } else {
    Result<SlabRegion*> slab = AddSlab(rounded, rounded, audience);
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
  const bool emptied = --slab->used_ == 0;
  Shelf* shelf = FindShelf(slab->audience());
  if (!shelf) {
    if (emptied) Unmap(slab);
    return;
  }
  const bool large = slab->slot_bytes_ > kSlotBytesMax;
  if (large) {
    shelf->spare.push_back(slab);
  } else {
    SizeClass& size_class = shelf->classes[ClassOf(slab->slot_bytes_)];
    slot->next_free = size_class.free;
    size_class.free = slot;
  }
  if (large && shelf->spare.size() > kSpareSlabsMax) {
    SlabRegion* oldest = shelf->spare.front();
    TakeOffShelf(*shelf, oldest);
    Unmap(oldest);
  }
  if (emptied) EnterWarm(slab);
}

// None of its slots is handed out again.
void MemoryPool::TakeOffShelf(Shelf& shelf, SlabRegion* slab) {
  if (slab->slot_bytes_ > kSlotBytesMax) {
    std::erase(shelf.spare, slab);
    return;
  }
  SizeClass& size_class = shelf.classes[ClassOf(slab->slot_bytes_)];
  for (PoolSlot** at = &size_class.free; *at;) {
    if (&(*at)->slab() == slab) {
      *at = (*at)->next_free;
    } else {
      at = &(*at)->next_free;
    }
  }
  if (size_class.growing == slab) size_class.growing = nullptr;
}

// Nobody uses it, and nobody will.
void MemoryPool::Unmap(SlabRegion* slab) {
  LeaveWarm(slab);
  RemoveRegion(slab);
}

void MemoryPool::EnterWarm(SlabRegion* slab) {
  warm_.splice(warm_.end(), slab->own_node_);
  slab->warm_ = true;
  warm_bytes_ += slab->length();
  while (warm_bytes_ > kWarmBytesMax) {
    SlabRegion* coldest = warm_.front();
    if (coldest->sealed_) {
      // Its pages cannot be given back one by one.
      TakeOffShelf(*FindShelf(coldest->audience()), coldest);
      Unmap(coldest);
      continue;
    }
    LeaveWarm(coldest);
    // A device that knows these pages would go on using them, and the slab will have others.
    if (observer_) observer_(*coldest, RegionChange::kPagesGone);
    coldest->GiveBackPages();
  }
}

void MemoryPool::LeaveWarm(SlabRegion* slab) {
  if (!slab->warm_) return;
  slab->own_node_.splice(slab->own_node_.begin(), warm_, slab->place_);
  slab->warm_ = false;
  warm_bytes_ -= slab->length();
}

Result<SlabRegion*> MemoryPool::AddSlab(uint64_t slot_bytes, uint64_t slab_bytes, AudienceId audience) {
  Fd fd;
  Result<std::shared_ptr<Mapping>> mapping = Mapping::Create(slab_bytes, fd);
  if (!mapping.ok()) return mapping.status();
  auto region = std::make_unique<SlabRegion>(next_region_id_++, std::move(mapping).value(), std::move(fd),
                                             slot_bytes, audience);
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
  if (observer_) observer_(added, RegionChange::kAdded);
}

std::unique_ptr<PoolRegion> MemoryPool::RemoveRegion(PoolRegion* region) {
  if (observer_) observer_(*region, RegionChange::kRemoved);
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

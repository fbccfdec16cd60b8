// Making, reusing and ending the regions of a MemoryPool. Decides nothing about when memory is handed out or
// given back; pool.cc does.
#include "native/memory/pool_regions.h"

#include <fcntl.h>

namespace splitplane {
std::unique_ptr<PoolRegion> PoolRegion::Leave(const Buffer& buffer) {
  if (!pool_) return std::unique_ptr<PoolRegion>(this);
  pool_->NoteReturned(buffer);
  return pool_->RemoveRegion(this);
}

SlabRegion::SlabRegion(uint32_t id, std::shared_ptr<Mapping> mapping, Fd fd, uint64_t slot_bytes,
                       AudienceId audience)
    : PoolRegion(Kind::kSlab, id, mapping->data(), mapping->length(), std::move(fd)),
      mapping_(std::move(mapping)),
      slot_bytes_(slot_bytes),
      own_node_{this} {
  set_audience(audience);
}

Status SlabRegion::Seal() {
  if (sealed_) return {};
  Status sealed = SealAgainstWriting(descriptor());
  sealed_ = sealed.ok();
  return sealed;
}

void SlabRegion::Recycle(Buffer* buffer) {
  if (pool_) {
    pool_->ReturnSlot(static_cast<PoolSlot*>(buffer));
  } else if (--used_ == 0) {
    delete this;  // orphaned, and nobody is left
  }
}

PoolSlot* SlabRegion::NewSlot() {
  const uint64_t offset = slots_.size() * slot_bytes_;
  if (offset + slot_bytes_ > length()) return nullptr;
  return &slots_.emplace_back(*this, offset, slot_bytes_);
}

void SlabRegion::GiveBackPages() {
  // Should the kernel refuse, the pages stay, with what was in them: that costs memory, and nobody else may
  // be shown them.
  if (fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, off_t(length())) == 0) uses_ = 0;
}

UserRegion::UserRegion(uint32_t id, uint8_t* data, uint64_t length, std::function<Status()> check,
                       std::function<void()> ended)
    : PoolRegion(Kind::kUser, id, data, length, Fd()),
      check_(std::move(check)),
      ended_(std::move(ended)),
      buffer_(*this, 0, length) {}

void UserRegion::Recycle(Buffer* buffer) {
  const std::function<void()> ended = std::move(ended_);
  Leave(*buffer).reset();
  // Last, because the owner may free the memory, register it again or end the pool.
  if (ended) ended();
}

FileRegion::FileRegion(uint32_t id, uint64_t file_bytes, Fd file, uint64_t offset, uint64_t length)
    : PoolRegion(Kind::kFile, id, nullptr, file_bytes, std::move(file)), buffer_(*this, offset, length) {}

ForeignRegion::ForeignRegion(uint32_t id, std::shared_ptr<Mapping> mapping, ViewOwner& owner)
    : PoolRegion(Kind::kForeign, id, mapping->data(), mapping->length(), Fd()),
      mapping_(std::move(mapping)),
      // Whoever keeps the guard keeps the mapping.
      guard_(new WriteGuard(mapping_->data(), mapping_->length()),
             [mapping = mapping_](WriteGuard* guard) { delete guard; }),
      owner_(&owner) {}

void ForeignRegion::Renew(uint64_t offset, uint64_t length) {
  if (!guard_->written()) return;
  used_ == 0 ? guard_->RenewAll() : guard_->Renew(offset, length);
}

void ForeignRegion::Recycle(Buffer* buffer) {
  View* view = static_cast<View*>(buffer);
  const uint64_t number = view->number;
  used_--;
  if (!owner_ && used_ == 0) {
    Leave(*view).reset();
    return;
  }
  if (pool_) pool_->NoteReturned(*view);
  view->next_free = free_;
  free_ = view;
  if (owner_) owner_->OnViewEnded(number);
}

}  // namespace splitplane

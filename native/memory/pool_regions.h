// The regions of a MemoryPool, for pool.cc and pool_regions.cc only: slabs of slots, user memory, files. Each
// belongs to its pool until it is orphaned (the pool went first), and from then on to itself: it goes with
// its last buffer.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>

#include "native/memory/mapping.h"
#include "native/memory/pool.h"
#include "native/memory/write_guard.h"

namespace splitplane {

class PoolRegion : public Region {
 protected:
  using Region::Region;
  // The last buffer is gone: takes this region out of its pool, if it still has one, to be destroyed by the
  // caller.
  std::unique_ptr<PoolRegion> Leave(const Buffer& buffer);

  MemoryPool* pool_ = nullptr;

 private:
  friend class MemoryPool;
  size_t index_ = 0;  // in the pool's list of regions
};

// A place in a slab, and the Buffer that it is while somebody has it.
struct PoolSlot : Buffer {
  using Buffer::Buffer;
  SlabRegion& slab() const;

  PoolSlot* next_free = nullptr;
  uint64_t charged = 0;  // what it counts for in the pool's limit
};

class SlabRegion final : public PoolRegion {
 public:
  SlabRegion(uint32_t id, std::shared_ptr<Mapping> mapping, Fd fd, uint64_t slot_bytes, AudienceId audience);
  std::shared_ptr<void> KeepAlive() const override { return mapping_; }
  Status Seal() override;

 private:
  friend class MemoryPool;
  void Recycle(Buffer* buffer) override;
  // A slot nobody ever had; null when there is none left. Made one by one: a slab that is hardly used costs
  // little.
  PoolSlot* NewSlot();
  void GiveBackPages();
  // Nothing but the one buffer that is handed out now has ever been here.
  bool pristine() const { return slots_.size() == 1 && uses_ == 1 && used_ == 1; }
  void Dedicate(AudienceId audience) { set_audience(audience); }

  std::shared_ptr<Mapping> mapping_;
  uint64_t slot_bytes_;
  std::deque<PoolSlot> slots_;
  uint64_t used_ = 0;    // slots handed out
  uint64_t uses_ = 0;    // since the pages were fresh
  bool sealed_ = false;  // no page can be given back any more, and nobody else can write
  bool warm_ = false;    // in the pool's list of warm slabs
  std::list<SlabRegion*>
      own_node_;  // the node for that list, while this slab is not in it: no allocation to enter
  std::list<SlabRegion*>::iterator place_ = own_node_.begin();  // of that node, wherever it is
};

inline SlabRegion& PoolSlot::slab() const { return static_cast<SlabRegion&>(region()); }

class UserRegion final : public PoolRegion {
 public:
  UserRegion(uint32_t id, uint8_t* data, uint64_t length, std::function<Status()> check,
             std::function<void()> ended);
  Status Check() const override { return check_ ? check_() : Status(); }
  Buffer* buffer() { return &buffer_; }

 private:
  void Recycle(Buffer* buffer) override;

  std::function<Status()> check_;
  std::function<void()> ended_;
  Buffer buffer_;
};

// The region is the whole file as it was when registered, so that a buffer's offset is its place in the file.
class FileRegion final : public PoolRegion {
 public:
  FileRegion(uint32_t id, uint64_t file_bytes, Fd file, uint64_t offset, uint64_t length);
  Buffer* buffer() { return &buffer_; }

 private:
  void Recycle(Buffer* buffer) override { Leave(*buffer); }

  Buffer buffer_;
};

// A slab of a peer, mapped here. Its buffers are views; each ends with a word to the owner.
class ForeignRegion final : public PoolRegion {
 public:
  ForeignRegion(uint32_t id, std::shared_ptr<Mapping> mapping, ViewOwner& owner);
  std::shared_ptr<void> KeepAlive() const override { return guard_; }
  bool writable() const override { return false; }

 private:
  friend class MemoryPool;
  struct View : Buffer {
    using Buffer::Buffer;
    uint64_t number = 0;
    View* next_free = nullptr;
  };
  void Recycle(Buffer* buffer) override;
  // Nobody sees what somebody wrote into a former view.
  void Renew(uint64_t offset, uint64_t length);

  std::shared_ptr<Mapping> mapping_;
  std::shared_ptr<WriteGuard> guard_;
  ViewOwner* owner_;  // null: nobody wants to hear of views any more, and the region goes with the last
  std::deque<View> views_;
  View* free_ = nullptr;
  uint64_t used_ = 0;
};

}  // namespace splitplane

// The regions of a MemoryPool, for pool.cc and pool_regions.cc only: slabs of slots, user memory, files. Each
// belongs to its pool until it is orphaned (the pool went first), and from then on to itself: it goes with
// its last buffer.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>

#include "native/memory/pool.h"

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

// Pages of a memfd, mapped until the last holder lets go.
class Mapping {
 public:
  // `bytes` is a multiple of the page size. `fd` becomes the memfd, sealed against changes of size.
  static Result<std::shared_ptr<Mapping>> Create(uint64_t bytes, Fd& fd);
  Mapping(uint8_t* data, uint64_t length) : data_(data), length_(length) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  uint8_t* data() const { return data_; }
  uint64_t length() const { return length_; }

 private:
  uint8_t* data_;
  uint64_t length_;
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
  SlabRegion(uint32_t id, std::shared_ptr<Mapping> mapping, Fd fd, uint64_t slot_bytes);
  std::shared_ptr<void> KeepAlive() const override { return mapping_; }

 private:
  friend class MemoryPool;
  void Recycle(Buffer* buffer) override;
  // A slot nobody ever had; null when there is none left. Made one by one: a slab that is hardly used costs
  // little.
  PoolSlot* NewSlot();
  void GiveBackPages();

  std::shared_ptr<Mapping> mapping_;
  uint64_t slot_bytes_;
  std::deque<PoolSlot> slots_;
  uint64_t used_ = 0;  // slots handed out
  bool warm_ = false;  // in the pool's list of warm slabs
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

}  // namespace splitplane

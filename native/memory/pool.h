// Where registered memory comes from: slabs by size class, handed out slot by slot and reused last-in first-out so
// that the next user finds warm pages; user memory; files. Slabs are memfd mappings (shared memory can hand them
// over). A slab that was shown to JavaScript is never unmapped while its ArrayBuffer lives; large free slots give
// their pages back to the kernel instead. Engine's thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "native/memory/region.h"

namespace splitplane {

struct PoolOptions {
  // Refuse to hand out more than this many bytes at once, slots counted at their class size (kOutOfMemory names it).
  uint64_t bytes_max = uint64_t{16} << 30;
};

struct PoolStats {
  uint64_t slab_count = 0;
  uint64_t slab_bytes = 0;      // mapped address space
  uint64_t buffer_count = 0;    // handed out and not yet returned, of any kind
  uint64_t buffer_bytes = 0;    // what they asked for
  uint64_t allocation_count = 0;  // since the beginning
};

class MemoryPool {
 public:
  explicit MemoryPool(PoolOptions options);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // A buffer of exactly `bytes` bytes (1 or more) in some slab; contents are whatever was there. Slots begin on a
  // multiple of 64 bytes, of a page from one page up.
  Result<BufferRef> Allocate(uint64_t bytes);

  // Registers memory that somebody else keeps alive. `check` says whether it is still there, `ended` runs once when
  // the last holder let go (then the owner may free it).
  Result<BufferRef> RegisterUser(uint8_t* data, uint64_t bytes, std::function<Status()> check, std::function<void()> ended);

  // `length` bytes of an open regular file from `offset` as a read-only buffer; its data() is null. Takes the
  // descriptor. kInvalidArgument when the range is not within the file.
  Result<BufferRef> RegisterFile(Fd file, uint64_t offset, uint64_t length);

  // Slabs and regions come and go; transports that must register memory hear of it here (both before the first use and
  // before the mapping goes). Set once, before the first allocation.
  void set_observer(std::function<void(Region&, bool added)> observer) { observer_ = std::move(observer); }

  // Every slab that exists, for a transport or an ArrayBuffer that comes late.
  void ForEachRegion(const std::function<void(Region&)>& visit) const;
  const PoolStats& stats() const { return stats_; }

 private:
  struct SizeClass;
  friend class SlabRegion;
  PoolOptions options_;
  PoolStats stats_;
  std::function<void(Region&, bool)> observer_;
  std::vector<std::unique_ptr<SizeClass>> classes_;
  std::vector<std::unique_ptr<Region>> regions_;
  uint32_t next_region_id_ = 1;
};

}  // namespace splitplane

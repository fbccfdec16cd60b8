// The memory of this side that one peer's queue pairs may take from and put into: regions, registered in
// chunks when first touched and kept while they are used again, within a bound. Local rights only, unless the
// user said that the peer is trusted; what a peer reaches otherwise is registered by owner.h, byte by byte.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "native/memory/region.h"
#include "native/rdma/handles.h"

namespace splitplane::rdma {

// Registering takes time by the page and pins what it registers: large enough that bulk data is cut rarely,
// small enough that a small buffer does not pin a slab.
inline constexpr uint64_t kChunkBytes = 2 * 1024 * 1024;
// Kept per peer while nobody uses them; beyond this the one not used for longest goes.
inline constexpr uint64_t kKeptBytesMax = 256 * 1024 * 1024;

class Registrations final : public Keeper {
  struct Chunk {
    uint64_t key = 0;
    std::unique_ptr<Registration> registration;
    uint64_t end = 0;  // in the region
    uint32_t users = 0;
    std::list<Chunk*>::iterator place;  // in order of use
  };

 public:
  // Keeps a chunk registered.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(chunk_, other.chunk_);
      return *this;
    }
    ~Lease() {
      if (chunk_) chunk_->users--;
    }
    const ibv_mr& memory() const { return *chunk_->registration->get(); }
    uint64_t end() const { return chunk_->end; }  // first offset in the region beyond it

   private:
    friend class Registrations;
    explicit Lease(Chunk* chunk) : chunk_(chunk) { chunk_->users++; }
    Chunk* chunk_ = nullptr;
  };

  // `access` is IBV_ACCESS_*.
  Registrations(std::shared_ptr<ProtectionDomain> domain, int access);
  ~Registrations();
  Registrations(const Registrations&) = delete;
  Registrations& operator=(const Registrations&) = delete;

  // The chunk with the byte at `offset` of a region in memory.
  Result<Lease> Reach(const Region& region, uint64_t offset);
  // Beside the chunks, exactly these bytes: for who asks to be lent memory.
  Result<std::unique_ptr<Registration>> Register(void* data, uint64_t length, int access);
  // The region goes, or gets other pages. Nobody has a lease on it.
  void Forget(const Region& region);
  // Chunks that nobody uses.
  bool LetGo() override { return Trim(0); }

 private:
  // Lets unused chunks go until no more than this is kept; whether any went.
  bool Trim(uint64_t bytes_max);

  const std::shared_ptr<ProtectionDomain> domain_;
  const int access_;
  std::unordered_map<uint64_t, Chunk> chunks_;
  std::list<Chunk*> used_;  // the longest unused first
  uint64_t bytes_ = 0;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

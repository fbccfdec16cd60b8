// Making, reusing and ending the regions of a MemoryPool: the system calls around memfd mappings are here and
// nowhere else. Decides nothing about when memory is handed out or given back; pool.cc does.
#include "native/memory/pool_regions.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "native/base/check.h"

namespace splitplane {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;

Status MappingError(const char* operation, uint64_t bytes) {
  const int system_errno = errno;
  const char* advice = system_errno == EMFILE || system_errno == ENFILE
                           ? "; raise the limit of open files (ulimit -n): each slab needs one"
                           : "; release buffers, or lower what is in flight at once";
  return Status::Errno(operation, system_errno,
                       "could not map a slab of " + std::to_string(bytes) + " bytes" + advice);
}

}  // namespace

std::unique_ptr<PoolRegion> PoolRegion::Leave(const Buffer& buffer) {
  if (!pool_) return std::unique_ptr<PoolRegion>(this);
  pool_->NoteReturned(buffer);
  return pool_->RemoveRegion(this);
}

Result<std::shared_ptr<Mapping>> Mapping::Create(uint64_t bytes, Fd& fd) {
  Fd memory(memfd_create("splitplane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return MappingError("memfd_create", bytes);
  if (ftruncate(memory.get(), off_t(bytes)) != 0) return MappingError("ftruncate", bytes);
  // Whoever is handed the descriptor can neither shorten the memory under us (SIGBUS) nor grow it.
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return MappingError("fcntl", bytes);
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (data == MAP_FAILED) return MappingError("mmap", bytes);
  // Advice: where the administrator allows huge pages for shared memory it helps, elsewhere it is without
  // effect.
  if (bytes >= kHugePageBytes) (void)madvise(data, bytes, MADV_HUGEPAGE);
  fd = std::move(memory);
  return std::make_shared<Mapping>(static_cast<uint8_t*>(data), bytes);
}

Mapping::~Mapping() { SPLITPLANE_CHECK(munmap(data_, length_) == 0); }

SlabRegion::SlabRegion(uint32_t id, std::shared_ptr<Mapping> mapping, Fd fd, uint64_t slot_bytes)
    : PoolRegion(Kind::kSlab, id, mapping->data(), mapping->length(), std::move(fd)),
      mapping_(std::move(mapping)),
      slot_bytes_(slot_bytes),
      own_node_{this} {}

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
  // Should the kernel refuse, the pages stay, which costs memory and breaks nothing.
  (void)fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, off_t(length()));
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

}  // namespace splitplane

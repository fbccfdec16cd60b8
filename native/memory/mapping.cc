// The system calls around memfd mappings, here and nowhere else.
#include "native/memory/mapping.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <string>

#include "native/base/check.h"

// Younger than some headers.
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace splitplane {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
constexpr int kKeepsSize = F_SEAL_SHRINK | F_SEAL_GROW;

Status MappingError(const char* operation, uint64_t bytes) {
  const int system_errno = errno;
  const char* advice = system_errno == EMFILE || system_errno == ENFILE
                           ? "; raise the limit of open files (ulimit -n): each slab needs one"
                           : "; release buffers, or lower what is in flight at once";
  return Status::Errno(operation, system_errno,
                       "could not map a slab of " + std::to_string(bytes) + " bytes" + advice);
}

}  // namespace

Result<std::shared_ptr<Mapping>> Mapping::Create(uint64_t bytes, Fd& fd) {
  Fd memory(memfd_create("splitplane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return MappingError("memfd_create", bytes);
  if (ftruncate(memory.get(), off_t(bytes)) != 0) return MappingError("ftruncate", bytes);
  if (fcntl(memory.get(), F_ADD_SEALS, kKeepsSize) != 0) return MappingError("fcntl", bytes);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (data == MAP_FAILED) return MappingError("mmap", bytes);
  // Advice: where the administrator allows huge pages for shared memory it helps, elsewhere it is without
  // effect.
  if (bytes >= kHugePageBytes) (void)madvise(data, bytes, MADV_HUGEPAGE);
  fd = std::move(memory);
  return std::make_shared<Mapping>(static_cast<uint8_t*>(data), bytes);
}

Result<std::shared_ptr<Mapping>> Mapping::OfPeer(const Fd& fd, uint64_t bytes, Sharing sharing) {
  struct stat found;
  struct statfs where;
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kKeepsSize) != kKeepsSize || fstat(fd.get(), &found) != 0 ||
      uint64_t(found.st_size) != bytes || bytes == 0) {
    return Status::Error(Code::kProtocolViolation, "map",
                         "the peer handed over memory of another size, or whose size it could change");
  }
  // Huge pages can be sealed too, but where none is left, looking at them ends this process.
  if (fstatfs(fd.get(), &where) != 0 || where.f_type != TMPFS_MAGIC) {
    return Status::Error(Code::kProtocolViolation, "map", "the peer handed over memory of another kind");
  }
  const int flags = sharing == Sharing::kShared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;
  void* data = mmap(nullptr, bytes, PROT_READ, flags, fd.get(), 0);
  if (data == MAP_FAILED) return MappingError("mmap", bytes);
  return std::make_shared<Mapping>(static_cast<uint8_t*>(data), bytes);
}

Mapping::~Mapping() { SPLITPLANE_CHECK(munmap(data_, length_) == 0); }

Status SealAgainstWriting(const Fd& fd) {
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0) return {};
  const int system_errno = errno;
  const char* advice = system_errno == EINVAL
                           ? "this kernel cannot seal memory against writing; Linux 5.1 can"
                           : "could not seal memory against writing";
  return system_errno == EINVAL ? Status::Error(Code::kUnsupported, "fcntl", advice, system_errno)
                                : Status::Errno("fcntl", system_errno, advice);
}

}  // namespace splitplane

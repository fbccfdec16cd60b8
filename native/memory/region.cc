// Reading the bytes of a file region. Everything else about regions is in the header.
#include "native/memory/region.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/base/check.h"

namespace splitplane {

Result<uint64_t> ReadFile(const Slice& slice, uint64_t offset, Bytes out) {
  SPLITPLANE_CHECK(slice.buffer->region().kind() == Region::Kind::kFile && offset <= slice.length);
  const uint64_t wanted = std::min<uint64_t>(out.size(), slice.length - offset);
  const uint64_t position = slice.buffer->offset() + slice.offset + offset;
  uint64_t done = 0;
  while (done < wanted) {
    const ssize_t got =
        pread(slice.buffer->region().fd(), out.data() + done, wanted - done, off_t(position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::Errno("pread", errno, "the registered file could not be read");
    if (got == 0) {
      return Status::Error(Code::kFileChanged, "pread",
                           "the file became shorter while it was registered; register it again as it is now");
    }
    done += uint64_t(got);
  }
  return done;
}

Result<uint64_t> ReadBytes(const Slice& slice, uint64_t offset, Bytes out) {
  if (!slice.data()) return ReadFile(slice, offset, out);
  const uint64_t length = std::min<uint64_t>(out.size(), slice.length - offset);
  std::memcpy(out.data(), slice.data() + offset, length);
  return length;
}

}  // namespace splitplane

// Random bytes out of a block that getrandom fills. Without the kernel's generator no tag is safe, so its
// failure ends the process.
#include "native/base/random.h"

#include <string.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "native/base/check.h"

namespace splitplane {
namespace {

constexpr size_t kFillMax = 256;

void FillFromKernel(uint8_t* out, size_t length) {
  while (length > 0) {
    // Up to 256 bytes come at once; longer requests can be cut short by a signal.
    const ssize_t got = getrandom(out, length, 0);
    SPLITPLANE_CHECK(got > 0 || (got < 0 && errno == EINTR));
    if (got < 0) continue;
    out += got;
    length -= size_t(got);
  }
}

}  // namespace

void RandomSource::Fill(uint8_t* out, size_t length) {
  SPLITPLANE_CHECK(length <= kFillMax);
  if (length > block_.size() - used_) {
    FillFromKernel(block_.data(), block_.size());
    used_ = 0;
  }
  std::memcpy(out, block_.data() + used_, length);
  explicit_bzero(block_.data() + used_, length);
  used_ += length;
}

}  // namespace splitplane

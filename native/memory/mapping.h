// Mapped memory: pages of a memfd, ours to write or a peer's to read, until the last holder lets go. Knows
// neither slots nor transports.
#pragma once

#include <cstdint>
#include <memory>

#include "native/base/fd.h"
#include "native/base/status.h"

namespace splitplane {

class Mapping {
 public:
  // `bytes` is a multiple of the page size. `fd` becomes the memfd, sealed against changes of size.
  static Result<std::shared_ptr<Mapping>> Create(uint64_t bytes, Fd& fd);
  // What a peer handed over, for reading. kProtocolViolation unless it has this size and keeps it: else the
  // peer could take pages away under us, and looking at them would end this process (SIGBUS). A private
  // mapping shows the same, and can be guarded (write_guard.h).
  enum class Sharing : uint8_t { kShared, kPrivate };
  static Result<std::shared_ptr<Mapping>> OfPeer(const Fd& fd, uint64_t bytes, Sharing sharing);

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

// After this nobody can write to the memory of this memfd but through mappings that exist already, whatever
// is done with its descriptor; and no seal can be added or taken away (fcntl(2), F_SEAL_FUTURE_WRITE).
// kUnsupported before Linux 5.1.
Status SealAgainstWriting(const Fd& fd);

}  // namespace splitplane

// Registered memory. A Region is memory of one origin that every transport knows: a slab of the pool, bytes a
// user brought, a file, or a peer's slab. A Buffer is the piece of a region that one owner was given; a Slice
// is part of a buffer and holds it, so memory that an operation or a tag still names is never reused. Runs on
// the engine's thread only; knows neither transports nor JavaScript.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/fd.h"
#include "native/base/status.h"

namespace splitplane {

class Buffer;
class BufferRef;

// For whom memory is. What is in memory for one audience may be shown to it whole; memory for nobody in
// particular to none but those who are trusted with everything. The engine uses the numbers of sessions.
using AudienceId = uint64_t;
inline constexpr AudienceId kNoAudience = 0;

class Region {
 public:
  // A foreign region is a peer's slab, mapped here for reading.
  enum class Kind : uint8_t { kSlab, kUser, kFile, kForeign };

  virtual ~Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  Kind kind() const { return kind_; }
  // Number of this region in its engine, never used twice.
  uint32_t id() const { return id_; }
  // First byte, or null for a file: files are read through their descriptor, because a mapping raises SIGBUS
  // when somebody truncates the file.
  uint8_t* data() const { return data_; }
  uint64_t length() const { return length_; }
  // memfd of a slab, the open file of a file, -1 for user memory.
  int fd() const { return fd_.get(); }
  // Whether the memory is still there. Asked before every slice of work on it: user code can detach an
  // ArrayBuffer at any time (kRegionDetached). Cheap; slabs and files are always ok.
  virtual Status Check() const { return {}; }
  // For whom all of it is, now and for ever.
  AudienceId audience() const { return audience_; }
  // Whether it can be filled: memory of a peer cannot.
  virtual bool writable() const { return true; }
  // From here on the descriptor of a slab can be handed to somebody who is to read and never to write.
  // kUnsupported for everything else, and where the kernel cannot see to that.
  virtual Status Seal() {
    return Status::Error(Code::kUnsupported, "seal", "only slabs of the pool can be shown to a peer");
  }
  // Keeps the mapping (not the buffer) alive: an ArrayBuffer over a slab may outlive the engine. Null for
  // user memory and files, which are nobody's mapping here. What is returned may be dropped on any thread.
  virtual std::shared_ptr<void> KeepAlive() const { return nullptr; }

 protected:
  Region(Kind kind, uint32_t id, uint8_t* data, uint64_t length, Fd fd)
      : kind_(kind), id_(id), data_(data), length_(length), fd_(std::move(fd)) {}
  void set_audience(AudienceId audience) { audience_ = audience; }
  const Fd& descriptor() const { return fd_; }

 private:
  friend class BufferRef;
  // The last holder of `buffer` let go: the region takes it back (a slab reuses the slot; others end
  // themselves).
  virtual void Recycle(Buffer* buffer) = 0;

  Kind kind_;
  uint32_t id_;
  uint8_t* data_;
  uint64_t length_;
  Fd fd_;
  AudienceId audience_ = kNoAudience;
};

class Buffer {
 public:
  Buffer(Region& region, uint64_t offset, uint64_t length)
      : region_(&region), offset_(offset), length_(length) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Region& region() const { return *region_; }
  uint64_t offset() const { return offset_; }  // in the region
  uint64_t length() const { return length_; }
  uint8_t* data() const { return region_->data() ? region_->data() + offset_ : nullptr; }
  // Holders at this moment: the owner in JavaScript counts one, every slice in an operation or a tag another.
  uint32_t holders() const { return holders_; }

 private:
  friend class BufferRef;
  friend class MemoryPool;  // reuses Buffer objects for other lengths

  Region* region_;
  uint64_t offset_;
  uint64_t length_;
  uint32_t holders_ = 0;
};

// A counted reference to a buffer. Not atomic: one engine, one thread.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* buffer) : buffer_(buffer) {
    if (buffer_) buffer_->holders_++;
  }
  BufferRef(const BufferRef& other) : BufferRef(other.buffer_) {}
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() { Reset(); }

  void Reset() {
    Buffer* buffer = std::exchange(buffer_, nullptr);
    if (buffer && --buffer->holders_ == 0) buffer->region_->Recycle(buffer);
  }
  Buffer* get() const { return buffer_; }
  Buffer* operator->() const { return buffer_; }
  explicit operator bool() const { return buffer_ != nullptr; }

 private:
  Buffer* buffer_ = nullptr;
};

struct Slice {
  BufferRef buffer;
  uint64_t offset = 0;  // in the buffer
  uint64_t length = 0;

  uint8_t* data() const { return buffer->data() ? buffer->data() + offset : nullptr; }
};

// Reads the bytes of a file's slice from `offset` (in the slice) into `out`: as many as fit and there are,
// which is returned. For memory that must hold a file's bytes; who sends them uses the descriptor (the file
// position of a slice is buffer->offset() + slice.offset). kFileChanged when the file has become shorter
// since it was registered.
Result<uint64_t> ReadFile(const Slice& slice, uint64_t offset, Bytes out);
// The same for bytes that may be in memory.
Result<uint64_t> ReadBytes(const Slice& slice, uint64_t offset, Bytes out);

}  // namespace splitplane

// Records through a segment's ring: the side that writes and the side that reads. What the other side says
// about positions is never trusted: a position that cannot be breaks the ring for good. Knows record heads
// and not what is in the bodies.
#pragma once

#include <cstring>

#include "native/base/bytes.h"
#include "native/shm/segment.h"

namespace splitplane::shm {

inline constexpr uint64_t RecordBytes(uint64_t body_bytes) {
  return sizeof(RecordHead) + (body_bytes + 7) / 8 * 8;
}
// Room that only the last record may take, also where it has to go around the end: what is skipped there is
// 8 bytes shorter than the record, or more.
inline constexpr uint64_t kLastBytes = 2 * RecordBytes(sizeof(Outcome)) - 8;
static_assert(kRingBytes % 8 == 0 && RecordBytes(kBodyBytesMax) + kLastBytes <= kRingBytes / 4);

class RingWriter {
 public:
  RingWriter(Segment own, Segment peer) : own_(std::move(own)), peer_(std::move(peer)) {}

  // Where to write a body of this many bytes; null when there is no room. Commit() before the next.
  uint8_t* Begin(RecordKind kind, uint32_t body_bytes, bool last = false) {
    const uint64_t need = RecordBytes(body_bytes);
    uint64_t at = written_ % kRingBytes;
    const uint64_t to_end = kRingBytes - at;
    const uint64_t skipped = to_end < need ? to_end : 0;
    if (!HasRoom(skipped + need + (last ? 0 : kLastBytes))) return nullptr;
    if (skipped > 0) {
      PutHead(at, {uint32_t(skipped - sizeof(RecordHead)), RecordKind::kPad});
      written_ += skipped;
      at = 0;
    }
    PutHead(at, {body_bytes, kind});
    pending_ = need;
    return own_.ring() + at + sizeof(RecordHead);
  }
  // The record is whole: the peer may see it.
  void Commit() {
    written_ += pending_;
    own_.words().written.store(written_, std::memory_order_release);
  }
  template <typename Body>
  bool Put(RecordKind kind, const Body& body, bool last = false) {
    uint8_t* at = Begin(kind, sizeof(Body), last);
    if (!at) return false;
    std::memcpy(at, &body, sizeof(Body));
    Commit();
    return true;
  }

  // Bytes that can be written. Cheap while it is plenty.
  bool HasRoom(uint64_t bytes) {
    if (kRingBytes - (written_ - read_) >= bytes) return true;
    const uint64_t read = peer_.words().read.load(std::memory_order_acquire);
    // The peer has read no less than before and no more than there is.
    if (read < read_ || read > written_) {
      broken_ = true;
      return false;
    }
    read_ = read;
    return kRingBytes - (written_ - read_) >= bytes;
  }
  bool broken() const { return broken_; }
  uint64_t written() const { return written_; }

 private:
  void PutHead(uint64_t at, RecordHead head) { std::memcpy(own_.ring() + at, &head, sizeof(head)); }

  Segment own_, peer_;
  uint64_t written_ = 0;
  uint64_t pending_ = 0;
  uint64_t read_ = 0;  // by the peer, as far as is known
  bool broken_ = false;
};

class RingReader {
 public:
  struct Record {
    RecordKind kind = RecordKind::kPad;
    uint32_t body_bytes = 0;
    const uint8_t* body = nullptr;  // the peer may change it at any time: copy, then look
  };

  RingReader(Segment own, Segment peer) : own_(std::move(own)), peer_(std::move(peer)) {}

  bool HasRecord() const {
    return written_ != read_ || peer_.words().written.load(std::memory_order_acquire) != read_;
  }
  // The next record, which is there until Advance(). False: there is none, or the ring is broken.
  bool Next(Record& out) {
    while (!broken_) {
      if (written_ == read_) {
        const uint64_t written = peer_.words().written.load(std::memory_order_acquire);
        if (written == read_) return false;
        if (written < read_ || written - read_ > kRingBytes || written % 8 != 0) break;
        written_ = written;
      }
      const uint64_t at = read_ % kRingBytes;
      RecordHead head;
      std::memcpy(&head, peer_.ring() + at, sizeof(head));
      const uint64_t bytes = RecordBytes(head.body_bytes);
      if (bytes > written_ - read_ || bytes > kRingBytes - at) break;
      next_ = bytes;
      if (head.kind == RecordKind::kPad) {
        Advance();
        continue;
      }
      if (head.body_bytes > kBodyBytesMax) break;
      out = {head.kind, head.body_bytes, peer_.ring() + at + sizeof(head)};
      return true;
    }
    broken_ = true;
    return false;
  }
  // Done with the record; its room is the peer's again after Publish().
  void Advance() {
    read_ += next_;
    next_ = 0;
  }
  void Publish() {
    if (published_ == read_) return;
    published_ = read_;
    own_.words().read.store(read_, std::memory_order_release);
  }
  uint64_t unpublished() const { return read_ - published_; }
  bool broken() const { return broken_; }

 private:
  Segment own_, peer_;
  uint64_t written_ = 0;  // by the peer, as far as is known
  uint64_t read_ = 0;
  uint64_t next_ = 0;
  uint64_t published_ = 0;
  bool broken_ = false;
};

// Copies the body of a record, to be looked at then; false if it has not the length of its kind.
template <typename Body>
bool CopyBody(const RingReader::Record& record, Body& out) {
  if (record.body_bytes != sizeof(Body)) return false;
  std::memcpy(&out, record.body, sizeof(Body));
  return true;
}

}  // namespace splitplane::shm

// The memory of one direction between two processes: a few words and a ring, written by one of them and only
// read by the other, whose mapping cannot be made writable. What the reader has to say about the ring stands
// in its own segment, so that neither ever writes where the other one does. Knows nothing of records.
#pragma once

#include <atomic>
#include <memory>

#include "native/base/fd.h"
#include "native/base/status.h"
#include "native/memory/mapping.h"
#include "native/shm/wire.h"

namespace splitplane::shm {

// Positions count bytes since the beginning. Words that one side changes often have a cache line each.
struct SegmentWords {
  alignas(64) std::atomic<uint64_t> written{0};  // by the owner of this segment into its ring
  alignas(64) std::atomic<uint64_t> read{0};     // by the same, from the ring of the other segment
  // Odd: the owner sleeps and wants a bell for whatever comes. Changes with every sleep.
  alignas(64) std::atomic<uint32_t> sleep{0};
  // Not zero: the owner waits for room in its ring.
  std::atomic<uint32_t> wants_room{0};
};
static_assert(sizeof(SegmentWords) == 192);
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);

class Segment {
 public:
  // One of ours, and in `fd` what the peer is handed: it can be mapped for reading, and neither written to
  // nor changed in size through that.
  static Result<Segment> Create(Fd& fd);
  // The peer's. kProtocolViolation when what was handed over could be shortened under us.
  static Result<Segment> Map(const Fd& fd);

  SegmentWords& words() const { return *reinterpret_cast<SegmentWords*>(mapping_->data()); }
  uint8_t* ring() const { return mapping_->data() + kRingAt; }
  // By the place of a loan that the owner of this segment gave: changes when it ends.
  std::atomic<uint32_t>& standing(uint32_t place) const { return Words(kStandingAt)[place]; }
  // By the place of a loan that the owner of this segment got: how many look.
  std::atomic<uint32_t>& looking(uint32_t place) const { return Words(kLookingAt)[place]; }

 private:
  // The ring begins in the page of the words: a connection that is idle touches that one page.
  static constexpr uint64_t kRingAt = 256;
  static constexpr uint64_t kStandingAt = kRingAt + kRingBytes;
  static constexpr uint64_t kLookingAt = kStandingAt + kLoansMax * sizeof(uint32_t);
  static constexpr uint64_t kBytes = (kLookingAt + kLoansMax * sizeof(uint32_t) + 4095) / 4096 * 4096;
  static_assert(sizeof(SegmentWords) <= kRingAt && kRingAt % 64 == 0);

  explicit Segment(std::shared_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}
  std::atomic<uint32_t>* Words(uint64_t at) const {
    return reinterpret_cast<std::atomic<uint32_t>*>(mapping_->data() + at);
  }

  std::shared_ptr<Mapping> mapping_;
};

}  // namespace splitplane::shm

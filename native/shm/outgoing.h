// What a connection writes: records into its ring, in order, and a bell for a peer that sleeps. Records that
// must not be refused wait here while there is no room; everybody else is told that there is none. Knows
// nothing of what records mean.
#pragma once

#include <array>
#include <cstring>
#include <deque>

#include "native/shm/ring.h"

namespace splitplane::shm {

// Records that wait for room before whoever could do without begins nothing that adds to them.
inline constexpr size_t kCrowdMin = kLoansMax;

class Outgoing {
 public:
  // Rings once for each sleep of the peer, however often it is called.
  Outgoing(Segment own, Segment peer, int socket)
      : own_(own), peer_(peer), ring_(std::move(own), std::move(peer)), socket_(socket) {}

  // Room for a record that may be refused, and nobody waits who came before. Commit() it.
  uint8_t* Begin(RecordKind kind, uint32_t body_bytes) {
    if (!waiting_.empty()) return nullptr;
    return ring_.Begin(kind, body_bytes);
  }
  void Commit() { ring_.Commit(); }
  // Now, or when there is room. How many can wait is bounded by what the records are about.
  template <typename Body>
  void Put(RecordKind kind, const Body& body) {
    static_assert(sizeof(Body) <= kSmallBytesMax);
    if (waiting_.empty() && ring_.Put(kind, body)) return;
    Small small{kind, sizeof(Body), {}};
    std::memcpy(small.body.data(), &body, sizeof(Body));
    waiting_.push_back(small);
  }
  // The last record. There is always room for it, if it overtakes what waits.
  void PutLast(const Outcome& body) { (void)ring_.Put(RecordKind::kGoodbye, body, true); }

  // Writes what waits. True when nothing does any more.
  bool Flush();
  bool has_room(uint64_t bytes) { return waiting_.empty() && ring_.HasRoom(bytes); }
  bool waiting() const { return !waiting_.empty(); }
  size_t waiting_count() const { return waiting_.size(); }
  // The peer has not read for long: neither lend nor look.
  bool crowded() const { return waiting_.size() >= kCrowdMin; }
  // Flush() would get something out.
  bool CanFlush() { return !waiting_.empty() && ring_.HasRoom(kSmallRoom); }
  bool broken() const { return ring_.broken(); }

  // Whatever was written since the last time is told to a peer that sleeps.
  void Ring();
  // The peer waits for room in its ring, and there is some now.
  void RingForRoom();
  // Before sleeping with something to write: whoever makes room rings.
  void WantRoom(bool wanted) { own_.words().wants_room.store(wanted ? 1 : 0, std::memory_order_relaxed); }

 private:
  static constexpr size_t kSmallBytesMax = sizeof(AtomicAsked);
  // For one small record, also where it has to go around the end.
  static constexpr uint64_t kSmallRoom = 2 * RecordBytes(kSmallBytesMax) + kLastBytes;
  struct Small {
    RecordKind kind;
    uint32_t bytes;
    std::array<uint8_t, kSmallBytesMax> body;
  };

  void RingIfAsleep();

  Segment own_, peer_;
  RingWriter ring_;
  int socket_;
  std::deque<Small> waiting_;
  uint64_t told_ = 0;  // written when the peer was last looked at
  uint32_t rung_ = 0;  // the sleep it was woken from
};

}  // namespace splitplane::shm

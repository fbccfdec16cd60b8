// Waiting records, and the bell.
#include "native/shm/outgoing.h"

#include "native/shm/socket.h"

namespace splitplane::shm {

bool Outgoing::Flush() {
  while (!waiting_.empty()) {
    const Small& small = waiting_.front();
    if (!ring_.HasRoom(kSmallRoom)) return false;
    uint8_t* at = ring_.Begin(small.kind, small.bytes);
    if (!at) return false;
    std::memcpy(at, small.body.data(), small.bytes);
    ring_.Commit();
    waiting_.pop_front();
  }
  return true;
}

void Outgoing::Ring() {
  if (told_ == ring_.written()) return;
  told_ = ring_.written();
  RingIfAsleep();
}

void Outgoing::RingForRoom() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (peer_.words().wants_room.load(std::memory_order_relaxed) != 0) RingIfAsleep();
}

// What was written is visible before the peer's sleep is looked at, and the peer says that it sleeps before
// it looks for what was written: one of the two sees the other.
void Outgoing::RingIfAsleep() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint32_t sleep = peer_.words().sleep.load(std::memory_order_relaxed);
  if (sleep % 2 == 0 || sleep == rung_) return;
  rung_ = sleep;
  const Packet bell;
  // A socket that is full wakes the peer as well, and one that is broken says so by itself.
  (void)SendPacket(socket_, {reinterpret_cast<const uint8_t*>(&bell), sizeof(bell)});
}

}  // namespace splitplane::shm

// What the two halves of a connection's work, asking (asker.h) and being asked (owner.h), share.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include "native/rdma/lane.h"
#include "native/rdma/messenger.h"
#include "native/rdma/reactor.h"
#include "native/rdma/registrations.h"

namespace splitplane::rdma {

// The checksum, reading of a file: how much at a time, so that a round keeps to its budget.
inline constexpr uint64_t kStepBytes = 256 * 1024;
// Up to this a checksum costs less than a record of its own.
inline constexpr uint64_t kSmallBytes = 16 * 1024;

// Frames that are not in a packet yet: PostSend refuses beyond the first, OnWritable comes below the second.
inline constexpr size_t kFrameQueueBytesMax = 1024 * 1024;
inline constexpr size_t kFrameQueueBytesLow = kFrameQueueBytesMax / 2;
// Records that wait for a peer that takes none. Nobody who keeps to kOperationsMax can make so many.
inline constexpr size_t kAnswerBytesMax = 512 * 1024;

struct Wiring {
  Reactor& reactor;
  std::shared_ptr<ProtectionDomain> domain;
  Messenger& messenger;
  Lane& lane;
  Registrations& registrations;
  uint32_t pieces_max = 1;  // of memory, in one part
  bool trusted = false;     // the peer may reach `registrations`, too

  // Whatever is answered from here on, the peer does not take it.
  bool overflows() const { return messenger.queued_bytes() > kFrameQueueBytesMax + kAnswerBytesMax; }
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

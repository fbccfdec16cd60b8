// The verbs objects of one connection and what runs on them, in the order in which they are made: they go in
// the opposite order, so that no queue pair is left when memory is let go.
#pragma once

#include "native/rdma/connection.h"

#if SPLITPLANE_HAS_VERBS

#include "native/rdma/device.h"

namespace splitplane::rdma {

// Completions fetched at once.
inline constexpr int kBatch = 16;

struct Connection::Works {
  Works(Reactor& reactor, std::shared_ptr<ProtectionDomain> with, int access)
      : domain(std::move(with)), registrations(domain, access), reactor_(reactor) {}
  ~Works() {
    // First the queue pairs: from here on no device touches anything.
    lane.reset();
    control.reset();
  }
  // Once the queue pairs and the path are there.
  void Join(uint32_t pieces_max, bool trusted, Owner::Events& events) {
    wiring.emplace(Wiring{reactor_, domain, *messenger, *lane, registrations, pieces_max, trusted});
    asker.emplace(*wiring);
    owner.emplace(*wiring, events);
  }

  std::shared_ptr<CompletionQueue> queue;
  std::shared_ptr<ProtectionDomain> domain;
  Registrations registrations;
  Path path;
  std::unique_ptr<QueuePair> control;
  std::unique_ptr<Messenger> messenger;
  std::unique_ptr<Lane> lane;
  std::optional<Wiring> wiring;
  std::optional<Asker> asker;
  std::optional<Owner> owner;

  // Fetched and not handled.
  std::array<ibv_wc, kBatch> fetched;
  int fetched_count = 0, fetched_at = 0;

 private:
  Reactor& reactor_;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// RDMA without a device: a table of verbs over a device and a connection manager in this process, for error
// paths that no real device shows on demand, and so that native/rdma runs under sanitizers everywhere. Two
// transports of one process talk through it. What is real about it is in rdma_fake_device.h and
// rdma_fake_manager.h; what goes wrong in it, in rdma_fake_faults.h.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <memory>
#include <string>

#include "test/native/rdma_fake_device.h"
#include "test/native/rdma_fake_faults.h"
#include "test/native/rdma_fake_manager.h"

namespace splitplane::rdma::fake {

// The only address of the device.
inline constexpr char kAddress[] = "192.0.2.1";
ibv_gid Gid();

// There is one at a time, since functions in a table have no owner.
struct Fabric {
  static Fabric& Get();
  // A new one for the next test. Says what was left of the old one, or done against the rules: nothing, if
  // all is well. Memory that was freed while registered is against them, unless `detached`.
  static std::string Renew(bool detached);
  static const Verbs& Table();

  // Device and connection manager both say so.
  void Unplug() {
    device.Remove();
    manager.Remove();
  }

  Faults faults;
  Device device{faults};
  Manager manager{faults, device};
};

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

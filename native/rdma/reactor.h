// What the parts of one RDMA transport share: the libraries, the devices, the connection manager's channel,
// the counters, and, while Poll() runs, its time, its budget and whom to tell. Also the lists of what Poll()
// has to visit. Nobody is deleted while Poll() runs: connections that ended wait in `ended`.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "native/base/clock.h"
#include "native/base/fd.h"
#include "native/base/status.h"
#include "native/rdma/handles.h"
#include "native/rdma/message.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

class Connection;
class Device;
class Door;

// What the connection manager said. A copy: its events must be acknowledged before anything is destroyed.
struct ConnectionEvent {
  rdma_cm_event_type type{};
  int status = 0;
  rdma_cm_id* id = nullptr;  // of a request: the new one, which nobody owns yet
  std::array<uint8_t, kGreetingBytes> greeting{};
  size_t greeting_bytes = 0;
};

// Whoever has an id of the connection manager: its `context`.
class ConnectionTarget {
 public:
  virtual void OnEvent(const ConnectionEvent& event) = 0;

 protected:
  ~ConnectionTarget() = default;
};

struct Reactor {
  Reactor(const Verbs& verbs, TransportContext with, Fd epoll_fd)
      : library(verbs, stats.registrations), context(with), epoll(std::move(epoll_fd)) {}
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  TransportStats stats;
  Library library;
  TransportContext context;
  Fd epoll;
  std::shared_ptr<EventChannel> channel;
  std::vector<std::shared_ptr<Device>> devices;

  // During Poll only.
  TransportEvents* events = nullptr;
  MonotonicNs now = 0;
  int64_t budget = 0;
  bool progressed = false;

  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::vector<std::shared_ptr<Door>> doors;
  std::vector<Connection*> awake;     // have work, or their completion queue is not armed
  std::vector<Connection*> restless;  // have a deadline, or something to tell
  std::vector<std::shared_ptr<Connection>> ended;
  // Ids whose farewell may still have to be sent again; they go when the peer answered, or in time.
  struct Parting {
    std::unique_ptr<ConnectionId> id;
    MonotonicNs deadline;
  };
  std::vector<Parting> parting;

  Status Watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
    return Status::Errno("epoll_ctl", errno, "cannot watch the device");
  }
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

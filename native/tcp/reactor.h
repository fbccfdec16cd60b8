// What the parts of one TCP transport share: the epoll instance, the counters, and, while Poll() runs, its
// time, its budget and whom to tell. Also the lists of what Poll() has to visit without the kernel saying so.
// Nobody is deleted while Poll() runs: connections that ended wait in `ended`.
#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "native/base/clock.h"
#include "native/base/fd.h"
#include "native/base/status.h"
#include "native/tcp/receiver.h"
#include "native/tcp/sender.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

class Channel;
class Connection;
class Door;

// Whoever has a descriptor in the epoll instance.
class Watched {
 public:
  virtual void OnReady(uint32_t events) = 0;

 protected:
  ~Watched() = default;
};

struct Reactor {
  Reactor(TransportContext with, Fd epoll_fd) : context(with), epoll(std::move(epoll_fd)) {}
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  TransportContext context;
  TransportStats stats;
  ReceiveBuffers receive_buffers;
  SendBuffers send_buffers;
  Fd epoll;

  // During Poll only.
  TransportEvents* events = nullptr;
  MonotonicNs now = 0;
  int64_t budget = 0;
  bool progressed = false;

  MonotonicNs received_at = 0;  // when anything last came, on any socket

  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::vector<std::shared_ptr<Door>> doors;
  std::vector<Channel*> posted;       // have output to try
  std::vector<Channel*> interest;     // whose wish for EPOLLOUT is to be told to the kernel before sleeping
  std::vector<Connection*> restless;  // have a deadline, or something to tell
  std::vector<std::shared_ptr<Connection>> ended;
  std::vector<std::shared_ptr<Door>> closed_doors;

  // `operation` is EPOLL_CTL_ADD or EPOLL_CTL_MOD. A descriptor leaves by being closed.
  Status Watch(int operation, int fd, Watched& who, uint32_t events_wanted) {
    epoll_event event{};
    event.events = events_wanted;
    event.data.ptr = &who;
    if (epoll_ctl(epoll.get(), operation, fd, &event) == 0) return {};
    return Status::Errno("epoll_ctl", errno, "cannot watch a socket");
  }
};

}  // namespace splitplane::tcp

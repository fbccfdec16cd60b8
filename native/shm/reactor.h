// What the parts of one shared-memory transport share: the epoll instance, counters, and, while Poll() runs,
// its round and whom to tell. Connections that were busy a moment ago are looked at in every round, because
// that costs a few words of memory; all others sleep and are woken by their sockets. Nobody is deleted while
// Poll() runs: connections that ended wait in `ended`.
#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <memory>
#include <unordered_map>
#include <vector>

#include "native/base/fd.h"
#include "native/shm/transfers.h"
#include "native/transport/transport.h"

namespace splitplane::shm {

class Connection;
class Door;

// Whoever has a descriptor in the epoll instance.
class Watched {
 public:
  virtual void OnReady() = 0;

 protected:
  ~Watched() = default;
};

struct Reactor {
  Reactor(TransportContext with, Fd epoll_fd) : context(with), epoll(std::move(epoll_fd)) {}
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  TransportContext context;
  TransportStats stats;
  Fd epoll;
  std::vector<uint8_t> scratch = std::vector<uint8_t>(kBodyBytesMax);  // where a frame is looked at

  TransportEvents* events = nullptr;  // during Poll only
  Round round;

  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::vector<std::shared_ptr<Door>> doors;
  std::vector<Connection*> awake;                     // looked at in every round
  std::vector<Connection*> greeting;                  // have a deadline
  std::unordered_map<uint64_t, Connection*> bound;    // by session, those that lend
  std::unordered_map<uint32_t, Connection*> lenders;  // by index of a tag that is, or was, lent
  std::vector<std::shared_ptr<Connection>> ended;
  std::vector<std::shared_ptr<Door>> closed_doors;

  // A descriptor leaves by being closed.
  Status Watch(int fd, Watched& who) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &who;
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
    return Status::Errno("epoll_ctl", errno, "cannot watch a socket");
  }
};

}  // namespace splitplane::shm

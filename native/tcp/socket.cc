// Sockets of the three families.
#include "native/tcp/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace splitplane::tcp {
namespace {

constexpr int kKeepaliveProbes = 3;

void SetOption(int fd, int level, int name, int value) {
  // Every one of these makes a connection better and none is needed for it to be right.
  (void)setsockopt(fd, level, name, &value, sizeof(value));
}

Result<Fd> MakeSocket(int family) {
  Fd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Status::Errno("socket", errno, "cannot make a socket");
  return fd;
}

// Whether the socket file is what a process left behind that is gone: it is a socket, and nobody listens.
bool IsStale(const Address& address) {
  struct stat found;
  if (lstat(address.path().c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  Result<Fd> probe = MakeSocket(AF_UNIX);
  return probe.ok() && connect(probe->get(), address.get(), address.length) != 0 && errno == ECONNREFUSED;
}

// A data socket may be silent for as long as it likes, and be dead without anybody knowing: a path is per
// socket. On a host there is none that could break. (The control socket has the protocol's pings.)
void KeepAlive(int fd, uint32_t peer_timeout_ms) {
  const int timeout_s = std::max(1, int(peer_timeout_ms / 1000));
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, timeout_s);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, timeout_s / (kKeepaliveProbes + 1)));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

}  // namespace

void SetStreamOptions(int fd, const Address& peer, uint32_t peer_timeout_ms) {
  if (peer.family() == AF_UNIX) return;
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, int(peer_timeout_ms));
  if (!peer.local_only()) KeepAlive(fd, peer_timeout_ms);
  // There is no link to share on the way to this host, and the timers of an algorithm that paces (BBR) cost
  // more than the copying. Reno never paces, and every process may choose it. Between hosts the
  // administrator's choice stays.
  constexpr std::string_view kNeverPaces = "reno";
  if (peer.local_only())
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kNeverPaces.data(), kNeverPaces.size());
}

Result<Fd> StartConnect(const Address& address, uint32_t peer_timeout_ms) {
  Result<Fd> fd = MakeSocket(address.family());
  if (!fd.ok()) return fd;
  SetStreamOptions(fd->get(), address, peer_timeout_ms);
  if (connect(fd->get(), address.get(), address.length) != 0 && errno != EINPROGRESS) {
    // A unix listener with a full backlog says EAGAIN, which is as good as being refused: nothing waits in
    // line.
    const int error = errno == EAGAIN ? ECONNREFUSED : errno;
    return Status::Errno("connect", error, "cannot connect to " + address.ToString());
  }
  return fd;
}

int ConnectError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

Result<Fd> ListenOn(const Address& address) {
  Result<Fd> fd = MakeSocket(address.family());
  if (!fd.ok()) return fd;
  const std::string text = address.ToString();
  if (address.family() != AF_UNIX) SetOption(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
  int bound = bind(fd->get(), address.get(), address.length);
  if (bound != 0 && errno == EADDRINUSE && address.family() == AF_UNIX && IsStale(address)) {
    unlink(address.path().c_str());
    bound = bind(fd->get(), address.get(), address.length);
  }
  if (bound != 0) {
    const int error = errno;
    return Status::Errno("bind", error,
                         error == EADDRINUSE ? "somebody else listens on " + text + ": choose another address"
                                             : "cannot bind " + text);
  }
  if (listen(fd->get(), SOMAXCONN) != 0) return Status::Errno("listen", errno, "cannot listen on " + text);
  return fd;
}

Address LocalAddress(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    address.length = 0;
  return address;
}

Address RemoteAddress(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    address.length = 0;
  return address;
}

EndpointInfo DescribeEnds(int fd) {
  const Address local = LocalAddress(fd);
  const Address remote = RemoteAddress(fd);
  EndpointInfo info;
  info.local_address = local.ToString();
  info.remote_address = remote.ToString();
  info.local_only = remote.local_only();
  if (local.family() == AF_UNIX) {
    ucred peer{};
    socklen_t length = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) info.peer_uid = int64_t(peer.uid);
  }
  return info;
}

}  // namespace splitplane::tcp

// Names, credentials and packets.
#include "native/shm/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "native/base/random.h"

namespace splitplane::shm {
namespace {

constexpr char kNamePrefix[] = "splitplane-shm/";
// Where the system takes ports for connections from; nobody is surprised to find a listener there.
constexpr uint16_t kAnyPortMin = 49'152;
constexpr int kAnyPortTries = 64;
// A descriptor or two more than a packet may bring, so that too many are seen and closed.
constexpr size_t kDescriptorsMax = 4;

struct Name {
  sockaddr_un address{};
  socklen_t length = 0;
};

Result<Name> AbstractName(const std::string& text) {
  Name name;
  // The first byte stays zero: that is what makes it abstract.
  if (text.size() + 1 > sizeof(name.address.sun_path)) {
    return Status::Error(Code::kTransportUnavailable, "address",
                         "the path of this socket is too long for shared memory; use a shorter one");
  }
  name.address.sun_family = AF_UNIX;
  std::memcpy(name.address.sun_path + 1, text.data(), text.size());
  name.length = socklen_t(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

Result<Fd> MakeSocket() {
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Status::Errno("socket", errno, "cannot make a unix socket");
  return fd;
}

uint16_t* PortOf(Address& address) {
  if (address.family() == AF_INET) return &reinterpret_cast<sockaddr_in&>(address.storage).sin_port;
  if (address.family() == AF_INET6) return &reinterpret_cast<sockaddr_in6&>(address.storage).sin6_port;
  return nullptr;
}

Status Bind(int fd, const Address& address) {
  Result<Name> name = AbstractName(NameOf(address));
  if (!name.ok()) return name.status();
  if (bind(fd, reinterpret_cast<const sockaddr*>(&name->address), name->length) == 0) return {};
  const int error = errno;
  return Status::Errno("bind", error,
                       error == EADDRINUSE
                           ? "somebody else listens on " + address.ToString() + ": choose another address"
                           : "cannot listen on " + address.ToString());
}

// An address of this host can be bound, and no other can.
bool IsOfThisHost(Address address) {
  if (address.local_only()) return true;
  *PortOf(address) = 0;
  Fd probe(socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return probe.valid() && bind(probe.get(), address.get(), address.length) == 0;
}

// Whoever listens at all addresses of a host listens at each.
std::vector<Address> Listeners(const Address& address) {
  std::vector<Address> listeners{address};
  Address exact = address;
  const uint16_t* port = PortOf(exact);
  if (!port) return listeners;
  for (const char* all : {"0.0.0.0:", "[::]:"}) {
    std::string text(all);
    text += std::to_string(ntohs(*port));
    if (Result<Address> one = ParseAddress(text); one.ok()) listeners.push_back(*one);
  }
  return listeners;
}

Status Unavailable(std::string reason) {
  return Status::Error(Code::kTransportUnavailable, "shared memory", std::move(reason));
}

}  // namespace

std::string NameOf(const Address& address) { return kNamePrefix + address.ToString(); }

Result<Fd> ListenOn(Address& address) {
  Result<Fd> fd = MakeSocket();
  if (!fd.ok()) return fd;
  uint16_t* port = PortOf(address);
  const bool any = port && *port == 0;
  Status bound;
  RandomSource random;
  for (int tries = 0; tries < (any ? kAnyPortTries : 1); tries++) {
    if (any) {
      uint16_t number;
      random.Fill(reinterpret_cast<uint8_t*>(&number), sizeof(number));
      *port = htons(uint16_t(kAnyPortMin + number % (UINT16_MAX - kAnyPortMin + 1)));
    }
    bound = Bind(fd->get(), address);
    if (bound.code() != Code::kAddressInUse) break;
  }
  if (!bound.ok()) return bound;
  if (listen(fd->get(), SOMAXCONN) != 0) return Status::Errno("listen", errno, "cannot listen");
  return fd;
}

Result<Fd> ConnectTo(const Address& address) {
  if (!IsOfThisHost(address)) {
    return Unavailable("the address is another host's: shared memory reaches processes of this host only");
  }
  for (const Address& listener : Listeners(address)) {
    Result<Name> name = AbstractName(NameOf(listener));
    if (!name.ok()) return name.status();
    Result<Fd> fd = MakeSocket();
    if (!fd.ok()) return fd;
    if (connect(fd->get(), reinterpret_cast<const sockaddr*>(&name->address), name->length) == 0) return fd;
    // A full line of those who wait (EAGAIN) is as good as a refusal: nobody here may block.
    if (errno != ECONNREFUSED && errno != EAGAIN) {
      return Status::Errno("connect", errno, "cannot connect to " + address.ToString());
    }
  }
  return Status::Error(Code::kConnectionRefused, "connect",
                       "nobody on this host, or in this network namespace, listens at " + address.ToString() +
                           " over shared memory");
}

Result<Peer> CheckPeer(int socket) {
  ucred found{};
  socklen_t length = sizeof(found);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &length) != 0) {
    return Status::Errno("getsockopt", errno, "the kernel does not say who the peer is");
  }
  if (found.pid == 0) {
    return Unavailable(
        "the other process lives in another PID namespace, as in a container of its own: shared memory is "
        "for "
        "processes that can see each other");
  }
  if (found.uid != geteuid()) {
    return Unavailable("the other process belongs to user " + std::to_string(found.uid) + ", this one to " +
                       std::to_string(geteuid()) + ": shared memory is for processes of one user");
  }
  return Peer{int64_t(found.pid), int64_t(found.uid)};
}

Status SendPacket(int socket, ConstBytes packet, int descriptor) {
  iovec bytes{const_cast<uint8_t*>(packet.data()), packet.size()};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &descriptor, sizeof(int));
  }
  while (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    // ETOOMANYREFS: too many descriptors are on their way in all sockets of this user.
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS) return Status::NoResource();
    return Status::Errno("sendmsg", errno, "the peer is gone");
  }
  return {};
}

Result<Received> ReceivePacket(int socket, Bytes into) {
  iovec bytes{into.data(), into.size()};
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    // ECONNRESET: the peer went without reading everything. It is said once, and ahead of what the peer sent.
  } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
  if (got < 0 && errno == EAGAIN) return Status::NoResource();
  if (got < 0) return Status::Errno("recvmsg", errno, "the peer is gone");
  std::vector<Fd> descriptors;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(head) + i * sizeof(int), sizeof(int));
      descriptors.emplace_back(descriptor);
    }
  }
  // Also set when this process has no descriptor left for what was sent (unix(7)).
  const bool cut = (message.msg_flags & MSG_CTRUNC) != 0;
  if ((message.msg_flags & MSG_TRUNC) != 0 || descriptors.size() > 1 || (cut && !descriptors.empty())) {
    return Status::Error(Code::kProtocolViolation, "recvmsg", "a packet is longer than any can be");
  }
  Received received;
  received.bytes = size_t(got);
  received.lost = cut;
  if (!descriptors.empty()) received.descriptor = std::move(descriptors.front());
  return received;
}

}  // namespace splitplane::shm

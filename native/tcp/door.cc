// Accepting and joining.
#include "native/tcp/door.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "native/tcp/connection.h"
#include "native/tcp/socket.h"

namespace splitplane::tcp {
namespace {

// In one round; the rest waits for the next.
constexpr int kAcceptsMax = 64;

// Takes the same time wherever the difference is.
bool SameSecret(const std::array<uint8_t, 16>& a, const std::array<uint8_t, 16>& b) {
  uint8_t difference = 0;
  for (size_t i = 0; i < a.size(); i++) difference |= a[i] ^ b[i];
  return difference == 0;
}

uint64_t InodeOf(const std::string& path) {
  struct stat found;
  return lstat(path.c_str(), &found) == 0 ? found.st_ino : 0;
}

}  // namespace

Result<std::shared_ptr<Door>> Door::Open(Reactor& reactor, const std::string& address,
                                         ListenOptions options) {
  Result<Address> parsed = ParseAddress(address);
  if (!parsed.ok()) return parsed.status();
  Result<Fd> socket = ListenOn(*parsed);
  if (!socket.ok()) return socket.status();
  auto door = std::make_shared<Door>(reactor, std::move(*socket), options);
  Status watched = reactor.Watch(EPOLL_CTL_ADD, door->socket_.get(), *door, EPOLLIN);
  if (!watched.ok()) return watched;
  reactor.doors.push_back(door);
  return door;
}

Door::Door(Reactor& reactor, Fd socket, ListenOptions options)
    : reactor_(reactor), socket_(std::move(socket)), options_(options) {
  const Address local = LocalAddress(socket_.get());
  address_ = local.ToString();
  unlink_path_ = local.path();
  if (!unlink_path_.empty()) unlink_inode_ = InodeOf(unlink_path_);
}

Door::~Door() { Close(); }

void Door::Close() {
  handle_ = nullptr;
  if (!socket_.valid()) return;
  // Somebody may have put another socket there.
  if (!unlink_path_.empty() && InodeOf(unlink_path_) == unlink_inode_) unlink(unlink_path_.c_str());
  socket_.Reset();
  for (auto& guest : guests_) {
    if (guest) guest->socket.Reset();
  }
  const auto self = std::find_if(reactor_.doors.begin(), reactor_.doors.end(),
                                 [this](const auto& door) { return door.get() == this; });
  if (self == reactor_.doors.end()) return;
  reactor_.closed_doors.push_back(std::move(*self));
  reactor_.doors.erase(self);
}

void Door::OnReady(uint32_t) {
  if (socket_.valid() && reactor_.now >= paused_until_) Accept();
}

void Door::Accept() {
  for (int i = 0; i < kAcceptsMax && socket_.valid(); i++) {
    Fd socket(accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      reactor_.progressed = true;
      Admit(std::move(socket));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The listening socket stays readable, so it is taken out of sight for a while instead of spinning on
      // it.
      paused_until_ = reactor_.now + kAcceptPauseNs;
      (void)reactor_.Watch(EPOLL_CTL_MOD, socket_.get(), *this, 0);
      return;
    }
    if (errno == EAGAIN) return;
    // Anything else is about a connection that broke before it was accepted.
  }
}

void Door::Admit(Fd socket) {
  auto guest = std::make_unique<Guest>(*this);
  SetStreamOptions(socket.get(), RemoteAddress(socket.get()), reactor_.context.peer_timeout_ms);
  guest->socket = std::move(socket);
  guest->deadline = reactor_.now + kUnjoinedTimeoutNs;
  if (!reactor_.Watch(EPOLL_CTL_ADD, guest->socket.get(), *guest, EPOLLIN).ok()) return;
  Sweep();
  if (guests_.size() >= kUnjoinedMax) {
    Refuse(*guests_.front(), Code::kLimitExceeded);
    Sweep();
  }
  guests_.push_back(std::move(guest));
}

void Door::OnGuestReady(Guest& guest) {
  if (!guest.socket.valid()) return;
  if (guest.joined) {
    // It waits for its siblings and has nothing to say: it is leaving, or it is no friend.
    return Refuse(guest, Code::kProtocolViolation);
  }
  // Not a byte more than the join: what follows belongs to the endpoint.
  const ssize_t got =
      recv(guest.socket.get(), guest.bytes.data() + guest.have, guest.bytes.size() - guest.have, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return guest.socket.Reset();
  reactor_.progressed = true;
  guest.have += size_t(got);
  if (guest.bytes[0] != uint8_t(Kind::kJoin)) return Refuse(guest, Code::kProtocolViolation);
  if (guest.have == guest.bytes.size()) OnJoin(guest);
}

void Door::OnJoin(Guest& guest) {
  Record record;
  if (Status status = DecodeRecord(guest.bytes, record); !status.ok()) return Refuse(guest, status.code());
  guest.join = DecodeJoin(record.extension);
  uint32_t siblings = 0;
  for (const auto& other : guests_) {
    if (!other || !other->socket.valid() || !other->joined || other->join.id != guest.join.id) continue;
    if (!SameSecret(other->join.secret, guest.join.secret)) return Refuse(guest, Code::kAuthenticationFailed);
    if (other->join.channels != guest.join.channels || other->join.index == guest.join.index) {
      return Refuse(guest, Code::kProtocolViolation);
    }
    siblings++;
  }
  guest.joined = true;
  if (siblings == guest.join.channels) Complete(guest.join);
}

// Every socket of the endpoint is there.
void Door::Complete(const Join& join) {
  std::vector<Guest*> members(size_t(join.channels) + 1);
  for (const auto& guest : guests_) {
    if (guest && guest->socket.valid() && guest->joined && guest->join.id == join.id) {
      members[guest->join.index] = guest.get();
    }
  }
  if (*open_count_ >= options_.endpoints_max) {
    for (Guest* guest : members) Refuse(*guest, Code::kLimitExceeded);
    return;
  }
  std::vector<Fd> sockets;
  for (Guest* guest : members) {
    // It is watched as a guest until here, and as a channel from here on.
    (void)epoll_ctl(reactor_.epoll.get(), EPOLL_CTL_DEL, guest->socket.get(), nullptr);
    sockets.push_back(std::move(guest->socket));
  }
  Result<std::shared_ptr<Connection>> connection =
      Connection::Accept(reactor_, std::move(sockets), open_count_);
  // Out of descriptors or memory: the sockets are closed already, and the peer sees that.
  if (!connection.ok()) return;
  reactor_.events->OnAccepted(*handle_, MakeEndpoint(std::move(*connection)));
}

void Door::Refuse(Guest& guest, Code why) {
  uint8_t bytes[kHeadBytes];
  EncodeRecord({.kind = Kind::kJoined, .status = why}, bytes);
  // An answer that does not fit in an empty socket is not worth waiting for.
  (void)send(guest.socket.get(), bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
  guest.socket.Reset();
}

// Puts guests that left, or became part of an endpoint, aside until no event can name them.
void Door::Sweep() {
  for (auto& guest : guests_) {
    if (!guest->socket.valid()) gone_.push_back(std::move(guest));
  }
  std::erase(guests_, nullptr);
}

void Door::Settle() {
  if (paused_until_ != 0 && reactor_.now >= paused_until_ && socket_.valid()) {
    paused_until_ = 0;
    (void)reactor_.Watch(EPOLL_CTL_MOD, socket_.get(), *this, EPOLLIN);
  }
  for (auto& guest : guests_) {
    if (guest->socket.valid() && guest->deadline <= reactor_.now) Refuse(*guest, Code::kConnectTimeout);
  }
  Sweep();
  gone_.clear();
}

MonotonicNs Door::deadline() const {
  MonotonicNs first = paused_until_ != 0 ? paused_until_ : kNever;
  // They came in the order of their deadlines.
  for (const auto& guest : guests_) {
    if (guest->socket.valid()) return std::min(first, guest->deadline);
  }
  return first;
}

}  // namespace splitplane::tcp

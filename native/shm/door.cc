// Accepting and greeting.
#include "native/shm/door.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "native/shm/connection.h"

namespace splitplane::shm {
namespace {

// In one round; the rest waits for the next.
constexpr int kAcceptsMax = 64;

}  // namespace

Result<std::shared_ptr<Door>> Door::Open(Reactor& reactor, const std::string& text, ListenOptions options) {
  Result<Address> address = ParseAddress(text);
  if (!address.ok()) return address.status();
  Result<Fd> socket = ListenOn(*address);
  if (!socket.ok()) return socket.status();
  auto door = std::make_shared<Door>(reactor, std::move(*socket), address->ToString(), options);
  if (Status watched = reactor.Watch(door->socket_.get(), *door); !watched.ok()) return watched;
  reactor.doors.push_back(door);
  return door;
}

void Door::Close() {
  handle_ = nullptr;
  if (!socket_.valid()) return;
  socket_.Reset();
  for (auto& guest : guests_) guest->socket.Reset();
  const auto self = std::find_if(reactor_.doors.begin(), reactor_.doors.end(),
                                 [this](const auto& door) { return door.get() == this; });
  if (self == reactor_.doors.end()) return;
  reactor_.closed_doors.push_back(std::move(*self));
  reactor_.doors.erase(self);
}

void Door::OnReady() {
  if (!socket_.valid() || reactor_.round.now < paused_until_) return;
  for (int i = 0; i < kAcceptsMax && socket_.valid(); i++) {
    Fd socket(accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      reactor_.round.progressed = true;
      Admit(std::move(socket));
      continue;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The socket stays readable; it is taken out of sight instead of spinning on it.
      paused_until_ = reactor_.round.now + kAcceptPauseNs;
      (void)epoll_ctl(reactor_.epoll.get(), EPOLL_CTL_DEL, socket_.get(), nullptr);
    }
    if (errno != ECONNABORTED) return;
  }
}

void Door::Admit(Fd socket) {
  Result<Peer> peer = CheckPeer(socket.get());
  if (!peer.ok()) return Refuse(socket, peer.status().code());
  auto guest = std::make_unique<Guest>(*this);
  guest->socket = std::move(socket);
  guest->peer = *peer;
  guest->deadline = reactor_.round.now + kGuestTimeoutNs;
  if (!reactor_.Watch(guest->socket.get(), *guest).ok()) return;
  Sweep();
  if (guests_.size() >= kGuestsMax) {
    Refuse(guests_.front()->socket, Code::kLimitExceeded);
    Sweep();
  }
  guests_.push_back(std::move(guest));
}

void Door::OnGuestReady(Guest& guest) {
  if (!guest.socket.valid()) return;
  Greeting greeting;
  Result<Received> received =
      ReceivePacket(guest.socket.get(), {reinterpret_cast<uint8_t*>(&greeting), sizeof(greeting)});
  if (!received.ok() && received.status().no_resource()) return;
  reactor_.round.progressed = true;
  if (!received.ok() || received->bytes != sizeof(greeting) || greeting.magic != kMagic) {
    return guest.socket.Reset();
  }
  if (greeting.version != kVersion || greeting.ring_bytes != kRingBytes) {
    return Refuse(guest.socket, Code::kVersionUnsupported);
  }
  // It is told what it would be told if there were no room for our own segment.
  if (received->lost) return Refuse(guest.socket, Code::kLimitExceeded);
  if (!received->descriptor.valid() || greeting.status != 0 || greeting.reserved != 0) {
    return Refuse(guest.socket, Code::kProtocolViolation);
  }
  if (*open_count_ >= options_.endpoints_max) return Refuse(guest.socket, Code::kLimitExceeded);
  // It is watched as a guest until here, and as a connection from here on.
  (void)epoll_ctl(reactor_.epoll.get(), EPOLL_CTL_DEL, guest.socket.get(), nullptr);
  Result<std::shared_ptr<Connection>> connection = Connection::Accept(
      reactor_, guest.socket, guest.peer, received->descriptor, address_, options_, open_count_);
  if (!connection.ok()) return Refuse(guest.socket, connection.status().code());
  reactor_.events->OnAccepted(*handle_, MakeEndpoint(std::move(*connection)));
}

void Door::Refuse(Fd& socket, Code why) {
  const Greeting greeting{.status = uint16_t(why)};
  (void)SendPacket(socket.get(), {reinterpret_cast<const uint8_t*>(&greeting), sizeof(greeting)});
  socket.Reset();
}

// Puts guests that left, or became connections, aside until no event can name them.
void Door::Sweep() {
  for (auto& guest : guests_) {
    if (!guest->socket.valid()) gone_.push_back(std::move(guest));
  }
  std::erase(guests_, nullptr);
}

void Door::Settle() {
  if (paused_until_ != 0 && reactor_.round.now >= paused_until_ && socket_.valid()) {
    paused_until_ = 0;
    (void)reactor_.Watch(socket_.get(), *this);
  }
  for (auto& guest : guests_) {
    if (guest->socket.valid() && guest->deadline <= reactor_.round.now) {
      Refuse(guest->socket, Code::kConnectTimeout);
    }
  }
  Sweep();
  gone_.clear();
}

MonotonicNs Door::deadline() const {
  const MonotonicNs first = paused_until_ != 0 ? paused_until_ : kNever;
  // They came in the order of their deadlines.
  return guests_.empty() ? first : std::min(first, guests_.front()->deadline);
}

}  // namespace splitplane::shm

// How a connection comes about, and what its socket brings later: who is there, the two segments, slabs, and
// the end of the peer.
#include <unistd.h>

#include <cerrno>

#include "native/shm/connection.h"

namespace splitplane::shm {
namespace {

// In one go: more than a socket holds, so that whatever was sent before a record is here before it. A peer
// that sends as fast as it is read does not keep us for ever.
constexpr int kPacketsMax = 4096;

ConstBytes BytesOf(const Greeting& greeting) {
  return {reinterpret_cast<const uint8_t*>(&greeting), sizeof(greeting)};
}

// Who the peer is must not depend on the transport that happens to carry the words: at an IP address it is
// somebody on this host, and at a unix socket it is a user.
EndpointInfo Describe(std::string local, std::string remote, const std::string& listener, const Peer& peer) {
  const bool tells_user = listener.starts_with("unix:");
  return {.local_address = std::move(local),
          .remote_address = std::move(remote),
          .local_only = true,
          .peer_uid = tells_user ? peer.uid : -1,
          .device = {}};
}

}  // namespace

Result<std::shared_ptr<Connection>> Connection::Dial(Reactor& reactor, const Address& address,
                                                     const ConnectOptions& options) {
  Result<Fd> socket = ConnectTo(address);
  if (!socket.ok()) return socket.status();
  Result<Peer> peer = CheckPeer(socket->get());
  if (!peer.ok()) return peer.status();
  std::shared_ptr<Connection> connection(new Connection(reactor, std::move(*socket)));
  connection->info_ =
      Describe("pid " + std::to_string(getpid()), address.ToString(), address.ToString(), *peer);
  // Threads of one process see all of its memory anyway.
  connection->trusts_ = options.trusted_peer || peer->pid == getpid();
  connection->deadline_ = std::min(options.deadline, NowNs() + kGreetingTimeoutNs);
  Fd segment;
  if (Status made = connection->MakeSegment(segment); !made.ok()) return made;
  const Status sent = SendPacket(connection->socket_.get(), BytesOf({}), segment.get());
  // Who refuses at the door may have hung up by now; what it said is read like any answer.
  if (!sent.ok() && sent.code() != Code::kConnectionLost) return sent;
  if (Status watched = reactor.Watch(connection->socket_.get(), *connection); !watched.ok()) return watched;
  reactor.greeting.push_back(connection.get());
  reactor.connections.emplace(connection.get(), connection);
  return connection;
}

Result<std::shared_ptr<Connection>> Connection::Accept(Reactor& reactor, Fd& socket, const Peer& peer,
                                                       const Fd& segment, const std::string& address,
                                                       const ListenOptions& options,
                                                       std::shared_ptr<uint32_t> open_count) {
  std::shared_ptr<Connection> connection(new Connection(reactor, Fd()));
  Fd own;
  if (Status made = connection->MakeSegment(own); !made.ok()) return made;
  std::swap(connection->socket_, socket);
  connection->info_ = Describe(address, "pid " + std::to_string(peer.pid), address, peer);
  Status joined = connection->Join(segment, options.trusted_peers || peer.pid == getpid());
  if (joined.ok()) joined = SendPacket(connection->socket_.get(), BytesOf({}), own.get());
  if (joined.ok()) joined = reactor.Watch(connection->socket_.get(), *connection);
  if (!joined.ok()) {
    std::swap(connection->socket_, socket);
    return joined;
  }
  connection->state_ = State::kOpen;
  connection->open_count_ = std::move(open_count);
  ++*connection->open_count_;
  reactor.connections.emplace(connection.get(), connection);
  connection->MakeAwake();
  return connection;
}

Status Connection::MakeSegment(Fd& fd) {
  Result<Segment> segment = Segment::Create(fd);
  if (!segment.ok()) return segment.status();
  own_.emplace(std::move(*segment));
  return {};
}

Status Connection::Join(const Fd& peer_segment, bool trusted) {
  Result<Segment> segment = Segment::Map(peer_segment);
  if (!segment.ok()) return segment.status();
  link_.emplace(*this, std::move(*own_), std::move(*segment), trusted);
  own_.reset();
  return {};
}

void Connection::OnReady() {
  if (state_ == State::kGone) return;
  MakeAwake();
  ReceivePackets();
}

void Connection::ReceivePackets() {
  for (int i = 0; i < kPacketsMax && !hung_up_ && !peer_gone_ && socket_.valid(); i++) {
    Greeting greeting;
    static_assert(sizeof(Greeting) == sizeof(Packet));
    uint8_t bytes[sizeof(Packet)];
    Result<Received> received = ReceivePacket(socket_.get(), bytes);
    if (!received.ok() && received.status().no_resource()) return;
    if (received.status().code() == Code::kProtocolViolation) return Offend(received.status());
    if (!received.ok() || received->bytes == 0) {
      // What it wrote before it went is still to be read, and a goodbye may be among it.
      hung_up_ = true;
      return;
    }
    if (received->bytes != sizeof(bytes)) {
      return Offend(Status::Error(Code::kProtocolViolation, "receive", "a packet has no known length"));
    }
    if (state_ == State::kGreeting) {
      std::memcpy(&greeting, bytes, sizeof(greeting));
      OnGreeted(greeting, *received);
      continue;
    }
    Packet packet;
    std::memcpy(&packet, bytes, sizeof(packet));
    if (packet.kind != PacketKind::kSlab || over() || !link_) continue;
    Status slab = link_->borrower.OnSlab(packet, received->descriptor, received->lost);
    if (!slab.ok()) return Offend(std::move(slab));
  }
}

void Connection::OnGreeted(const Greeting& greeting, const Received& received) {
  if (greeting.magic != kMagic || greeting.version != kVersion || greeting.ring_bytes != kRingBytes) {
    return End(
        Status::Error(Code::kVersionUnsupported, "greeting",
                      "the other process speaks another version of shared memory: update the older one"));
  }
  if (greeting.status != 0) {
    const Code code = CodeFromWire(greeting.status);
    return End(Status::Error(code, "greeting",
                             code == Code::kLimitExceeded
                                 ? "the peer has as many connections as it accepts: try again later"
                                 : "the peer takes no shared memory from this process: for it, the process "
                                   "is another user's, or in "
                                   "another PID namespace"));
  }
  if (received.lost) {
    return End(Status::Errno("recvmsg", EMFILE,
                             "no descriptor is left for the peer's memory: raise the limit of open files "
                             "(ulimit -n)"));
  }
  if (Status joined = Join(received.descriptor, trusts_); !joined.ok()) return End(std::move(joined));
  state_ = State::kOpen;
  deadline_ = kNever;
  reactor_.round.progressed = true;
  if (handle_) reactor_.events->OnConnected(*handle_);
}

}  // namespace splitplane::shm

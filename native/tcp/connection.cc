// The life of a connection: dialing, joining, frames, closing.
#include "native/tcp/connection.h"

#include <sys/socket.h>

#include <algorithm>

#include "native/base/check.h"
#include "native/tcp/socket.h"

namespace splitplane::tcp {

Result<std::shared_ptr<Connection>> Connection::Dial(Reactor& reactor, const Address& address,
                                                     const ConnectOptions& options) {
  if (options.data_channels < 1 || options.data_channels > kDataChannelsMax) {
    return Status::Error(Code::kInvalidArgument, "connect", "data_channels is 1 to 16");
  }
  Result<Fd> socket = StartConnect(address, reactor.context.peer_timeout_ms);
  if (!socket.ok()) return socket.status();
  std::shared_ptr<Connection> connection(new Connection(reactor));
  connection->address_ = address;
  connection->info_.remote_address = address.ToString();
  connection->deadline_ = std::min(options.deadline, NowNs() + kJoinTimeoutNs);
  connection->join_.channels = uint8_t(options.data_channels);
  reactor.context.random.Fill(connection->join_.id.data(), connection->join_.id.size());
  reactor.context.random.Fill(connection->join_.secret.data(), connection->join_.secret.size());
  Status opened = connection->OpenSocket(0, std::move(*socket), Channel::State::kConnecting);
  if (!opened.ok()) return opened;
  connection->MakeRestless();
  reactor.connections.emplace(connection.get(), connection);
  return connection;
}

Result<std::shared_ptr<Connection>> Connection::Accept(Reactor& reactor, std::vector<Fd> sockets,
                                                       std::shared_ptr<uint32_t> open_count) {
  std::shared_ptr<Connection> connection(new Connection(reactor));
  connection->info_ = DescribeEnds(sockets.front().get());
  for (size_t i = 0; i < sockets.size(); i++) {
    // A policy that trusts this host must not trust a socket that comes from elsewhere.
    if (!RemoteAddress(sockets[i].get()).local_only()) connection->info_.local_only = false;
    Status opened = connection->OpenSocket(uint8_t(i), std::move(sockets[i]), Channel::State::kOpen);
    if (!opened.ok()) return opened;
    connection->channels_.back()->sender().Append({.kind = Kind::kJoined});
    connection->channels_.back()->Post();
  }
  connection->state_ = State::kOpen;
  connection->open_count_ = std::move(open_count);
  ++*connection->open_count_;
  reactor.connections.emplace(connection.get(), connection);
  return connection;
}

Connection::~Connection() = default;

Status Connection::OpenSocket(uint8_t index, Fd socket, Channel::State state) {
  channels_.push_back(std::make_unique<Channel>(reactor_, *this, index));
  return channels_.back()->Open(std::move(socket), state);
}

void Connection::OnConnectEnded(Channel& channel) {
  reactor_.progressed = true;
  if (const int error = ConnectError(channel.fd()); error != 0) {
    return Break(Status::Errno("connect", error, "cannot connect to " + address_.ToString()));
  }
  join_.index = channel.index();
  channel.SendJoin(join_);
  if (closed()) return;
  if (!channel.is_control()) return;
  info_ = DescribeEnds(channel.fd());
  if (Status dialed = DialData(); !dialed.ok()) Break(std::move(dialed));
}

// The data sockets follow the control socket, so that a host that refuses is asked once.
Status Connection::DialData() {
  for (uint8_t index = 1; index <= join_.channels; index++) {
    Result<Fd> socket = StartConnect(address_, reactor_.context.peer_timeout_ms);
    if (!socket.ok()) return socket.status();
    Status opened = OpenSocket(index, std::move(*socket), Channel::State::kConnecting);
    if (!opened.ok()) return opened;
  }
  return {};
}

Status Connection::OnJoined(Code status) {
  if (status == Code::kLimitExceeded) {
    return Status::Error(status, "join", "the peer has as many connections as it accepts: try again later");
  }
  if (status == Code::kVersionUnsupported) {
    return Status::Error(status, "join",
                         "the peer speaks another version of the TCP wire: update the older side");
  }
  if (status != Code::kOk) return Status::Error(status, "join", "the peer refused the connection");
  if (++joined_ < join_.channels + 1) return {};
  for (auto& one : channels_) one->StartReading();
  if (closed()) return why_;
  state_ = State::kOpen;
  deadline_ = kNever;
  if (handle_) reactor_.events->OnConnected(*handle_);
  return closed() ? why_ : Status();
}

Status Connection::OnFrame(ConstBytes frame) {
  // Who closed does not listen any more.
  if (state_ != State::kOpen || !handle_) return {};
  reactor_.events->OnFrame(*handle_, frame);
  return closed() ? why_ : Status();
}

Status Connection::OnNotified(uint32_t tag_index) {
  if (!handle_ || closed()) return {};
  reactor_.events->OnNotified(*handle_, tag_index);
  return closed() ? why_ : Status();
}

Status Connection::OnGoodbye() {
  return Status::Error(Code::kClosed, "receive", "the peer closed the connection");
}

Status Connection::PostSend(std::span<const ConstBytes> pieces) {
  if (state_ != State::kOpen) return NotOpen("send");
  size_t length = 0;
  for (ConstBytes piece : pieces) length += piece.size();
  if (length < 1 || length > kFrameBytesMax) {
    return Status::Error(Code::kInvalidArgument, "send",
                         "a frame has 1 to " + std::to_string(kFrameBytesMax) + " bytes");
  }
  Channel& control = *channels_.front();
  if (control.sender().queued_bytes() > kFrameQueueBytesMax) {
    wants_frames_ = true;
    MakeRestless();
    return Status::NoResource();
  }
  control.sender().AppendFrame(pieces, length);
  control.Post();
  reactor_.stats.frames_sent++;
  return {};
}

void Connection::FlushFrames() {
  if (state_ != State::kOpen) return;
  reactor_.budget = kFrameQueueBytesMax;
  channels_.front()->Flush();
}

void Connection::Close(Status why) {
  if (closed() || (why.ok() && state_ >= State::kDraining)) return;
  if (!why.ok()) return End(std::move(why));
  if (state_ == State::kConnecting) {
    return End(Status::Error(Code::kClosed, "close", "closed before it was connected"));
  }
  state_ = State::kDraining;
  MakeRestless();
}

void Connection::Break(Status why) {
  if (closed()) return;
  // After the goodbye the peer may close however it likes.
  if (state_ == State::kLingering) why = Status::Error(Code::kClosed, "close", "closed");
  End(std::move(why));
}

// Closes the sockets; the rest is told by Settle.
void Connection::End(Status why) {
  why_ = std::move(why);
  state_ = State::kEnding;
  for (auto& channel : channels_) channel->Close();
  if (open_count_) --*open_count_;
  open_count_.reset();
  MakeRestless();
}

void Connection::Abandon() {
  handle_ = nullptr;
  if (!closed()) End(Status::Error(Code::kClosed, "close", "the endpoint was destroyed"));
}

void Connection::Orphan() {
  if (!closed()) End(Status::Error(Code::kClosed, "close", "the transport was destroyed"));
  handle_ = nullptr;
  state_ = State::kEnded;
  // They refer to the transport, and this may outlive it.
  channels_.clear();
  operations_.clear();
}

void Connection::MakeRestless() {
  if (restless_) return;
  restless_ = true;
  reactor_.restless.push_back(this);
}

bool Connection::has_room() const {
  if (state_ != State::kOpen) return false;
  const bool frames = wants_frames_ && channels_.front()->sender().queued_bytes() < kFrameQueueBytesLow;
  if (frames || !wants_operations_) return frames;
  return operations_.size() < kOperationsMax &&
         std::any_of(channels_.begin() + 1, channels_.end(), [](const auto& channel) {
           return channel->sender().queued_bytes() < kRequestQueueBytesMax / 2;
         });
}

bool Connection::urgent() const {
  return state_ == State::kEnding || !untold_.empty() || has_room() ||
         (state_ == State::kDraining && outstanding_ == 0 && channels_.front()->sender().drained());
}

bool Connection::Settle() {
  if (deadline_ <= reactor_.now && !closed()) {
    if (state_ == State::kLingering) {
      Break({});
    } else {
      End(Status::Error(Code::kConnectTimeout, "connect",
                        "the peer at " + info_.remote_address + " did not answer in time"));
    }
  }
  if (handle_ && has_room()) {
    wants_frames_ = wants_operations_ = false;
    reactor_.events->OnWritable(*handle_);
  }
  if (!untold_.empty()) TellEverything();
  if (state_ == State::kDraining && outstanding_ == 0) {
    state_ = State::kLingering;
    deadline_ = reactor_.now + kGoodbyeTimeoutNs;
    channels_.front()->sender().Append({.kind = Kind::kGoodbye});
    channels_.front()->Flush();
  }
  if (state_ == State::kEnding) {
    TellEverything();
    // Callbacks may have destroyed the handle.
    state_ = State::kEnded;
    Endpoint* handle = handle_;
    handle_ = nullptr;
    if (handle) reactor_.events->OnClosed(*handle, why_);
    reactor_.progressed = true;
  }
  if (state_ == State::kEnded) {
    const auto self = reactor_.connections.find(this);
    if (self != reactor_.connections.end()) {
      reactor_.ended.push_back(std::move(self->second));
      reactor_.connections.erase(self);
    }
    restless_ = false;
    return false;
  }
  restless_ = deadline_ != kNever || wants_frames_ || wants_operations_ || state_ == State::kDraining;
  return restless_;
}

void Connection::OnFlushed() {
  if (state_ == State::kLingering && channels_.front()->sender().drained()) {
    shutdown(channels_.front()->fd(), SHUT_WR);
  }
}

Status Connection::NotOpen(const char* operation) const {
  if (closed()) return Status::Error(Code::kClosed, operation, "the endpoint is closed");
  if (state_ == State::kConnecting)
    return Status::Error(Code::kClosed, operation, "the endpoint is not connected yet");
  return Status::Error(Code::kClosed, operation, "the endpoint is closing");
}

}  // namespace splitplane::tcp

// A channel's socket, and the first look at what arrives.
#include "native/tcp/channel.h"

#include <sys/socket.h>

#include <algorithm>

#include "native/tcp/connection.h"

namespace splitplane::tcp {
namespace {

// In the middle of a part, whose bytes are certain to come, it does not pay to wake for less: every wake-up
// costs both sides. 128 KiB gained nothing, 512 KiB no more.
constexpr int kWakeBytes = 256 * 1024;
constexpr size_t kSmallAhead = 8 * 1024;
// What a peer sends when it begins a write: the announcement and the head of the first part, and not a byte
// more.
constexpr size_t kWriteHeads = 2 * kHeadBytes + kTagExtensionBytes;

}  // namespace

Channel::Channel(Reactor& reactor, Connection& connection, uint8_t index)
    : reactor_(reactor),
      connection_(connection),
      index_(index),
      sender_(reactor.send_buffers, reactor.stats),
      receiver_(*this, reactor.receive_buffers, reactor.stats, index == 0) {}

Channel::~Channel() {
  if (posted_) std::erase(reactor_.posted, this);
  if (in_interest_) std::erase(reactor_.interest, this);
}

Status Channel::Open(Fd socket, State state) {
  socket_ = std::move(socket);
  state_ = state;
  watched_ = Interest();
  return reactor_.Watch(EPOLL_CTL_ADD, socket_.get(), *this, watched_);
}

uint32_t Channel::Interest() const {
  if (state_ == State::kConnecting) return EPOLLOUT;
  const uint32_t in = state_ == State::kJoined ? 0u : uint32_t(EPOLLIN);
  return blocked_ ? in | EPOLLOUT : in;
}

void Channel::SendJoin(const Join& join) {
  state_ = State::kJoining;
  const auto extension = EncodeJoin(join);
  sender_.Append({.kind = Kind::kJoin, .extension = extension});
  Flush();
  SyncInterest();
}

void Channel::StartReading() {
  state_ = State::kOpen;
  SyncInterest();
}

void Channel::Close() {
  state_ = State::kClosed;
  socket_.Reset();
  sender_.Clear();
  writes_.clear();
}

void Channel::Post() {
  if (posted_) return;
  posted_ = true;
  reactor_.posted.push_back(this);
}

void Channel::Flush() {
  if (state_ == State::kConnecting || state_ == State::kClosed) return;
  const int64_t before = reactor_.budget;
  Result<Sender::Progress> progress = sender_.Flush(socket_.get(), reactor_.now, reactor_.budget);
  if (reactor_.budget != before) reactor_.progressed = true;
  if (!progress.ok()) return connection_.Break(progress.status());
  blocked_ = *progress == Sender::Progress::kBlocked;
  if (*progress == Sender::Progress::kOverBudget) Post();
  if (Interest() != watched_ && !in_interest_) {
    in_interest_ = true;
    reactor_.interest.push_back(this);
  }
  connection_.OnFlushed();
}

void Channel::SyncInterest() {
  const uint32_t wanted = Interest();
  if (state_ == State::kClosed || wanted == watched_) return;
  Status watched = reactor_.Watch(EPOLL_CTL_MOD, socket_.get(), *this, wanted);
  if (!watched.ok()) return connection_.Break(std::move(watched));
  watched_ = wanted;
}

void Channel::OnReady(uint32_t events) {
  if (state_ == State::kClosed) return;
  if (state_ == State::kConnecting) {
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connection_.OnConnectEnded(*this);
    return;
  }
  if (events & EPOLLOUT) Flush();
  if (events & ~uint32_t(EPOLLOUT)) Receive();
}

void Channel::Receive() {
  if (state_ != State::kOpen && state_ != State::kJoining) return;
  uint64_t received = 0;
  Status status = receiver_.Receive(socket_.get(), reactor_.now, reactor_.budget, received);
  if (received > 0) {
    reactor_.progressed = true;
    reactor_.received_at = received_at_ = reactor_.now;
  }
  if (!status.ok()) return connection_.Break(std::move(status));
  WakeAfter(receiver_.payload_left() >= kWakeBytes ? kWakeBytes : 1);
}

// How many bytes must have come before the socket counts as readable. A failure is harmless: we wake too
// often.
void Channel::WakeAfter(int bytes) {
  if (bytes == wake_bytes_ || state_ == State::kClosed) return;
  wake_bytes_ = bytes;
  setsockopt(socket_.get(), SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

size_t Channel::ReadAhead() const {
  if (state_ == State::kJoining) return kHeadBytes;
  if (state_ == State::kJoined) return 0;
  if (is_control()) return kScratchBytes;
  if (bulk_inbound_ > 0) return kHeadBytes;
  return small_ahead_ ? kSmallAhead : kWriteHeads;
}

void Channel::NoteInbound(uint64_t bytes, bool begins) {
  small_ahead_ = bytes <= kSmallBytes;
  if (small_ahead_) return;
  if (begins) {
    bulk_inbound_++;
  } else {
    bulk_inbound_--;
  }
}

Status Channel::OnFrame(ConstBytes frame) {
  if (state_ != State::kOpen || !is_control())
    return Status::Violation("record", "a frame came before the join or on a data socket");
  reactor_.stats.frames_received++;
  return connection_.OnFrame(frame);
}

Status Channel::OnRecord(const Record& record) {
  if (record.kind == Kind::kJoined) {
    if (state_ != State::kJoining)
      return Status::Violation("record", "the answer to a join came twice or unasked");
    Status joined = connection_.OnJoined(record.status);
    if (joined.ok() && state_ == State::kJoining) state_ = State::kJoined;
    SyncInterest();
    return joined;
  }
  if (state_ != State::kOpen)
    return Status::Violation("record", "something other than the answer to the join came first");
  if (record.kind == Kind::kGoodbye) {
    if (!is_control()) return Status::Violation("record", "a goodbye came on a data socket");
    return connection_.OnGoodbye();
  }
  if (is_control()) return Status::Violation("record", "a transfer came on the control socket");
  switch (record.kind) {
    case Kind::kRead:
      return ServeRead(record);
    case Kind::kWrite:
      return ServeWrite(record);
    case Kind::kAtomic:
      return ServeAtomic(record);
    case Kind::kCancel:
      return ServeCancel(record);
    case Kind::kReadFailed:
    case Kind::kWriteDone:
    case Kind::kAtomicDone:
      if (bulk_inbound_ == 0) small_ahead_ = true;
      return connection_.OnAnswer(*this, record);
    default:
      return Status::Violation("record", "a join came on a socket that has joined");
  }
}

Result<Inbound*> Channel::OnPart(const Record& record) {
  if (state_ != State::kOpen || is_control())
    return Status::Violation("record", "a part of a transfer came where none can be");
  Inbound* transfer = nullptr;
  if (record.kind == Kind::kData) {
    transfer = connection_.FindRead(*this, record.operation);
  } else if (auto found = writes_.find(record.operation); found != writes_.end()) {
    transfer = &found->second;
  }
  if (!transfer)
    return Status::Violation("record", "a part belongs to no transfer that is under way on this socket");
  if (record.offset != transfer->done)
    return Status::Violation("record", "a part does not continue its transfer");
  if (record.length > transfer->left())
    return Status::Violation("record", "a part has more bytes than were asked for");
  if (((record.flags & kFlagChecksum) != 0) != transfer->checksum) {
    return Status::Violation("record",
                             "a part has a checksum that its transfer does not have, or the reverse");
  }
  return transfer;
}

void Channel::OnUnusable(Inbound& transfer, Status why) {
  if (transfer.serving) {
    RefuseWrite(transfer, why);
  } else {
    connection_.GiveUpRead(*this, transfer, std::move(why));
  }
}

Status Channel::OnPartEnd(Inbound& transfer, const Trailer& trailer) {
  if (!trailer.damage.ok() && trailer.damage.code() != Code::kChecksumMismatch) return trailer.damage;
  return transfer.serving ? EndServedPart(transfer, trailer)
                          : connection_.OnReadPart(*this, transfer, trailer);
}

}  // namespace splitplane::tcp

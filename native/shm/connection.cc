// The life of a connection: what its user posts, how it ends, and what it does in a round.
#include "native/shm/connection.h"

#include <unistd.h>

#include <algorithm>

namespace splitplane::shm {
namespace {

// Frames in one round, so that other connections get their turn.
constexpr int kRecordsMax = 512;
// Records that may wait for room: more than honest peers can make us owe them. Beyond a crowd that is what is
// given back, loans that turn out to have ended, slabs that go, and answers.
constexpr size_t kWaitingMax =
    kCrowdMin + kTakesMax + size_t{kLoansMax} + kSlabsMax + 4 * size_t{kOperationsMax};
// What was read is told to the peer this often at least, so that it can go on writing meanwhile.
constexpr uint64_t kPublishBytes = kRingBytes / 8;

}  // namespace

Connection::Link::Link(Connection& owner, Segment own_segment, Segment peer_segment, bool trusted)
    : own(own_segment),
      out(own_segment, peer_segment, owner.socket_.get()),
      in(own_segment, peer_segment),
      lender(owner.reactor_.context, out, own_segment, peer_segment, owner.socket_.get(), trusted),
      borrower(
          owner.reactor_.context.pool, owner.reactor_.stats, out, own_segment, peer_segment,
          {[&owner](Completion completion) { owner.OnCompletion(std::move(completion)); },
           [&owner](uint32_t tag_index) { owner.OnNotified(tag_index); }, [&owner] { owner.MakeAwake(); }}),
      transfers(owner.reactor_.context, owner.reactor_.stats, owner.reactor_.round, out,
                {[&owner](Completion completion) { owner.OnCompletion(std::move(completion)); },
                 [&owner](uint32_t tag_index) { owner.OnNotified(tag_index); }}) {}

Connection::~Connection() = default;

// -- for the handle

Status Connection::PostSend(std::span<const ConstBytes> pieces) {
  if (!open()) return NotOpen("send");
  size_t length = 0;
  for (ConstBytes piece : pieces) length += piece.size();
  if (length < 1 || length > kBodyBytesMax) {
    return Status::Error(Code::kInvalidArgument, "send",
                         "a frame has 1 to " + std::to_string(kBodyBytesMax) + " bytes");
  }
  uint8_t* at = link_->out.Begin(RecordKind::kFrame, uint32_t(length));
  MakeAwake();
  if (!at) {
    wants_frames_ = true;
    return Status::NoResource();
  }
  for (ConstBytes piece : pieces) {
    if (!piece.empty()) std::memcpy(at, piece.data(), piece.size());
    at += piece.size();
  }
  link_->out.Commit();
  reactor_.stats.frames_sent++;
  return {};
}

void Connection::Ring() {
  if (open()) link_->out.Ring();
}

Status Connection::PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local) {
  if (!open()) return NotOpen("post");
  MakeAwake();
  Status valid = ValidateRemote(remote);
  if (valid.ok()) valid = ValidateLocal(local, remote.length, true);
  if (!valid.ok()) return valid;
  const Tag tag = Tag::From(remote.grant);
  if (link_->borrower.StartCopy(operation, tag, remote.offset, remote.length, local)) return {};
  return link_->transfers.PostRead(operation, remote, std::move(local));
}

Status Connection::PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                             bool notify) {
  if (!open()) return NotOpen("post");
  MakeAwake();
  WriteLent lent;
  // What is one record is sooner written than lent; what is wrong with a write is said when it is posted.
  const bool lends = remote.length > kDataBytesMax && ValidateLocal(local, remote.length, false).ok() &&
                     link_->lender.LendForWrite(operation, local, lent);
  if (!lends) return link_->transfers.PostWrite(operation, std::move(local), remote, notify);
  Status posted = link_->transfers.PostWriteLent(operation, std::move(local), remote, notify, lent);
  if (!posted.ok()) link_->lender.EndWrite(operation);
  return posted;
}

Status Connection::PostAtomic(uint64_t operation, const RemoteSlice& remote, const AtomicRequest& request) {
  if (!open()) return NotOpen("post");
  MakeAwake();
  return link_->transfers.PostAtomic(operation, remote, request);
}

void Connection::Cancel(uint64_t operation) {
  if (over() || !link_) return;
  MakeAwake();
  if (!link_->borrower.Cancel(operation)) link_->transfers.Cancel(operation);
}

Result<BufferRef> Connection::View(const RemoteSlice& remote) {
  if (!open() || !ValidateRemote(remote).ok()) return Status::NoResource();
  MakeAwake();
  return link_->borrower.View(Tag::From(remote.grant), remote.offset, remote.length);
}

bool Connection::ReadNow(const RemoteSlice& remote, std::span<const Slice> local) {
  if (!open() || !ValidateRemote(remote).ok() || !ValidateLocal(local, remote.length, true).ok())
    return false;
  MakeAwake();
  return link_->borrower.ReadNow(Tag::From(remote.grant), remote.offset, local, remote.length);
}

void Connection::Forget(const Tag& tag) {
  if (open()) link_->borrower.Forget(tag);
}

void Connection::Bind(Requester who) {
  if (!link_) return;
  reactor_.bound[who.session] = this;
  link_->transfers.Bind(who);
  link_->lender.Bind(std::move(who));
}

void Connection::Close(Status why) {
  if (over() || (why.ok() && state_ == State::kDraining)) return;
  if (!why.ok()) return End(std::move(why));
  if (state_ == State::kGreeting) {
    return End(Status::Error(Code::kClosed, "close", "closed before it was connected"));
  }
  state_ = State::kDraining;
  MakeAwake();
}

void Connection::Abandon() {
  handle_ = nullptr;
  if (!over()) End(Status::Error(Code::kClosed, "close", "the endpoint was destroyed"));
}

void Connection::Orphan() {
  handle_ = nullptr;
  // They refer to the transport, and this may outlive it.
  link_.reset();
  socket_.Reset();
  state_ = State::kGone;
}

Status Connection::NotOpen(const char* operation) const {
  if (over()) return Status::Error(Code::kClosed, operation, "the endpoint is closed");
  if (state_ == State::kGreeting)
    return Status::Error(Code::kClosed, operation, "the endpoint is not connected yet");
  return Status::Error(Code::kClosed, operation, "the endpoint is closing");
}

// -- for the transport

bool Connection::OnTagExported(const Tag& tag, const TagOptions& options) {
  if (!open() || !link_->lender.OnTagExported(tag, options)) return false;
  MakeAwake();
  return true;
}

void Connection::OnTagEnded(uint32_t index) {
  if (!link_) return;
  link_->lender.OnTagEnded(index);
  MakeAwake();
}

void Connection::OnRegionRemoved(const Region& region) {
  if (!link_) return;
  link_->lender.OnRegionRemoved(region);
  MakeAwake();
}

void Connection::MakeAwake() {
  idle_rounds_ = 0;
  if (awake_ || state_ == State::kGone) return;
  awake_ = true;
  reactor_.awake.push_back(this);
  WakeUp();
}

void Connection::WakeUp() {
  if (!link_ || sleep_ % 2 == 0) return;
  link_->own.words().sleep.store(++sleep_, std::memory_order_relaxed);
}

// Whoever sleeps says so before looking whether there is something to do; outgoing.cc has the other half.
bool Connection::Sleep() {
  if (HasWork()) return false;
  if (!link_) return true;
  link_->out.Ring();
  // Our user may have been at work since the last time, without a round in between, and wait for room now.
  WakeUp();
  link_->out.WantRoom(link_->out.waiting() || link_->transfers.sending() || wants_frames_ ||
                      link_->transfers.wants_room());
  link_->own.words().sleep.store(++sleep_, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!HasWork()) return true;
  WakeUp();
  return false;
}

bool Connection::HasWork() {
  if (state_ == State::kEnding || (hung_up_ && !peer_gone_)) return true;
  if (!link_ || peer_gone_) return false;
  if (link_->in.HasRecord() || link_->out.CanFlush()) return true;
  if (over()) return false;
  if (link_->transfers.has_untold() || link_->transfers.HasRoomAgain() || link_->borrower.copying())
    return true;
  if ((wants_frames_ || link_->transfers.sending()) && link_->out.has_room(kRingBytes / 2)) return true;
  return state_ == State::kDraining && drained() && !link_->out.waiting();
}

void Connection::Work() {
  if (state_ == State::kGone) return;
  idle_rounds_++;
  if (link_ && !peer_gone_) ReadRing();
  if (hung_up_ && !peer_gone_ && !(link_ && link_->in.HasRecord() && !link_->in.broken())) {
    peer_gone_ = true;
    Break(Status::Error(Code::kConnectionLost, "receive", "the process at the other end is gone"));
  }
  if (link_ && !over()) {
    link_->transfers.Pump();
    link_->borrower.Pump(reactor_.round);
    Settle();
  }
  if (link_ && !peer_gone_) {
    (void)link_->out.Flush();
    if (link_->out.broken() || link_->in.broken()) {
      Offend(Status::Violation("record", "the peer's positions in the rings cannot be"));
    } else if (link_->out.waiting_count() > kWaitingMax) {
      Offend(Status::Violation("record", "the peer asks without reading the answers"));
    }
    link_->out.Ring();
  }
  if (state_ == State::kEnding) TellEnd();
  if (state_ == State::kParted) Part();
}

// The peer does not keep to the rules, so that nothing is kept for it either.
void Connection::Offend(Status why) {
  Break(std::move(why));
  peer_gone_ = true;
}

void Connection::ReadRing() {
  RingReader::Record record;
  bool any = false;
  for (int i = 0; i < kRecordsMax && reactor_.round.budget > 0 && link_->in.Next(record); i++) {
    any = true;
    Status status = OnRecord(record);
    link_->in.Advance();
    if (!status.ok()) return Offend(std::move(status));
    if (state_ == State::kEnding) break;
    if (link_->in.unpublished() >= kPublishBytes) {
      link_->in.Publish();
      link_->out.RingForRoom();
    }
  }
  if (!any) return;
  idle_rounds_ = 0;
  reactor_.round.progressed = true;
  link_->in.Publish();
  link_->out.RingForRoom();
}

Status Connection::OnRecord(const RingReader::Record& record) {
  switch (record.kind) {
    case RecordKind::kFrame:
      OnFrame(record);
      return {};
    case RecordKind::kGoodbye: {
      Outcome outcome;
      if (!CopyBody(record, outcome)) break;
      if (over()) return {};
      if (outcome.status == 0) {
        End(Status::Error(Code::kClosed, "receive", "the peer closed the connection"), true);
      } else {
        End(Status::Error(Code::kConnectionLost, "receive", "the peer broke the connection off"));
      }
      return {};
    }
    case RecordKind::kLoan:
    case RecordKind::kTook:
    case RecordKind::kGaveBack:
    case RecordKind::kSlabGone:
      return OnLoanRecord(record);
    case RecordKind::kWriteLent: {
      WriteLent asked;
      if (!CopyBody(record, asked)) break;
      return over() ? Status() : OnWriteLent(asked);
    }
    case RecordKind::kCancel: {
      Number number;
      if (CopyBody(record, number) && link_->borrower.CancelWrite(number.number)) return {};
      [[fallthrough]];
    }
    default:
      return over() ? Status() : link_->transfers.OnRecord(record);
  }
  return Status::Violation("record", "a record has not the length of its kind");
}

Status Connection::OnWriteLent(const WriteLent& asked) {
  if (!link_->transfers.bound())
    return Status::Violation("record", "a write came before the peer was authenticated");
  // Its slab was handed over before the write was told of, on the other way.
  if (!link_->borrower.HasSlab(asked.slab)) ReceivePackets();
  if (over()) return {};
  // Asked again with its bytes, by the same number, it is to be the first that is heard of it.
  if (link_->borrower.LostSlab(asked.slab)) {
    link_->transfers.Answer(RecordKind::kWriteDone, asked.request.number, kCannotLook);
    return {};
  }
  Result<TagTable::Use> use = link_->transfers.Begin(asked.request, Access::kWrite);
  if (use.ok()) return link_->borrower.StartWrite(asked, std::move(*use));
  link_->transfers.Answer(RecordKind::kWriteDone, asked.request.number, use.status().code());
  return {};
}

Status Connection::OnLoanRecord(const RingReader::Record& record) {
  Loan loan;
  Take take;
  Number slab;
  switch (record.kind) {
    case RecordKind::kLoan:
      if (!CopyBody(record, loan)) break;
      if (over()) return {};
      // Its slab was handed over before the loan was told of, on the other way.
      if (!link_->borrower.HasSlab(loan.slab)) ReceivePackets();
      return over() ? Status() : link_->borrower.OnLoan(loan);
    case RecordKind::kSlabGone:
      if (!CopyBody(record, slab)) break;
      if (slab.number <= UINT32_MAX && !link_->borrower.HasSlab(uint32_t(slab.number))) {
        // It was handed over all the same, on the other way; who is over takes none any more.
        ReceivePackets();
        if (over()) return {};
      }
      return link_->borrower.OnSlabGone(slab.number);
    default:
      if (!CopyBody(record, take)) break;
      return record.kind == RecordKind::kTook ? link_->lender.OnTook(take, reactor_.stats, reactor_.round.now)
                                              : link_->lender.OnGaveBack(take);
  }
  return Status::Violation("record", "a word about loans has not the length of its kind");
}

void Connection::OnCompletion(Completion completion) {
  link_->lender.EndWrite(completion.operation);
  if (handle_) reactor_.events->OnCompletion(*handle_, std::move(completion));
}

void Connection::OnNotified(uint32_t tag_index) {
  if (handle_) reactor_.events->OnNotified(*handle_, tag_index);
}

// The frame is copied before anybody looks at it: the peer could change it meanwhile.
void Connection::OnFrame(const RingReader::Record& record) {
  // Who closed does not listen any more.
  if (!open() || !handle_ || record.body_bytes == 0) return;
  std::memcpy(reactor_.scratch.data(), record.body, record.body_bytes);
  reactor_.stats.frames_received++;
  reactor_.events->OnFrame(*handle_, {reactor_.scratch.data(), record.body_bytes});
}

void Connection::Settle() {
  if (over()) return;
  if (link_->transfers.has_untold()) link_->transfers.TellEnded();
  const bool frames = wants_frames_ && link_->out.has_room(kRingBytes / 2);
  if (open() && handle_ && (frames || link_->transfers.HasRoomAgain())) {
    wants_frames_ = false;
    link_->transfers.RoomTold();
    reactor_.round.progressed = true;
    reactor_.events->OnWritable(*handle_);
  }
  if (state_ != State::kDraining || !drained() || !link_->out.Flush()) return;
  End(Status::Error(Code::kClosed, "close", "closed"), true);
}

void Connection::CheckDeadline() {
  if (state_ != State::kGreeting || deadline_ > reactor_.round.now) return;
  End(Status::Error(Code::kConnectTimeout, "connect",
                    "the process at " + info_.remote_address + " did not answer in time"));
}

// The rest is told by the next round.
void Connection::End(Status why, bool in_good_order) {
  state_ = State::kEnding;
  why_ = std::move(why);
  deadline_ = kNever;
  if (open_count_) --*open_count_;
  open_count_.reset();
  if (link_ && !peer_gone_) {
    link_->out.PutLast({0, 0, uint32_t(in_good_order ? Code::kOk : Code::kConnectionLost)});
  }
  MakeAwake();
}

void Connection::TellEnd() {
  reactor_.round.progressed = true;
  if (link_) {
    link_->transfers.End(why_);
    link_->borrower.End(why_);
    link_->lender.Close();
  }
  state_ = State::kParted;
  Endpoint* handle = std::exchange(handle_, nullptr);
  if (handle) reactor_.events->OnClosed(*handle, why_);
}

// Stays for the sake of memory that is looked at, on either side.
void Connection::Part() {
  if (link_ && !peer_gone_) {
    const bool wanted = link_->lender.lends() || link_->borrower.has_views() || link_->out.waiting();
    if (wanted) return link_->out.Ring();
  }
  Leave();
}

void Connection::Leave() {
  state_ = State::kGone;
  std::erase_if(reactor_.bound, [this](const auto& entry) { return entry.second == this; });
  std::erase_if(reactor_.lenders, [this](const auto& entry) { return entry.second == this; });
  // Whoever holds the handle may outlive the transport.
  link_.reset();
  // The goodbye is in the ring, where the peer reads it also when the socket says that this side is gone.
  socket_.Reset();
  const auto self = reactor_.connections.find(this);
  if (self == reactor_.connections.end()) return;
  reactor_.ended.push_back(std::move(self->second));
  reactor_.connections.erase(self);
}

}  // namespace splitplane::shm

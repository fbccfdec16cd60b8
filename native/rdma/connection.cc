// The life of a connection that stands: posting, completions, records, closing.
#include "native/rdma/connection.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>

#include "native/base/check.h"
#include "native/rdma/door.h"
#include "native/rdma/works.h"
#include "native/transport/operation.h"

namespace splitplane::rdma {
namespace {

Status Lost(const ibv_wc& completion) {
  switch (completion.status) {
    case IBV_WC_RETRY_EXC_ERR:
      return Status::Error(Code::kConnectionLost, "completion", "the peer's device does not answer any more");
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return Status::Error(Code::kConnectionLost, "completion", "the peer takes no more packets");
    default:
      return Status::Error(Code::kConnectionLost, "completion",
                           "the queue pair failed with status " + std::to_string(completion.status) +
                               ": the connection to the peer broke");
  }
}

Status QueueFailed(const char* call) {
  return Status::Error(Code::kConnectionLost, call, "the completion queue failed");
}

}  // namespace

Connection::Connection(Reactor& reactor) : reactor_(reactor) {}
Connection::~Connection() = default;

Status Connection::PostSend(std::span<const ConstBytes> pieces) {
  if (state_ != State::kOpen) return NotOpen("send");
  size_t length = 0;
  for (ConstBytes piece : pieces) length += piece.size();
  if (length < 1 || length > kFrameBytesMax) {
    return Status::Error(Code::kInvalidArgument, "send",
                         "a frame has 1 to " + std::to_string(kFrameBytesMax) + " bytes");
  }
  if (works_->messenger->queued_bytes() > kFrameQueueBytesMax) {
    wants_frames_ = true;
    MakeRestless();
    return Status::NoResource();
  }
  works_->messenger->AddFrame(pieces, length);
  reactor_.stats.frames_sent++;
  Wake();
  return {};
}

Status Connection::PostTransfer(Kind kind, uint64_t operation, const RemoteSlice& remote,
                                std::vector<Slice> local, TransferOptions options) {
  if (state_ != State::kOpen) return NotOpen("post");
  Status status = ValidateRemote(remote);
  if (status.ok()) status = ValidateLocal(local, remote.length, kind == Kind::kRead);
  if (status.ok()) status = works_->asker->PostTransfer(kind, operation, remote, std::move(local), options);
  if (status.no_resource()) {
    wants_operations_ = true;
    MakeRestless();
  }
  if (status.ok()) Wake();
  return status;
}

Status Connection::PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) {
  if (state_ != State::kOpen) return NotOpen("post");
  Status status = ValidateRemote(remote);
  if (status.ok() && remote.length != sizeof(uint64_t)) {
    status = Status::Error(Code::kInvalidArgument, "post", "an atomic works on 8 bytes");
  }
  if (status.ok()) status = works_->asker->PostAtomic(operation, remote, request);
  if (status.no_resource()) {
    wants_operations_ = true;
    MakeRestless();
  }
  if (status.ok()) Wake();
  return status;
}

void Connection::Cancel(uint64_t operation) {
  if (!works_ || !works_->asker || closed()) return;
  works_->asker->Cancel(operation);
  Wake();
}

void Connection::Bind(Requester who) {
  if (works_ && works_->owner) works_->owner->Bind(std::move(who));
}

void Connection::Close(Status why) {
  if (closed() || (why.ok() && state_ >= State::kDraining)) return;
  if (!why.ok()) return End(std::move(why));
  if (state_ < State::kOpen) {
    return End(Status::Error(Code::kClosed, "close", "closed before it was connected"));
  }
  state_ = State::kDraining;
  MakeRestless();
}

void Connection::OnCompletionEvent() {
  reactor_.progressed = true;
  if (!closed()) Wake();
}

void Connection::OnQueuePairError(const ibv_qp* qp) {
  if (closed()) return;
  Status status = works_->lane && works_->lane->is(qp)
                      ? BreakLane(false)
                      : Status::Error(Code::kConnectionLost, "queue pair", "the queue pair failed");
  if (!status.ok()) Break(std::move(status));
  Wake();
}

void Connection::OnDeviceError() {
  Break(Status::Error(Code::kConnectionLost, "device", "the RDMA device failed, or was removed"));
}

void Connection::ForgetRegion(const Region& region) {
  if (works_) works_->registrations.Forget(region);
}

void Connection::OnTagEnded(uint32_t index, std::vector<TagTable::Use>& over) {
  if (closed() || !works_ || !works_->owner) return;
  if (Status status = works_->owner->OnTagEnded(index, over); !status.ok()) return Break(std::move(status));
  Wake();
}

void Connection::Work() {
  // Before it is open nobody has it: what came for it waits.
  if (closed() || state_ < State::kOpen) return;
  Status status = PollQueue();
  if (status.ok() && !closed()) status = ServeAndAsk();
  if (status.ok() && !closed()) status = Flush();
  if (!status.ok()) Break(std::move(status));
  DeliverEnded();
}

// Checksums can keep either busy for longer than a round, again and again: whoever spent one comes second in
// the next, or the other would come to nothing for as long as that lasts.
Status Connection::ServeAndAsk() {
  for (const bool serves : {serves_first_, !serves_first_}) {
    const bool any = reactor_.budget > 0;
    Status status = serves ? works_->owner->Work() : works_->asker->Work();
    if (!status.ok() || closed()) return status;
    if (any && reactor_.budget <= 0) serves_first_ = !serves;
  }
  return {};
}

Status Connection::Flush() { return works_->messenger->Flush(); }

Status Connection::PollQueue() {
  Works& works = *works_;
  while (reactor_.budget > 0) {
    if (works.fetched_at == works.fetched_count) {
      works.fetched_at = 0;
      works.fetched_count = reactor_.library.verbs.poll_cq(works.queue->get(), kBatch, works.fetched.data());
      if (works.fetched_count <= 0) {
        const bool failed = works.fetched_count < 0;
        works.fetched_count = 0;
        return failed ? QueueFailed("ibv_poll_cq") : Status();
      }
    }
    reactor_.progressed = true;
    Status status = OnCompletion(works.fetched[size_t(works.fetched_at++)]);
    if (!status.ok()) return status;
    if (closed()) return {};
  }
  return {};
}

Status Connection::OnCompletion(const ibv_wc& completion) {
  if ((completion.wr_id & Lane::kPartId) != 0 && !works_->lane->current(completion)) return {};
  if (completion.status != IBV_WC_SUCCESS) return OnFailedCompletion(completion);
  if ((completion.wr_id & Messenger::kSendId) != 0) return works_->messenger->OnSent(completion);
  if ((completion.wr_id & Messenger::kReceiveId) != 0) return works_->messenger->OnReceived(completion);
  works_->asker->OnPartMoved();
  return {};
}

Status Connection::OnFailedCompletion(const ibv_wc& completion) {
  if ((completion.wr_id & Lane::kPartId) == 0) return Lost(completion);
  // The peer is not there, which a new queue pair would not change.
  const bool silent =
      completion.status == IBV_WC_RETRY_EXC_ERR || completion.status == IBV_WC_RNR_RETRY_EXC_ERR;
  return silent ? Lost(completion) : BreakLane(completion.status != IBV_WC_WR_FLUSH_ERR);
}

// Memory was taken back under a part, ours or the peer's. It starts again on a new queue pair.
Status Connection::BreakLane(bool blamed) {
  return works_->lane->up() ? RestartLane(blamed) : Status();  // else it is on its way already
}

Status Connection::RestartLane(bool blamed) {
  Status status = works_->lane->Restart();
  if (status.ok()) works_->asker->OnLaneBroken(blamed);
  return status;
}

Status Connection::OnRecord(const Record& record) {
  switch (record.kind) {
    case Kind::kLane: {
      bool restarted = false;
      Status status = works_->lane->OnRecord(record, restarted);
      if (status.ok() && restarted) works_->asker->OnLaneBroken(false);
      return status;
    }
    case Kind::kGrant:
    case Kind::kChecksum:
    case Kind::kEnded:
    case Kind::kValue:
    case Kind::kKeep:
    case Kind::kWithdraw:
      return works_->asker->OnRecord(record);
    case Kind::kGoodbye:
      return Status::Error(Code::kClosed, "receive", "the peer closed the connection");
    default:
      return works_->owner->OnRecord(record);
  }
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

void Connection::DeliverEnded() {
  for (Completion& completion : works_->asker->TakeEnded()) {
    reactor_.progressed = true;
    // A callback may have ended it all: then this is told with the rest.
    if (closed()) {
      untold_.push_back(std::move(completion));
    } else if (handle_) {
      reactor_.events->OnCompletion(*handle_, std::move(completion));
    }
  }
}

Status Connection::OnTakenBack() { return works_->lane->connected() ? RestartLane(false) : Status(); }

bool Connection::Arm() {
  if (closed() || state_ < State::kOpen) return true;
  Works& works = *works_;
  if (works.fetched_at < works.fetched_count || works.messenger->can_flush() || works.asker->has_work() ||
      works.owner->has_work()) {
    return false;
  }
  if (reactor_.library.verbs.req_notify_cq(works.queue->get(), 0) != 0) {
    Break(QueueFailed("ibv_req_notify_cq"));
    return false;
  }
  // What came before the queue was armed wakes nobody.
  const int fetched = reactor_.library.verbs.poll_cq(works.queue->get(), kBatch, works.fetched.data());
  works.fetched_at = 0;
  works.fetched_count = std::max(0, fetched);
  if (fetched < 0) Break(QueueFailed("ibv_poll_cq"));
  return fetched == 0;
}

void Connection::Wake() {
  if (awake_ || !works_) return;
  awake_ = true;
  reactor_.awake.push_back(this);
}

void Connection::MakeRestless() {
  if (restless_) return;
  restless_ = true;
  reactor_.restless.push_back(this);
}

void Connection::Break(Status why) {
  if (closed()) return;
  // After the goodbye the peer may close however it likes.
  if (state_ == State::kLingering) why = Status::Error(Code::kClosed, "close", "closed");
  End(std::move(why));
}

// The rest is told by Settle. Inside of Poll it also takes the verbs objects down: somebody up the stack may
// be using them.
void Connection::End(Status why) {
  why_ = std::move(why);
  state_ = State::kEnding;
  deadline_ = kNever;
  if (open_count_) --*open_count_;
  open_count_.reset();
  if (!reactor_.events) TearDown();
  MakeRestless();
}

void Connection::TearDown() {
  if (works_) {
    const std::unique_ptr<Works> works = std::move(works_);
    if (works->lane) {
      works->lane.reset();
      works->control.reset();
      if (works->owner) works->owner.reset();
      works->asker->End(why_);
      for (Completion& completion : works->asker->TakeEnded()) untold_.push_back(std::move(completion));
    }
  }
  device_.reset();
  std::unique_ptr<ConnectionId> id = std::move(id_);
  if (!id) return;
  id->set_owner(nullptr);
  // Without a connection this fails: then nobody answers, and the id can go.
  if (reactor_.library.verbs.disconnect(id->get()) != 0) return;
  reactor_.parting.push_back({std::move(id), NowNs() + kGoodbyeTimeoutNs});
}

void Connection::Abandon() {
  handle_ = nullptr;
  if (!closed()) End(Status::Error(Code::kClosed, "close", "the endpoint was destroyed"));
}

void Connection::Orphan() {
  if (!closed()) End(Status::Error(Code::kClosed, "close", "the transport was destroyed"));
  TearDown();
  handle_ = nullptr;
  state_ = State::kEnded;
  untold_.clear();
}

bool Connection::has_room() const {
  if (state_ != State::kOpen) return false;
  if (wants_frames_ && works_->messenger->queued_bytes() < kFrameQueueBytesLow) return true;
  return wants_operations_ && works_->asker->outstanding() < kOperationsMax;
}

bool Connection::urgent() const {
  return state_ == State::kEnding || !untold_.empty() || has_room() ||
         (state_ == State::kDraining && works_->asker->outstanding() == 0);
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
  if (state_ == State::kDraining && works_->asker->outstanding() == 0) {
    state_ = State::kLingering;
    deadline_ = reactor_.now + kGoodbyeTimeoutNs;
    EncodeHead(Kind::kGoodbye, 0, Code::kOk, 0, works_->messenger->Add(kRecordHeadBytes));
    Wake();
    if (Status status = Flush(); !status.ok()) Break(std::move(status));
  }
  if (state_ == State::kEnding) {
    TearDown();
    TellEverything();
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

void Connection::TellEverything() {
  reactor_.progressed = true;
  for (Completion& completion : std::exchange(untold_, {})) {
    if (handle_) reactor_.events->OnCompletion(*handle_, std::move(completion));
  }
  // Callbacks may have destroyed the handle.
  state_ = State::kEnded;
  Endpoint* handle = std::exchange(handle_, nullptr);
  if (handle) reactor_.events->OnClosed(*handle, why_);
}

Status Connection::NotOpen(const char* operation) const {
  if (closed()) return Status::Error(Code::kClosed, operation, "the endpoint is closed");
  if (state_ < State::kOpen)
    return Status::Error(Code::kClosed, operation, "the endpoint is not connected yet");
  return Status::Error(Code::kClosed, operation, "the endpoint is closing");
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

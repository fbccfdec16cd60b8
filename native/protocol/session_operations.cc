// One-sided operations of a session: they wait while the link takes no more, are posted in order, survive an
// interruption where doing them twice does no harm, and end exactly once.
#include <algorithm>

#include "native/protocol/session.h"

namespace splitplane {
namespace {

constexpr uint64_t kAtomicBytes = 8;

Status Unsupported(const Transport& transport, const char* what) {
  return Status::Error(Code::kUnsupported, "transfer",
                       std::string("the transport ") + transport.name() + " cannot do " + what);
}

// What a link says of its operations when it is the link that failed.
bool IsLinkFailure(Code code) {
  return code == Code::kConnectionLost || code == Code::kPeerUnresponsive || code == Code::kClosed;
}

Status AtomicUncertain() {
  return Status::Error(
      Code::kConnectionLost, "atomic",
      "the connection was lost: the operation may or may not have been applied; read the word to see");
}

Status Aborted() { return Status::Error(Code::kAborted, "transfer", "canceled"); }

}  // namespace

Status Session::CheckOperation(const Operation& operation) const {
  if (closing_ || (state_ != State::kOpen && state_ != State::kInterrupted)) {
    return Status::Error(Code::kClosed, "transfer",
                         "the session is not open: it is being greeted, or was closed");
  }
  const Capabilities& can = transport_->capabilities();
  switch (operation.kind) {
    case Operation::Kind::kRead:
      if (!can.remote_read) return Unsupported(*transport_, "remote reads");
      break;
    case Operation::Kind::kWrite:
      if (!can.remote_write) return Unsupported(*transport_, "remote writes");
      if (operation.options.notify && !can.write_notification)
        return Unsupported(*transport_, "notifications of writes");
      break;
    case Operation::Kind::kAtomic:
      if (!can.remote_atomics) return Unsupported(*transport_, "remote atomics");
      break;
  }
  if (operation.length == 0 || operation.offset > UINT64_MAX - operation.length) {
    return Status::Error(Code::kInvalidArgument, "transfer", "the range is empty, or ends beyond 2^64 bytes");
  }
  if (waiting_.size() + posted_.size() >= core_.options.operations_queued_max) {
    return Status::Error(Code::kQuotaExceeded, "transfer",
                         "too many operations of this connection have not ended; await some before the next");
  }
  return {};
}

Status Session::Start(Operation& operation) {
  operation.session = this;
  if (operation.kind == Operation::Kind::kAtomic) {
    operation.length = kAtomicBytes;
  } else {
    operation.length = 0;
    for (const Slice& slice : operation.slices) operation.length += slice.length;
  }
  if (Status status = CheckOperation(operation); !status.ok()) return status;
  // Which link a grant came over is known as long as there was one only.
  if (state_ != State::kOpen || resumed_ > 0) operation.grant.clear();
  waiting_.Append(&operation);
  core_.MarkDirty(*this);
  return {};
}

// What needs nobody's help does not wait behind what does: reads have no order among each other.
Result<BufferRef> Session::View(const RemoteSlice& remote) {
  const bool live = link_ && link_->phase == Link::Phase::kLive && link_->failing.ok() && !closing_;
  return live ? link_->endpoint->View(remote) : Status::NoResource();
}

bool Session::ReadNow(const RemoteSlice& remote, std::span<const Slice> into) {
  const bool live = link_ && link_->phase == Link::Phase::kLive && link_->failing.ok() && !closing_;
  return live && link_->endpoint->ReadNow(remote, into);
}

bool Session::PostOperations() {
  bool posted = false;
  const uint32_t operations_max = link_->transport.capabilities().operations_max;
  while (link_->confirmed && link_->failing.ok() && posted_.size() < operations_max) {
    Operation* operation = waiting_.first();
    if (!operation) break;
    Status status = PostOperation(*operation);
    if (status.no_resource()) break;
    posted = true;
    if (!status.ok()) {
      if (IsLinkFailure(status.code())) {
        core_.links.Fail(*link_, std::move(status));
        break;
      }
      waiting_.Remove(operation);
      core_.told.Operation(operation->id, std::move(status));
      core_.operations.Remove(operation);
      continue;
    }
    waiting_.Remove(operation);
    posted_.Append(operation);
    operation->posted = true;
  }
  return posted;
}

Status Session::PostOperation(Operation& operation) {
  const ConstBytes reach = operation.grant.empty() ? operation.tag.span() : ConstBytes(operation.grant);
  const RemoteSlice remote{reach, operation.offset, operation.length};
  Endpoint& endpoint = *link_->endpoint;
  // The slices are kept: after an interruption they are needed again.
  switch (operation.kind) {
    case Operation::Kind::kRead:
      return endpoint.PostRead(operation.id, remote, operation.slices, operation.options);
    case Operation::Kind::kWrite:
      return endpoint.PostWrite(operation.id, operation.slices, remote, operation.options);
    case Operation::Kind::kAtomic:
      break;
  }
  return endpoint.PostAtomic(operation.id, remote, operation.request);
}

void Session::OnCompletion(Link& link, Completion completion) {
  Operation* operation = core_.operations.Find(completion.operation);
  if (!operation || operation->session != this || !operation->posted) return;
  if (IsLinkFailure(completion.status.code())) {
    // It is the link that failed: everything on it is decided together.
    return core_.links.Fail(link, std::move(completion.status));
  }
  const OperationId id = operation->id;
  posted_.Remove(operation);
  core_.operations.Remove(operation);
  if (closing_ || !waiting_.empty()) core_.MarkDirty(*this);
  core_.told.Now().OnOperation(id, completion.status, completion.atomic_value);
}

void Session::CancelOperation(Operation& operation) {
  if (!operation.posted) return FinishOperation(waiting_, operation, Aborted());
  operation.canceled = true;
  link_->endpoint->Cancel(operation.id);
}

void Session::FinishOperation(OperationList& list, Operation& operation, const Status& status) {
  list.Remove(&operation);
  core_.told.Operation(operation.id, status);
  core_.operations.Remove(&operation);
  if (closing_) core_.MarkDirty(*this);
}

// The link is gone. What may be done twice waits for the next one, on which only the tag is good for
// anything.
void Session::RequeueOperations() {
  OperationList again;
  while (Operation* operation = posted_.first()) {
    if (operation->canceled) {
      FinishOperation(posted_, *operation, Aborted());
    } else if (operation->kind == Operation::Kind::kAtomic) {
      FinishOperation(posted_, *operation, AtomicUncertain());
    } else {
      posted_.Remove(operation);
      operation->posted = false;
      again.Append(operation);
    }
  }
  waiting_.Prepend(again);
  for (Operation* operation = waiting_.first(); operation; operation = operation->next)
    operation->grant.clear();
}

void Session::EndOperations(const Status& why) {
  for (OperationList* list : {&posted_, &waiting_}) {
    while (Operation* operation = list->first()) FinishOperation(*list, *operation, why);
  }
}

}  // namespace splitplane

// The life of a session: dialing, interruption and attempts to resume, closing, the end.
#include "native/protocol/session.h"

#include <algorithm>

#include "native/base/check.h"

namespace splitplane {
namespace {

// After these nothing that the peer sends can be believed: the session ends instead of going on over another
// link.
bool EndsSession(Code code) {
  return code == Code::kProtocolViolation || code == Code::kChecksumMismatch ||
         code == Code::kVersionUnsupported;
}

}  // namespace

Session::Session(EngineCore& core, SessionId id)
    : Timer(core.timers),
      core_(core),
      id_(id),
      outbox_(core.chunks, core.options.queue_messages_max, core.options.queue_bytes_max),
      inbox_(core.options.message_bytes_max, core.options.window_messages, core.options.window_bytes) {}

Session::~Session() {
  for (OperationList* list : {&posted_, &waiting_}) {
    while (Operation* operation = list->first()) {
      list->Remove(operation);
      core_.operations.Remove(operation);
    }
  }
}

Status Session::Dial(Routes routes, ConnectOptions options, const NodeId& expected_peer) {
  dialer_ = true;
  routes_ = std::move(routes);
  connect_options_ = options;
  // The link's timer runs for the greeting too.
  connect_options_.deadline = kNever;
  expected_peer_ = expected_peer;
  return DialNext();
}

// Dials the next route of this round over which dialing can begin.
Status Session::DialNext() {
  while (const Routes::Entry* route = routes_.Next()) {
    if (!route->transport) continue;
    Result<std::unique_ptr<Endpoint>> endpoint = route->transport->Connect(route->address, connect_options_);
    if (!endpoint.ok()) {
      routes_.PassOver(endpoint.status());
      continue;
    }
    link_ = &core_.links.Add(std::move(endpoint).value(), *route->transport);
    link_->dialed = true;
    link_->hurried = routes_.HasMore();
    link_->session = this;
    return {};
  }
  return routes_.Failure();
}

void Session::OnLinkLost(Link& link, Status why) {
  SPLITPLANE_CHECK(&link == link_);
  const Link::Phase phase = link.phase;
  link_ = nullptr;
  core_.links.Drop(link, why);
  if (why.ok() || why.code() == Code::kClosed) {
    // In good order for the transport, but not for us: there was no CLOSE.
    why =
        Status::Error(Code::kConnectionLost, "session", "the peer ended the connection; it may have stopped");
  }
  if (phase == Link::Phase::kLive) {
    if (dialer_) routes_.Lost(why, core_.now - live_since_);
    return EndsSession(why.code()) ? End(std::move(why), Farewell::kNone) : Interrupt(std::move(why));
  }
  // Judging, or waiting for a START: whoever is there has spoken, and another route leads to nobody else.
  if (phase > Link::Phase::kAwaitWelcome) return End(std::move(why), Farewell::kNone);
  routes_.PassOver(why);
  if (routes_.HasMore()) {
    attempt_at_ = core_.now;
    return UpdateTimer();
  }
  if (state_ == State::kGreeting) return End(routes_.Failure(), Farewell::kNone);
  if (EndsSession(why.code())) return End(std::move(why), Farewell::kNone);
  PlanAttempt();
}

// The link is gone already.
void Session::Interrupt(Status why) {
  SPLITPLANE_CHECK(!link_ && state_ == State::kOpen);
  RequeueOperations();
  outbox_.Rewind();
  inbox_.Rewind();
  ping_owed_ = pong_owed_ = close_sent_ = close_received_ = false;
  if (closing_ && Drained()) return End(Status::Error(Code::kClosed, "session", "closed"), Farewell::kNone);
  if (core_.options.resume_ms == 0) return End(std::move(why), Farewell::kNone);
  state_ = State::kInterrupted;
  resume_until_ = core_.now + NsFromMs(core_.options.resume_ms);
  backoff_ = 0;
  interrupted_why_ = why;
  core_.told.Interrupted(id_, std::move(why));
  PlanAttempt();
}

void Session::PlanAttempt() {
  if (dialer_) {
    const MonotonicNs least = NsFromMs(core_.options.reconnect_min_ms);
    backoff_ = backoff_ == 0 ? least : std::min(backoff_ * 2, NsFromMs(core_.options.reconnect_max_ms));
    attempt_at_ = core_.now + core_.Jittered(backoff_);
    routes_.BeginRound();
  }
  UpdateTimer();
}

void Session::UpdateTimer() { SetTimer(std::min({attempt_at_, resume_until_, drain_until_})); }

void Session::OnTimer(MonotonicNs now) {
  if (state_ == State::kClosed) return;
  if (now >= drain_until_) {
    return End(Status::Error(
                   Code::kDeadlineExceeded, "close",
                   "the peer did not take or acknowledge everything in time; what was not delivered is lost"),
               Farewell::kReject);
  }
  if (now >= resume_until_) return End(interrupted_why_, Farewell::kReject);
  if (now >= attempt_at_) {
    attempt_at_ = kNever;
    Status status = DialNext();
    if (!status.ok() && state_ == State::kGreeting) return End(std::move(status), Farewell::kNone);
    if (!status.ok()) PlanAttempt();
  }
  UpdateTimer();
}

void Session::Close() {
  if (state_ == State::kGreeting) {
    return End(Status::Error(Code::kClosed, "session", "closed before it was open"), Farewell::kReject);
  }
  closing_ = true;
  core_.MarkDirty(*this);
}

// True if the session ended or said that it will.
bool Session::MakeProgressOnClose() {
  if (!closing_) return false;
  if (drain_until_ == kNever) {
    drain_until_ = core_.now + kDrainNs;
    UpdateTimer();
  }
  if (!Drained()) return false;
  if (state_ == State::kInterrupted) {
    End(Status::Error(Code::kClosed, "session", "closed"), Farewell::kNone);
    return true;
  }
  bool posted = false;
  if (!close_sent_) posted = close_sent_ = PostBare(FrameType::kClose);
  if (!close_sent_ || !close_received_) return posted;
  End(Status::Error(Code::kClosed, "session", "closed"), Farewell::kGoodOrder);
  return true;
}

void Session::End(Status why, Farewell farewell) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  SetTimer(kNever);
  if (Link* link = std::exchange(link_, nullptr)) {
    if (farewell == Farewell::kReject && link->phase != Link::Phase::kConnecting) {
      const std::vector<uint8_t> frame = EncodeReject(why.code(), why.detail(), inbox_.last_sequence());
      const ConstBytes pieces[] = {frame};
      core_.links.Post(*link, pieces);
    }
    // While operations run, only ending at once keeps bytes from being placed after they were told to have
    // ended.
    const bool abrupt = farewell == Farewell::kNone || !posted_.empty();
    abrupt ? core_.links.Drop(*link, why) : core_.links.Leave(*link);
  }
  core_.tags.RevokeSession(id_);
  core_.pool.EndAudience(id_);
  EndOperations(why);
  outbox_.Clear();
  core_.told.Closed(id_, std::move(why));
  core_.sessions.Remove(*this, name_);
}

void Session::Info(SessionInfo& out) const {
  if (transport_) out.transport = transport_->name();
  out.passed_over = routes_.passed_over();
  out.endpoint = endpoint_info_;
  out.peer_node = peer_node_;
  out.peer_identity = peer_identity_;
  out.principal = principal_;
  out.encoding = encoding_;
  out.resumed = resumed_;
  out.failed_over = failed_over_;
  out.messages_sent = outbox_.sent_messages();
  out.messages_received = inbox_.received_messages();
  out.messages_repeated = inbox_.repeated_messages();
  out.messages_queued = outbox_.waiting_count();
  out.messages_unacknowledged = outbox_.unacknowledged_count();
  out.operations_outstanding = waiting_.size() + posted_.size();
  out.message_bytes_max = outbox_.message_bytes_max();
}

}  // namespace splitplane

// The handshake (docs/WIRE_PROTOCOL.md, "Handshake"): HELLO, WELCOME, START. Whoever dialed learns from the
// WELCOME who answered before it sends anything but its name, and the listener learns from the START whether
// a session is resumed by the one it belongs to. A user who let a peer in is not asked again when the session
// is resumed: the secrets of the first greeting prove that it is the same peer.
#include <utility>

#include "native/base/check.h"
#include "native/protocol/session.h"

namespace splitplane {
namespace {

Status Stranger() {
  return Status::Error(
      Code::kIdentityMismatch, "connect",
      "somebody else answers at the peer's address: nothing was sent; find out who, and connect again");
}

}  // namespace

void Session::OnConnected(Link& link) {
  SPLITPLANE_CHECK(&link == link_);
  if (link.hurried) {
    // Somebody is there: from here on it has the time that every greeting has.
    link.hurried = false;
    core_.links.StartTimerSoon(link);
  }
  Hello hello = core_.OurHello();
  hello.encodings = core_.options.encodings;
  // Credentials are for the first greeting: whoever answers now may be a stranger.
  if (state_ == State::kGreeting) {
    hello.credentials = core_.options.credentials;
  } else {
    hello.session = name_;
  }
  link.phase = Link::Phase::kAwaitWelcome;
  PostGreeting(link, EncodeHello(FrameType::kHello, hello, 0));
}

// The frames of a greeting are the first on a link, which always has room for them.
bool Session::PostGreeting(Link& link, const std::vector<uint8_t>& frame) {
  const ConstBytes pieces[] = {frame};
  if (core_.links.Post(link, pieces)) return true;
  core_.links.Fail(link, Status::Error(Code::kConnectionLost, "greeting", "the connection took no greeting"));
  return false;
}

void Session::OnGreetingFrame(Link& link, const Frame& frame) {
  if (frame.type == FrameType::kReject) return End(DecodeReject(frame), Farewell::kGoodOrder);
  if (link.phase == Link::Phase::kAwaitWelcome && frame.type == FrameType::kWelcome)
    return OnWelcome(link, frame);
  if (link.phase == Link::Phase::kAwaitStart && frame.type == FrameType::kStart)
    return OnFirstStart(link, frame);
  Fail(Status::Error(Code::kProtocolViolation, "greeting", "a frame came that has no place in the greeting"));
}

void Session::OnHello(Link& link, Hello hello, std::string encoding) {
  link_ = &link;
  link.session = this;
  TakePeer(hello, std::move(encoding));
  AskUser(link, hello);
}

void Session::OnWelcome(Link& link, const Frame& frame) {
  Hello hello;
  if (Status status = DecodeHello(frame, hello); !status.ok()) return Fail(std::move(status));
  if (state_ == State::kInterrupted) return OnResumeWelcome(link, hello, frame.acknowledged);
  if (Acknowledge(frame.acknowledged)) OnFirstWelcome(link, std::move(hello));
}

void Session::OnFirstWelcome(Link& link, Hello hello) {
  if (expected_peer_ != NodeId{} && hello.node_id != expected_peer_) return End(Stranger(), Farewell::kNone);
  std::string encoding = ChooseEncoding(hello.encodings, core_.options.encodings);
  if (encoding.empty()) {
    return Fail(
        Status::Error(Code::kProtocolViolation, "greeting", "the welcome chose an encoding nobody offered"));
  }
  name_ = hello.session;
  listener_secret_ = hello.secret;
  epoch_ = hello.epoch;
  TakePeer(hello, std::move(encoding));
  AskUser(link, hello);
}

void Session::TakePeer(Hello& hello, std::string encoding) {
  peer_node_ = hello.node_id;
  peer_identity_ = hello.identity;
  encoding_ = std::move(encoding);
  outbox_.SetPeer(std::min(hello.message_bytes_max, core_.options.message_bytes_max), hello.window_messages,
                  hello.window_bytes);
}

void Session::AskUser(Link& link, Hello& hello) {
  link.phase = Link::Phase::kJudging;
  transport_ = &link.transport;
  endpoint_info_ = link.endpoint->info();
  PeerHello peer;
  peer.dialed = link.dialed;
  peer.listener = link.listener;
  peer.node_id = peer_node_;
  peer.identity = peer_identity_;
  peer.credentials = std::move(hello.credentials);
  peer.encoding = encoding_;
  peer.transport = transport_->name();
  peer.endpoint = endpoint_info_;
  core_.told.Now().OnHello(id_, peer);
}

Status Session::Accept(std::string principal) {
  if (!link_ || link_->phase != Link::Phase::kJudging) {
    return Status::Error(Code::kInvalidArgument, "accept",
                         "this peer does not wait for an answer to its hello");
  }
  principal_ = std::move(principal);
  if (!dialer_) {
    core_.random.Fill(name_.data(), name_.size());
    core_.random.Fill(listener_secret_.data(), listener_secret_.size());
    core_.sessions.Name(*this, name_);
    PostWelcome(*link_, epoch_);
    return {};
  }
  core_.random.Fill(dialer_secret_.data(), dialer_secret_.size());
  GoLive(*link_);
  return {};
}

void Session::PostWelcome(Link& link, uint32_t epoch) {
  Hello hello = core_.OurHello();
  hello.epoch = epoch;
  hello.session = name_;
  hello.secret = listener_secret_;
  hello.encodings = {encoding_};
  if (state_ == State::kGreeting) hello.credentials = core_.options.credentials;
  link.phase = Link::Phase::kAwaitStart;
  link.epoch = epoch;
  PostGreeting(link, EncodeHello(FrameType::kWelcome, hello, inbox_.last_sequence()));
}

void Session::OnFirstStart(Link& link, const Frame& frame) {
  const ConstBytes secret = frame.bytes.subspan(kStartSecretAt, kSecretBytes);
  std::copy(secret.begin(), secret.end(), dialer_secret_.begin());
  if (Acknowledge(frame.acknowledged)) GoLive(link);
}

void Session::OfferResume(Link& link) {
  link.resumes = id_;
  PostWelcome(link, ++offered_epoch_);
}

void Session::OnResumeWelcome(Link& link, const Hello& hello, uint64_t acknowledged) {
  const bool same = hello.node_id == peer_node_ && hello.session == name_ &&
                    SameSecret(ConstBytes(hello.secret), ConstBytes(listener_secret_));
  if (!same) return End(Stranger(), Farewell::kNone);
  if (hello.epoch <= epoch_) {
    return Fail(
        Status::Error(Code::kProtocolViolation, "resume", "the welcome is for a connection that is over"));
  }
  epoch_ = hello.epoch;
  if (Acknowledge(acknowledged)) GoLive(link);
}

void Session::OnResumeStart(Link& link, const Frame& frame) {
  // Until the secret is verified nothing that happens on this link touches the session.
  Status refusal;
  if (!SameSecret(frame.bytes.subspan(kStartSecretAt, kSecretBytes), ConstBytes(dialer_secret_))) {
    refusal = Status::Error(Code::kIdentityMismatch, "resume", "the session belongs to somebody else");
  } else if (link.epoch <= epoch_) {
    refusal =
        Status::Error(Code::kSessionExpired, "resume", "the session has gone on over a later connection");
  } else if (Link* old = std::exchange(link_, nullptr)) {
    // The peer noticed earlier than we did that the old link is dead, or it was stopped and has come back.
    Status why = Status::Error(Code::kConnectionLost, "session", "the peer has connected again");
    core_.links.Drop(*old, why);
    Interrupt(std::move(why));
    if (state_ == State::kClosed)
      refusal = Status::Error(Code::kSessionExpired, "resume", "the session has ended");
  }
  if (!refusal.ok()) {
    PostGreeting(link, EncodeReject(refusal.code(), refusal.detail(), 0));
    return core_.links.Leave(link);
  }
  link_ = &link;
  link.session = this;
  epoch_ = link.epoch;
  if (Acknowledge(frame.acknowledged)) GoLive(link);
}

// Both sides know each other. Memory may be reached from here on, so this comes before the START that lets
// the listener send, and after the one that the listener waited for.
void Session::GoLive(Link& link) {
  const bool resumed = state_ == State::kInterrupted;
  link.endpoint->Bind({.session = id_, .principal = principal_, .link = epoch_});
  if (dialer_) {
    std::array<uint8_t, kStartBytes> start = EncodeStart(dialer_secret_);
    SealFrame(start, FrameType::kStart, inbox_.last_sequence());
    if (!PostGreeting(link, {start.begin(), start.end()})) return;
  }
  link.phase = Link::Phase::kLive;
  link.confirmed = !dialer_;
  link.epoch = epoch_;
  if (transport_ != &link.transport) failed_over_++;
  transport_ = &link.transport;
  endpoint_info_ = link.endpoint->info();
  live_since_ = core_.now;
  if (dialer_) routes_.Carries();
  core_.links.StartTimerSoon(link);
  state_ = State::kOpen;
  resume_until_ = attempt_at_ = kNever;
  backoff_ = 0;
  UpdateTimer();
  outbox_.Rewind();
  // Tells the peer that it is served, and, after an interruption, the credits it may have missed.
  credit_owed_ = true;
  core_.MarkDirty(*this);
  if (resumed) {
    resumed_++;
    core_.told.Resumed(id_);
  } else {
    core_.told.Open(id_);
  }
}

}  // namespace splitplane

// What transports tell the engine, link by link, and the links that nobody knows yet: accepted, and waiting
// to say who they are. Whatever such a stranger does costs no more than its link.
#include <algorithm>

#include "native/base/check.h"
#include "native/protocol/engine_impl.h"

namespace splitplane {
namespace {

// Parts of keepalive_ms. Silence is looked at that often, for all links at once: so many idle links wake the
// engine no more often than one.
constexpr MonotonicNs kLooks = 16;
// Who accepted a link waits so many parts longer before it asks: usually it has been asked by then, and one
// question serves both.
constexpr MonotonicNs kAcceptorLooks = 2;

Link* LinkOf(Endpoint& endpoint) { return static_cast<Link*>(endpoint.context); }

}  // namespace

void EngineImpl::OnAccepted(Listener& listener, std::unique_ptr<Endpoint> endpoint) {
  const ListenerId id = ListenerId(reinterpret_cast<uintptr_t>(listener.context));
  const auto found = listeners_.find(id);
  SPLITPLANE_CHECK(found != listeners_.end());
  Link& link = core_.links.Add(std::move(endpoint), *found->second.transport);
  link.phase = Link::Phase::kAwaitHello;
  link.listener = id;
}

void EngineImpl::OnConnected(Endpoint& endpoint) {
  Link* link = LinkOf(endpoint);
  if (link->session) link->session->OnConnected(*link);
}

void EngineImpl::OnFrame(Endpoint& endpoint, ConstBytes bytes) {
  Link& link = *LinkOf(endpoint);
  if (link.phase >= Link::Phase::kLeaving || !link.failing.ok()) return;
  link.heard_at = core_.now;
  Frame frame;
  Status status = DecodeFrame(bytes, frame);
  if (!status.ok()) {
    if (link.session) return link.session->End(std::move(status), Session::Farewell::kReject);
    return Refuse(link, status);
  }
  // A question and its answer are all that an idle link hears: whoever moves its timer here is not woken to
  // find that it need not have been. Other frames do not touch it, because there are many.
  const bool keeps_alive = frame.type == FrameType::kPing || frame.type == FrameType::kPong;
  if (keeps_alive && link.phase == Link::Phase::kLive) LookAgain(link, core_.now + SilenceBeforePing(link));
  link.session ? link.session->OnFrame(link, frame) : OnStrangerFrame(link, frame);
}

void EngineImpl::OnCompletion(Endpoint& endpoint, Completion completion) {
  Link& link = *LinkOf(endpoint);
  link.heard_at = core_.now;
  if (link.session) link.session->OnCompletion(link, std::move(completion));
}

void EngineImpl::OnNotified(Endpoint& endpoint, uint32_t tag_index) {
  Link& link = *LinkOf(endpoint);
  link.heard_at = core_.now;
  if (!link.session || link.phase != Link::Phase::kLive) return;
  if (std::optional<uint64_t> cookie = core_.tags.CookieAt(tag_index)) core_.told.Now().OnNotified(*cookie);
}

void EngineImpl::OnWritable(Endpoint& endpoint) {
  Link& link = *LinkOf(endpoint);
  link.blocked = false;
  if (link.session) link.session->OnWritable(link);
}

void EngineImpl::OnClosed(Endpoint& endpoint, Status why) {
  Link& link = *LinkOf(endpoint);
  if (link.phase != Link::Phase::kGone) LinkLost(link, std::move(why));
}

void EngineImpl::LinkLost(Link& link, Status why) {
  if (link.session) return link.session->OnLinkLost(link, std::move(why));
  core_.links.Drop(link, std::move(why));
}

bool EngineImpl::EndFailing() {
  bool any = false;
  for (Link* link : core_.links.TakeFailing()) {
    if (link->phase == Link::Phase::kGone) continue;
    LinkLost(*link, link->failing);
    any = true;
  }
  return any;
}

void EngineImpl::StartTimers() {
  core_.links.StartTimers([this](Link& link) {
    if (link.phase == Link::Phase::kGone) return;
    if (link.phase == Link::Phase::kLive) {
      link.heard_at = core_.now;
      LookAgain(link, core_.now + SilenceBeforePing(link));
    } else if (link.phase == Link::Phase::kLeaving) {
      link.SetTimer(core_.now + LinkTable::kLingerNs);
    } else {
      const uint32_t patience_ms =
          link.hurried ? std::min(core_.options.route_timeout_ms, core_.options.connect_timeout_ms)
                       : core_.options.connect_timeout_ms;
      link.SetTimer(core_.now + NsFromMs(patience_ms));
    }
  });
}

MonotonicNs EngineImpl::SilenceBeforePing(const Link& link) const {
  const MonotonicNs keepalive = NsFromMs(core_.options.keepalive_ms);
  if (link.dialed) return keepalive;
  const MonotonicNs timeout = NsFromMs(core_.options.peer_timeout_ms);
  return std::min(keepalive + keepalive / kLooks * kAcceptorLooks, (keepalive + timeout) / 2);
}

// At `at`, or with the other links soon after it.
void EngineImpl::LookAgain(Link& link, MonotonicNs at) {
  const MonotonicNs step = NsFromMs(core_.options.keepalive_ms) / kLooks;
  link.SetTimer((at + step - 1) / step * step);
}

void EngineImpl::OnLinkTimer(Link& link, MonotonicNs now) {
  switch (link.phase) {
    case Link::Phase::kGone:
      return;
    case Link::Phase::kLeaving:
      return core_.links.Drop(link,
                              Status::Error(Code::kAborted, "close", "the peer did not take what was left"));
    case Link::Phase::kLive:
      break;
    case Link::Phase::kConnecting:
      return LinkLost(link, Status::Error(Code::kConnectTimeout, "connect",
                                          "nobody answered in time; check the address, and the network and "
                                          "firewalls on the way"));
    default:
      return LinkLost(
          link, Status::Error(Code::kConnectTimeout, "connect",
                              "the peer did not finish its greeting in time; check that it is the right "
                              "address, and that the peer is not overloaded"));
  }
  // Most frames do not touch its timer: here it is seen how long the silence really was.
  const MonotonicNs silence = now - link.heard_at;
  const MonotonicNs patience = SilenceBeforePing(link);
  const MonotonicNs timeout = NsFromMs(core_.options.peer_timeout_ms);
  if (silence >= timeout) {
    return LinkLost(link,
                    Status::Error(Code::kPeerUnresponsive, "keepalive",
                                  "the peer has been silent for too long; it, or the network, is down"));
  }
  if (silence >= patience) link.session->OnSilence(link);
  LookAgain(link, link.heard_at + (silence >= patience ? timeout : patience));
}

void EngineImpl::Refuse(Link& link, const Status& why) {
  const std::vector<uint8_t> frame = EncodeReject(why.code(), why.detail(), 0);
  const ConstBytes pieces[] = {frame};
  core_.links.Post(link, pieces);
  core_.links.Leave(link);
}

void EngineImpl::OnStrangerFrame(Link& link, const Frame& frame) {
  if (link.phase == Link::Phase::kAwaitHello && frame.type == FrameType::kHello)
    return OnStrangerHello(link, frame);
  if (link.phase == Link::Phase::kAwaitStart && frame.type == FrameType::kStart) {
    Session* session = core_.sessions.Find(link.resumes);
    if (session && session->resumable()) return session->OnResumeStart(link, frame);
    return Refuse(link,
                  Status::Error(Code::kSessionExpired, "resume", "the session has ended; connect again"));
  }
  if (frame.type == FrameType::kReject) return core_.links.Leave(link);
  Refuse(link, Status::Error(Code::kProtocolViolation, "greeting",
                             "a frame came that has no place in the greeting"));
}

void EngineImpl::OnStrangerHello(Link& link, const Frame& frame) {
  Hello hello;
  if (Status status = DecodeHello(frame, hello); !status.ok()) return Refuse(link, status);
  if (hello.session != WireSessionId{}) return OnStrangerResume(link, hello);
  if (core_.sessions.size() >= core_.options.sessions_max) {
    return Refuse(link, Status::Error(Code::kLimitExceeded, "accept",
                                      "this side has as many sessions as it allows; try again later"));
  }
  std::string encoding = ChooseEncoding(hello.encodings, core_.options.encodings);
  if (encoding.empty()) {
    return Refuse(link,
                  Status::Error(Code::kEncodingUnsupported, "accept",
                                "both sides have no encoding of envelopes in common; configure one that the "
                                "other side knows"));
  }
  Session& session = core_.sessions.Add(std::make_unique<Session>(core_, core_.sessions.NewId()));
  session.OnHello(link, std::move(hello), std::move(encoding));
}

void EngineImpl::OnStrangerResume(Link& link, const Hello& hello) {
  Session* session = core_.sessions.FindNamed(hello.session);
  if (!session || !session->resumable()) {
    return Refuse(link, Status::Error(Code::kSessionExpired, "resume",
                                      "this side does not know the session any more; connect again"));
  }
  if (session->peer_node() != hello.node_id) {
    return Refuse(link,
                  Status::Error(Code::kIdentityMismatch, "resume", "the session belongs to somebody else"));
  }
  session->OfferResume(link);
}

}  // namespace splitplane

// A link is one connection with somebody: an endpoint of a transport, and how far it has come. Sessions
// outlive links. The table owns them and lets them go at the end of a Poll, when no callback of theirs can be
// running.
//
// Life of a link:
//   dialed:   connecting --connected, hello sent--> await welcome --welcome--> judging --accepted, start
//   sent--> live accepted: await hello --hello--> judging --accepted, welcome sent--> await start --start-->
//   live any --something was said last, and flushes--> leaving --closed--> gone;  any --lost or dropped-->
//   gone
// A session that is resumed skips judging.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "native/protocol/engine.h"
#include "native/protocol/timers.h"

namespace splitplane {

class Link;
class Session;

// The engine: decides what becomes of a link whose time has come.
class LinkOwner {
 public:
  virtual void OnLinkTimer(Link& link, MonotonicNs now) = 0;

 protected:
  ~LinkOwner() = default;
};

class Link final : public Timer {
 public:
  enum class Phase : uint8_t {
    kConnecting,
    kAwaitHello,
    kAwaitWelcome,
    kJudging,  // the user was asked whether to let the peer in
    kAwaitStart,
    kLive,
    kLeaving,  // nothing is received any more, what was posted still flushes
    kGone,     // waits for the end of the Poll
  };

  Link(TimerQueue& timers, LinkOwner& owner, std::unique_ptr<Endpoint> endpoint_owned,
       Transport& transport_used)
      : Timer(timers), endpoint(std::move(endpoint_owned)), transport(transport_used), owner_(owner) {
    endpoint->context = this;
  }

  bool greeting() const { return phase < Phase::kLive; }

  const std::unique_ptr<Endpoint> endpoint;
  Transport& transport;
  Phase phase = Phase::kConnecting;
  bool dialed = false;
  bool hurried = false;    // while it connects: there is another route to try
  bool blocked = false;    // a post was refused: until the endpoint is writable again
  bool confirmed = false;  // the peer is known to serve us: a frame came after the greeting
  ListenerId listener = 0;
  Session* session = nullptr;  // whose link this is
  SessionId resumes = 0;  // accepted, not live yet: the session it wants to take over, and as which epoch
  uint32_t epoch = 0;
  MonotonicNs heard_at = 0;  // the last sign of life, once live
  Status failing;            // not ok: it is lost, and found so at the end of the Poll
  size_t place = 0;          // in the table

 private:
  void OnTimer(MonotonicNs now) override { owner_.OnLinkTimer(*this, now); }

  LinkOwner& owner_;
};

class LinkTable {
 public:
  // How long a link may take to flush what was said last.
  static constexpr MonotonicNs kLingerNs = 1'000'000'000;

  LinkTable(TimerQueue& timers, LinkOwner& owner) : timers_(timers), owner_(owner) {}

  Link& Add(std::unique_ptr<Endpoint> endpoint, Transport& transport);
  // Its timer starts with the Poll that runs, or the next: before that we do not know what time it is.
  void StartTimerSoon(Link& link);
  // Posts a frame. False: not now (the link is blocked) or never (it is failing).
  bool Post(Link& link, std::span<const ConstBytes> pieces);
  // The link is lost, though its endpoint has not said so yet.
  void Fail(Link& link, Status why);
  // Ends in good order, within kLingerNs. The session has let go of it.
  void Leave(Link& link);
  // Ends at once.
  void Drop(Link& link, Status why);

  // Calls `start` for links whose timer is to be started.
  template <typename Start>
  void StartTimers(Start start) {
    for (Link* link : untimed_) start(*link);
    untimed_.clear();
  }
  // Links that failed since the last time.
  std::vector<Link*> TakeFailing();
  // Destroys what is gone. Not inside a callback of an endpoint.
  void Reap();
  void Clear();
  bool idle() const { return untimed_.empty() && failing_.empty() && gone_.empty(); }

 private:
  TimerQueue& timers_;
  LinkOwner& owner_;
  std::vector<std::unique_ptr<Link>> links_;
  std::vector<Link*> untimed_, failing_, gone_;
};

}  // namespace splitplane

// What the sessions of one engine share. No behaviour of its own beyond keeping the tables; the engine drives
// it.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "native/protocol/chunks.h"
#include "native/protocol/event_queue.h"
#include "native/protocol/hello.h"
#include "native/protocol/link.h"
#include "native/protocol/operations.h"
#include "native/protocol/timers.h"

namespace splitplane {

class Session;

class SessionTable {
 public:
  SessionTable();
  ~SessionTable();

  SessionId NewId() { return ++last_id_; }
  Session& Add(std::unique_ptr<Session> session);
  Session* Find(SessionId id) const;
  size_t size() const { return sessions_.size(); }

  // By the name on the wire, for a peer that wants to resume.
  void Name(Session& session, const WireSessionId& name) { names_[NameKey(name)] = &session; }
  Session* FindNamed(const WireSessionId& name) const;

  // It ended: it is found no more, and goes at the end of the Poll.
  void Remove(Session& session, const WireSessionId& name);
  bool has_ended() const { return !ended_.empty(); }
  void Reap();
  void Clear();

 private:
  static std::string NameKey(const WireSessionId& name) { return std::string(name.begin(), name.end()); }

  SessionId last_id_ = 0;
  std::unordered_map<SessionId, std::unique_ptr<Session>> sessions_;
  std::unordered_map<std::string, Session*> names_;
  std::vector<std::unique_ptr<Session>> ended_;
};

struct EngineCore {
  EngineCore(EngineOptions options_given, EngineEvents& events, LinkOwner& owner);

  // What we say in a greeting, without what belongs to a session.
  Hello OurHello() const;
  // `session` has something to do at the next flush.
  void MarkDirty(Session& session);
  // A random fraction of `duration`, between half of it and all.
  MonotonicNs Jittered(MonotonicNs duration);

  const EngineOptions options;
  RandomSource random;
  MemoryPool pool;
  TagTable tags;
  EventQueue told;
  TimerQueue timers;
  ChunkPool chunks;
  OperationTable operations;
  LinkTable links;
  SessionTable sessions;
  std::vector<Session*> dirty;
  MonotonicNs now = 0;   // of the Poll that runs, or of the last
  uint64_t round = 0;    // number of that Poll
  bool polling = false;  // it runs
};

inline constexpr MonotonicNs NsFromMs(uint64_t ms) { return ms * 1'000'000; }

}  // namespace splitplane

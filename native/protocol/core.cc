// The tables that the sessions of one engine share, and what is made from the options once for all of them.
// Decides nothing about any session.
#include "native/protocol/core.h"

#include "native/protocol/session.h"

namespace splitplane {
namespace {

std::array<uint8_t, 8> OwnerOf(const NodeId& node) {
  std::array<uint8_t, 8> owner;
  std::copy_n(node.begin(), owner.size(), owner.begin());
  return owner;
}

}  // namespace

SessionTable::SessionTable() = default;
SessionTable::~SessionTable() = default;

Session& SessionTable::Add(std::unique_ptr<Session> session) {
  const SessionId id = session->id();
  return *(sessions_[id] = std::move(session));
}

Session* SessionTable::Find(SessionId id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

Session* SessionTable::FindNamed(const WireSessionId& name) const {
  const auto found = names_.find(NameKey(name));
  return found == names_.end() ? nullptr : found->second;
}

void SessionTable::Remove(Session& session, const WireSessionId& name) {
  const auto named = names_.find(NameKey(name));
  if (named != names_.end() && named->second == &session) names_.erase(named);
  const auto found = sessions_.find(session.id());
  ended_.push_back(std::move(found->second));
  sessions_.erase(found);
}

void SessionTable::Reap() { ended_.clear(); }

void SessionTable::Clear() {
  names_.clear();
  sessions_.clear();
  ended_.clear();
}

EngineCore::EngineCore(EngineOptions options_given, EngineEvents& events, LinkOwner& owner)
    : options(std::move(options_given)),
      pool(options.pool),
      tags(OwnerOf(options.node_id), options.tags_max, random),
      told(events),
      links(timers, owner) {
  tags.set_observer([this](uint64_t cookie, Code why) { told.TagEnded(cookie, why); });
}

Hello EngineCore::OurHello() const {
  Hello hello;
  hello.features = kFeatures;
  hello.message_bytes_max = options.message_bytes_max;
  hello.window_messages = options.window_messages;
  hello.window_bytes = options.window_bytes;
  hello.node_id = options.node_id;
  hello.identity = options.identity;
  return hello;
}

void EngineCore::MarkDirty(Session& session) {
  if (session.dirty_) return;
  session.dirty_ = true;
  dirty.push_back(&session);
}

MonotonicNs EngineCore::Jittered(MonotonicNs duration) {
  uint64_t number;
  random.Fill(reinterpret_cast<uint8_t*>(&number), sizeof(number));
  return duration / 2 + number % (duration / 2 + 1);
}

}  // namespace splitplane

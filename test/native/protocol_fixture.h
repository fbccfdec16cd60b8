// Two engines and what they told, for the suites of the protocol. Time stands still unless a test moves it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "native/protocol/engine.h"
#include "test/native/fake_transport.h"

namespace splitplane {

inline constexpr MonotonicNs kMs = 1'000'000;

// The one route over this transport.
inline std::vector<Route> Over(std::string transport, std::string address) {
  return {{std::move(transport), std::move(address)}};
}

// An engine whose user writes everything down, and lets everybody in unless told otherwise.
class Node final : public EngineEvents {
 public:
  struct Received {
    SessionId session;
    MessageId id;
    std::string envelope;
    std::vector<std::string> attachments;  // inline payloads; grants begin with "grant:"
    uint32_t deadline_ms;
  };

  struct ReceivedBatch {
    MessageId id;
    std::vector<std::string> messages;
  };

  static EngineOptions Options(const std::string& name) {
    EngineOptions options;
    std::copy(name.begin(), name.end(), options.node_id.begin());
    options.identity = name;
    options.credentials = {1, 2, 3};
    options.encodings = {"xml"};
    return options;
  }

  explicit Node(EngineOptions options, std::vector<TransportEntry> transports = {FakeNetwork::Entry()}) {
    auto made = Engine::Make(std::move(options), transports, *this);
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    engine = std::move(made).value();
  }

  // The first session that opened, 0 if none did.
  SessionId session() const { return opened.empty() ? 0 : opened.front(); }

  MessageId Send(const std::string& envelope, uint32_t deadline_ms = 0) {
    OutgoingMessage message;
    message.envelope = ConstBytes(reinterpret_cast<const uint8_t*>(envelope.data()), envelope.size());
    message.deadline_ms = deadline_ms;
    auto id = engine->Send(session(), message);
    return id.ok() ? *id : 0;
  }
  // The content of a batch on the wire.
  static std::vector<uint8_t> Pack(const std::vector<std::string>& messages) {
    std::vector<uint8_t> content(messages.size() * 2);
    for (size_t i = 0; i < messages.size(); i++) {
      StoreLittle(content.data() + i * 2, uint16_t(messages[i].size()));
      content.insert(content.end(), messages[i].begin(), messages[i].end());
    }
    return content;
  }
  Result<MessageId> TrySendBatch(const std::vector<std::string>& messages) {
    const std::vector<uint8_t> content = Pack(messages);
    return engine->SendBatch(session(), {uint32_t(messages.size()), content});
  }
  MessageId SendBatch(const std::vector<std::string>& messages) {
    auto id = TrySendBatch(messages);
    return id.ok() ? *id : 0;
  }
  BufferRef Memory(uint64_t bytes, uint8_t fill) {
    BufferRef buffer = *engine->pool().Allocate(bytes);
    std::memset(buffer->data(), fill, bytes);
    return buffer;
  }
  Tag Export(const BufferRef& buffer, Access access, uint32_t uses = kUnlimitedUses, uint64_t cookie = 0) {
    TagOptions options;
    options.audience.session = session();
    options.access = access;
    options.slices = {{buffer, 0, buffer->length()}};
    options.uses = uses;
    options.cookie = cookie;
    return *engine->tags().Export(std::move(options));
  }
  SessionInfo Info() const {
    SessionInfo info;
    engine->Info(session(), info);
    return info;
  }

  void OnHello(SessionId id, const PeerHello& hello) override {
    hellos.push_back(hello);
    hello_sessions.push_back(id);
    if (on_hello) return on_hello(id);
    EXPECT_TRUE(engine->Accept(id, hello.identity).ok());
  }
  void OnOpen(SessionId id) override { opened.push_back(id); }
  void OnMessage(SessionId id, const IncomingMessage& message) override {
    Received got{id,
                 message.id,
                 std::string(message.envelope.begin(), message.envelope.end()),
                 {},
                 message.deadline_ms};
    uint64_t bytes = message.envelope.size();
    for (const IncomingAttachment& attachment : message.attachments) {
      got.attachments.push_back((attachment.is_inline ? "" : "grant:") +
                                std::string(attachment.bytes.begin(), attachment.bytes.end()));
      if (attachment.is_inline) bytes += attachment.bytes.size();
    }
    received.push_back(std::move(got));
    if (consume) engine->Consume(id, 1, bytes);
    if (on_message) on_message(received.back());
  }
  void OnBatch(SessionId id, const IncomingBatch& batch) override {
    ReceivedBatch got{batch.id, {}};
    size_t at = batch.count * 2;
    for (uint32_t i = 0; i < batch.count; i++) {
      const uint16_t length = LoadLittle<uint16_t>(batch.content.data() + i * 2);
      got.messages.emplace_back(batch.content.begin() + long(at), batch.content.begin() + long(at + length));
      at += length;
    }
    EXPECT_EQ(at, batch.content.size());
    batches.push_back(std::move(got));
    if (consume) engine->Consume(id, 1, batch.content.size());
  }
  void OnMessageCanceled(SessionId, MessageId message) override { canceled.push_back(message); }
  void OnDelivered(SessionId, MessageId up_to) override { delivered = up_to; }
  void OnWritable(SessionId) override { writable++; }
  void OnOperation(OperationId operation, const Status& status, uint64_t value) override {
    EXPECT_EQ(operations.count(operation), 0u) << "operation " << operation << " ended twice";
    operations[operation] = {status.code(), value};
  }
  void OnNotified(uint64_t cookie) override { notified.push_back(cookie); }
  void OnRegionGone(uint32_t) override {}
  void OnTagEnded(uint64_t cookie, Code why) override { tags_ended.emplace_back(cookie, why); }
  void OnInterrupted(SessionId, const Status& why) override { interrupted.push_back(why.code()); }
  void OnResumed(SessionId) override { resumed++; }
  void OnClosed(SessionId id, const Status& why) override {
    EXPECT_EQ(closed.count(id), 0u) << "session " << id << " closed twice";
    closed[id] = why;
  }
  // How the session with this id was closed; kOk: it was not.
  Code ClosedWith(SessionId id) const {
    const auto found = closed.find(id);
    return found == closed.end() ? Code::kOk : found->second.code();
  }
  Code ClosedWith() const { return closed.empty() ? Code::kOk : closed.begin()->second.code(); }
  std::vector<std::string> Envelopes() const {
    std::vector<std::string> envelopes;
    for (const Received& message : received) envelopes.push_back(message.envelope);
    return envelopes;
  }

  std::function<void(SessionId)> on_hello;
  std::function<void(const Received&)> on_message;
  bool consume = true;

  std::vector<PeerHello> hellos;
  std::vector<SessionId> hello_sessions;
  std::vector<SessionId> opened;
  std::vector<Received> received;
  std::vector<ReceivedBatch> batches;
  std::vector<MessageId> canceled;
  MessageId delivered = 0;
  int writable = 0;
  std::map<OperationId, std::pair<Code, uint64_t>> operations;
  std::vector<uint64_t> notified;
  std::vector<std::pair<uint64_t, Code>> tags_ended;
  std::vector<Code> interrupted;
  int resumed = 0;
  std::map<SessionId, Status> closed;

  std::unique_ptr<Engine> engine;  // last: the first to go
};

class ProtocolTest : public testing::Test {
 protected:
  // Polls both until nothing happens at this time.
  void Settle() {
    for (int round = 0; round < kRoundsMax; round++) {
      bool happened = false;
      for (Node* node : {alice.get(), bob.get(), mallory.get()}) {
        if (!node || !node->engine) continue;
        happened |= node->engine->Poll(now, UINT64_MAX);
        happened |= !node->engine->Arm();
      }
      if (!happened) return;
    }
    FAIL() << "the engines never come to rest";
  }
  // Moves time on in steps in which every timer has its turn.
  void Pass(uint64_t ms) {
    Settle();
    const MonotonicNs end = now + ms * kMs;
    while (now < end) {
      MonotonicNs next = end;
      for (Node* node : {alice.get(), bob.get(), mallory.get()}) {
        if (node) next = std::min(next, std::max(node->engine->next_timeout(), now + 1));
      }
      now = next;
      Settle();
    }
  }
  // Alice dials Bob.
  virtual void MakeNodes(EngineOptions alices = Node::Options("alice"),
                         EngineOptions bobs = Node::Options("bob")) {
    alice = std::make_unique<Node>(std::move(alices));
    bob = std::make_unique<Node>(std::move(bobs));
    listener = *bob->engine->Listen("fake", "bob:1", {});
  }
  virtual SessionId Dial(NodeId expected = {}) {
    auto session = alice->engine->Connect(Over("fake", "bob:1"), {}, expected);
    EXPECT_TRUE(session.ok()) << session.status().ToString();
    return session.ok() ? *session : 0;
  }
  void Open(EngineOptions alices = Node::Options("alice"), EngineOptions bobs = Node::Options("bob")) {
    MakeNodes(std::move(alices), std::move(bobs));
    Dial();
    Settle();
    ASSERT_EQ(alice->opened.size(), 1u);
    ASSERT_EQ(bob->opened.size(), 1u);
  }

  static constexpr int kRoundsMax = 100'000;
  FakeNetwork network;
  MonotonicNs now = 1'000'000'000;
  std::unique_ptr<Node> alice, bob, mallory;
  ListenerId listener = 0;
};

}  // namespace splitplane

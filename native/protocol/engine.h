// The face of the native core: one engine per Node environment owns the memory pool, the tag table, the
// transports and the sessions with peers, and is what the addon drives. A session outlives the connections
// that carry it: when one breaks it is resumed over the next, of the same transport or another, messages that
// were not acknowledged are sent again, and transfers are driven again. Single-threaded, nothing blocks, time
// is handed in; knows neither JavaScript nor libuv.
//
// Life of a session:
//   dialing --connected--> greeting --hello judged by the user--> open --link lost--> interrupted
//   --resumed--> open any --Close: drained / Destroy / failure--> closed (OnClosed, exactly once, last).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/clock.h"
#include "native/base/random.h"
#include "native/base/status.h"
#include "native/memory/pool.h"
#include "native/memory/tag_table.h"
#include "native/transport/transport.h"

namespace splitplane {

using SessionId = uint32_t;  // never used twice in an engine; 0 is none
using ListenerId = uint32_t;
using MessageId = uint64_t;    // per session, increasing; 0 is none
using OperationId = uint64_t;  // per engine, increasing; 0 is none
using NodeId = std::array<uint8_t, 16>;

struct EngineOptions {
  NodeId node_id{};                    // who we are to peers; its first 8 bytes are the owner in our tags
  std::string identity;                // a name for people and policies, at most kIdentityBytesMax
  std::vector<uint8_t> credentials;    // handed to the peer's authenticate hook, at most kCredentialsBytesMax
  std::vector<std::string> encodings;  // of envelopes, in order of preference
  PoolOptions pool;
  size_t tags_max = 1'000'000;
  uint32_t sessions_max = 10'000;
  uint32_t message_bytes_max = 1 << 20;  // envelope and inline payload, ours and the peers'
  uint32_t window_messages = 1024;       // credits: what a peer may have sent that was not consumed here
  uint32_t window_bytes = 8 << 20;
  uint32_t queue_messages_max = 4096;  // waiting for credits, per session; then Send says kNoResource
  uint32_t queue_bytes_max = 16 << 20;
  uint32_t operations_queued_max = 65'536;  // reads, writes and atomics not finished, per session
  // A ping after this much silence, and the silence after which the link counts as lost; a sixteenth of
  // keepalive_ms later at most, so that idle links are looked at together. Who accepted the link leaves the
  // first ping to who dialed it, for two sixteenths.
  uint32_t keepalive_ms = 5'000;
  uint32_t peer_timeout_ms = 15'000;
  uint32_t connect_timeout_ms = 10'000;  // dialing and greeting, each attempt
  uint32_t route_timeout_ms = 2'000;     // dialing alone, where there is another route to try
  uint32_t resume_ms = 30'000;           // how long an interrupted session waits for its peer; 0: not at all
  uint32_t reconnect_min_ms = 50,
           reconnect_max_ms = 2'000;  // back-off between attempts, doubled and jittered
};

inline constexpr size_t kIdentityBytesMax = 255;
inline constexpr size_t kCredentialsBytesMax = 4096;
inline constexpr size_t kEncodingsMax = 16;
inline constexpr size_t kEncodingNameBytesMax = 32;
inline constexpr size_t kAttachmentsMax = 1024;  // per message
inline constexpr uint32_t kBatchMessagesMax = 65'536;
inline constexpr uint32_t kBatchedBytesMax = 65'535;  // of one message in a batch
inline constexpr size_t kReasonBytesMax = 1024;       // of a sentence that goes to the peer
inline constexpr size_t kRoutesMax = 8;               // to one peer

// A way to a peer: a transport by name, and the address it takes.
struct Route {
  std::string transport;
  std::string address;
};

// A better transport than the one that carries a session, and why it does not.
struct PassedOver {
  std::string transport;
  Status why;
};

// A peer that asks to be let in (we listen) or that answered (we dialed), before anything else is exchanged.
struct PeerHello {
  bool dialed = false;  // we did
  ListenerId listener = 0;
  NodeId node_id{};
  std::string identity;
  std::vector<uint8_t> credentials;
  std::string encoding;  // what both will speak: the dialer's first choice that the other side has
  std::string transport;
  EndpointInfo endpoint;
};

// What goes beside the envelope for one reference in it, in the order of the references
// (docs/WIRE_PROTOCOL.md).
struct OutgoingAttachment {
  bool is_inline = false;
  ConstBytes inline_payload;
};

struct OutgoingMessage {
  ConstBytes envelope;
  std::span<const OutgoingAttachment> attachments;
  uint32_t deadline_ms = 0;  // told to the receiver: what is left of the sender's patience; 0: no deadline
};

struct IncomingAttachment {
  bool is_inline = false;
  ConstBytes bytes;  // the inline payload, or the grant (empty where the tag is the grant)
};

// Valid during OnMessage only.
struct IncomingMessage {
  MessageId id = 0;
  ConstBytes envelope;
  std::span<const IncomingAttachment> attachments;
  uint32_t deadline_ms = 0;
};

// Small messages that travel together, without envelopes. The content is as it goes over the wire: the length
// of each in two bytes, little-endian, then the messages back to back.
struct OutgoingBatch {
  uint32_t count = 0;
  ConstBytes content;
};

// Valid during OnBatch only.
struct IncomingBatch {
  MessageId id = 0;
  uint32_t count = 0;
  ConstBytes content;  // judged: the lengths add up
};

// What the engine tells, from inside Poll() only. The user may call anything of the engine from here except
// its destructor and Poll.
class EngineEvents {
 public:
  virtual ~EngineEvents() = default;
  // Answer with Accept or Reject, now or later; the connect timeout runs.
  virtual void OnHello(SessionId session, const PeerHello& hello) = 0;
  virtual void OnOpen(SessionId session) = 0;
  // Counts against the window until Consume. Never the same id twice in a session.
  virtual void OnMessage(SessionId session, const IncomingMessage& message) = 0;
  // As a message, with all of the content as its bytes. Ids are those of messages.
  virtual void OnBatch(SessionId session, const IncomingBatch& batch) = 0;
  // The sender of a message we got does not want it handled any more.
  virtual void OnMessageCanceled(SessionId session, MessageId message) = 0;
  // The peer has every message up to this id: each was verified and queued for its user.
  virtual void OnDelivered(SessionId session, MessageId up_to) = 0;
  // After Send said kNoResource: there is room again.
  virtual void OnWritable(SessionId session) = 0;
  virtual void OnOperation(OperationId operation, const Status& status, uint64_t atomic_value) = 0;
  // A peer finished a write with notify into memory exported under this cookie.
  virtual void OnNotified(uint64_t cookie) = 0;
  // An exported tag ended: kOk the holder gave it back, kTagRevoked, kTagExpired. Once per tag.
  virtual void OnTagEnded(uint64_t cookie, Code why) = 0;
  // A region of the pool is not used any more and will never be: who shows its memory may let it go.
  virtual void OnRegionGone(uint32_t region) = 0;
  virtual void OnInterrupted(SessionId session, const Status& why) = 0;
  virtual void OnResumed(SessionId session) = 0;
  // Every message not delivered and every operation not finished ended before this (operations with
  // OnOperation; messages: all ids above the last OnDelivered were not acknowledged, whether they arrived is
  // not known).
  virtual void OnClosed(SessionId session, const Status& why) = 0;
};

struct SessionInfo {
  std::string transport;                // that carries it, or carried it last
  std::vector<PassedOver> passed_over;  // best first; of a session that we dialed
  EndpointInfo endpoint;
  NodeId peer_node{};
  std::string peer_identity;
  std::string principal;
  std::string encoding;
  uint32_t resumed = 0;      // times
  uint32_t failed_over = 0;  // of those, over another transport
  uint64_t messages_sent = 0, messages_received = 0, messages_repeated = 0;  // repeated: came again, dropped
  uint32_t messages_queued = 0;                                              // waiting for credits
  uint32_t messages_unacknowledged = 0;
  uint32_t operations_outstanding = 0;
  uint32_t message_bytes_max = 0;  // the longest message that both sides take
};

// A transport that was compiled in, whether or not it can be used here.
struct TransportEntry {
  const char* name;
  Result<std::unique_ptr<Transport>> (*make)(TransportContext);  // fails with a sentence on what is missing
};

class Engine {
 public:
  // Makes every transport in the list; one that cannot be used is remembered with its reason.
  static Result<std::unique_ptr<Engine>> Make(EngineOptions options,
                                              std::span<const TransportEntry> transports,
                                              EngineEvents& events);
  virtual ~Engine() = default;  // destroys sessions without events

  virtual MemoryPool& pool() = 0;
  virtual TagTable& tags() = 0;
  virtual Transport* transport(std::string_view name) = 0;           // null: not available
  virtual Status transport_status(std::string_view name) const = 0;  // ok, or why not

  virtual Result<ListenerId> Listen(std::string_view transport, const std::string& address,
                                    ListenOptions options) = 0;
  virtual std::string ListenerAddress(ListenerId listener) const = 0;
  virtual void CloseListener(ListenerId listener) = 0;

  // Starts dialing; OnHello and OnOpen follow, or OnClosed. Takes the first of `routes` (best first, at most
  // kRoutesMax) that reaches anybody: one whose transport is not available here, or that ends before the peer
  // has said a word, is passed over. What the peer says then counts for all of them. The first round is not
  // repeated; when the session has to be resumed, rounds begin with the best again. Of `options` the deadline
  // does not count, connect_timeout_ms does. `expected_peer` other than zero refuses anyone else
  // (kIdentityMismatch).
  virtual Result<SessionId> Connect(std::span<const Route> routes, ConnectOptions options,
                                    const NodeId& expected_peer) = 0;
  virtual Status Accept(SessionId session, std::string principal) = 0;
  virtual Status Reject(SessionId session, Code code, std::string_view sentence) = 0;

  // Queues a message: sent at the next Poll when there are credits. kNoResource: the queue is full, wait for
  // OnWritable. Bytes are copied. kLimitExceeded: larger than the smaller of both sides' message_bytes_max.
  virtual Result<MessageId> Send(SessionId session, const OutgoingMessage& message) = 0;
  // Queues a batch, in order with messages, one of which it is to the window, to CancelMessage and to
  // OnDelivered. As Send; kInvalidArgument: the lengths do not add up to the content.
  virtual Result<MessageId> SendBatch(SessionId session, const OutgoingBatch& batch) = 0;
  // True: it was still queued and is gone. False: the peer is told (OnMessageCanceled there) if it is not too
  // late.
  virtual bool CancelMessage(SessionId session, MessageId message) = 0;
  // The user is done with `count` messages of together `bytes` (envelope and inline payload): gives credits
  // back.
  virtual void Consume(SessionId session, uint32_t count, uint64_t bytes) = 0;
  // We do not need these tags of the peer any more; it may reuse the memory.
  virtual void ReleaseTags(SessionId session, std::span<const Tag> tags) = 0;

  // One-sided operations on memory behind a peer's tag. `grant` is what came beside the tag, or empty; it is
  // of use on the link it came over only, so after an interruption the tag stands for itself. End with
  // OnOperation exactly once. An interruption drives reads and writes again; atomics end with
  // kConnectionLost, because nobody knows whether they were applied.
  virtual Result<OperationId> Read(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                                   std::vector<Slice> into, TransferOptions options) = 0;
  virtual Result<OperationId> Write(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                                    std::vector<Slice> from, TransferOptions options) = 0;
  virtual Result<OperationId> Atomic(SessionId session, const Tag& tag, ConstBytes grant, uint64_t offset,
                                     AtomicRequest request) = 0;
  // Where the transport can look at the peer's memory from here: a read-only buffer over it, and, of ReadNow,
  // true when every byte is in `into` already. kNoResource, or false: use Read. kClosed: no such session.
  virtual Result<BufferRef> View(SessionId session, const Tag& tag, uint64_t offset, uint64_t length) = 0;
  virtual bool ReadNow(SessionId session, const Tag& tag, uint64_t offset, std::span<const Slice> into) = 0;
  // Ends an operation early: OnOperation with kAborted, or as it would have ended. Unknown ids are ignored.
  virtual void CancelOperation(OperationId operation) = 0;

  // Sends what is queued, waits for acknowledgements and outstanding operations, then ends in good order.
  virtual void Close(SessionId session) = 0;
  // Ends at once: nothing more is sent, everything outstanding ends with `why`.
  virtual void Destroy(SessionId session, Status why) = 0;
  // False: no such session.
  virtual bool Info(SessionId session, SessionInfo& out) const = 0;

  // One bounded round of work (about `bytes_budget` bytes of bulk data): receive, tell, send, timers. True if
  // anything happened.
  virtual bool Poll(MonotonicNs now, uint64_t bytes_budget) = 0;
  // Grows with everything that comes from peers: frames, bytes of transfers, operations served. What did not
  // make it grow came from this side.
  virtual uint64_t arrivals() const = 0;
  // What the user asked for since the last Poll, or what that left: Poll again. Says less than Arm, and costs
  // nothing.
  virtual bool has_work() const = 0;
  // Before sleeping: false means Poll again. After true, each descriptor of wake_fds() becomes readable when
  // there is work, and next_timeout() says when to call Poll at the latest.
  virtual bool Arm() = 0;
  virtual std::vector<int> wake_fds() const = 0;
  virtual MonotonicNs next_timeout() const = 0;
};

}  // namespace splitplane

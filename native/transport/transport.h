// The contract every transport meets, written for verbs first: an Endpoint is a queue pair with a peer, work
// requests are posted to it, each ends in exactly one completion, and the peer's memory is read and written
// with a key (here: a grant) without the peer's JavaScript. TCP, shared memory and RDMA implement it; the
// protocol uses nothing else of them. All of it runs on the engine's thread, nothing blocks, and nothing
// calls back outside Poll().
//
// Life of an Endpoint:
//   connecting --OnConnected--> open --Close()/failure--> closed
//   accepted endpoints are handed over open. OnClosed comes exactly once, last, for every endpoint, and
//   before it one OnCompletion for every work request still outstanding. Destroying an endpoint closes it
//   without callbacks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/clock.h"
#include "native/base/status.h"
#include "native/memory/pool.h"
#include "native/memory/region.h"
#include "native/memory/tag_table.h"

namespace splitplane {

class Endpoint;
class Listener;

// What a transport can do. A capability that is not set is refused with kUnsupported when asked for.
struct Capabilities {
  bool remote_read = false;
  bool remote_write = false;
  bool write_notification = false;  // PostWrite with notify
  bool remote_atomics = false;
  // Computes and verifies TransferOptions::checksum itself. Without it the protocol does, over the memory.
  bool checksums_transfers = false;
  uint32_t send_bytes_max = 0;  // longest frame that PostSend takes
  uint32_t operations_max = 0;  // reads, writes and atomics outstanding per endpoint
};

// Where a peer's memory is: the grant (or tag) that reaches it and the range within what it stands for.
struct RemoteSlice {
  ConstBytes grant;  // copied before the post returns
  uint64_t offset = 0;
  uint64_t length = 0;
};

enum class AtomicOperation : uint8_t { kCompareAndSwap = 1, kFetchAndAdd = 2 };

// On a little-endian unsigned 64-bit word at a multiple of 8 in memory.
struct AtomicRequest {
  AtomicOperation operation = AtomicOperation::kFetchAndAdd;
  uint64_t operand = 0;  // what is added, or swapped in
  uint64_t compare = 0;  // compare-and-swap: what must be there
};

struct TransferOptions {
  bool checksum = true;  // CRC32C over the bytes; the receiver of the bytes verifies before completing
  bool notify = false;   // writes: OnNotified at the peer after the last byte is in place and verified
};

struct Completion {
  uint64_t operation = 0;     // the id it was posted with
  Status status;              // ok: every byte in place and verified. kAborted: canceled. Else why not.
  uint64_t atomic_value = 0;  // atomics: the word before the operation
};

// One line for people about what a transport found here: a device, a limit. Programs do not parse it.
struct TransportFact {
  std::string name;  // "device rxe0 port 1"
  std::string text;  // "active, Ethernet, RoCE v2, MTU 4096"
};

// How many of something a transport holds at this moment: for tests of what is left behind, and for metrics.
struct TransportGauge {
  const char* name;  // "queuePairs"
  uint64_t value;
};

// Counters since the transport began, all endpoints together.
struct TransportStats {
  uint64_t bytes_sent = 0, bytes_received = 0;  // payload of reads and writes
  uint64_t bytes_copied = 0;                    // of those, copied in user space by this process
  uint64_t frames_sent = 0, frames_received = 0;
  uint64_t operations_served = 0, operations_refused = 0;
  uint64_t registrations = 0;  // of memory with a device
};

// What Poll() tells. Implementations may call any method of the endpoint except its destructor from inside.
class TransportEvents {
 public:
  virtual ~TransportEvents() = default;
  virtual void OnAccepted(Listener& listener, std::unique_ptr<Endpoint> endpoint) = 0;
  virtual void OnConnected(Endpoint& endpoint) = 0;
  // A frame the peer posted, whole and in order. The bytes are valid during the call only.
  virtual void OnFrame(Endpoint& endpoint, ConstBytes frame) = 0;
  virtual void OnCompletion(Endpoint& endpoint, Completion completion) = 0;
  // The peer finished a write with notify under the tag with this locator index.
  virtual void OnNotified(Endpoint& endpoint, uint32_t tag_index) = 0;
  // After a post said kNoResource: there is room again.
  virtual void OnWritable(Endpoint& endpoint) = 0;
  // kClosed: the peer ended it in good order, or Close() did. Else what went wrong.
  virtual void OnClosed(Endpoint& endpoint, Status why) = 0;
};

struct EndpointInfo {
  std::string local_address;  // "127.0.0.1:4711", "[::1]:4711", "unix:/run/x" — for people and policy
  std::string remote_address;
  bool local_only = false;  // loopback or unix socket: the peer is on this host
  int64_t peer_uid = -1;    // of a unix socket's peer (SO_PEERCRED), else -1
  std::string device;       // what carries it where that is a choice: "rxe0 port 1, RoCE v2, MTU 4096"
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;

  // Sends one frame made of `pieces`, in order after all frames posted before. The bytes are copied or gone
  // when this returns ok. kNoResource: nothing was taken, wait for OnWritable.
  virtual Status PostSend(std::span<const ConstBytes> pieces) = 0;
  // Frames that were posted go on their way now, as far as they can, instead of with the next Poll. Not from
  // inside Poll. Tells nothing, not even that the endpoint broke over it: Poll does.
  virtual void Flush() {}

  // Reads `remote` into `local` (same total length, 1 or more). The slices are held until the completion.
  virtual Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                          TransferOptions options) = 0;
  // Writes `local` to `remote`; completes when every byte is in the peer's memory.
  virtual Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                           TransferOptions options) = 0;
  virtual Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) = 0;

  // Where the peer's memory can be looked at from here without anybody's help.
  //
  // `remote` as a read-only buffer over the peer's own memory, which stays as it is until the buffer is let
  // go. kNoResource: not possible; read it instead.
  virtual Result<BufferRef> View(const RemoteSlice&) { return Status::NoResource(); }
  // Reads at once: true, and every byte is in `local`. False: nothing is known; post it instead.
  virtual bool ReadNow(const RemoteSlice&, std::span<const Slice>) { return false; }
  // The user is done with a tag of the peer's, and the peer will hear of it.
  virtual void Forget(const Tag&) {}

  // Asks that an operation end early. It still completes exactly once, with kAborted or as it would have;
  // after that no byte is placed. Unknown operations are ignored.
  virtual void Cancel(uint64_t operation) = 0;

  // The peer is authenticated as `who`: from now on its remote operations are checked against the tag table.
  // Before this every one of them is refused and ends the endpoint.
  virtual void Bind(Requester who) = 0;

  // ok: flush what was posted, then end in good order. Else end at once; the peer sees a broken connection.
  virtual void Close(Status why) = 0;
  virtual const EndpointInfo& info() const = 0;

  // For the protocol: what this endpoint belongs to. The transport does not look at it.
  void* context = nullptr;
};

// Destroying it stops listening; endpoints it accepted live on.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual const std::string& address() const = 0;  // with the port that was really bound
  void* context = nullptr;
};

struct ListenOptions {
  uint32_t endpoints_max = 10'000;  // accepted and open at once; more are refused at the door
  // A transport may let the peers' devices reach more memory than a tag stands for, as long as they are
  // connected and whatever is revoked, where that saves work for every operation. For peers that could as
  // well be threads of this process. A peer neither asks for it nor learns of it.
  bool trusted_peers = false;
};

struct ConnectOptions {
  uint32_t data_channels =
      1;  // parallel paths for bulk data where a transport has such (TCP: sockets), 1..16
  MonotonicNs deadline = kNever;
  bool trusted_peer = false;  // as ListenOptions::trusted_peers
};

// What a transport is given by its engine.
struct TransportContext {
  TagTable& tags;
  MemoryPool& pool;
  RandomSource& random;
  // A peer that does not acknowledge for this long is dead (TCP_USER_TIMEOUT and its like).
  uint32_t peer_timeout_ms = 15'000;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual const char* name() const = 0;
  virtual const Capabilities& capabilities() const = 0;
  virtual const TransportStats& stats() const = 0;
  // As they are now, in a good order for reading.
  virtual std::vector<TransportFact> facts() const { return {}; }
  // What it holds of the host's beyond memory and descriptors; nothing for most.
  virtual std::vector<TransportGauge> gauges() const { return {}; }

  // `address`: "HOST:PORT", "[V6]:PORT" (port 0 picks one) or "unix:/PATH". Name resolution is the caller's:
  // HOST is a literal address. kTransportUnavailable: this transport has nothing that reaches this address,
  // or no longer has (no device, no route through one); another transport may. A dialer learns that here, or
  // with OnClosed.
  virtual Result<std::unique_ptr<Listener>> Listen(const std::string& address, ListenOptions options) = 0;
  virtual Result<std::unique_ptr<Endpoint>> Connect(const std::string& address, ConnectOptions options) = 0;

  // Regions that come and go, for transports that register memory with a device.
  virtual Status AddRegion(Region& region) = 0;
  virtual void RemoveRegion(Region& region) = 0;

  // Makes progress both ways and tells `events`; moves about `bytes_budget` bytes of bulk data at most, so
  // that the event loop stays responsive. True if anything happened.
  virtual bool Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) = 0;
  // Prepares for sleep: from now on event_fd() becomes readable when there is something to poll. False if
  // there is something already (then Poll again instead of sleeping): a wake-up cannot be lost between Poll
  // and Arm.
  virtual bool Arm() = 0;
  virtual int event_fd() const = 0;
  // When Poll wants to be called even though nothing arrives (its own timeouts); kNever if not.
  virtual MonotonicNs next_timeout() const = 0;
};

}  // namespace splitplane

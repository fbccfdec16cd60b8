// A transport in memory that does as it is told: it cuts links after a number of frames, damages, repeats or
// withholds what passes, refuses connections and posts, loses its device, and stalls. Meets the contract of
// native/transport/transport.h, so that what fails over it fails over a real one. Two engines in one process
// meet in a FakeNetwork, or in two of them at once: each is a transport of its own. Time is theirs.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/protocol/engine.h"

namespace splitplane {

class FakeEndpoint;
class FakeTransport;

// What happens to a frame on its way: the frames that arrive instead of it.
using FrameFault = std::function<std::vector<std::vector<uint8_t>>(std::vector<uint8_t> frame)>;

class FakeNetwork {
 public:
  // The first network that is there is the transport "fake" of the engines that are made while it lives, a
  // second one "spare".
  FakeNetwork();
  ~FakeNetwork();
  FakeNetwork(const FakeNetwork&) = delete;
  FakeNetwork& operator=(const FakeNetwork&) = delete;
  static TransportEntry Entry();
  static TransportEntry SpareEntry();
  const char* name() const;
  // `tag` as only this network takes it.
  std::vector<uint8_t> GrantOf(const Tag& tag) const;

  // Cuts the link that posts frame number `number` from now on (1 is the next), before or after it arrived.
  void CutAtFrame(uint64_t number, bool after_arrival) {
    cut_at_ = frames_posted_ + number;
    cut_after_arrival_ = after_arrival;
  }
  // Cuts every link that is up: both sides see it at their next Poll, what was on the way is lost.
  void CutAll();
  uint64_t frames_posted() const { return frames_posted_; }
  uint64_t calls() const { return calls_; }  // of endpoints' methods

  FrameFault fault;                    // of every frame, when set
  bool refuse = false;                 // connections are refused at once
  bool refuse_later = false;           // at the next Poll
  bool gone = false;                   // no device any more
  bool stalled = false;                // nothing arrives, and nobody notices
  size_t frames_in_flight_max = 1024;  // per direction; then posts are refused
  uint32_t send_bytes_max = 64 * 1024;
  uint32_t operations_max = 8;
  bool remote_atomics = true;
  std::vector<uint64_t> operations_posted;  // their ids
  // Of every operation that is served: not ok makes it fail with that.
  std::function<Status(uint64_t operation)> serve_fault;

 private:
  friend class FakeEndpoint;
  friend class FakeTransport;

  // The tag in a grant; nothing if another network made it.
  std::optional<Tag> TagIn(ConstBytes grant) const;

  std::map<std::string, std::pair<FakeTransport*, Listener*>> listeners_;
  std::vector<FakeTransport*> transports_;
  size_t slot_ = 0;
  uint64_t frames_posted_ = 0;
  uint64_t calls_ = 0;
  uint64_t cut_at_ = 0;
  bool cut_after_arrival_ = false;
};

class FakeEndpoint final : public Endpoint {
 public:
  // What arrives at an endpoint, in order.
  struct Arrival {
    enum class Kind : uint8_t { kConnected, kFrame, kRequest, kCompletion, kNotified, kClosed };
    Kind kind = Kind::kFrame;
    std::vector<uint8_t> frame{};
    std::function<void(FakeEndpoint& server)> serve{};
    Completion completion{};
    uint32_t tag_index = 0;
    Status why{};
  };

  FakeEndpoint(FakeNetwork& network, FakeTransport& transport) : network_(network), transport_(transport) {}
  ~FakeEndpoint() override;

  Status PostSend(std::span<const ConstBytes> pieces) override;
  Status PostRead(uint64_t operation, const RemoteSlice& remote, std::vector<Slice> local,
                  TransferOptions options) override;
  Status PostWrite(uint64_t operation, std::vector<Slice> local, const RemoteSlice& remote,
                   TransferOptions options) override;
  Status PostAtomic(uint64_t operation, const RemoteSlice& remote, AtomicRequest request) override;
  void Cancel(uint64_t operation) override;
  void Bind(Requester who) override;
  void Close(Status why) override;
  const EndpointInfo& info() const override { return info_; }

 private:
  friend class FakeNetwork;
  friend class FakeTransport;

  void Arrive(Arrival arrival) {
    if (!closed_) arrivals_.push_back(std::move(arrival));
  }
  // Ends here and, after what is on the way already (unless that is lost), at the peer.
  void Break(Status here, Status there, bool lose_what_is_on_the_way);
  void End(Status why, bool lose_what_is_on_the_way);
  Status PostRequest(uint64_t operation, std::function<Completion(FakeEndpoint& server)> serve);
  Result<TagTable::Use> Begin(const std::vector<uint8_t>& grant, Access access, uint64_t offset,
                              uint64_t length, uint64_t operation);
  bool Deliver(TransportEvents& events);
  bool HasRoom() const { return !peer_ || frames_queued_ < network_.frames_in_flight_max; }

  FakeNetwork& network_;
  FakeTransport& transport_;
  FakeEndpoint* peer_ = nullptr;  // null once broken
  bool closed_ = false;           // OnClosed was told, or is the last that arrives
  bool bound_ = false;
  bool wants_writable_ = false;
  Requester who_;
  EndpointInfo info_;
  std::deque<Arrival> arrivals_;
  size_t frames_queued_ = 0;  // posted here, not yet delivered there
  bool Awaits(uint64_t operation) const {
    return std::find(outstanding_.begin(), outstanding_.end(), operation) != outstanding_.end();
  }

  std::vector<uint64_t> outstanding_;
};

class FakeTransport final : public Transport {
 public:
  FakeTransport(FakeNetwork& network, TransportContext context);
  ~FakeTransport() override;

  const char* name() const override { return network_.name(); }
  const Capabilities& capabilities() const override { return capabilities_; }
  const TransportStats& stats() const override { return stats_; }
  Result<std::unique_ptr<Listener>> Listen(const std::string& address, ListenOptions options) override;
  Result<std::unique_ptr<Endpoint>> Connect(const std::string& address, ConnectOptions options) override;
  Status AddRegion(Region&) override { return {}; }
  void RemoveRegion(Region&) override {}
  bool Poll(TransportEvents& events, MonotonicNs now, uint64_t bytes_budget) override;
  bool Arm() override;
  int event_fd() const override { return -1; }
  MonotonicNs next_timeout() const override { return kNever; }

 private:
  friend class FakeEndpoint;
  friend class FakeNetwork;

  FakeNetwork& network_;
  TransportContext context_;
  Capabilities capabilities_;
  TransportStats stats_;
  MonotonicNs now_ = 0;
  std::vector<FakeEndpoint*> endpoints_;
  struct Knock {
    Listener* listener;
    std::unique_ptr<FakeEndpoint> endpoint;
  };
  std::deque<Knock> knocks_;
};

}  // namespace splitplane

// The connection manager beside the fake device: identifiers, listening, connecting, events with an event
// channel, in port space TCP, between addresses of this one device. Events are told in the order and with
// the padding of private data that the kernel's manager has. It never answers by itself later: whoever sends
// something has it queued at the other side at once. One thread.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test/native/rdma_fake_device.h"

namespace splitplane::rdma::fake {

// Of private data, as it arrives: a request's, an answer's and a refusal's.
inline constexpr size_t kRequestBytes = 56;
inline constexpr size_t kAnswerBytes = 196;
inline constexpr size_t kRefusalBytes = 148;

struct EventChannel;

struct Id final : rdma_cm_id {
  // Life: who connects goes along the first line, who is connected to along the second.
  enum class State : uint8_t {
    kIdle,
    kResolved,
    kRouted,
    kAsking,
    kAnswered,
    kBound,
    kListening,
    kAsked,
    kAnswering,
    kConnected,
    kLeaving,
    kLeft,
    kOver,
  };
  State state = State::kIdle;
  Id* other = nullptr;
  uint32_t unacknowledged = 0;
  uint32_t pair = 0;
  uint32_t first_packet = 0;
  uint8_t reads = 0;
};

struct Event final : rdma_cm_event {
  Id* counted = nullptr;
  std::vector<uint8_t> bytes;
};

struct EventChannel final : rdma_event_channel {
  uint32_t children = 0;
  std::deque<std::unique_ptr<Event>> events;
  Bell bell;
};

class Manager {
 public:
  Manager(Faults& faults, Device& device) : faults_(faults), device_(device) {}

  // The functions of Verbs, with their meaning.
  rdma_event_channel* MakeChannel();
  void Destroy(rdma_event_channel* channel);
  int GetEvent(rdma_event_channel* channel, rdma_cm_event** event);
  int Acknowledge(rdma_cm_event* event);
  int Make(rdma_event_channel* channel, rdma_cm_id** id, void* context);
  int Destroy(rdma_cm_id* id);
  int Bind(rdma_cm_id* id, const sockaddr* address);
  int Listen(rdma_cm_id* id);
  int ResolveAddress(rdma_cm_id* id, const sockaddr* to);
  int ResolveRoute(rdma_cm_id* id);
  int Connect(rdma_cm_id* id, const rdma_conn_param* parameters);
  int Establish(rdma_cm_id* id);
  int Accept(rdma_cm_id* id, const rdma_conn_param* parameters);
  int Reject(rdma_cm_id* id, const void* bytes, uint8_t length);
  int Disconnect(rdma_cm_id* id);
  int DescribePath(rdma_cm_id* id, ibv_qp_attr* attributes, int* mask);

  // For tests: every identifier of the device hears that it is unplugged.
  void Remove();
  std::string Left() const;

 private:
  Id* Listener(const sockaddr_in& address) const;
  std::unique_ptr<Event> MakeEvent(Id& id, rdma_cm_event_type type, int status);
  void Tell(Id& id, rdma_cm_event_type type, int status = 0, const void* bytes = nullptr, size_t length = 0,
            size_t padded = 0, uint32_t pair = 0);
  void Queue(EventChannel& channel, std::unique_ptr<Event> event);
  void ForgetEvents(Id& id);
  void SayFarewell(Id& id);

  Faults& faults_;
  Device& device_;
  std::map<const void*, std::unique_ptr<Id>> ids_;
  std::map<const void*, std::unique_ptr<EventChannel>> channels_;
  std::map<const void*, std::unique_ptr<Event>> told_;
  uint16_t last_port_ = 20'000;
  uint32_t last_packet_ = 1000;
};

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

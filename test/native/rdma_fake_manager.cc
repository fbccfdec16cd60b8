// The life of identifiers.
#include "test/native/rdma_fake_manager.h"

#if SPLITPLANE_HAS_VERBS

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "test/native/rdma_fake_verbs.h"

namespace splitplane::rdma::fake {
namespace {

// Reasons of a refusal, in the manager's own count.
constexpr int kNobodyListens = 8;
constexpr int kGivenUp = 4;
constexpr int kByUser = 28;

using State = Id::State;

Id& Own(rdma_cm_id* id) { return *static_cast<Id*>(id); }
int Fail(int error) { return errno = error, -1; }

bool IsDevices(const sockaddr_in& address) {
  return address.sin_family == AF_INET && address.sin_addr.s_addr == inet_addr(kAddress);
}

}  // namespace

rdma_event_channel* Manager::MakeChannel() {
  auto made = std::make_unique<EventChannel>();
  made->fd = made->bell.fd();
  return (channels_[made.get()] = std::move(made)).get();
}

void Manager::Destroy(rdma_event_channel* channel) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return faults_.Complain("destroy_event_channel of none");
  if (found->second->children > 0) faults_.Complain("destroy_event_channel with identifiers left");
  channels_.erase(found);
}

std::unique_ptr<Event> Manager::MakeEvent(Id& id, rdma_cm_event_type type, int status) {
  faults_.OnEvent(type, status);
  auto event = std::make_unique<Event>();
  event->id = event->counted = &id;
  event->event = type;
  event->status = status;
  return event;
}

void Manager::Queue(EventChannel& channel, std::unique_ptr<Event> event) {
  channel.events.push_back(std::move(event));
  channel.bell.Set(true);
}

// `padded`: private data arrives with zeros up to this.
void Manager::Tell(Id& id, rdma_cm_event_type type, int status, const void* bytes, size_t length,
                   size_t padded, uint32_t pair) {
  std::unique_ptr<Event> event = MakeEvent(id, type, status);
  event->bytes.resize(padded);
  if (length > 0) std::memcpy(event->bytes.data(), bytes, length);
  if (padded > 0) event->param.conn.private_data = event->bytes.data();
  event->param.conn.private_data_len = uint8_t(padded);
  event->param.conn.qp_num = pair;
  Queue(*static_cast<EventChannel*>(id.channel), std::move(event));
}

int Manager::GetEvent(rdma_event_channel* channel, rdma_cm_event** event) {
  EventChannel& own = *static_cast<EventChannel*>(channel);
  if (own.events.empty()) return Fail(EAGAIN);
  std::unique_ptr<Event> first = std::move(own.events.front());
  own.events.pop_front();
  own.bell.Set(!own.events.empty());
  first->counted->unacknowledged++;
  *event = first.get();
  told_[first.get()] = std::move(first);
  return 0;
}

int Manager::Acknowledge(rdma_cm_event* event) {
  const auto found = told_.find(event);
  if (found == told_.end()) return faults_.Complain("ack_cm_event of none"), Fail(EINVAL);
  found->second->counted->unacknowledged--;
  told_.erase(found);
  return 0;
}

int Manager::Make(rdma_event_channel* channel, rdma_cm_id** id, void* context) {
  auto made = std::make_unique<Id>();
  made->channel = channel;
  made->context = context;
  made->ps = RDMA_PS_TCP;
  static_cast<EventChannel*>(channel)->children++;
  *id = (ids_[made.get()] = std::move(made)).get();
  return 0;
}

// Requests that nobody took are refused with their listener.
void Manager::ForgetEvents(Id& id) {
  EventChannel& channel = *static_cast<EventChannel*>(id.channel);
  std::vector<Id*> requests;
  for (const std::unique_ptr<Event>& event : channel.events) {
    if (event->counted == &id && event->id != &id) requests.push_back(static_cast<Id*>(event->id));
  }
  std::erase_if(channel.events, [&](const std::unique_ptr<Event>& event) {
    return event->counted == &id || event->id == &id;
  });
  channel.bell.Set(!channel.events.empty());
  for (Id* request : requests) Destroy(request);
}

// What the other side hears of an identifier that goes.
void Manager::SayFarewell(Id& id) {
  Id* other = std::exchange(id.other, nullptr);
  if (!other) return;
  switch (id.state) {
    case State::kAsked:
    case State::kAnswering:
    case State::kAnswered:
      Tell(*other, RDMA_CM_EVENT_REJECTED, kByUser, nullptr, 0, kRefusalBytes);
      other->state = State::kOver;
      break;
    case State::kAsking:
      Tell(*other, RDMA_CM_EVENT_REJECTED, kGivenUp, nullptr, 0, kRefusalBytes);
      other->state = State::kOver;
      break;
    case State::kConnected:
      Tell(*other, RDMA_CM_EVENT_DISCONNECTED);
      other->state = State::kLeft;
      break;
    case State::kLeft:
      Tell(*other, RDMA_CM_EVENT_DISCONNECTED);
      other->state = State::kOver;
      break;
    default:
      break;
  }
  other->other = nullptr;
}

int Manager::Destroy(rdma_cm_id* id) {
  const auto found = ids_.find(id);
  if (found == ids_.end()) return faults_.Complain("destroy_id of none"), Fail(EINVAL);
  Id& own = *found->second;
  if (own.unacknowledged > 0) faults_.Complain("destroy_id with events that were not acknowledged");
  ForgetEvents(own);
  SayFarewell(own);
  static_cast<EventChannel*>(own.channel)->children--;
  ids_.erase(found);
  return 0;
}

Id* Manager::Listener(const sockaddr_in& address) const {
  for (const auto& [key, id] : ids_) {
    if (id->state == State::kListening && id->route.addr.src_sin.sin_port == address.sin_port)
      return id.get();
  }
  return nullptr;
}

int Manager::Bind(rdma_cm_id* id, const sockaddr* address) {
  Id& own = Own(id);
  sockaddr_in wished{};
  std::memcpy(&wished, address, sizeof(wished));
  if (own.state != State::kIdle) return Fail(EINVAL);
  const bool any = wished.sin_family == AF_INET && wished.sin_addr.s_addr == INADDR_ANY;
  if (device_.gone() || (!any && !IsDevices(wished))) return Fail(ENODEV);
  if (wished.sin_port == 0) wished.sin_port = htons(++last_port_);
  if (Listener(wished)) return Fail(EADDRINUSE);
  if (!any) own.verbs = device_.managers_context();
  own.route.addr.src_sin = wished;
  own.state = State::kBound;
  return 0;
}

int Manager::Listen(rdma_cm_id* id) {
  if (Own(id).state != State::kBound) return Fail(EINVAL);
  Own(id).state = State::kListening;
  return 0;
}

int Manager::ResolveAddress(rdma_cm_id* id, const sockaddr* to) {
  Id& own = Own(id);
  sockaddr_in wished{};
  std::memcpy(&wished, to, sizeof(wished));
  if (own.state != State::kIdle) return Fail(EINVAL);
  if (device_.gone() || !IsDevices(wished)) return Fail(ENODEV);
  own.route.addr.dst_sin = own.route.addr.src_sin = wished;
  own.route.addr.src_sin.sin_port = htons(++last_port_);
  own.verbs = device_.managers_context();
  own.port_num = 1;
  own.state = State::kResolved;
  Tell(own, RDMA_CM_EVENT_ADDR_RESOLVED);
  return 0;
}

int Manager::ResolveRoute(rdma_cm_id* id) {
  if (Own(id).state != State::kResolved) return Fail(EINVAL);
  Own(id).state = State::kRouted;
  Tell(Own(id), RDMA_CM_EVENT_ROUTE_RESOLVED);
  return 0;
}

int Manager::Connect(rdma_cm_id* id, const rdma_conn_param* parameters) {
  Id& own = Own(id);
  if (own.state != State::kRouted || parameters->private_data_len > kRequestBytes) return Fail(EINVAL);
  own.state = State::kAsking;
  own.pair = parameters->qp_num;
  own.reads = parameters->initiator_depth;
  own.first_packet = ++last_packet_;
  Id* listener = Listener(own.route.addr.dst_sin);
  if (!listener) {
    own.state = State::kOver;
    Tell(own, RDMA_CM_EVENT_REJECTED, kNobodyListens, nullptr, 0, kRefusalBytes);
    return 0;
  }
  rdma_cm_id* made = nullptr;
  Make(listener->channel, &made, listener->context);
  Id& request = Own(made);
  request.state = State::kAsked;
  request.verbs = device_.managers_context();
  request.port_num = 1;
  request.route.addr.src_sin = own.route.addr.dst_sin;
  request.route.addr.dst_sin = own.route.addr.src_sin;
  request.first_packet = ++last_packet_;
  request.other = &own;
  own.other = &request;
  std::unique_ptr<Event> event = MakeEvent(request, RDMA_CM_EVENT_CONNECT_REQUEST, 0);
  event->counted = listener;
  event->listen_id = listener;
  event->bytes.resize(kRequestBytes);
  if (parameters->private_data_len > 0)
    std::memcpy(event->bytes.data(), parameters->private_data, parameters->private_data_len);
  event->param.conn.private_data = event->bytes.data();
  event->param.conn.private_data_len = kRequestBytes;
  event->param.conn.qp_num = own.pair;
  Queue(*static_cast<EventChannel*>(listener->channel), std::move(event));
  return 0;
}

int Manager::Accept(rdma_cm_id* id, const rdma_conn_param* parameters) {
  Id& own = Own(id);
  if (own.state != State::kAsked || parameters->private_data_len > kAnswerBytes) return Fail(EINVAL);
  own.state = State::kAnswering;
  own.pair = parameters->qp_num;
  own.reads = parameters->initiator_depth;
  own.other->state = State::kAnswered;
  Tell(*own.other, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, parameters->private_data, parameters->private_data_len,
       kAnswerBytes, own.pair);
  return 0;
}

int Manager::Reject(rdma_cm_id* id, const void* bytes, uint8_t length) {
  Id& own = Own(id);
  if (own.state != State::kAsked || length > kRefusalBytes) return Fail(EINVAL);
  own.state = own.other->state = State::kOver;
  Tell(*own.other, RDMA_CM_EVENT_REJECTED, kByUser, bytes, length, kRefusalBytes);
  own.other->other = nullptr;
  own.other = nullptr;
  return 0;
}

int Manager::Establish(rdma_cm_id* id) {
  Id& own = Own(id);
  if (own.state != State::kAnswered) return Fail(EINVAL);
  own.state = own.other->state = State::kConnected;
  Tell(*own.other, RDMA_CM_EVENT_ESTABLISHED);
  return 0;
}

int Manager::Disconnect(rdma_cm_id* id) {
  Id& own = Own(id);
  switch (own.state) {
    case State::kConnected:
      own.state = State::kLeaving;
      own.other->state = State::kLeft;
      Tell(*own.other, RDMA_CM_EVENT_DISCONNECTED);
      return 0;
    case State::kLeft:
      own.state = State::kOver;
      Tell(own, RDMA_CM_EVENT_TIMEWAIT_EXIT);
      if (!own.other) return 0;
      own.other->state = State::kOver;
      Tell(*own.other, RDMA_CM_EVENT_DISCONNECTED);
      own.other->other = nullptr;
      own.other = nullptr;
      return 0;
    default:
      return Fail(EINVAL);
  }
}

int Manager::DescribePath(rdma_cm_id* id, ibv_qp_attr* attributes, int* mask) {
  Id& own = Own(id);
  if (device_.gone() || !own.verbs) return Fail(ENODEV);
  *mask = IBV_QP_STATE;
  if (attributes->qp_state == IBV_QPS_INIT) {
    attributes->port_num = 1;
    attributes->qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
    *mask |= IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
    return 0;
  }
  if (!own.other) return Fail(EINVAL);
  if (attributes->qp_state == IBV_QPS_RTR) {
    attributes->ah_attr.is_global = 1;
    attributes->ah_attr.port_num = 1;
    attributes->ah_attr.grh.dgid = Gid();
    attributes->path_mtu = IBV_MTU_4096;
    attributes->dest_qp_num = own.other->pair;
    attributes->rq_psn = own.other->first_packet;
    attributes->max_dest_rd_atomic = kReadsAtOnce;
    *mask |= IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
             IBV_QP_MIN_RNR_TIMER;
    return 0;
  }
  attributes->sq_psn = own.first_packet;
  attributes->max_rd_atomic = kReadsAtOnce;
  *mask |= IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY;
  return 0;
}

void Manager::Remove() {
  for (const auto& [key, id] : ids_) {
    if (!id->verbs) continue;
    id->other = nullptr;
    id->state = State::kOver;
    Tell(*id, RDMA_CM_EVENT_DEVICE_REMOVAL);
  }
}

std::string Manager::Left() const {
  std::string left;
  if (!ids_.empty()) left += std::to_string(ids_.size()) + " identifiers left; ";
  if (!channels_.empty()) left += std::to_string(channels_.size()) + " event channels left; ";
  if (!told_.empty()) left += std::to_string(told_.size()) + " events not acknowledged; ";
  return left;
}

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

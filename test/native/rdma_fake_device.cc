// The device's objects: making them, destroying them in the right order, their events.
#include "test/native/rdma_fake_device.h"

#if SPLITPLANE_HAS_VERBS

#include <arpa/inet.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "test/native/rdma_fake_verbs.h"

namespace splitplane::rdma::fake {
namespace {

// The right to what a key of a registration is for is in its last bit, so that one never passes for the
// other.
constexpr uint32_t kRemoteKey = 1;

}  // namespace

void Bell::Set(bool ringing) {
  if (ringing == ringing_) return;
  ringing_ = ringing;
  uint64_t value = 1;
  const ssize_t done =
      ringing ? write(fd_.get(), &value, sizeof(value)) : read(fd_.get(), &value, sizeof(value));
  (void)done;
}

Device::Device(Faults& faults) : faults_(faults) {
  std::strcpy(device_.name, "fake0");
  managers_.device = &device_;
}
Device::~Device() = default;

template <typename Object>
int Device::TakeDown(Shelf<Object>& shelf, const void* object, const char* call, uint32_t children) {
  if (!shelf.contains(object)) {
    faults_.Complain(std::string(call) + " of an object that is not there");
    return EINVAL;
  }
  if (children > 0) {
    faults_.Complain(std::string(call) + " with " + std::to_string(children) +
                     " objects or events of it left");
    return EBUSY;
  }
  shelf.erase(object);
  return 0;
}

ibv_device** Device::List(int* count) {
  listed_[0] = gone_ ? nullptr : &device_;
  if (count) *count = gone_ ? 0 : 1;
  return listed_;
}

ibv_context* Device::Open() {
  if (gone_) return errno = ENODEV, nullptr;
  auto made = std::make_unique<Context>();
  made->device = &device_;
  made->async_fd = made->bell.fd();
  opened_.push_back(made.get());
  return (contexts_[made.get()] = std::move(made)).get();
}

int Device::Close(ibv_context* context) {
  const Context& own = *static_cast<Context*>(context);
  return TakeDown(contexts_, context, "close_device", own.children + own.unacknowledged);
}

int Device::Query(ibv_device_attr* out) const {
  if (gone_) return EIO;
  out->max_sge = out->max_sge_rd = kSendPiecesMax;
  out->max_qp_rd_atom = out->max_qp_init_rd_atom = kReadsAtOnce;
  out->phys_port_cnt = 1;
  return 0;
}

int Device::QueryPort(uint8_t port, ibv_port_attr* out) const {
  if (gone_ || port != 1) return EINVAL;
  out->state = IBV_PORT_ACTIVE;
  out->active_mtu = out->max_mtu = IBV_MTU_4096;
  out->link_layer = IBV_LINK_LAYER_ETHERNET;
  out->gid_tbl_len = 1;
  return 0;
}

int Device::QueryGid(uint32_t port, uint32_t index, ibv_gid_entry* out) const {
  if (gone_ || port != 1 || index != 0) return EINVAL;
  *out = {.gid = Gid(), .gid_index = 0, .port_num = 1, .gid_type = IBV_GID_TYPE_ROCE_V2, .ndev_ifindex = 0};
  return 0;
}

int Device::GetAsyncEvent(ibv_context* context, ibv_async_event* out) {
  Context& own = *static_cast<Context*>(context);
  if (own.events.empty()) return errno = gone_ ? EIO : EAGAIN, -1;
  *out = own.events.front();
  own.events.pop_front();
  own.unacknowledged++;
  RingAll();
  return 0;
}

void Device::AcknowledgeAsyncEvent(ibv_async_event* event) {
  // The libraries find the context by the element; there is at most one event at a time here.
  (void)event;
  const auto owing = std::find_if(contexts_.begin(), contexts_.end(),
                                  [](const auto& one) { return one.second->unacknowledged > 0; });
  if (owing == contexts_.end()) return faults_.Complain("ack_async_event without an event");
  owing->second->unacknowledged--;
}

ibv_pd* Device::Allocate(ibv_context* context) {
  if (gone_) return errno = EIO, nullptr;
  auto made = std::make_unique<Domain>();
  made->context = context;
  static_cast<Context*>(context)->children++;
  return (domains_[made.get()] = std::move(made)).get();
}

int Device::Deallocate(ibv_pd* domain) {
  auto* context = static_cast<Context*>(domain->context);
  const int error = TakeDown(domains_, domain, "dealloc_pd", static_cast<Domain*>(domain)->children);
  if (error == 0) context->children--;
  return error;
}

ibv_mr* Device::Register(ibv_pd* domain, void* address, size_t length, int access) {
  if (gone_) return errno = EIO, nullptr;
  const bool remote_only = (access & IBV_ACCESS_REMOTE_WRITE) != 0 && (access & IBV_ACCESS_LOCAL_WRITE) == 0;
  if (length == 0 || remote_only) return errno = EINVAL, nullptr;
  if (length > faults_.registered_bytes_max() - std::min(registered_bytes_, faults_.registered_bytes_max()))
    return errno = ENOMEM, nullptr;
  auto made = std::make_unique<Memory>();
  made->context = domain->context;
  made->pd = domain;
  made->addr = address;
  made->length = length;
  made->access = access;
  made->lkey = (++last_key_) << 1;
  made->rkey = made->lkey | kRemoteKey;
  registered_bytes_ += length;
  static_cast<Domain*>(domain)->children++;
  return (memories_[made.get()] = std::move(made)).get();
}

int Device::Deregister(ibv_mr* memory) {
  auto* domain = static_cast<Domain*>(memory->pd);
  const uint64_t length = memory->length;
  const int error = TakeDown(memories_, memory, "dereg_mr", 0);
  if (error != 0) return error;
  domain->children--;
  registered_bytes_ -= length;
  return 0;
}

ibv_comp_channel* Device::MakeChannel(ibv_context* context) {
  if (gone_) return errno = EIO, nullptr;
  auto made = std::make_unique<Channel>();
  made->context = context;
  made->fd = made->bell.fd();
  static_cast<Context*>(context)->children++;
  return (channels_[made.get()] = std::move(made)).get();
}

int Device::Destroy(ibv_comp_channel* channel) {
  auto* context = static_cast<Context*>(channel->context);
  const int error =
      TakeDown(channels_, channel, "destroy_comp_channel", static_cast<Channel*>(channel)->children);
  if (error == 0) context->children--;
  return error;
}

ibv_cq* Device::MakeQueue(ibv_context* context, int entries, void* owner, ibv_comp_channel* channel) {
  if (gone_) return errno = EIO, nullptr;
  auto made = std::make_unique<Queue>();
  made->context = context;
  made->channel = channel;
  made->cq_context = owner;
  made->cqe = entries;
  static_cast<Context*>(context)->children++;
  static_cast<Channel*>(channel)->children++;
  return (queues_[made.get()] = std::move(made)).get();
}

int Device::Destroy(ibv_cq* queue) {
  const Queue& own = *static_cast<Queue*>(queue);
  auto* channel = static_cast<Channel*>(queue->channel);
  auto* context = static_cast<Context*>(queue->context);
  const int error = TakeDown(queues_, queue, "destroy_cq", own.children + own.unacknowledged);
  if (error != 0) return error;
  std::erase(channel->events, static_cast<Queue*>(queue));
  channel->children--;
  context->children--;
  return 0;
}

int Device::GetQueueEvent(ibv_comp_channel* channel, ibv_cq** queue, void** owner) {
  MoveSome();
  Channel& own = *static_cast<Channel*>(channel);
  if (own.events.empty()) return errno = EAGAIN, -1;
  Queue* told = own.events.front();
  own.events.pop_front();
  told->unacknowledged++;
  *queue = told;
  *owner = told->cq_context;
  RingAll();
  return 0;
}

void Device::AcknowledgeQueueEvents(ibv_cq* queue, unsigned int count) {
  Queue& own = *static_cast<Queue*>(queue);
  if (count > own.unacknowledged) return faults_.Complain("ack_cq_events of more than there were");
  own.unacknowledged -= count;
}

ibv_qp* Device::MakePair(ibv_pd* domain, ibv_qp_init_attr* attributes) {
  if (gone_) return errno = EIO, nullptr;
  const ibv_qp_cap& wished = attributes->cap;
  if (attributes->qp_type != IBV_QPT_RC || wished.max_inline_data > kInlineBytesMax ||
      wished.max_send_sge > uint32_t(kSendPiecesMax)) {
    return errno = EINVAL, nullptr;
  }
  auto made = std::make_unique<Pair>();
  made->context = domain->context;
  made->qp_context = attributes->qp_context;
  made->pd = domain;
  made->send_cq = attributes->send_cq;
  made->recv_cq = attributes->recv_cq;
  made->qp_num = ++last_pair_;
  made->state = IBV_QPS_RESET;
  made->limits = wished;
  static_cast<Domain*>(domain)->children++;
  static_cast<Queue*>(made->send_cq)->children++;
  static_cast<Queue*>(made->recv_cq)->children++;
  return (pairs_[made->qp_num] = std::move(made)).get();
}

// What it put into completion queues stays there, as with soft-RoCE.
int Device::Destroy(ibv_qp* pair) {
  if (!pairs_.contains(pair->qp_num)) return faults_.Complain("destroy_qp of none"), EINVAL;
  static_cast<Domain*>(pair->pd)->children--;
  static_cast<Queue*>(pair->send_cq)->children--;
  static_cast<Queue*>(pair->recv_cq)->children--;
  for (auto& [key, context] : contexts_) {
    std::erase_if(context->events, [pair](const ibv_async_event& event) { return event.element.qp == pair; });
  }
  pairs_.erase(pair->qp_num);
  RingAll();
  return 0;
}

void Device::Tell(Context& context, ibv_async_event event) {
  context.events.push_back(event);
  RingAll();
}

ibv_qp* Device::Find(size_t nth, Work kind) {
  for (const auto& [number, pair] : pairs_) {
    const bool for_packets = pair->limits.max_recv_wr > 0;
    if (pair->context == opened_.at(nth) && for_packets == (kind == Work::kPacket)) return pair.get();
  }
  return nullptr;
}

void Device::BreakPair(ibv_qp* pair) {
  Break(*static_cast<Pair*>(pair));
  ibv_async_event event{};
  event.element.qp = pair;
  event.event_type = IBV_EVENT_QP_FATAL;
  Tell(*static_cast<Context*>(pair->context), event);
}

void Device::Remove() {
  gone_ = true;
  for (const auto& [number, pair] : pairs_) Break(*pair);
  for (const auto& [key, context] : contexts_) {
    ibv_async_event event{};
    event.event_type = IBV_EVENT_DEVICE_FATAL;
    Tell(*context, event);
  }
}

std::string Device::Left() const {
  std::string left;
  const auto add = [&left](size_t count, const char* what) {
    if (count > 0) left += std::to_string(count) + " " + what + " left; ";
  };
  add(contexts_.size(), "contexts");
  add(domains_.size(), "protection domains");
  add(memories_.size(), "registrations");
  add(channels_.size(), "completion channels");
  add(queues_.size(), "completion queues");
  add(pairs_.size(), "queue pairs");
  return left;
}

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

// Opening devices and reading their events.
#include "native/rdma/device.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>
#include <cstring>

#include "native/rdma/connection.h"
#include "native/rdma/ports.h"

namespace splitplane::rdma {
namespace {

// More would not help: parts are large.
constexpr uint32_t kPiecesPerPartMax = 16;
constexpr int kReadsMax = 16;
// In one round; the rest waits for the next.
constexpr int kDeviceEventsMax = 64;

}  // namespace

Result<std::shared_ptr<Device>> Device::For(Reactor& reactor, const rdma_cm_id& id) {
  for (const std::shared_ptr<Device>& device : reactor.devices) {
    if (device->seen_ == id.verbs) return device;
  }
  Result<std::shared_ptr<Context>> context = Context::Open(reactor.library, id.verbs->device);
  if (!context.ok()) return context.status();
  ibv_device_attr attributes{};
  if (const int error = reactor.library.verbs.query_device((*context)->get(), &attributes); error != 0)
    return Status::Errno("ibv_query_device", error, "the RDMA device does not tell its limits");
  Result<std::shared_ptr<CompletionChannel>> channel = CompletionChannel::Make(*context);
  if (!channel.ok()) return channel.status();
  for (const int fd : {(*context)->get()->async_fd, (*channel)->get()->fd}) {
    if (Status watched = reactor.Watch(fd); !watched.ok()) return watched;
  }
  reactor.devices.push_back(
      std::make_shared<Device>(reactor, id.verbs, std::move(*context), std::move(*channel), attributes));
  return reactor.devices.back();
}

void Device::Leave(Reactor& reactor, const ibv_context* seen) {
  std::erase_if(reactor.devices, [seen](const auto& device) { return device->seen_ == seen; });
}

Device::Device(Reactor& reactor, ibv_context* seen, std::shared_ptr<Context> context,
               std::shared_ptr<CompletionChannel> channel, const ibv_device_attr& attributes)
    : reactor_(reactor), seen_(seen), context_(std::move(context)), channel_(std::move(channel)) {
  int pieces = attributes.max_sge;
  if (attributes.max_sge_rd > 0) pieces = std::min(pieces, attributes.max_sge_rd);
  pieces_max_ = std::clamp<uint32_t>(uint32_t(std::max(pieces, 1)), 1, kPiecesPerPartMax);
  reads_out_max_ = uint8_t(std::clamp(attributes.max_qp_init_rd_atom, 1, kReadsMax));
  reads_in_max_ = uint8_t(std::clamp(attributes.max_qp_rd_atom, 1, kReadsMax));
}

std::string Device::Describe(const ibv_qp_attr& path) const {
  ibv_gid_entry entry{};
  const uint32_t port = path.ah_attr.port_num;
  const bool known =
      path.ah_attr.is_global &&
      reactor_.library.verbs.query_gid_entry(context_->get(), port, path.ah_attr.grh.sgid_index, &entry) == 0;
  const char* type = known ? GidTypeName(entry.gid_type) : GidTypeName(IBV_GID_TYPE_IB);
  return std::string(reactor_.library.verbs.get_device_name(context_->get()->device)) + " port " +
         std::to_string(port) + ", " + type + ", MTU " + std::to_string(MtuBytes(path.path_mtu));
}

// Asked of what packets are sent to, not of an address that a peer claims.
bool Device::IsLoop(const ibv_qp_attr& path) const {
  ibv_gid_entry entry{};
  return path.ah_attr.is_global &&
         reactor_.library.verbs.query_gid_entry(context_->get(), path.ah_attr.port_num,
                                                path.ah_attr.grh.sgid_index, &entry) == 0 &&
         std::memcmp(&entry.gid, &path.ah_attr.grh.dgid, sizeof(entry.gid)) == 0;
}

bool Device::DrainCompletions() {
  bool any = false;
  for (int i = 0; i < kDeviceEventsMax; i++) {
    ibv_cq* queue = nullptr;
    void* owner = nullptr;
    if (reactor_.library.verbs.get_cq_event(channel_->get(), &queue, &owner) != 0) break;
    reactor_.library.verbs.ack_cq_events(queue, 1);
    static_cast<Connection*>(owner)->OnCompletionEvent();
    any = true;
  }
  return any;
}

void Device::DrainEvents() {
  for (int i = 0; i < kDeviceEventsMax; i++) {
    ibv_async_event event;
    if (reactor_.library.verbs.get_async_event(context_->get(), &event) != 0) return;
    reactor_.library.verbs.ack_async_event(&event);
    reactor_.progressed = true;
    switch (event.event_type) {
      case IBV_EVENT_QP_FATAL:
      case IBV_EVENT_QP_REQ_ERR:
      case IBV_EVENT_QP_ACCESS_ERR:
        static_cast<Connection*>(event.element.qp->qp_context)->OnQueuePairError(event.element.qp);
        break;
      case IBV_EVENT_CQ_ERR:
        static_cast<Connection*>(event.element.cq->cq_context)->OnDeviceError();
        break;
      case IBV_EVENT_DEVICE_FATAL:
        for (auto& [connection, owned] : reactor_.connections) {
          if (connection->device() == this) connection->OnDeviceError();
        }
        return Leave(reactor_, seen_);
      default:
        break;  // ports that come and go show as connections that do
    }
  }
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// The table, in front of everything the faults.
#include "test/native/rdma_fake_verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <arpa/inet.h>

#include <cerrno>
#include <cstring>

namespace splitplane::rdma::fake {
namespace {

std::unique_ptr<Fabric>& Current() {
  static std::unique_ptr<Fabric> current = std::make_unique<Fabric>();
  return current;
}

Device& TheDevice() { return Fabric::Get().device; }
Manager& TheManager() { return Fabric::Get().manager; }

// The error with which this call fails, also in errno; zero if it does not.
int Fails(const char* function) {
  const int error = Fabric::Get().faults.OnCall(function);
  if (error != 0) errno = error;
  return error;
}

void AddObjects(Verbs& table) {
  table.get_device_list = [](int* count) {
    return Fails("get_device_list") ? nullptr : TheDevice().List(count);
  };
  table.free_device_list = [](ibv_device**) {};
  table.get_device_name = [](ibv_device* device) -> const char* { return device->name; };
  table.open_device = [](ibv_device*) { return Fails("open_device") ? nullptr : TheDevice().Open(); };
  table.close_device = [](ibv_context* context) { return TheDevice().Close(context); };
  table.query_device = [](ibv_context*, ibv_device_attr* out) {
    const int error = Fails("query_device");
    return error ? error : TheDevice().Query(out);
  };
  table.query_port = [](ibv_context*, uint8_t port, ibv_port_attr* out) {
    return TheDevice().QueryPort(port, out);
  };
  table.query_gid_entry = [](ibv_context*, uint32_t port, uint32_t index, ibv_gid_entry* out) {
    const int error = Fails("query_gid_entry");
    return error ? error : TheDevice().QueryGid(port, index, out);
  };
  table.get_async_event = [](ibv_context* context, ibv_async_event* out) {
    return TheDevice().GetAsyncEvent(context, out);
  };
  table.ack_async_event = [](ibv_async_event* event) { TheDevice().AcknowledgeAsyncEvent(event); };
  table.alloc_pd = [](ibv_context* context) {
    return Fails("alloc_pd") ? nullptr : TheDevice().Allocate(context);
  };
  table.dealloc_pd = [](ibv_pd* domain) { return TheDevice().Deallocate(domain); };
  table.reg_mr = [](ibv_pd* domain, void* address, size_t length, int access) {
    return Fails("reg_mr") ? nullptr : TheDevice().Register(domain, address, length, access);
  };
  table.dereg_mr = [](ibv_mr* memory) { return TheDevice().Deregister(memory); };
  table.create_comp_channel = [](ibv_context* context) {
    return Fails("create_comp_channel") ? nullptr : TheDevice().MakeChannel(context);
  };
  table.destroy_comp_channel = [](ibv_comp_channel* channel) { return TheDevice().Destroy(channel); };
  table.create_cq = [](ibv_context* context, int entries, void* owner, ibv_comp_channel* channel, int) {
    return Fails("create_cq") ? nullptr : TheDevice().MakeQueue(context, entries, owner, channel);
  };
  table.destroy_cq = [](ibv_cq* queue) { return TheDevice().Destroy(queue); };
  table.get_cq_event = [](ibv_comp_channel* channel, ibv_cq** queue, void** owner) {
    return TheDevice().GetQueueEvent(channel, queue, owner);
  };
  table.ack_cq_events = [](ibv_cq* queue, unsigned int count) {
    TheDevice().AcknowledgeQueueEvents(queue, count);
  };
  table.create_qp = [](ibv_pd* domain, ibv_qp_init_attr* attributes) {
    return Fails("create_qp") ? nullptr : TheDevice().MakePair(domain, attributes);
  };
  table.modify_qp = [](ibv_qp* pair, ibv_qp_attr* attributes, int mask) {
    const int error = Fails("modify_qp");
    return error ? error : TheDevice().Modify(pair, attributes, mask);
  };
  table.destroy_qp = [](ibv_qp* pair) { return TheDevice().Destroy(pair); };
}

void AddFastPath(Verbs& table) {
  table.poll_cq = [](ibv_cq* queue, int count, ibv_wc* out) {
    return Fails("poll_cq") ? -1 : TheDevice().Poll(queue, count, out);
  };
  table.req_notify_cq = [](ibv_cq* queue, int) {
    const int error = Fails("req_notify_cq");
    return error ? error : TheDevice().Arm(queue);
  };
  table.post_send = [](ibv_qp* pair, ibv_send_wr* request, ibv_send_wr** bad) {
    const int error = Fails("post_send");
    return error ? error : TheDevice().PostSend(pair, request, bad);
  };
  table.post_recv = [](ibv_qp* pair, ibv_recv_wr* request, ibv_recv_wr** bad) {
    const int error = Fails("post_recv");
    return error ? error : TheDevice().PostReceive(pair, request, bad);
  };
}

void AddManager(Verbs& table) {
  table.create_event_channel = [] {
    return Fails("create_event_channel") ? nullptr : TheManager().MakeChannel();
  };
  table.destroy_event_channel = [](rdma_event_channel* channel) { TheManager().Destroy(channel); };
  table.get_cm_event = [](rdma_event_channel* channel, rdma_cm_event** event) {
    return TheManager().GetEvent(channel, event);
  };
  table.ack_cm_event = [](rdma_cm_event* event) { return TheManager().Acknowledge(event); };
  table.create_id = [](rdma_event_channel* channel, rdma_cm_id** id, void* context, rdma_port_space) {
    return Fails("create_id") ? -1 : TheManager().Make(channel, id, context);
  };
  table.destroy_id = [](rdma_cm_id* id) { return TheManager().Destroy(id); };
  table.bind_addr = [](rdma_cm_id* id, sockaddr* address) {
    return Fails("bind_addr") ? -1 : TheManager().Bind(id, address);
  };
  table.listen = [](rdma_cm_id* id, int) { return Fails("listen") ? -1 : TheManager().Listen(id); };
  table.resolve_addr = [](rdma_cm_id* id, sockaddr*, sockaddr* to, int) {
    return Fails("resolve_addr") ? -1 : TheManager().ResolveAddress(id, to);
  };
  table.resolve_route = [](rdma_cm_id* id, int) {
    return Fails("resolve_route") ? -1 : TheManager().ResolveRoute(id);
  };
  table.connect = [](rdma_cm_id* id, rdma_conn_param* parameters) {
    return Fails("connect") ? -1 : TheManager().Connect(id, parameters);
  };
  table.establish = [](rdma_cm_id* id) { return Fails("establish") ? -1 : TheManager().Establish(id); };
  table.accept = [](rdma_cm_id* id, rdma_conn_param* parameters) {
    return Fails("accept") ? -1 : TheManager().Accept(id, parameters);
  };
  table.reject = [](rdma_cm_id* id, const void* bytes, uint8_t length) {
    return Fails("reject") ? -1 : TheManager().Reject(id, bytes, length);
  };
  table.disconnect = [](rdma_cm_id* id) { return TheManager().Disconnect(id); };
  table.init_qp_attr = [](rdma_cm_id* id, ibv_qp_attr* attributes, int* mask) {
    return Fails("init_qp_attr") ? -1 : TheManager().DescribePath(id, attributes, mask);
  };
}

}  // namespace

int Faults::OnCall(const char* function) {
  if (call_.times == 0 || call_.function != function) return 0;
  if (call_.nth > 0) return call_.nth--, 0;
  call_.times--;
  call_.struck = true;
  return call_.error;
}

ibv_wc_status Faults::OnWork(Work kind) {
  if (kind == Work::kPart && every_part_ != IBV_WC_SUCCESS) return every_part_;
  if (!work_ || work_->kind != kind) return IBV_WC_SUCCESS;
  if (work_->nth > 0) return work_->nth--, IBV_WC_SUCCESS;
  const ibv_wc_status status = work_->status;
  work_.reset();
  return status;
}

void Faults::OnEvent(rdma_cm_event_type& event, int& status) {
  if (!event_ || event_->event != event) return;
  event = event_->instead;
  status = event_->status;
  event_.reset();
}

ibv_gid Gid() {
  ibv_gid gid{};
  gid.raw[10] = gid.raw[11] = 0xff;
  const in_addr_t address = inet_addr(kAddress);
  std::memcpy(gid.raw + 12, &address, sizeof(address));
  return gid;
}

Fabric& Fabric::Get() { return *Current(); }

std::string Fabric::Renew(bool detached) {
  const std::unique_ptr<Fabric> old = std::exchange(Current(), std::make_unique<Fabric>());
  std::string wrong = old->device.Left() + old->manager.Left();
  for (const std::string& complaint : old->faults.complaints()) wrong += complaint + "; ";
  if (!detached && old->device.lost_moves() > 0)
    wrong += std::to_string(old->device.lost_moves()) + " moves of memory that was not there any more; ";
  return wrong;
}

const Verbs& Fabric::Table() {
  static const Verbs table = [] {
    Verbs made{};
    AddObjects(made);
    AddFastPath(made);
    AddManager(made);
    return made;
  }();
  return table;
}

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

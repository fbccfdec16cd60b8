// Loading the libraries. A name that is missing makes all of RDMA unavailable: half of it is of no use.
#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <dlfcn.h>

#include <string>

namespace splitplane::rdma {
namespace {

constexpr const char* kVerbsLibrary = "libibverbs.so.1";
constexpr const char* kConnectionLibrary = "librdmacm.so.1";

// ibv_query_gid_ex is an inline function over this symbol.
using QueryGidEx = int (*)(ibv_context*, uint32_t, uint32_t, ibv_gid_entry*, uint32_t, size_t);
QueryGidEx query_gid_ex = nullptr;  // written once, while the table is made

struct Loaded {
  Verbs verbs{};
  Status status;
};

Status Missing(const std::string& what) {
  return Status::Error(Code::kTransportUnavailable, "rdma",
                       what + "; install the packages libibverbs1, librdmacm1 and ibverbs-providers");
}

class Loader {
 public:
  void Open(const char* library) {
    if (!status.ok()) return;
    handle_ = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle_) status = Missing(std::string("the library ") + library + " is not here");
  }
  template <typename Function>
  void Take(Function& function, const char* name) {
    if (!status.ok()) return;
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (!function) status = Missing(std::string("the RDMA libraries are too old: they lack ") + name);
  }
  Status status;

 private:
  void* handle_ = nullptr;
};

void TakeVerbs(Loader& from, Verbs& to) {
  from.Open(kVerbsLibrary);
  from.Take(to.get_device_list, "ibv_get_device_list");
  from.Take(to.free_device_list, "ibv_free_device_list");
  from.Take(to.get_device_name, "ibv_get_device_name");
  from.Take(to.open_device, "ibv_open_device");
  from.Take(to.close_device, "ibv_close_device");
  from.Take(to.query_device, "ibv_query_device");
  // Fills what every version of the structure has, which is all that is looked at here.
  from.Take(to.query_port, "ibv_query_port");
  from.Take(query_gid_ex, "_ibv_query_gid_ex");
  from.Take(to.get_async_event, "ibv_get_async_event");
  from.Take(to.ack_async_event, "ibv_ack_async_event");
  from.Take(to.alloc_pd, "ibv_alloc_pd");
  from.Take(to.dealloc_pd, "ibv_dealloc_pd");
  from.Take(to.reg_mr, "ibv_reg_mr");
  from.Take(to.dereg_mr, "ibv_dereg_mr");
  from.Take(to.create_comp_channel, "ibv_create_comp_channel");
  from.Take(to.destroy_comp_channel, "ibv_destroy_comp_channel");
  from.Take(to.create_cq, "ibv_create_cq");
  from.Take(to.destroy_cq, "ibv_destroy_cq");
  from.Take(to.get_cq_event, "ibv_get_cq_event");
  from.Take(to.ack_cq_events, "ibv_ack_cq_events");
  from.Take(to.create_qp, "ibv_create_qp");
  from.Take(to.modify_qp, "ibv_modify_qp");
  from.Take(to.destroy_qp, "ibv_destroy_qp");
  // These have no symbols: they are calls through the context of the object.
  to.query_gid_entry = [](ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* out) {
    return query_gid_ex(context, port, index, out, 0, sizeof(*out));
  };
  to.poll_cq = [](ibv_cq* cq, int count, ibv_wc* out) { return ibv_poll_cq(cq, count, out); };
  to.req_notify_cq = [](ibv_cq* cq, int solicited) { return ibv_req_notify_cq(cq, solicited); };
  to.post_send = [](ibv_qp* qp, ibv_send_wr* request, ibv_send_wr** bad) {
    return ibv_post_send(qp, request, bad);
  };
  to.post_recv = [](ibv_qp* qp, ibv_recv_wr* request, ibv_recv_wr** bad) {
    return ibv_post_recv(qp, request, bad);
  };
}

void TakeConnections(Loader& from, Verbs& to) {
  from.Open(kConnectionLibrary);
  from.Take(to.create_event_channel, "rdma_create_event_channel");
  from.Take(to.destroy_event_channel, "rdma_destroy_event_channel");
  from.Take(to.get_cm_event, "rdma_get_cm_event");
  from.Take(to.ack_cm_event, "rdma_ack_cm_event");
  from.Take(to.create_id, "rdma_create_id");
  from.Take(to.destroy_id, "rdma_destroy_id");
  from.Take(to.bind_addr, "rdma_bind_addr");
  from.Take(to.listen, "rdma_listen");
  from.Take(to.resolve_addr, "rdma_resolve_addr");
  from.Take(to.resolve_route, "rdma_resolve_route");
  from.Take(to.connect, "rdma_connect");
  from.Take(to.establish, "rdma_establish");
  from.Take(to.accept, "rdma_accept");
  from.Take(to.reject, "rdma_reject");
  from.Take(to.disconnect, "rdma_disconnect");
  from.Take(to.init_qp_attr, "rdma_init_qp_attr");
}

Loaded Load() {
  Loaded loaded;
  Loader loader;
  TakeVerbs(loader, loaded.verbs);
  // Before any object exists: a child process must not take the pages that a device writes to. Kernels from
  // 5.12 on see to it themselves, and then this does nothing.
  int (*fork_init)() = nullptr;
  loader.Take(fork_init, "ibv_fork_init");
  TakeConnections(loader, loaded.verbs);
  loaded.status = loader.status;
  if (loaded.status.ok() && fork_init() != 0) {
    loaded.status =
        Missing("ibv_fork_init failed: memory that was registered before would not survive a fork");
  }
  return loaded;
}

}  // namespace

Result<const Verbs*> LoadVerbs() {
  static const Loaded loaded = Load();
  if (!loaded.status.ok()) return loaded.status;
  return &loaded.verbs;
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

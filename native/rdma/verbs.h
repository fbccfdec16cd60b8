// The functions of libibverbs and librdmacm that this transport calls, as a table of pointers: filled from
// the libraries with dlopen, so that one binary serves machines without them, or by a test that wants a call
// to fail. Signatures and the meaning of results are those of the libraries' own headers. Knows no objects;
// handles.h does. SPLITPLANE_HAS_VERBS says whether the headers were there when this was compiled; every
// other file of this folder is empty without them, but for rdma_transport and the wire format.
#pragma once

#if __has_include(<infiniband/verbs.h>) && __has_include(<rdma/rdma_cma.h>)
#define SPLITPLANE_HAS_VERBS 1
#else
#define SPLITPLANE_HAS_VERBS 0
#endif

#if SPLITPLANE_HAS_VERBS

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "native/base/status.h"

namespace splitplane::rdma {

struct Verbs {
  // libibverbs: devices
  ibv_device** (*get_device_list)(int* count);
  void (*free_device_list)(ibv_device** list);
  const char* (*get_device_name)(ibv_device* device);
  ibv_context* (*open_device)(ibv_device* device);
  int (*close_device)(ibv_context* context);
  int (*query_device)(ibv_context* context, ibv_device_attr* out);
  int (*query_port)(ibv_context* context, uint8_t port, ibv_port_attr* out);
  int (*query_gid_entry)(ibv_context* context, uint32_t port, uint32_t index, ibv_gid_entry* out);
  int (*get_async_event)(ibv_context* context, ibv_async_event* out);
  void (*ack_async_event)(ibv_async_event* event);

  // libibverbs: objects
  ibv_pd* (*alloc_pd)(ibv_context* context);
  int (*dealloc_pd)(ibv_pd* pd);
  ibv_mr* (*reg_mr)(ibv_pd* pd, void* address, size_t length, int access);
  int (*dereg_mr)(ibv_mr* mr);
  ibv_comp_channel* (*create_comp_channel)(ibv_context* context);
  int (*destroy_comp_channel)(ibv_comp_channel* channel);
  ibv_cq* (*create_cq)(ibv_context* context, int entries, void* cq_context, ibv_comp_channel* channel,
                       int vector);
  int (*destroy_cq)(ibv_cq* cq);
  int (*get_cq_event)(ibv_comp_channel* channel, ibv_cq** cq, void** cq_context);
  void (*ack_cq_events)(ibv_cq* cq, unsigned int count);
  ibv_qp* (*create_qp)(ibv_pd* pd, ibv_qp_init_attr* attributes);
  int (*modify_qp)(ibv_qp* qp, ibv_qp_attr* attributes, int mask);
  int (*destroy_qp)(ibv_qp* qp);

  // libibverbs: the fast path, which goes through the device's own table in its context
  int (*poll_cq)(ibv_cq* cq, int count, ibv_wc* out);
  int (*req_notify_cq)(ibv_cq* cq, int solicited_only);
  int (*post_send)(ibv_qp* qp, ibv_send_wr* request, ibv_send_wr** bad);
  int (*post_recv)(ibv_qp* qp, ibv_recv_wr* request, ibv_recv_wr** bad);

  // librdmacm
  rdma_event_channel* (*create_event_channel)();
  void (*destroy_event_channel)(rdma_event_channel* channel);
  int (*get_cm_event)(rdma_event_channel* channel, rdma_cm_event** event);
  int (*ack_cm_event)(rdma_cm_event* event);
  int (*create_id)(rdma_event_channel* channel, rdma_cm_id** id, void* context, rdma_port_space space);
  int (*destroy_id)(rdma_cm_id* id);
  int (*bind_addr)(rdma_cm_id* id, sockaddr* address);
  int (*listen)(rdma_cm_id* id, int backlog);
  int (*resolve_addr)(rdma_cm_id* id, sockaddr* from, sockaddr* to, int timeout_ms);
  int (*resolve_route)(rdma_cm_id* id, int timeout_ms);
  int (*connect)(rdma_cm_id* id, rdma_conn_param* parameters);
  int (*establish)(rdma_cm_id* id);
  int (*accept)(rdma_cm_id* id, rdma_conn_param* parameters);
  int (*reject)(rdma_cm_id* id, const void* private_data, uint8_t private_data_length);
  int (*disconnect)(rdma_cm_id* id);
  int (*init_qp_attr)(rdma_cm_id* id, ibv_qp_attr* attributes, int* mask);
};

// The libraries' functions, loaded once per process and never unloaded (device drivers have state in them).
// kTransportUnavailable with a sentence on what to install.
Result<const Verbs*> LoadVerbs();

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

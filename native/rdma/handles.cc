// Making and destroying verbs objects.
#include "native/rdma/handles.h"

#if SPLITPLANE_HAS_VERBS

#include <fcntl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace splitplane::rdma {
namespace {

// Inline sends save the device a read of memory; a device that has less room for them is asked for less.
constexpr uint32_t kInlineSteps[] = {1, 2, 4};

// Nothing can be done about an object that does not go, but somebody should know.
void Report(const char* call, int error) {
  if (error == 0) return;
  std::fprintf(stderr, "splitplane: rdma: %s failed: %s\n", call, std::strerror(error));
}

bool SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

Status Failed(const char* call, const char* what) { return Status::Errno(call, errno, what); }

std::string LockedLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "unknown";
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur) + " bytes";
}

bool IsLockedLimit(int error) { return error == ENOMEM || error == EAGAIN || error == EPERM; }

// The limit is the process's, so every peer's registrations count.
bool LetGo(const Library& library) {
  bool any = false;
  for (Keeper* keeper : library.keepers) any |= keeper->LetGo();
  return any;
}

Status RegistrationFailed(uint64_t length, int error) {
  const std::string what = std::to_string(length) + " bytes could not be registered with the device";
  if (!IsLockedLimit(error)) return Status::Errno("ibv_reg_mr", error, what);
  return Status::Error(Code::kOutOfMemory, "ibv_reg_mr",
                       what + ": the limit of locked memory (RLIMIT_MEMLOCK) is " + LockedLimit() +
                           "; raise it (ulimit -l, LimitMEMLOCK=), or keep less in flight",
                       error);
}

}  // namespace

Result<std::shared_ptr<Context>> Context::Open(Library& library, ibv_device* device) {
  ibv_context* context = library.verbs.open_device(device);
  if (!context) return Failed("ibv_open_device", "the RDMA device cannot be opened");
  std::shared_ptr<Context> made(new Context(library, nullptr, context));
  if (!SetNonBlocking(context->async_fd)) return Failed("fcntl", "the device's events cannot be watched");
  return made;
}
Context::~Context() { Report("ibv_close_device", library().verbs.close_device(get())); }

Result<std::shared_ptr<CompletionChannel>> CompletionChannel::Make(std::shared_ptr<Context> context) {
  Library& library = context->library();
  ibv_comp_channel* channel = library.verbs.create_comp_channel(context->get());
  if (!channel) return Failed("ibv_create_comp_channel", "the device gives no completion channel");
  std::shared_ptr<CompletionChannel> made(new CompletionChannel(library, std::move(context), channel));
  if (!SetNonBlocking(channel->fd)) return Failed("fcntl", "the completion channel cannot be watched");
  return made;
}
CompletionChannel::~CompletionChannel() {
  Report("ibv_destroy_comp_channel", library().verbs.destroy_comp_channel(get()));
}

Result<std::shared_ptr<CompletionQueue>> CompletionQueue::Make(std::shared_ptr<CompletionChannel> channel,
                                                               int entries, void* owner) {
  Library& library = channel->library();
  ibv_cq* queue = library.verbs.create_cq(channel->parent()->get(), entries, owner, channel->get(), 0);
  if (!queue) return Failed("ibv_create_cq", "the device has no room for another completion queue");
  library.gauges.completion_queues++;
  return std::shared_ptr<CompletionQueue>(new CompletionQueue(library, std::move(channel), queue));
}
CompletionQueue::~CompletionQueue() {
  library().gauges.completion_queues--;
  Report("ibv_destroy_cq", library().verbs.destroy_cq(get()));
}

Result<std::shared_ptr<ProtectionDomain>> ProtectionDomain::Make(std::shared_ptr<Context> context) {
  Library& library = context->library();
  ibv_pd* domain = library.verbs.alloc_pd(context->get());
  if (!domain) return Failed("ibv_alloc_pd", "the device has no room for another protection domain");
  library.gauges.protection_domains++;
  return std::shared_ptr<ProtectionDomain>(new ProtectionDomain(library, std::move(context), domain));
}
ProtectionDomain::~ProtectionDomain() {
  library().gauges.protection_domains--;
  Report("ibv_dealloc_pd", library().verbs.dealloc_pd(get()));
}

Result<std::unique_ptr<Registration>> Registration::Make(std::shared_ptr<ProtectionDomain> domain, void* data,
                                                         uint64_t length, int access) {
  Library& library = domain->library();
  ibv_mr* mr = library.verbs.reg_mr(domain->get(), data, length, access);
  int error = mr ? 0 : errno;
  if (IsLockedLimit(error) && LetGo(library)) {
    mr = library.verbs.reg_mr(domain->get(), data, length, access);
    error = mr ? 0 : errno;
  }
  if (!mr) return RegistrationFailed(length, error);
  library.registrations_made++;
  library.gauges.memory_regions++;
  library.gauges.registered_bytes += length;
  return std::unique_ptr<Registration>(new Registration(library, std::move(domain), mr));
}
Registration::~Registration() {
  library().gauges.memory_regions--;
  library().gauges.registered_bytes -= get()->length;
  Report("ibv_dereg_mr", library().verbs.dereg_mr(get()));
}

Result<std::unique_ptr<QueuePair>> QueuePair::Make(std::shared_ptr<ProtectionDomain> domain,
                                                   std::shared_ptr<CompletionQueue> queue,
                                                   const Limits& limits, void* owner) {
  Library& library = domain->library();
  ibv_qp* qp = nullptr;
  uint32_t inline_bytes = 0;
  for (size_t i = 0; !qp && i <= std::size(kInlineSteps); i++) {
    inline_bytes = i < std::size(kInlineSteps) ? limits.inline_bytes / kInlineSteps[i] : 0;
    ibv_qp_init_attr wished{};
    wished.qp_context = owner;
    wished.send_cq = wished.recv_cq = queue->get();
    wished.cap = {.max_send_wr = limits.sends,
                  .max_recv_wr = limits.receives,
                  .max_send_sge = limits.pieces,
                  .max_recv_sge = 1,
                  .max_inline_data = inline_bytes};
    wished.qp_type = IBV_QPT_RC;
    qp = library.verbs.create_qp(domain->get(), &wished);
  }
  if (!qp) return Failed("ibv_create_qp", "the device has no room for another queue pair");
  library.gauges.queue_pairs++;
  return std::unique_ptr<QueuePair>(
      new QueuePair(library, std::move(domain), qp, std::move(queue), inline_bytes));
}
QueuePair::~QueuePair() {
  library().gauges.queue_pairs--;
  Report("ibv_destroy_qp", library().verbs.destroy_qp(get()));
}
Status QueuePair::Modify(ibv_qp_attr& attributes, int mask) {
  const int error = library().verbs.modify_qp(get(), &attributes, mask);
  return error == 0 ? Status() : Status::Errno("ibv_modify_qp", error, "the queue pair does not connect");
}

Result<std::shared_ptr<EventChannel>> EventChannel::Make(Library& library) {
  rdma_event_channel* channel = library.verbs.create_event_channel();
  if (!channel) {
    return Status::Error(Code::kTransportUnavailable, "rdma_create_event_channel",
                         "the kernel has no RDMA connection manager: load the module rdma_ucm", errno);
  }
  std::shared_ptr<EventChannel> made(new EventChannel(library, nullptr, channel));
  if (!SetNonBlocking(channel->fd)) return Failed("fcntl", "the connection manager cannot be watched");
  return made;
}
EventChannel::~EventChannel() { library().verbs.destroy_event_channel(get()); }

Result<std::unique_ptr<ConnectionId>> ConnectionId::Make(std::shared_ptr<EventChannel> channel, void* owner) {
  Library& library = channel->library();
  rdma_cm_id* id = nullptr;
  if (library.verbs.create_id(channel->get(), &id, owner, RDMA_PS_TCP) != 0)
    return Failed("rdma_create_id", "the connection manager gives no more connections");
  return Adopt(std::move(channel), id);
}
std::unique_ptr<ConnectionId> ConnectionId::Adopt(std::shared_ptr<EventChannel> channel, rdma_cm_id* id) {
  Library& library = channel->library();
  library.gauges.connection_ids++;
  return std::unique_ptr<ConnectionId>(new ConnectionId(library, std::move(channel), id));
}
ConnectionId::~ConnectionId() {
  library().gauges.connection_ids--;
  if (library().verbs.destroy_id(get()) != 0) Report("rdma_destroy_id", errno);
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

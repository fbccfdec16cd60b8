// Verbs objects as owners: each is made by a factory that names the call that failed, is destroyed by its
// destructor, and holds its parent, so that they go in the right order however they are dropped. Counts what
// is alive. Decides nothing about what the objects are for.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "native/base/status.h"

namespace splitplane::rdma {

// What is alive at this moment, all peers of one transport together.
struct Gauges {
  uint64_t protection_domains = 0;
  uint64_t queue_pairs = 0;
  uint64_t completion_queues = 0;
  uint64_t memory_regions = 0;
  uint64_t registered_bytes = 0;
  uint64_t connection_ids = 0;
};

// Somebody who has memory registered only because it may be needed again.
class Keeper {
 public:
  // Whether there was any, which is not registered any more.
  virtual bool LetGo() = 0;

 protected:
  ~Keeper() = default;
};

// The table of calls and the counters. Outlives every handle.
struct Library {
  // `made` counts registrations from the beginning on.
  Library(const Verbs& with, uint64_t& made) : verbs(with), registrations_made(made) {}
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const Verbs& verbs;
  uint64_t& registrations_made;
  Gauges gauges;
  std::vector<Keeper*> keepers;
};

// A pointer of the libraries with what it hangs on. `Parent` is what must outlive it.
template <typename Object, typename Parent>
class Handle {
 public:
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  Object* get() const { return object_; }
  Object* operator->() const { return object_; }
  Library& library() const { return library_; }
  const std::shared_ptr<Parent>& parent() const { return parent_; }

 protected:
  Handle(Library& library, std::shared_ptr<Parent> parent, Object* object)
      : library_(library), parent_(std::move(parent)), object_(object) {}
  ~Handle() = default;

 private:
  Library& library_;
  const std::shared_ptr<Parent> parent_;
  Object* const object_;
};

// An open device. Every transport opens it for itself: descriptors and events are not shared between engines.
class Context final : public Handle<ibv_context, void> {
 public:
  static Result<std::shared_ptr<Context>> Open(Library& library, ibv_device* device);
  ~Context();

 private:
  using Handle::Handle;
};

class CompletionChannel final : public Handle<ibv_comp_channel, Context> {
 public:
  // Its descriptor does not block.
  static Result<std::shared_ptr<CompletionChannel>> Make(std::shared_ptr<Context> context);
  ~CompletionChannel();

 private:
  using Handle::Handle;
};

class CompletionQueue final : public Handle<ibv_cq, CompletionChannel> {
 public:
  // `owner` comes back with its events. Those must be acknowledged before it goes.
  static Result<std::shared_ptr<CompletionQueue>> Make(std::shared_ptr<CompletionChannel> channel,
                                                       int entries, void* owner);
  ~CompletionQueue();

 private:
  using Handle::Handle;
};

class ProtectionDomain final : public Handle<ibv_pd, Context> {
 public:
  static Result<std::shared_ptr<ProtectionDomain>> Make(std::shared_ptr<Context> context);
  ~ProtectionDomain();

 private:
  using Handle::Handle;
};

// Registered memory. While it exists the device may reach exactly these bytes, with these rights.
class Registration final : public Handle<ibv_mr, ProtectionDomain> {
 public:
  // `access` is IBV_ACCESS_*. Where the limit of locked memory does not hold this as well, what is registered
  // for speed alone gives way, of all peers; a failure names the limit.
  static Result<std::unique_ptr<Registration>> Make(std::shared_ptr<ProtectionDomain> domain, void* data,
                                                    uint64_t length, int access);
  ~Registration();

 private:
  using Handle::Handle;
};

// A reliable connected queue pair over one completion queue.
class QueuePair final : public Handle<ibv_qp, ProtectionDomain> {
 public:
  struct Limits {
    uint32_t sends = 0, receives = 0;  // outstanding
    uint32_t pieces = 1;               // of memory, per send
    uint32_t inline_bytes = 0;         // wished for; the device may give less
  };
  // `owner` comes back with asynchronous events of the device.
  static Result<std::unique_ptr<QueuePair>> Make(std::shared_ptr<ProtectionDomain> domain,
                                                 std::shared_ptr<CompletionQueue> queue, const Limits& limits,
                                                 void* owner);
  ~QueuePair();

  uint32_t number() const { return get()->qp_num; }
  uint32_t inline_bytes() const { return inline_bytes_; }
  Status Modify(ibv_qp_attr& attributes, int mask);

 private:
  QueuePair(Library& library, std::shared_ptr<ProtectionDomain> domain, ibv_qp* qp,
            std::shared_ptr<CompletionQueue> queue, uint32_t inline_bytes)
      : Handle(library, std::move(domain), qp), queue_(std::move(queue)), inline_bytes_(inline_bytes) {}

  const std::shared_ptr<CompletionQueue> queue_;
  const uint32_t inline_bytes_;
};

class EventChannel final : public Handle<rdma_event_channel, void> {
 public:
  // Its descriptor does not block.
  static Result<std::shared_ptr<EventChannel>> Make(Library& library);
  ~EventChannel();

 private:
  using Handle::Handle;
};

// One side of a connection, or a listener, of librdmacm. Every event of it must be acknowledged before it
// goes.
class ConnectionId final : public Handle<rdma_cm_id, EventChannel> {
 public:
  static Result<std::unique_ptr<ConnectionId>> Make(std::shared_ptr<EventChannel> channel, void* owner);
  // Takes what came with a request to connect.
  static std::unique_ptr<ConnectionId> Adopt(std::shared_ptr<EventChannel> channel, rdma_cm_id* id);
  ~ConnectionId();

  void set_owner(void* owner) { get()->context = owner; }

 private:
  using Handle::Handle;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

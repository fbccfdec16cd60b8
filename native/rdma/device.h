// A device as one transport uses it: opened for itself, with one completion channel for all of its
// connections, and the limits that connections are cut to. There is one completion queue per connection, not
// per device: it cannot overflow, needs no resizing, and some devices (rxe) have small ones only. Tells
// connections that they have something to do; knows nothing of what.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <memory>
#include <string>

#include "native/rdma/reactor.h"

namespace splitplane::rdma {

class Device {
 public:
  // The device behind an id of the connection manager, opened when first asked for.
  static Result<std::shared_ptr<Device>> For(Reactor& reactor, const rdma_cm_id& id);
  // It was unplugged. Its descriptors would be readable for ever, and as long as it is open it cannot go:
  // what is left is held by connections, which end too. It may come back as another.
  static void Leave(Reactor& reactor, const ibv_context* seen);
  Device(Reactor& reactor, ibv_context* seen, std::shared_ptr<Context> context,
         std::shared_ptr<CompletionChannel> channel, const ibv_device_attr& attributes);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::shared_ptr<Context>& context() const { return context_; }
  const std::shared_ptr<CompletionChannel>& channel() const { return channel_; }
  // Of a gathered send, and of a scattered read.
  uint32_t pieces_max() const { return pieces_max_; }
  // Reads that may be under way at once, as who asks and as who answers.
  uint8_t reads_out_max() const { return reads_out_max_; }
  uint8_t reads_in_max() const { return reads_in_max_; }
  // What a path through this device is, for people: "rxe0 port 1, RoCE v2, MTU 4096".
  std::string Describe(const ibv_qp_attr& path) const;
  // Whether the path leads back to the address that it starts from.
  bool IsLoop(const ibv_qp_attr& path) const;

  // Wakes connections with completions; says if there were any.
  bool DrainCompletions();
  // Errors that the device reports by itself.
  void DrainEvents();

 private:
  Reactor& reactor_;
  ibv_context* const seen_;  // the connection manager's own, by which it is recognised
  const std::shared_ptr<Context> context_;
  const std::shared_ptr<CompletionChannel> channel_;
  uint32_t pieces_max_;
  uint8_t reads_out_max_;
  uint8_t reads_in_max_;
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// A listening id of the connection manager. Requests are judged by their greeting and answered at once; an
// endpoint is handed over when its connection stands. The Listener that the user owns is a handle on this.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <memory>
#include <string>

#include "native/rdma/reactor.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

inline constexpr int kBacklog = 1024;

class Door final : public ConnectionTarget, public std::enable_shared_from_this<Door> {
 public:
  static Result<std::shared_ptr<Door>> Open(Reactor& reactor, const std::string& address,
                                            ListenOptions options);
  Door(Reactor& reactor, ListenOptions options) : reactor_(reactor), options_(options) {}
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  void set_handle(Listener* handle) { handle_ = handle; }
  // The handle goes, or the transport does: stops listening. Who is on the way in is turned away.
  void Close();
  bool open() const { return id_ != nullptr; }
  bool trusts_peers() const { return options_.trusted_peers; }
  const std::string& address() const { return address_; }
  // Of connections that were accepted and not closed yet.
  const std::shared_ptr<uint32_t>& open_count() const { return open_count_; }

  void OnEvent(const ConnectionEvent& event) override;
  void HandOver(std::unique_ptr<Endpoint> endpoint);
  // Answers a request that is not accepted.
  static void Refuse(const ConnectionId& id, Code why);

 private:
  Reactor& reactor_;
  const ListenOptions options_;
  std::string address_;
  Listener* handle_ = nullptr;
  std::unique_ptr<ConnectionId> id_;
  std::shared_ptr<uint32_t> open_count_ = std::make_shared<uint32_t>(0);
};

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

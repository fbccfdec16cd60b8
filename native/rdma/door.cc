// Listening.
#include "native/rdma/door.h"

#if SPLITPLANE_HAS_VERBS

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/rdma/connection.h"
#include "native/rdma/device.h"

namespace splitplane::rdma {
namespace {

Status CannotListen(const char* call, const std::string& address) {
  switch (errno) {
    case EADDRINUSE:
      return Status::Errno(call, errno, "somebody else listens on " + address + ": choose another address");
    case ENODEV:
      return Status::Error(Code::kTransportUnavailable, call,
                           "no RDMA device has the address " + address +
                               ": listen on an address of one, or on all (0.0.0.0, [::])",
                           ENODEV);
    default:
      return Status::Errno(call, errno, "cannot listen for RDMA connections on " + address);
  }
}

}  // namespace

Result<std::shared_ptr<Door>> Door::Open(Reactor& reactor, const std::string& text, ListenOptions options) {
  Result<Address> address = ParseAddress(text);
  if (!address.ok()) return address.status();
  if (address->family() == AF_UNIX) {
    return Status::Error(Code::kAddressInvalid, "listen", "RDMA listens on IP addresses, not on " + text);
  }
  auto door = std::make_shared<Door>(reactor, options);
  Result<std::unique_ptr<ConnectionId>> id =
      ConnectionId::Make(reactor.channel, static_cast<ConnectionTarget*>(door.get()));
  if (!id.ok()) return id.status();
  const Verbs& verbs = reactor.library.verbs;
  if (verbs.bind_addr((*id)->get(), reinterpret_cast<sockaddr*>(&address->storage)) != 0)
    return CannotListen("rdma_bind_addr", text);
  if (verbs.listen((*id)->get(), kBacklog) != 0) return CannotListen("rdma_listen", text);
  // With the port that was really bound.
  std::memcpy(&address->storage, &(*id)->get()->route.addr.src_storage, address->length);
  door->address_ = address->ToString();
  door->id_ = std::move(*id);
  reactor.doors.push_back(door);
  return door;
}

void Door::Close() {
  handle_ = nullptr;
  // The transport may be gone by now.
  if (!id_) return;
  id_.reset();
  std::erase_if(reactor_.doors, [this](const auto& door) { return door.get() == this; });
}

void Door::OnEvent(const ConnectionEvent& event) {
  reactor_.progressed = true;
  if (event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
    Device::Leave(reactor_, id_->get()->verbs);
    return Close();
  }
  if (event.type != RDMA_CM_EVENT_CONNECT_REQUEST) return;
  std::unique_ptr<ConnectionId> id = ConnectionId::Adopt(reactor_.channel, event.id);
  id->set_owner(nullptr);
  Status judged = DecodeGreeting({event.greeting.data(), event.greeting_bytes});
  if (judged.ok() && *open_count_ >= options_.endpoints_max) {
    judged = Status::Error(Code::kLimitExceeded, "accept", "as many connections as allowed are open");
  }
  if (!judged.ok()) return Refuse(*id, judged.code());
  // If that fails, the peer knows why.
  (void)Connection::Accept(reactor_, std::move(id), *this);
}

void Door::Refuse(const ConnectionId& id, Code why) {
  uint8_t greeting[kGreetingBytes];
  EncodeGreeting(why, greeting);
  // The id goes either way, which refuses too, though without a reason.
  (void)id.library().verbs.reject(id.get(), greeting, sizeof(greeting));
}

void Door::HandOver(std::unique_ptr<Endpoint> endpoint) {
  reactor_.events->OnAccepted(*handle_, std::move(endpoint));
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

// The TCP transport: endpoints made of one control socket and one or more data sockets, over IPv4, IPv6 and
// unix sockets. Remote reads, writes and atomics are served by its Poll from the tag table; the grant is the
// tag itself. The wire is in docs/WIRE_PROTOCOL.md. No thread: Poll does everything, and event_fd() is the
// epoll instance.
#pragma once

#include <memory>

#include "native/transport/transport.h"

namespace splitplane {

// Fails if the kernel gives no epoll instance. The transport outlives its endpoints and listeners, and its
// context outlives the transport.
Result<std::unique_ptr<Transport>> MakeTcpTransport(TransportContext context);

}  // namespace splitplane

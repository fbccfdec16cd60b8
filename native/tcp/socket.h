// The system calls that make sockets: create, connect, listen, and ask who is at the other end. Everything is
// non-blocking and closed on exec. Buffer sizes are left to the kernel: setting them by hand switches its
// tuning off and never helped. Knows nothing of records or endpoints.
#pragma once

#include <cstdint>
#include <string>

#include "native/base/fd.h"
#include "native/base/status.h"
#include "native/transport/address.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

// TCP_NODELAY, keepalive, the time after which a peer that acknowledges nothing is dead, and congestion
// control where the peer is on this host. Nothing on unix sockets.
void SetStreamOptions(int fd, const Address& peer, uint32_t peer_timeout_ms);

// Starts to connect; done when the socket is writable (then ask ConnectError).
Result<Fd> StartConnect(const Address& address, uint32_t peer_timeout_ms);
// What a connect that ended came to; ok is 0.
int ConnectError(int fd);

// Binds and listens. A unix socket file that nobody listens on is replaced.
Result<Fd> ListenOn(const Address& address);

Address LocalAddress(int fd);
Address RemoteAddress(int fd);
EndpointInfo DescribeEnds(int fd);

}  // namespace splitplane::tcp

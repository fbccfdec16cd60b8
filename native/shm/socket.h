// The unix sockets that processes meet over: an abstract name for each address that is listened at, the check
// of who is at the other end, and packets with a descriptor. Abstract names belong to a network namespace, as
// addresses do. Knows nothing of segments and rings.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/fd.h"
#include "native/base/status.h"
#include "native/transport/address.h"

namespace splitplane::shm {

// Who is at the other end of a socket, as the kernel says.
struct Peer {
  int64_t pid = 0;
  int64_t uid = -1;
};

// The name of whoever listens at `address`.
std::string NameOf(const Address& address);

// Listens at `address`; one with port 0 gets a free one. kAddressInUse: somebody does already.
Result<Fd> ListenOn(Address& address);

// Connects to whoever listens at `address`, or at the address for all of this host with the same port.
// kTransportUnavailable: the address is another host's. kConnectionRefused: nobody listens.
Result<Fd> ConnectTo(const Address& address);

// kTransportUnavailable, with the reason, unless the peer is a process of this user that this process can
// see.
Result<Peer> CheckPeer(int socket);

// kNoResource: not now.
Status SendPacket(int socket, ConstBytes packet, int descriptor = -1);

struct Received {
  size_t bytes = 0;  // 0: the other side is gone
  Fd descriptor;
  bool lost = false;  // it brought a descriptor, and this process had none left for it
};
// One packet, with what it brought. kNoResource: there is none. A packet that does not fit, or that brings
// more than one descriptor, is a kProtocolViolation.
Result<Received> ReceivePacket(int socket, Bytes into);

}  // namespace splitplane::shm

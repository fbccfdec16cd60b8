// The ports of this host's RDMA devices as people want to see them. Opens what it looks at and closes it
// again; no connection is touched.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <vector>

#include "native/rdma/handles.h"
#include "native/transport/transport.h"

namespace splitplane::rdma {

// "device rxe0 port 1": "active, Ethernet, MTU 4096, RoCE v2 as 192.0.2.1, fe80::5054:ff:fe00:1"
std::vector<TransportFact> DescribePorts(const Library& library);
// "InfiniBand", "RoCE v1", "RoCE v2": of a GID's type.
const char* GidTypeName(uint32_t type);
inline uint32_t MtuBytes(ibv_mtu mtu) { return 128u << uint32_t(mtu); }

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

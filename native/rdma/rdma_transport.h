// Where RDMA by verbs joins (libibverbs, librdmacm). This version has no such transport: making it says so,
// and `info` and error messages repeat it, so that nobody takes TCP for RDMA.
#pragma once

#include <memory>

#include "native/base/status.h"
#include "native/transport/transport.h"

namespace splitplane {

// Always kTransportUnavailable in this version.
Result<std::unique_ptr<Transport>> MakeRdmaTransport(TransportContext context);

}  // namespace splitplane

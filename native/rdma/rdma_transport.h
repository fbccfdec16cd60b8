// Where RDMA by verbs joins: libibverbs and librdmacm, found when the program starts. Without the libraries,
// a device or the kernel's connection manager, making the transport says what is missing and what to do;
// `info` and error messages repeat it, so that nobody takes TCP for RDMA.
#pragma once

#include <memory>

#include "native/base/status.h"
#include "native/transport/transport.h"

namespace splitplane {

// kTransportUnavailable where there is no RDMA.
Result<std::unique_ptr<Transport>> MakeRdmaTransport(TransportContext context);

}  // namespace splitplane

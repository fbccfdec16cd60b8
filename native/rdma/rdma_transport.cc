// The answer of a version without RDMA.
#include "native/rdma/rdma_transport.h"

namespace splitplane {

Result<std::unique_ptr<Transport>> MakeRdmaTransport(TransportContext) {
  return Status::Error(Code::kTransportUnavailable, "rdma",
                       "this version of splitplane has no RDMA transport; use tcp");
}

}  // namespace splitplane

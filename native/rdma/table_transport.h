// The transport over a given table of verbs: the libraries' own, or a test's.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <memory>

#include "native/transport/transport.h"

namespace splitplane::rdma {

// `verbs` outlives the transport.
Result<std::unique_ptr<Transport>> MakeTransport(const Verbs& verbs, TransportContext context);

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

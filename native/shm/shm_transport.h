// The shared-memory transport: endpoints between processes of one user on one host, over memory that both
// have mapped. A receiver looks at what it is sent where it is; everything else goes through a ring. No byte
// of it goes through the kernel, which is there to introduce the two, to wake who sleeps, and to say who
// died. No thread: Poll does everything, and event_fd() is the epoll instance.
#pragma once

#include <memory>

#include "native/transport/transport.h"

namespace splitplane {

// Fails if the kernel cannot seal memory against writing, or gives no epoll instance. The transport outlives
// its endpoints and listeners, and its context outlives the transport.
Result<std::unique_ptr<Transport>> MakeShmTransport(TransportContext context);

}  // namespace splitplane

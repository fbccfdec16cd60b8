// What a round of the transport gives to each of its connections.
#pragma once

#include <cstdint>

#include "native/base/clock.h"

namespace splitplane::shm {

struct Round {
  MonotonicNs now = 0;
  int64_t budget = 0;  // bytes that may still be copied
  bool progressed = false;
};

}  // namespace splitplane::shm

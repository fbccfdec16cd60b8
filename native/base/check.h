// CHECK stops the process on a mistake of our own. Never used for what a peer or a user sent: that is
// validated and answered with a Status.
#pragma once

#include <cstdio>
#include <cstdlib>

#define SPLITPLANE_CHECK(condition)                                                                   \
  do {                                                                                                \
    if (!(condition)) [[unlikely]] {                                                                  \
      std::fprintf(stderr, "splitplane: check failed: %s (%s:%d)\n", #condition, __FILE__, __LINE__); \
      std::abort();                                                                                   \
    }                                                                                                 \
  } while (0)

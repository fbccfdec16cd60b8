// What the tests of memory pools have in common.
#pragma once

#include <gtest/gtest.h>

#include "native/memory/pool.h"

namespace splitplane {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;

inline BufferRef Take(MemoryPool& pool, uint64_t bytes, AudienceId audience = kNoAudience) {
  Result<BufferRef> buffer = pool.Allocate(bytes, audience);
  EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
  return buffer.ok() ? *buffer : BufferRef();
}

}  // namespace splitplane

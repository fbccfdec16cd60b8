// CRC32C (Castagnoli, RFC 3720 appendix B.4; reflected polynomial 0x82F63B78), the checksum of every frame
// and transfer. Picks the fastest implementation that the processor has when first called.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitplane {

// Continues `crc` (0 to begin) over `length` bytes at `data`. Crc32c(Crc32c(0, a), b) is the CRC of a
// followed by b.
[[nodiscard]] uint32_t Crc32c(uint32_t crc, const void* data, size_t length);

// The name of the implementation in use: "avx512-vpclmulqdq", "sse4.2", "armv8" or "table".
[[nodiscard]] const char* Crc32cImplementation();

}  // namespace splitplane

// CRC32C on ARMv8 with the CRC32 extension. Only crc32c.cc calls it, after asking the kernel whether it is
// there.
#include "native/base/crc32c_internal.h"

#if defined(__aarch64__)

#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include "native/base/bytes.h"

namespace splitplane::crc32c {

bool HasArmv8() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }

__attribute__((target("+crc"))) uint32_t RunArmv8(uint32_t state, const uint8_t* data, size_t length) {
  for (; length >= 8; data += 8, length -= 8) state = __crc32cd(state, LoadLittle<uint64_t>(data));
  for (; length > 0; data++, length--) state = __crc32cb(state, *data);
  return state;
}

}  // namespace splitplane::crc32c

#endif  // __aarch64__

// What every transport does alike with reads, writes and atomics: judging what is posted before anything is
// begun, the atomic step itself, and the sentence for a code that ended an operation. Knows no transport.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/status.h"
#include "native/memory/region.h"
#include "native/transport/transport.h"

namespace splitplane {

inline constexpr size_t kSlicesPerOperationMax = 1024;

// Where the tag itself is the grant: 32 bytes, and a range that ends within 64 bits.
Status ValidateRemote(const RemoteSlice& remote);

// The local side of an operation of `length` bytes: every slice within its buffer, the buffers still there,
// and, if they are to be filled, in memory.
Status ValidateLocal(std::span<const Slice> local, uint64_t length, bool filled);

// On a word that other threads may be working on at the same time; gives the word before it.
uint64_t ApplyAtomic(uint64_t& word, const AtomicRequest& request);

// The sentence for a status that came over the wire, or that ends an operation for all to see.
Status EndedWith(Code code);

}  // namespace splitplane

// The table that the handler of SIGSEGV looks at, and the handler. It may do nothing but look at atomics and
// make system calls: the thread was interrupted anywhere.
#include "native/memory/write_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "native/base/check.h"

namespace splitplane {
namespace {

struct Entry {
  std::atomic<uintptr_t> begin{0};  // 0: free
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> written{false};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

Entry entries[WriteGuard::kMappingsMax];
std::atomic<size_t> entries_used{0};  // none beyond has ever been used
std::mutex taking;                    // of an entry; never held while the handler could need it
struct sigaction previous;
const uintptr_t page_bytes = uintptr_t(sysconf(_SC_PAGESIZE));

// Async-signal-safe. False: the address is nobody's here, or cannot be helped.
bool OpenPage(uintptr_t address) {
  const size_t used = entries_used.load(std::memory_order_acquire);
  for (size_t i = 0; i < used; i++) {
    Entry& entry = entries[i];
    const uintptr_t begin = entry.begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= entry.end.load(std::memory_order_relaxed)) continue;
    entry.written.store(true);
    const uintptr_t page = address / page_bytes * page_bytes;
    return mprotect(reinterpret_cast<void*>(page), page_bytes, PROT_READ | PROT_WRITE) == 0;
  }
  return false;
}

void OnFault(int signal, siginfo_t* info, void* context) {
  if (info->si_code == SEGV_ACCERR && OpenPage(reinterpret_cast<uintptr_t>(info->si_addr))) return;
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) return previous.sa_handler(signal);
  // It happens again, and ends the process as if this had never been here.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGSEGV, &standard, nullptr);
}

// Once in a process; whoever handled the signal before is asked about everything that is not ours.
bool Install() {
  static const bool installed = [] {
    if (sigaction(SIGSEGV, nullptr, &previous) != 0) return false;
    struct sigaction ours {};
    ours.sa_sigaction = &OnFault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGSEGV, &ours, nullptr) == 0;
  }();
  return installed;
}

size_t TakeEntry(uint8_t* data, uint64_t bytes) {
  if (!Install()) return WriteGuard::kMappingsMax;
  const std::lock_guard<std::mutex> lock(taking);
  const size_t used = entries_used.load(std::memory_order_relaxed);
  size_t index = 0;
  while (index < used && entries[index].begin.load(std::memory_order_relaxed) != 0) index++;
  if (index == WriteGuard::kMappingsMax) return index;
  entries[index].written.store(false);
  entries[index].end.store(reinterpret_cast<uintptr_t>(data) + bytes, std::memory_order_relaxed);
  entries[index].begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
  if (index == used) entries_used.store(used + 1, std::memory_order_release);
  return index;
}

}  // namespace

WriteGuard::WriteGuard(uint8_t* data, uint64_t bytes)
    : data_(data), bytes_(bytes), entry_(TakeEntry(data, bytes)) {}

WriteGuard::~WriteGuard() {
  if (entry_ != kMappingsMax) entries[entry_].begin.store(0, std::memory_order_release);
}

bool WriteGuard::written() const { return entry_ != kMappingsMax && entries[entry_].written.load(); }

void WriteGuard::Renew(uint64_t offset, uint64_t length) {
  const uint64_t from = offset / page_bytes * page_bytes;
  const uint64_t to =
      std::min<uint64_t>(bytes_, (offset + length + page_bytes - 1) / page_bytes * page_bytes);
  SPLITPLANE_CHECK(mprotect(data_ + from, to - from, PROT_READ) == 0);
  SPLITPLANE_CHECK(madvise(data_ + from, to - from, MADV_DONTNEED) == 0);
}

void WriteGuard::RenewAll() {
  entries[entry_].written.store(false);
  Renew(0, bytes_);
}

}  // namespace splitplane

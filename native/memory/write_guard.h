// Writing to memory that is mapped for reading ends a process by SIGSEGV, and a Buffer in JavaScript cannot
// say that it is only to be read. So whoever writes to a view of a peer's memory gets a copy of the page that
// nobody else sees, and goes on; the copy goes before the next view of that page is made. This is for
// mistakes: what they cost is a signal and a page. The one piece of state that all threads of the process
// share, because signals belong to the process.
#pragma once

#include <cstddef>
#include <cstdint>

namespace splitplane {

class WriteGuard {
 public:
  // Guards a private mapping for reading, page by page, until this goes. Beyond the number of mappings that
  // can be guarded in a process (kMappingsMax), or where the signal cannot be had, a write ends the process.
  WriteGuard(uint8_t* data, uint64_t bytes);
  ~WriteGuard();
  WriteGuard(const WriteGuard&) = delete;
  WriteGuard& operator=(const WriteGuard&) = delete;

  static constexpr size_t kMappingsMax = 65'536;

  // Somebody wrote to this mapping since it was last renewed whole.
  bool written() const;
  // What was written within these bytes is gone: they show the peer's memory again.
  void Renew(uint64_t offset, uint64_t length);
  void RenewAll();

 private:
  uint8_t* data_;
  uint64_t bytes_;
  size_t entry_;  // kMappingsMax: not guarded
};

}  // namespace splitplane

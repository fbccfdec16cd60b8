// Addresses as people write them and as the kernel wants them: "HOST:PORT", "[V6]:PORT" (with %scope) and
// "unix:/PATH". HOST is a literal; nothing here asks a name server. Knows no sockets beyond their addresses.
#pragma once

#include <sys/socket.h>

#include <string>

#include "native/base/status.h"

namespace splitplane {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  // Loopback (127/8, also mapped into IPv6, and ::1) or a unix socket.
  bool local_only() const;
  // As ParseAddress takes it. The unnamed end of a unix connection is "unix:".
  std::string ToString() const;
  // The path of a unix address, empty for all others.
  std::string path() const;
};

// kAddressInvalid with a sentence that shows the forms.
Result<Address> ParseAddress(const std::string& text);

}  // namespace splitplane

// Parsing and printing of socket addresses.
#include "native/transport/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <string_view>

namespace splitplane {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

Status Invalid(const std::string& text, const std::string& why) {
  return Status::Error(Code::kAddressInvalid, "address",
                       "'" + text + "' is no address: " + why +
                           ". Write 192.0.2.7:4711, [2001:db8::7]:4711 or unix:/run/name");
}

Result<Address> ParseUnix(const std::string& text) {
  const std::string path = text.substr(kUnixPrefix.size());
  Address address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.empty() || path.front() != '/') return Invalid(text, "the path of a unix socket begins with /");
  if (path.find('\0') != std::string::npos) return Invalid(text, "the path has a zero byte");
  if (path.size() >= sizeof(un->sun_path)) {
    return Invalid(
        text, "the path of a unix socket has at most " + std::to_string(sizeof(un->sun_path) - 1) + " bytes");
  }
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  address.length = socklen_t(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

bool ParsePort(std::string_view text, uint16_t& port) {
  if (text.empty() || text.size() > 5) return false;
  uint32_t value = 0;
  for (char digit : text) {
    if (digit < '0' || digit > '9') return false;
    value = value * 10 + uint32_t(digit - '0');
  }
  port = uint16_t(value);
  return value <= UINT16_MAX;
}

Result<Address> ParseV6(const std::string& text, std::string host, uint16_t port) {
  Address address;
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(port);
  address.length = sizeof(*in6);
  if (const size_t percent = host.find('%'); percent != std::string::npos) {
    in6->sin6_scope_id = if_nametoindex(host.c_str() + percent + 1);
    if (in6->sin6_scope_id == 0) return Invalid(text, "there is no network interface of that name");
    host.resize(percent);
  }
  if (inet_pton(AF_INET6, host.c_str(), &in6->sin6_addr) != 1)
    return Invalid(text, "not an IPv6 address in brackets");
  return address;
}

}  // namespace

Result<Address> ParseAddress(const std::string& text) {
  if (text.starts_with(kUnixPrefix)) return ParseUnix(text);
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return Invalid(text, "the port is missing");
  uint16_t port = 0;
  if (!ParsePort(std::string_view(text).substr(colon + 1), port)) {
    return Invalid(text, "the port is not a number from 0 to 65535");
  }
  if (text.find('\0') != std::string::npos) return Invalid(text, "it has a zero byte");
  if (text.front() == '[') {
    if (colon < 2 || text[colon - 1] != ']')
      return Invalid(text, "the bracket is not closed before the port");
    return ParseV6(text, text.substr(1, colon - 2), port);
  }
  Address address;
  auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
  in->sin_family = AF_INET;
  in->sin_port = htons(port);
  address.length = sizeof(*in);
  if (inet_pton(AF_INET, text.substr(0, colon).c_str(), &in->sin_addr) != 1) {
    return Invalid(text, "the host is not an IP address (names are resolved by the caller)");
  }
  return address;
}

bool Address::local_only() const {
  if (family() == AF_UNIX) return true;
  if (family() == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
  }
  if (family() != AF_INET6) return false;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return v6.s6_addr[12] == IN_LOOPBACKNET;
  return IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string Address::path() const {
  if (family() != AF_UNIX) return {};
  const auto* un = reinterpret_cast<const sockaddr_un*>(&storage);
  const size_t at = offsetof(sockaddr_un, sun_path);
  return length > at ? std::string(un->sun_path, strnlen(un->sun_path, length - at)) : std::string();
}

std::string Address::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_UNIX) return std::string(kUnixPrefix) + path();
  if (family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    return std::string(text) + ":" + std::to_string(ntohs(in->sin_port));
  }
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
  inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
  std::string host = text;
  char name[IF_NAMESIZE];
  if (in6->sin6_scope_id != 0 && if_indextoname(in6->sin6_scope_id, name)) host += std::string("%") + name;
  return "[" + host + "]:" + std::to_string(ntohs(in6->sin6_port));
}

}  // namespace splitplane

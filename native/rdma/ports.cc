// Asking devices what they are.
#include "native/rdma/ports.h"

#if SPLITPLANE_HAS_VERBS

#include <arpa/inet.h>

#include <algorithm>
#include <string>

namespace splitplane::rdma {
namespace {

// Tables have hundreds of places, of which few are taken.
constexpr int kGidsMax = 256;
constexpr size_t kAddressesMax = 8;

const char* StateName(ibv_port_state state) {
  switch (state) {
    case IBV_PORT_ACTIVE:
      return "active";
    case IBV_PORT_DOWN:
      return "down";
    default:
      return "coming up";
  }
}

// The address that a GID of an Ethernet port is.
std::string AddressText(const ibv_gid& gid) {
  const auto* v6 = reinterpret_cast<const in6_addr*>(gid.raw);
  char text[INET6_ADDRSTRLEN] = "";
  if (IN6_IS_ADDR_V4MAPPED(v6)) {
    inet_ntop(AF_INET, gid.raw + 12, text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, gid.raw, text, sizeof(text));
  }
  return text;
}

// ", RoCE v2 as 192.0.2.1, fe80::1": what the connection manager would choose from.
std::string Gids(const Verbs& verbs, ibv_context* context, uint8_t port, int table_length) {
  std::vector<std::string> addresses;
  uint32_t best = IBV_GID_TYPE_IB;
  for (int i = 0; i < std::min(table_length, kGidsMax); i++) {
    ibv_gid_entry entry{};
    if (verbs.query_gid_entry(context, port, uint32_t(i), &entry) != 0) continue;
    best = std::max(best, entry.gid_type);
    std::string text = AddressText(entry.gid);
    if (addresses.size() < kAddressesMax &&
        std::find(addresses.begin(), addresses.end(), text) == addresses.end())
      addresses.push_back(std::move(text));
  }
  if (addresses.empty()) return ", without an address";
  std::string text = std::string(", ") + GidTypeName(best) + " as ";
  for (size_t i = 0; i < addresses.size(); i++) text += (i > 0 ? ", " : "") + addresses[i];
  return text;
}

TransportFact DescribePort(const Verbs& verbs, ibv_context* context, const std::string& name, uint8_t port) {
  TransportFact fact{"device " + name + " port " + std::to_string(port), "does not answer"};
  ibv_port_attr attributes{};
  if (verbs.query_port(context, port, &attributes) != 0) return fact;
  fact.text = std::string(StateName(attributes.state)) +
              (attributes.link_layer == IBV_LINK_LAYER_ETHERNET ? ", Ethernet" : ", InfiniBand") + ", MTU " +
              std::to_string(MtuBytes(attributes.active_mtu)) +
              Gids(verbs, context, port, attributes.gid_tbl_len);
  return fact;
}

}  // namespace

const char* GidTypeName(uint32_t type) {
  switch (type) {
    case IBV_GID_TYPE_IB:
      return "InfiniBand";
    case IBV_GID_TYPE_ROCE_V1:
      return "RoCE v1";
    default:
      return "RoCE v2";
  }
}

std::vector<TransportFact> DescribePorts(const Library& library) {
  const Verbs& verbs = library.verbs;
  std::vector<TransportFact> facts;
  int count = 0;
  ibv_device** devices = verbs.get_device_list(&count);
  if (!devices) return facts;
  for (int i = 0; i < count; i++) {
    const std::string name = verbs.get_device_name(devices[i]);
    ibv_context* context = verbs.open_device(devices[i]);
    ibv_device_attr attributes{};
    if (!context || verbs.query_device(context, &attributes) != 0) {
      facts.push_back({"device " + name, "cannot be opened"});
    } else {
      for (uint8_t port = 1; port <= attributes.phys_port_cnt; port++) {
        facts.push_back(DescribePort(verbs, context, name, port));
      }
    }
    if (context) (void)verbs.close_device(context);
  }
  verbs.free_device_list(devices);
  return facts;
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

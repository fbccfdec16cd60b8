// A process that speaks shared memory by hand, and says what it likes: over the socket, in its segment, and
// in records. It has what a peer has: a descriptor for reading of what it is handed, and memory of its own.
// Also what this process holds of memory that was handed over, to be counted before and after.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <string>

#include "native/shm/ring.h"
#include "native/shm/socket.h"

namespace splitplane::shm {

// What is left behind when something is not let go.
struct Holdings {
  size_t descriptors = 0, mappings = 0;
  bool operator==(const Holdings&) const = default;
};
inline Holdings CountHoldings() {
  Holdings found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    (void)entry;
    found.descriptors++;
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:") != std::string::npos) found.mappings++;
  }
  return found;
}

class RawPeer {
 public:
  // Memory of a peer's, as it likes to have it.
  static Fd Memory(uint64_t bytes, int seals, unsigned flags = MFD_ALLOW_SEALING) {
    Fd fd(memfd_create("hostile", flags | MFD_CLOEXEC));
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(ftruncate(fd.get(), off_t(bytes)), 0);
    const int sealed = seals == 0 ? 0 : fcntl(fd.get(), F_ADD_SEALS, seals);
    EXPECT_EQ(sealed, 0);
    return fd;
  }
  static constexpr int kKeepsSize = F_SEAL_SHRINK | F_SEAL_GROW;

  void Dial(const std::string& address) {
    Result<Address> to = ParseAddress(address);
    ASSERT_TRUE(to.ok());
    Result<Fd> connected = ConnectTo(*to);
    ASSERT_TRUE(connected.ok()) << connected.status().ToString();
    socket = std::move(*connected);
  }
  // Takes whoever dials `door`, and its greeting.
  void Accept(const Fd& door) {
    socket = Fd(accept4(door.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    ASSERT_TRUE(socket.valid());
  }
  void Send(const void* packet, size_t bytes, int descriptor = -1) {
    const Status sent = SendPacket(socket.get(), {static_cast<const uint8_t*>(packet), bytes}, descriptor);
    EXPECT_TRUE(sent.ok()) << sent.ToString();
  }
  void SendSlab(uint32_t slab, uint64_t bytes, int descriptor) {
    const Packet packet{PacketKind::kSlab, slab, bytes};
    Send(&packet, sizeof(packet), descriptor);
  }
  // As one who keeps to the rules.
  void Greet() {
    Fd segment;
    Result<Segment> made = Segment::Create(segment);
    ASSERT_TRUE(made.ok());
    own.emplace(*made);
    const Greeting greeting;
    Send(&greeting, sizeof(greeting), segment.get());
  }
  // The other side's greeting is here.
  void TakeGreeting() {
    Greeting greeting;
    Result<Received> received =
        ReceivePacket(socket.get(), {reinterpret_cast<uint8_t*>(&greeting), sizeof(greeting)});
    ASSERT_TRUE(received.ok()) << received.status().ToString();
    ASSERT_EQ(greeting.status, 0);
    Result<Segment> mapped = Segment::Map(received->descriptor);
    ASSERT_TRUE(mapped.ok()) << mapped.status().ToString();
    peer.emplace(*mapped);
    peer_segment = std::move(received->descriptor);
    out.emplace(*own, *peer);
    in.emplace(*own, *peer);
  }
  // The next packet of a kind; bells between are dropped. kBell: there is none.
  Packet TakePacket(PacketKind kind, Fd& descriptor) {
    Packet packet;
    for (;;) {
      Result<Received> received =
          ReceivePacket(socket.get(), {reinterpret_cast<uint8_t*>(&packet), sizeof(packet)});
      if (!received.ok() || received->bytes == 0) return {};
      if (packet.kind != kind) continue;
      descriptor = std::move(received->descriptor);
      return packet;
    }
  }
  // The other side has hung up.
  bool HungUp() {
    Packet packet;
    for (;;) {
      Result<Received> received =
          ReceivePacket(socket.get(), {reinterpret_cast<uint8_t*>(&packet), sizeof(packet)});
      if (!received.ok()) return !received.status().no_resource();
      if (received->bytes == 0) return true;
    }
  }
  template <typename Body>
  void Put(RecordKind kind, const Body& body) {
    ASSERT_TRUE(out->Put(kind, body));
  }
  // A record of zeros.
  void PutZeros(RecordKind kind, uint32_t bytes) {
    uint8_t* at = out->Begin(kind, bytes);
    ASSERT_NE(at, nullptr);
    std::memset(at, 0, bytes);
    out->Commit();
  }
  // The next record of a kind; others are dropped.
  template <typename Body>
  bool Take(RecordKind kind, Body& body) {
    RingReader::Record record;
    while (in->Next(record)) {
      const bool found = record.kind == kind && CopyBody(record, body);
      in->Advance();
      in->Publish();
      if (found) return true;
    }
    return false;
  }

  Fd socket, peer_segment;
  std::optional<Segment> own, peer;
  std::optional<RingWriter> out;
  std::optional<RingReader> in;
};

}  // namespace splitplane::shm

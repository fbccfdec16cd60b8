// The TCP transport against peers that do not keep to the wire: raw sockets that send what no endpoint would.
// Each ends with its own code, holds nothing afterwards, and disturbs nobody else.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include "native/base/crc32c.h"
#include "native/tcp/channel.h"
#include "native/tcp/door.h"
#include "native/tcp/record.h"
#include "native/transport/address.h"
#include "test/native/transport_conformance.h"

namespace splitplane::tcp {
namespace {

using conformance::Kinds;
using conformance::Side;

std::vector<uint8_t> Encoded(const Record& record) {
  std::vector<uint8_t> bytes(RecordBytes(uint8_t(record.kind)));
  EncodeRecord(record, bytes.data());
  return bytes;
}

// Sets a field of a record that was encoded and makes its checksum fit again.
template <typename T>
std::vector<uint8_t> With(std::vector<uint8_t> bytes, size_t at, T value) {
  StoreLittle(bytes.data() + at, value);
  std::memset(bytes.data() + kHeadCrcAt, 0, 4);
  StoreLittle(bytes.data() + kHeadCrcAt, Crc32c(0, bytes.data(), bytes.size()));
  return bytes;
}

std::vector<uint8_t> operator+(std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

enum class Socket { kControl, kData };

class WireTest : public testing::Test {
 protected:
  static constexpr size_t kSize = 64 * 1024;

  void SetUp() override {
    auto listening = server.transport->Listen("127.0.0.1:0", {});
    ASSERT_TRUE(listening.ok());
    listener = std::move(*listening);
    memory = server.Filled(kSize, 1);
    readable = server.Export(Access::kRead, {conformance::Whole(memory)});
    writable = server.Export(Access::kWrite, {conformance::Whole(memory)});
  }
  bool Run(const std::function<bool()>& done) { return RunUntil(server, other, done); }

  Fd Raw() {
    const Address address = *ParseAddress(listener->address());
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), address.get(), address.length), 0);
    return fd;
  }
  void Put(const Fd& to, const std::vector<uint8_t>& bytes) {
    EXPECT_EQ(send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), ssize_t(bytes.size()));
  }
  std::vector<uint8_t> JoinBytes(uint8_t index, uint8_t id = 1, uint8_t secret = 2, uint8_t channels = 1) {
    Join join{.index = index, .channels = channels};
    join.id.fill(id);
    join.secret.fill(secret);
    const auto extension = EncodeJoin(join);
    return Encoded({.kind = Kind::kJoin, .extension = extension});
  }
  // Polls the server until `from` has `length` bytes or was closed; what came.
  std::vector<uint8_t> Get(const Fd& from, size_t length) {
    std::vector<uint8_t> bytes;
    EXPECT_TRUE(Run([&] {
      uint8_t byte;
      while (bytes.size() < length) {
        const ssize_t got = recv(from.get(), &byte, 1, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) {
          // Nothing tells RunUntil's sleep about this socket.
          server.transport->Poll(server, NowNs(), UINT64_MAX);
          pollfd descriptor = {from.get(), POLLIN, 0};
          poll(&descriptor, 1, 1);
          return false;
        }
        if (got <= 0) return true;
        bytes.push_back(byte);
      }
      return true;
    }));
    return bytes;
  }
  Code JoinedStatus(const Fd& from) {
    const std::vector<uint8_t> bytes = Get(from, kHeadBytes);
    Record record;
    if (bytes.size() != kHeadBytes || !DecodeRecord(bytes, record).ok()) return Code::kCount;
    EXPECT_EQ(record.kind, Kind::kJoined);
    return record.status;
  }
  // A peer that joined and was bound.
  void Join2() {
    control = Raw();
    data = Raw();
    Put(control, JoinBytes(0));
    Put(data, JoinBytes(1));
    ASSERT_EQ(JoinedStatus(control), Code::kOk);
    ASSERT_EQ(JoinedStatus(data), Code::kOk);
    ASSERT_EQ(server.accepted.size(), 1u);
    server.accepted.front()->Bind({.session = 1, .principal = "raw"});
  }
  // Sends to a fresh endpoint and says how the server closed it.
  Code Closes(Socket where, const std::vector<uint8_t>& bytes) {
    Join2();
    Endpoint* endpoint = server.accepted.front().get();
    Put(where == Socket::kControl ? control : data, bytes);
    EXPECT_TRUE(Run([&] { return server.closed.contains(endpoint); }));
    const Status why = server.closed[endpoint];
    EXPECT_FALSE(why.detail().empty());
    server.accepted.clear();
    server.closed.clear();
    EXPECT_EQ(memory->holders(), 3u) << "held by the test and two tags alone";
    return why.code();
  }

  std::vector<uint8_t> ReadRecord(uint64_t length = 100) {
    return Encoded({.kind = Kind::kRead, .operation = 7, .length = length, .extension = readable.span()});
  }
  std::vector<uint8_t> WriteRecord(uint64_t length = 100) {
    return Encoded({.kind = Kind::kWrite, .operation = 7, .length = length, .extension = writable.span()});
  }
  std::vector<uint8_t> PartRecord(uint64_t offset, uint64_t length, uint64_t operation = 7,
                                  uint8_t flags = 0) {
    return Encoded({.kind = Kind::kWriteData,
                    .flags = flags,
                    .operation = operation,
                    .offset = offset,
                    .length = length});
  }

  Side server{Kinds().front(), 1};
  Side other{Kinds().front(), 2};
  std::unique_ptr<Listener> listener;
  BufferRef memory;
  Tag readable, writable;
  Fd control, data;
};

// Goal: each way of breaking the rules on a data socket is found.
TEST_F(WireTest, ViolationsOnADataSocket) {
  const auto closes = [&](const std::vector<uint8_t>& bytes) { return Closes(Socket::kData, bytes); };
  const std::vector<uint8_t> zeros(200);
  EXPECT_EQ(closes(zeros), Code::kProtocolViolation);
  EXPECT_EQ(closes(std::vector<uint8_t>(200, 0xff)), Code::kProtocolViolation);
  EXPECT_EQ(closes(JoinBytes(1)), Code::kProtocolViolation) << "a second join";
  EXPECT_EQ(closes(Encoded({.kind = Kind::kJoined})), Code::kProtocolViolation);
  EXPECT_EQ(closes(Encoded({.kind = Kind::kGoodbye})), Code::kProtocolViolation);
  EXPECT_EQ(closes(Encoded({.kind = Kind::kFrame, .flags = kFlagChecksum, .length = 1}) + zeros),
            Code::kProtocolViolation);
  EXPECT_EQ(closes(With(ReadRecord(), kFlagsAt, uint8_t(0x80))), Code::kProtocolViolation);
  EXPECT_EQ(closes(With(ReadRecord(), kStatusAt, uint16_t(5))), Code::kProtocolViolation);
  EXPECT_EQ(closes(With(ReadRecord(), kLengthAt, uint64_t(0))), Code::kProtocolViolation);
  EXPECT_EQ(closes(With(With(ReadRecord(), kLengthAt, UINT64_MAX), kOffsetAt, uint64_t(1))),
            Code::kProtocolViolation);
  EXPECT_EQ(closes(PartRecord(0, 10)), Code::kProtocolViolation) << "a part of nothing";
  EXPECT_EQ(closes(With(PartRecord(0, 10), kLengthAt, uint64_t(kPartBytesMax + 1))),
            Code::kProtocolViolation);
  EXPECT_EQ(closes(WriteRecord() + PartRecord(1, 10)), Code::kProtocolViolation) << "not where it continues";
  EXPECT_EQ(closes(WriteRecord() + PartRecord(0, 101)), Code::kProtocolViolation) << "more than announced";
  EXPECT_EQ(closes(WriteRecord() + PartRecord(0, 10, 8)), Code::kProtocolViolation) << "of another operation";
  EXPECT_EQ(closes(WriteRecord() + PartRecord(0, 10, 7, kFlagChecksum)), Code::kProtocolViolation);
  EXPECT_EQ(closes(WriteRecord() + WriteRecord()), Code::kProtocolViolation) << "twice";
  EXPECT_EQ(closes(WriteRecord() + PartRecord(0, 10) + std::vector<uint8_t>(18, 1)), Code::kProtocolViolation)
      << "a trailer with reserved bytes";
  EXPECT_EQ(closes(Encoded({.kind = Kind::kData, .operation = 7, .length = 5})), Code::kProtocolViolation);
  EXPECT_EQ(closes(Encoded({.kind = Kind::kWriteDone, .operation = 7})), Code::kProtocolViolation);
  EXPECT_EQ(closes(Encoded({.kind = Kind::kReadFailed, .status = Code::kAborted, .operation = 7})),
            Code::kProtocolViolation);
  const std::array<uint8_t, 8> value{};
  EXPECT_EQ(closes(Encoded({.kind = Kind::kAtomicDone, .operation = 7, .extension = value})),
            Code::kProtocolViolation);
}

// Goal: the same on the control socket.
TEST_F(WireTest, ViolationsOnAControlSocket) {
  const auto closes = [&](const std::vector<uint8_t>& bytes) { return Closes(Socket::kControl, bytes); };
  EXPECT_EQ(closes(ReadRecord()), Code::kProtocolViolation);
  EXPECT_EQ(closes(PartRecord(0, 10)), Code::kProtocolViolation);
  EXPECT_EQ(closes(With(Encoded({.kind = Kind::kFrame, .flags = kFlagChecksum, .length = 1}), kLengthAt,
                        UINT64_MAX)),
            Code::kProtocolViolation);
  EXPECT_EQ(closes(With(Encoded({.kind = Kind::kFrame, .flags = kFlagChecksum, .length = 1}), kLengthAt,
                        uint64_t(kFrameBytesMax + 1))),
            Code::kProtocolViolation);
  EXPECT_EQ(closes(Encoded({.kind = Kind::kFrame, .length = 1})), Code::kProtocolViolation) << "no checksum";
  EXPECT_EQ(closes(Encoded({.kind = Kind::kFrame, .flags = kFlagChecksum, .length = 4}) +
                   std::vector<uint8_t>{'b', 'a', 'd', '!', 1, 2, 3, 4, 0, 0, 0, 0}),
            Code::kChecksumMismatch);
}

// Goal: a bit flipped anywhere in a request is found, wherever it is. Method: every bit of a read request.
TEST_F(WireTest, EveryFlippedBitOfARequest) {
  const std::vector<uint8_t> good = ReadRecord();
  for (size_t bit = 0; bit < good.size() * 8; bit++) {
    std::vector<uint8_t> bytes = good;
    bytes[bit / 8] ^= uint8_t(1 << (bit % 8));
    Record record;
    // Another kind may be longer, and then waits for bytes that do not come.
    if (RecordBytes(bytes[0]) != bytes.size()) continue;
    ASSERT_EQ(DecodeRecord(bytes, record).code(), Code::kProtocolViolation) << bit;
  }
  EXPECT_EQ(Closes(Socket::kData,
                   [&] {
                     std::vector<uint8_t> bytes = good;
                     bytes[kHeadBytes + Tag::kSecretAt] ^= 1;
                     return bytes;
                   }()),
            Code::kProtocolViolation);
}

// Goal: a stream that ends inside anything is a loss, and what was written partly holds nothing. Method: cut
// at every length.
TEST_F(WireTest, CutAnywhere) {
  const std::vector<uint8_t> whole = WriteRecord(10) + PartRecord(0, 10) + std::vector<uint8_t>(10, 9) +
                                     std::vector<uint8_t>(kTrailerBytes, 0);
  for (size_t length = 0; length < whole.size(); length += 3) {
    Join2();
    Endpoint* endpoint = server.accepted.front().get();
    Put(data, {whole.begin(), whole.begin() + ptrdiff_t(length)});
    data.Reset();
    ASSERT_TRUE(Run([&] { return server.closed.contains(endpoint); }));
    EXPECT_EQ(server.closed[endpoint].code(), Code::kConnectionLost);
    EXPECT_TRUE(server.notified.empty());
    server.accepted.clear();
    server.closed.clear();
    EXPECT_EQ(memory->holders(), 3u);
  }
}

// Goal: payload that was changed on the way is never delivered: the operation fails, the endpoint lives.
TEST_F(WireTest, DamagedPayload) {
  Join2();
  const std::vector<uint8_t> payload(100, 5);
  uint8_t trailer[kTrailerBytes];
  EncodeTrailer(trailer, true, Crc32c(0, payload.data(), payload.size()), Code::kOk);
  std::vector<uint8_t> damaged = payload;
  damaged[50] ^= 4;
  Put(data, Encoded({.kind = Kind::kWrite,
                     .flags = kFlagChecksum | kFlagNotify,
                     .operation = 7,
                     .length = 100,
                     .extension = writable.span()}) +
                PartRecord(0, 100, 7, kFlagChecksum) + damaged +
                std::vector<uint8_t>(trailer, trailer + kTrailerBytes));
  const std::vector<uint8_t> answer = Get(data, kHeadBytes);
  Record record;
  ASSERT_TRUE(DecodeRecord(answer, record).ok());
  EXPECT_EQ(record.kind, Kind::kWriteDone);
  EXPECT_EQ(record.status, Code::kChecksumMismatch);
  EXPECT_TRUE(server.notified.empty());
  EXPECT_TRUE(server.closed.empty());
}

// Goal: a peer cannot have more operations outstanding than allowed, nor make answers pile up. Method: writes
// that never end; then reads by the thousand without reading an answer.
TEST_F(WireTest, Floods) {
  std::vector<uint8_t> writes;
  for (uint64_t i = 0; i <= kOperationsMax; i++) writes = writes + With(WriteRecord(), kOperationAt, i);
  EXPECT_EQ(Closes(Socket::kData, writes), Code::kProtocolViolation);

  Join2();
  Endpoint* endpoint = server.accepted.front().get();
  const std::vector<uint8_t> read = ReadRecord(kSize);
  for (int i = 0; i < 100'000 && !server.closed.contains(endpoint); i++) {
    (void)send(data.get(), read.data(), read.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    server.transport->Poll(server, NowNs(), UINT64_MAX);
  }
  ASSERT_TRUE(server.closed.contains(endpoint));
  EXPECT_EQ(server.closed[endpoint].code(), Code::kProtocolViolation);
}

// Goal: what is no join is turned away with its reason, and the door stays open for others.
TEST_F(WireTest, StrangersAtTheDoor) {
  const auto answer = [&](const std::vector<uint8_t>& bytes) {
    const Fd raw = Raw();
    Put(raw, bytes);
    return JoinedStatus(raw);
  };
  const std::string http =
      "GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: something that is long enough\r\n\r\n";
  EXPECT_EQ(answer({http.begin(), http.end()}), Code::kProtocolViolation);
  EXPECT_EQ(answer(With(JoinBytes(0), kHeadBytes + kJoinMagicAt, uint32_t(0))), Code::kProtocolViolation);
  EXPECT_EQ(answer(With(JoinBytes(0), kHeadBytes + kJoinVersionAt, uint16_t(kWireVersion + 1))),
            Code::kVersionUnsupported);
  EXPECT_EQ(answer(With(JoinBytes(0), kHeadBytes + kJoinChannelsAt, uint8_t(0))), Code::kProtocolViolation);
  EXPECT_EQ(answer(With(JoinBytes(0), kHeadBytes + kJoinIndexAt, uint8_t(2))), Code::kProtocolViolation);
  EXPECT_EQ(answer(With(JoinBytes(0), kHeadBytes + kJoinReservedAt, uint8_t(1))), Code::kProtocolViolation);
  EXPECT_EQ(answer(ReadRecord()), Code::kProtocolViolation);

  const Fd first = Raw();
  Put(first, JoinBytes(0));
  EXPECT_EQ(answer(JoinBytes(1, 1, 99)), Code::kAuthenticationFailed) << "another secret";
  EXPECT_EQ(answer(JoinBytes(0)), Code::kProtocolViolation) << "the same socket twice";
  EXPECT_EQ(answer(JoinBytes(1, 1, 2, 3)), Code::kProtocolViolation) << "another number of sockets";
  data = Raw();
  Put(data, JoinBytes(1));
  EXPECT_EQ(JoinedStatus(first), Code::kOk) << "the honest one is not hurt";
}

// Goal: sockets that never join are bounded in number, and honest peers still come in.
TEST_F(WireTest, JoinFlood) {
  std::vector<Fd> silent;
  for (size_t i = 0; i < kUnjoinedMax + 10; i++) {
    silent.push_back(Raw());
    server.transport->Poll(server, NowNs(), UINT64_MAX);
  }
  EXPECT_EQ(JoinedStatus(silent.front()), Code::kLimitExceeded);
  Join2();
}

// Goal: sockets that never join go after their time. Method: the time is handed in.
TEST_F(WireTest, JoinTimeout) {
  const Fd silent = Raw();
  const Fd half = Raw();
  Put(half, JoinBytes(0));
  ASSERT_TRUE(Run([&] { return server.transport->next_timeout() != kNever; }));
  while (server.transport->Poll(server, NowNs(), UINT64_MAX)) {
  }
  EXPECT_LE(server.transport->next_timeout(), NowNs() + kUnjoinedTimeoutNs);
  server.transport->Poll(server, NowNs() + kUnjoinedTimeoutNs, UINT64_MAX);
  EXPECT_EQ(JoinedStatus(silent), Code::kConnectTimeout);
  EXPECT_EQ(JoinedStatus(half), Code::kConnectTimeout);
  EXPECT_EQ(server.transport->next_timeout(), kNever);
}

// Goal: without descriptors, new connections wait and live ones go on, without spinning; afterwards it
// recovers.
TEST_F(WireTest, OutOfDescriptors) {
  Join2();
  const Fd waiting_control = Raw();
  const Fd waiting_data = Raw();
  Put(waiting_control, JoinBytes(0, 50));
  Put(waiting_data, JoinBytes(1, 50));
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  pollfd descriptor = {server.transport->event_fd(), POLLIN, 0};
  int wakes = 0;
  do {
    while (server.transport->Poll(server, NowNs(), UINT64_MAX) || !server.transport->Arm()) {
    }
    ASSERT_LT(++wakes, 10) << "it spins";
  } while (poll(&descriptor, 1, 0) != 0);
  EXPECT_NE(server.transport->next_timeout(), kNever);
  Put(data, ReadRecord(10));
  EXPECT_EQ(Get(data, kHeadBytes + 10 + kTrailerBytes).size(), kHeadBytes + 10 + kTrailerBytes);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(JoinedStatus(waiting_control), Code::kOk);
}

// Goal: the file of a unix socket is replaced when nobody listens any more, left alone when somebody does or
// when it is no socket, and removed at the end.
TEST_F(WireTest, UnixSocketFiles) {
  const std::string path = "/tmp/splitplane-stale-" + std::to_string(getpid());
  {
    // What a killed process leaves behind.
    const Address address = *ParseAddress("unix:" + path);
    const Fd left(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(left.get(), address.get(), address.length), 0);
  }
  {
    auto listening = server.transport->Listen("unix:" + path, {});
    ASSERT_TRUE(listening.ok()) << listening.status().ToString();
    EXPECT_EQ(other.transport->Listen("unix:" + path, {}).status().code(), Code::kAddressInUse);
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fclose(file);
  EXPECT_EQ(other.transport->Listen("unix:" + path, {}).status().code(), Code::kAddressInUse);
  EXPECT_EQ(unlink(path.c_str()), 0);
}

}  // namespace
}  // namespace splitplane::tcp

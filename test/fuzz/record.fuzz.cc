// Fuzzes the input of a TCP socket: the judgement of single records, and the state machine that splits a
// stream of any bytes, cut anywhere, into records, frames and parts of transfers. Method: whatever
// DecodeRecord takes must encode to the same bytes; the stream goes through a socket pair into a Receiver
// whose handler takes every part that fits, so that payload, trailers and discarding are reached. Checksums
// of heads are repaired half of the time, because nothing would get past them otherwise.
#include "native/tcp/record.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "native/base/check.h"
#include "native/base/crc32c.h"
#include "native/memory/pool.h"
#include "native/tcp/receiver.h"

namespace splitplane::tcp {
namespace {

constexpr size_t kStreamBytesMax = 16 * 1024;

void RepairHead(uint8_t* bytes, size_t length) {
  std::memset(bytes + kHeadCrcAt, 0, sizeof(uint32_t));
  StoreLittle(bytes + kHeadCrcAt, Crc32c(0, bytes, length));
}

void FuzzRecord(ConstBytes input) {
  std::vector<uint8_t> bytes(input.begin(), input.end());
  if (bytes.size() >= kHeadBytes && bytes.size() == RecordBytes(bytes[0]))
    RepairHead(bytes.data(), bytes.size());
  Record record;
  const Status status = DecodeRecord(bytes, record);
  if (!status.ok()) {
    SPLITPLANE_CHECK(!status.detail().empty());
    return;
  }
  if (record.kind == Kind::kJoin) {
    SPLITPLANE_CHECK(EncodeJoin(DecodeJoin(record.extension)).size() == record.extension.size());
  }
  // A status that is no code of ours is understood as another one.
  if (LoadLittle<uint16_t>(bytes.data() + kStatusAt) >= uint16_t(Code::kCount)) return;
  uint8_t again[kRecordBytesMax];
  SPLITPLANE_CHECK(EncodeRecord(record, again) == bytes.size());
  SPLITPLANE_CHECK(std::memcmp(again, bytes.data(), bytes.size()) == 0);
}

// Takes parts into 8 KiB of memory in three slices, one transfer at a time.
class Taker final : public Receiver::Handler {
 public:
  explicit Taker(bool small) : small_(small) {}
  Status OnRecord(const Record& record) override {
    SPLITPLANE_CHECK(!record.has_payload());
    return {};
  }
  Status OnFrame(ConstBytes frame) override {
    SPLITPLANE_CHECK(!frame.empty() && frame.size() <= kFrameBytesMax);
    return {};
  }
  Result<Inbound*> OnPart(const Record& record) override {
    SPLITPLANE_CHECK(record.length >= 1 && record.length <= kPartBytesMax);
    transfer_ = Inbound();
    transfer_.total = record.length;
    transfer_.discarding = record.length > kStreamBytesMax / 2;
    if (!transfer_.discarding) {
      for (uint64_t at = 0, step = 1; at < record.length; at += step, step = 4096) {
        transfer_.own.push_back({buffer_, at, std::min(step, record.length - at)});
      }
    }
    return &transfer_;
  }
  void OnUnusable(Inbound&, Status) override { std::abort(); }
  Status OnPartEnd(Inbound& transfer, const Trailer&) override {
    SPLITPLANE_CHECK(transfer.left() == 0);
    return {};
  }
  size_t ReadAhead() const override { return small_ ? kHeadBytes : kScratchBytes; }

 private:
  const bool small_;
  MemoryPool pool_{PoolOptions{}};
  BufferRef buffer_ = *pool_.Allocate(kStreamBytesMax);
  Inbound transfer_;
};

void FuzzStream(ConstBytes input, bool small, bool repair, size_t cut) {
  std::vector<uint8_t> bytes(input.begin(), input.begin() + std::min(input.size(), kStreamBytesMax));
  if (repair) {
    for (size_t at = 0; at < bytes.size();) {
      const size_t length = RecordBytes(bytes[at]);
      if (length == 0 || length > bytes.size() - at) break;
      RepairHead(bytes.data() + at, length);
      const Kind kind = Kind(bytes[at]);
      const bool payload = kind == Kind::kFrame || kind == Kind::kData || kind == Kind::kWriteData;
      const uint64_t follows = payload ? LoadLittle<uint64_t>(bytes.data() + at + kLengthAt) : 0;
      at += length;
      if (follows > bytes.size() - at) break;
      at += follows + (payload ? kTrailerBytes : 0);
    }
  }
  int ends[2];
  SPLITPLANE_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd reading(ends[0]), writing(ends[1]);
  static ReceiveBuffers buffers;
  TransportStats stats;
  Taker taker(small);
  Receiver receiver(taker, buffers, stats, true);
  for (size_t at = 0; at < bytes.size(); at += cut) {
    const size_t length = std::min(cut, bytes.size() - at);
    if (send(writing.get(), bytes.data() + at, length, MSG_NOSIGNAL) != ssize_t(length)) return;
    int64_t budget = INT64_MAX;
    uint64_t received = 0;
    if (!receiver.Receive(reading.get(), 0, budget, received).ok()) return;
    SPLITPLANE_CHECK(received == length);
  }
}

}  // namespace
}  // namespace splitplane::tcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitplane::tcp;
  if (size < 2) return 0;
  const uint8_t how = data[0];
  const size_t cut = size_t(data[1]) * 37 + 7;
  FuzzRecord({data + 2, size - 2});
  FuzzStream({data + 2, size - 2}, (how & 1) != 0, (how & 2) != 0, cut);
  return 0;
}

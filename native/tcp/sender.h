// The output of one socket: records in order, and between them the parts of transfers, which take turns so
// that a small one never waits for a whole large one. Everything goes out in gathered writes straight from
// registered memory (sendfile for files), a batch at a time. Bounded by its callers, who ask queued_bytes().
// Knows no input and no peer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "native/base/clock.h"
#include "native/base/status.h"
#include "native/tcp/record.h"
#include "native/tcp/transfer.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

class Sender {
 public:
  explicit Sender(TransportStats& stats) : stats_(stats) {}
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // Queues a record without payload.
  void Append(const Record& record);
  // Queues a frame; copies the pieces (`length` is their sum, 1..kFrameBytesMax).
  void AppendFrame(std::span<const ConstBytes> pieces, size_t length);
  // Takes the transfer and sends it part by part. An answer that fails on the way ends with kReadFailed, a
  // write with kCancel.
  void Start(std::unique_ptr<Outbound> transfer);

  enum class Stopped {
    kUnknown,      // no such transfer, or all of its payload was written
    kUnannounced,  // the peer never heard of it
    kStopped,      // no further part; one that has begun is completed with void bytes
  };
  // Ends a transfer early. Its memory is let go before this returns.
  Stopped Stop(uint64_t operation, bool serving);

  // Lets go of everything: the socket is closed.
  void Clear();

  enum class Progress { kDrained, kBlocked, kOverBudget };
  // Writes until nothing is left, the socket is full or the budget is spent. Errors are the socket's.
  Result<Progress> Flush(int fd, MonotonicNs now, int64_t& budget);

  bool drained() const { return queue_.empty() && ring_.empty() && at_ == segments_.size(); }
  // Of records and frames (not transfers) that the kernel has not taken yet.
  size_t queued_bytes() const {
    return queue_.size() + (at_ == 0 && !segments_.empty() ? flying_.size() : 0);
  }
  // Answers to peers that have not been sent whole.
  size_t serving() const { return serving_; }

 private:
  static constexpr size_t kPartsPerBatch = 16;
  struct Segment {
    const uint8_t* data = nullptr;  // null: of a file
    uint64_t length = 0;
    int fd = -1;
    uint64_t position = 0;
  };
  struct Part {
    std::unique_ptr<Outbound> transfer;
    uint64_t length = 0;
    SliceCursor cursor;        // where it begins
    size_t payload_first = 0;  // segments
    size_t trailer_segment = 0;
    Code failed = Code::kOk;
    std::array<uint8_t, 2 * kHeadBytes + kTagExtensionBytes> head;
    std::array<uint8_t, kTrailerBytes> trailer;
  };

  bool BuildBatch(MonotonicNs now);
  Status BuildPart(Part& part, MonotonicNs now);
  uint64_t PartBytes(const Outbound& transfer) const;
  Status AddPayload(Part& part, uint32_t& crc);
  void FinishBatch();
  void EndEarly(const Outbound& transfer, Code why);
  void RecheckParts(MonotonicNs now);
  void FailPart(Part& part, Code why);
  Result<uint64_t> Write(int fd);
  Result<uint64_t> WriteMemory(int fd);
  Result<uint64_t> WriteFile(int fd);
  void Consume(uint64_t length);

  TransportStats& stats_;
  std::vector<uint8_t> queue_;  // records for the next batch
  std::deque<std::unique_ptr<Outbound>> ring_;
  size_t serving_ = 0;

  // The batch that is being written.
  std::vector<uint8_t> flying_;  // its records
  std::array<Part, kPartsPerBatch> parts_;
  size_t part_count_ = 0;
  std::vector<Segment> segments_;
  size_t at_ = 0;                // first segment not written whole
  std::vector<uint8_t> bounce_;  // bytes of a file that had to be read, for its checksum
  bool bounce_used_ = false;
  std::vector<uint8_t> filler_;  // zeros in place of memory that went away
};

}  // namespace splitplane::tcp

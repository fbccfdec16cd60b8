// The output of one socket: records in order, and between them the parts of transfers, which take turns so
// that a small one never waits for a whole large one. Everything goes out in gathered writes straight from
// registered memory (sendfile for files), a batch at a time. Bounded by its callers, who ask queued_bytes().
// Knows no input and no peer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/base/clock.h"
#include "native/base/status.h"
#include "native/tcp/record.h"
#include "native/tcp/transfer.h"
#include "native/transport/transport.h"

namespace splitplane::tcp {

class SendBuffers;

class Sender {
 public:
  Sender(SendBuffers& buffers, TransportStats& stats);
  ~Sender();
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

  bool drained() const { return !batch_ && queue_.empty() && ring_.empty(); }
  // Whether there is something else than records.
  bool has_bulk() const { return batch_ || !ring_.empty(); }
  // Of records and frames (not transfers) that the kernel has not taken yet.
  size_t queued_bytes() const;
  // Answers to peers that have not been sent whole.
  size_t serving() const { return serving_; }

 private:
  friend class SendBuffers;
  struct Part;
  struct Batch;

  std::vector<uint8_t>& Queue();
  Batch& Begin();
  void Rest();
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

  SendBuffers& buffers_;
  TransportStats& stats_;
  std::vector<uint8_t> queue_;  // records for the next batch
  OutboundQueue ring_;
  size_t serving_ = 0;
  std::unique_ptr<Batch> batch_;  // that is being written
};

// What senders of a transport work with, lent to those that have something to send: an idle socket holds none
// of it, and who begins gets memory that is still in the cache.
class SendBuffers {
 public:
  SendBuffers();
  ~SendBuffers();

 private:
  friend class Sender;
  // A batch is in use while its socket is full or being written to, a queue from the first record on.
  static constexpr size_t kBatchesMax = 4;
  static constexpr size_t kQueuesMax = 16;

  std::vector<std::unique_ptr<Sender::Batch>> batches_;
  std::vector<std::vector<uint8_t>> queues_;
};

}  // namespace splitplane::tcp

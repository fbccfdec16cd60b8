// Building batches and writing them.
#include "native/tcp/sender.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "native/base/crc32c.h"

namespace splitplane::tcp {
namespace {

// Payload of one part. Large writes are the cheapest per byte; the checksum that runs over a part right
// before it is written finds it again in the second-level cache.
constexpr uint64_t kPartBytes = kPartBytesMax;
// A batch ends with the part that reaches this.
constexpr uint64_t kBatchBytes = 512 * 1024;
constexpr uint64_t kBounceBytes = 256 * 1024;
constexpr size_t kSegmentsMax = 128;
constexpr size_t kPartsPerBatch = 16;
// The most buffers that one write gathers; a batch takes several writes if it has more.
constexpr size_t kGatherMax = 64;
// Queues that grew beyond this in a burst give the memory back when they are empty. Those that are full of
// frames (kFrameQueueBytesMax and one more, in a vector that doubles) keep it: getting it again costs more
// than writing.
constexpr size_t kKeepBytes = 384 * 1024;
static_assert(kBounceBytes <= kPartBytesMax);

void Trim(std::vector<uint8_t>& bytes) {
  if (bytes.capacity() > kKeepBytes) {
    std::vector<uint8_t>().swap(bytes);
  } else {
    bytes.clear();
  }
}

}  // namespace

struct Sender::Part {
  std::unique_ptr<Outbound> transfer;
  uint64_t length = 0;
  SliceCursor cursor;        // where it begins
  size_t payload_first = 0;  // segments
  size_t trailer_segment = 0;
  Code failed = Code::kOk;
  std::array<uint8_t, 2 * kHeadBytes + kTagExtensionBytes> head;
  std::array<uint8_t, kTrailerBytes> trailer;
};

struct Sender::Batch {
  struct Segment {
    const uint8_t* data = nullptr;  // null: of a file
    uint64_t length = 0;
    int fd = -1;
    uint64_t position = 0;
  };

  bool written() const { return at == segments.size(); }
  std::span<Part> used_parts() { return {parts.data(), part_count}; }

  std::vector<uint8_t> flying;  // records
  std::array<Part, kPartsPerBatch> parts;
  size_t part_count = 0;
  std::vector<Segment> segments;
  size_t at = 0;                // first segment not written whole
  std::vector<uint8_t> bounce;  // bytes of a file that had to be read, for its checksum
  bool bounce_used = false;
  std::vector<uint8_t> filler;  // zeros in place of memory that went away
};

SendBuffers::SendBuffers() = default;
SendBuffers::~SendBuffers() = default;

Sender::Sender(SendBuffers& buffers, TransportStats& stats) : buffers_(buffers), stats_(stats) {}
Sender::~Sender() = default;

// Nothing is left to send.
void Sender::Rest() {
  if (batch_ && buffers_.batches_.size() < SendBuffers::kBatchesMax) {
    buffers_.batches_.push_back(std::move(batch_));
  }
  batch_.reset();
  std::vector<uint8_t> queue = std::move(queue_);
  queue_ = {};
  const bool keep = queue.capacity() > 0 && queue.capacity() <= kKeepBytes;
  if (keep && buffers_.queues_.size() < SendBuffers::kQueuesMax) buffers_.queues_.push_back(std::move(queue));
}

std::vector<uint8_t>& Sender::Queue() {
  if (queue_.capacity() == 0 && !buffers_.queues_.empty()) {
    queue_ = std::move(buffers_.queues_.back());
    buffers_.queues_.pop_back();
  }
  return queue_;
}

size_t Sender::queued_bytes() const {
  const bool flies = batch_ && batch_->at == 0 && !batch_->segments.empty();
  return queue_.size() + (flies ? batch_->flying.size() : 0);
}

void Sender::Append(const Record& record) {
  uint8_t bytes[kRecordBytesMax];
  const size_t length = EncodeRecord(record, bytes);
  std::vector<uint8_t>& queue = Queue();
  queue.insert(queue.end(), bytes, bytes + length);
}

void Sender::AppendFrame(std::span<const ConstBytes> pieces, size_t length) {
  Append({.kind = Kind::kFrame, .flags = kFlagChecksum, .length = length});
  uint32_t crc = 0;
  for (ConstBytes piece : pieces) {
    crc = Crc32c(crc, piece.data(), piece.size());
    queue_.insert(queue_.end(), piece.begin(), piece.end());
  }
  uint8_t trailer[kTrailerBytes];
  EncodeTrailer(trailer, true, crc, Code::kOk);
  queue_.insert(queue_.end(), trailer, trailer + kTrailerBytes);
}

void Sender::Start(std::unique_ptr<Outbound> transfer) {
  if (transfer->serving) serving_++;
  ring_.Append(std::move(transfer));
}

Sender::Stopped Sender::Stop(uint64_t operation, bool serving) {
  if (std::unique_ptr<Outbound> waiting = ring_.Remove(operation, serving)) {
    if (serving) EndEarly(*waiting, Code::kAborted);
    return waiting->announced ? Stopped::kStopped : Stopped::kUnannounced;
  }
  if (!batch_) return Stopped::kUnknown;
  for (Part& part : batch_->used_parts()) {
    Outbound& transfer = *part.transfer;
    if (transfer.operation != operation || transfer.serving != serving) continue;
    const bool payload_left = batch_->at < part.trailer_segment;
    if (payload_left) FailPart(part, Code::kAborted);
    transfer.stopped = true;
    transfer.own.clear();
    transfer.use = TagTable::Use();
    return payload_left || transfer.left() > 0 ? Stopped::kStopped : Stopped::kUnknown;
  }
  return Stopped::kUnknown;
}

void Sender::Clear() {
  batch_.reset();
  queue_ = {};
  ring_.Clear();
  serving_ = 0;
}

// Tells the peer that no further part comes. Writes that were stopped on purpose are told by who stopped
// them.
void Sender::EndEarly(const Outbound& transfer, Code why) {
  if (transfer.serving) {
    serving_--;
    Append({.kind = Kind::kReadFailed, .status = why, .operation = transfer.operation});
  } else {
    Append({.kind = Kind::kCancel, .status = why, .operation = transfer.operation});
  }
}

Result<Sender::Progress> Sender::Flush(int fd, MonotonicNs now, int64_t& budget) {
  bool fresh = false;
  for (;;) {
    if (!batch_ || batch_->written()) {
      FinishBatch();
      if (!BuildBatch(now)) {
        Rest();
        return Progress::kDrained;
      }
      fresh = true;
    }
    if (budget <= 0) return Progress::kOverBudget;
    if (!fresh) RecheckParts(now);
    fresh = false;
    Result<uint64_t> wrote = Write(fd);
    if (!wrote.ok()) return wrote.status();
    if (*wrote == 0) return Progress::kBlocked;
    budget -= int64_t(*wrote);
  }
}

bool Sender::BuildBatch(MonotonicNs now) {
  // An answer that fails here queues its end, and may be the only thing there was.
  do {
    if (queue_.empty() && ring_.empty()) return false;
    Batch& batch = Begin();
    batch.flying.swap(queue_);
    if (!batch.flying.empty()) batch.segments.push_back({batch.flying.data(), batch.flying.size()});
    uint64_t bytes = 0;
    while (!ring_.empty() && batch.part_count < kPartsPerBatch && bytes < kBatchBytes && !batch.bounce_used &&
           batch.segments.size() < kSegmentsMax / 2) {
      Part& part = batch.parts[batch.part_count];
      part.transfer = ring_.Take();
      Status built = BuildPart(part, now);
      if (built.ok()) {
        bytes += part.length;
        batch.part_count++;
      } else {
        EndEarly(*part.transfer, built.code());
        part.transfer.reset();
      }
    }
  } while (batch_->segments.empty());
  return true;
}

// The batch that is being written, or one to build.
Sender::Batch& Sender::Begin() {
  if (!batch_ && buffers_.batches_.empty()) batch_ = std::make_unique<Batch>();
  if (!batch_) {
    batch_ = std::move(buffers_.batches_.back());
    buffers_.batches_.pop_back();
  }
  return *batch_;
}

// A part is memory alone, or the bytes of one slice of a file.
uint64_t Sender::PartBytes(const Outbound& transfer) const {
  const uint64_t length_max = std::min(kPartBytes, transfer.left());
  SliceCursor at = transfer.cursor;
  const SliceCursor::Piece first = at.Next(transfer.slices(), length_max);
  if (first.is_file()) return transfer.checksum ? std::min(first.length, kBounceBytes) : first.length;
  uint64_t length = 0;
  for (size_t pieces = 0; length < length_max && pieces < kSegmentsMax / 2; pieces++) {
    const SliceCursor::Piece piece = at.Next(transfer.slices(), length_max - length);
    if (piece.is_file()) break;
    length += piece.length;
    at.Advance(transfer.slices(), piece.length);
  }
  return length;
}

Status Sender::BuildPart(Part& part, MonotonicNs now) {
  Outbound& transfer = *part.transfer;
  size_t head_bytes = 0;
  const uint8_t flags = transfer.checksum ? kFlagChecksum : uint8_t(0);
  if (!transfer.announced) {
    head_bytes = EncodeRecord({.kind = Kind::kWrite,
                               .flags = uint8_t(flags | (transfer.notify ? kFlagNotify : 0)),
                               .operation = transfer.operation,
                               .offset = transfer.tag_offset,
                               .length = transfer.total,
                               .extension = transfer.tag.span()},
                              part.head.data());
  }
  part.length = PartBytes(transfer);
  part.cursor = transfer.cursor;
  part.failed = Code::kOk;
  const size_t segments_before = batch_->segments.size();
  Status usable = transfer.Usable(now, part.length);
  if (usable.ok()) {
    head_bytes += EncodeRecord({.kind = transfer.serving ? Kind::kData : Kind::kWriteData,
                                .flags = flags,
                                .operation = transfer.operation,
                                .offset = transfer.done,
                                .length = part.length},
                               part.head.data() + head_bytes);
    batch_->segments.push_back({part.head.data(), head_bytes});
    part.payload_first = batch_->segments.size();
    uint32_t crc = 0;
    usable = AddPayload(part, crc);
    EncodeTrailer(part.trailer.data(), transfer.checksum, crc, Code::kOk);
  }
  if (!usable.ok()) {
    batch_->segments.resize(segments_before);
    // The owner must know what it is that ends.
    if (!transfer.announced)
      queue_.insert(queue_.end(), part.head.data(), part.head.data() + kHeadBytes + Tag::kSize);
    return usable;
  }
  part.trailer_segment = batch_->segments.size();
  batch_->segments.push_back({part.trailer.data(), kTrailerBytes});
  transfer.announced = true;
  transfer.Advance(part.length);
  return {};
}

Status Sender::AddPayload(Part& part, uint32_t& crc) {
  const Outbound& transfer = *part.transfer;
  SliceCursor at = part.cursor;
  for (uint64_t left = part.length; left > 0;) {
    const SliceCursor::Piece piece = at.Next(transfer.slices(), left);
    const Buffer& buffer = *piece.slice->buffer.get();
    if (!piece.is_file()) {
      batch_->segments.push_back({piece.data(), piece.length});
      if (transfer.checksum) crc = Crc32c(crc, piece.data(), piece.length);
    } else if (!transfer.checksum) {
      batch_->segments.push_back({nullptr, piece.length, buffer.region().fd(),
                                  buffer.offset() + piece.slice->offset + piece.offset});
    } else {
      batch_->bounce.resize(kBounceBytes);
      Result<uint64_t> got =
          ReadFile(*piece.slice, piece.offset, {batch_->bounce.data(), size_t(piece.length)});
      if (!got.ok()) return got.status();
      batch_->bounce_used = true;
      stats_.bytes_copied += piece.length;
      crc = Crc32c(crc, batch_->bounce.data(), piece.length);
      batch_->segments.push_back({batch_->bounce.data(), piece.length});
    }
    at.Advance(transfer.slices(), piece.length);
    left -= piece.length;
  }
  return {};
}

void Sender::FinishBatch() {
  if (!batch_) return;
  for (Part& part : batch_->used_parts()) {
    std::unique_ptr<Outbound> transfer = std::move(part.transfer);
    if (part.failed == Code::kOk) stats_.bytes_sent += part.length;
    if (part.failed != Code::kOk || transfer->left() == 0) {
      // The trailer said so, or there is nothing more to say.
      if (transfer->serving) serving_--;
    } else if (transfer->stopped) {
      if (transfer->serving) EndEarly(*transfer, Code::kAborted);
    } else {
      ring_.Append(std::move(transfer));
    }
  }
  batch_->part_count = 0;
  batch_->segments.clear();
  batch_->at = 0;
  batch_->bounce_used = false;
  Trim(batch_->flying);
  if (!batch_->filler.empty()) std::vector<uint8_t>().swap(batch_->filler);
}

// Between two writes the tag may have been revoked and the memory detached.
void Sender::RecheckParts(MonotonicNs now) {
  for (Part& part : batch_->used_parts()) {
    if (part.trailer_segment <= batch_->at || part.failed != Code::kOk) continue;
    Outbound& transfer = *part.transfer;
    const SliceCursor after = transfer.cursor;
    transfer.cursor = part.cursor;
    const Status usable = transfer.Usable(now, part.length);
    transfer.cursor = after;
    if (!usable.ok()) FailPart(part, usable.code());
  }
}

// What was announced must come, or the stream loses its order: zeros, and a trailer that says they are void.
void Sender::FailPart(Part& part, Code why) {
  const size_t first = std::max(batch_->at, part.payload_first);
  if (batch_->filler.size() < kPartBytes) batch_->filler.resize(kPartBytes);
  for (size_t i = first; i < part.trailer_segment; i++) {
    batch_->segments[i] = {.data = batch_->filler.data(), .length = batch_->segments[i].length};
  }
  part.failed = why;
  EncodeTrailer(part.trailer.data(), part.transfer->checksum, 0, why);
}

Result<uint64_t> Sender::Write(int fd) {
  Result<uint64_t> wrote = batch_->segments[batch_->at].data ? WriteMemory(fd) : WriteFile(fd);
  if (wrote.ok()) Consume(*wrote);
  return wrote;
}

Result<uint64_t> Sender::WriteMemory(int fd) {
  iovec gather[kGatherMax];
  size_t count = 0;
  size_t next = batch_->at;
  while (next < batch_->segments.size() && count < kGatherMax && batch_->segments[next].data) {
    gather[count++] = {const_cast<uint8_t*>(batch_->segments[next].data), batch_->segments[next].length};
    next++;
  }
  const int flags = MSG_NOSIGNAL | (next < batch_->segments.size() ? MSG_MORE : 0);
  msghdr message{};
  message.msg_iov = gather;
  message.msg_iovlen = count;
  for (;;) {
    // A single buffer costs the kernel less than a list of one.
    const ssize_t wrote =
        count == 1 ? send(fd, gather->iov_base, gather->iov_len, flags) : sendmsg(fd, &message, flags);
    if (wrote >= 0) return uint64_t(wrote);
    if (errno == EAGAIN) return uint64_t(0);
    if (errno != EINTR) return Status::Errno("send", errno, "the connection to the peer broke while sending");
  }
}

Result<uint64_t> Sender::WriteFile(int fd) {
  Batch::Segment& segment = batch_->segments[batch_->at];
  for (;;) {
    off_t position = off_t(segment.position);
    // There is no way to say MSG_NOSIGNAL here; Node.js ignores SIGPIPE, as every host of this code must.
    const ssize_t wrote = sendfile(fd, segment.fd, &position, segment.length);
    if (wrote > 0) return uint64_t(wrote);
    if (wrote < 0 && errno == EAGAIN) return uint64_t(0);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && (errno == EPIPE || errno == ECONNRESET)) {
      return Status::Errno("sendfile", errno, "the connection to the peer broke while sending");
    }
    // The file's end or its error, not the peer's.
    for (Part& part : batch_->used_parts()) {
      if (part.payload_first <= batch_->at && batch_->at < part.trailer_segment)
        FailPart(part, Code::kFileChanged);
    }
    return WriteMemory(fd);
  }
}

void Sender::Consume(uint64_t length) {
  while (length > 0) {
    Batch::Segment& segment = batch_->segments[batch_->at];
    const uint64_t taken = std::min(length, segment.length);
    if (segment.data) segment.data += taken;
    segment.position += taken;
    segment.length -= taken;
    length -= taken;
    if (segment.length == 0) batch_->at++;
  }
}

}  // namespace splitplane::tcp

// Reading, placing and splitting into records.
#include "native/tcp/receiver.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/base/crc32c.h"

namespace splitplane::tcp {
namespace {

constexpr size_t kTargetsMax = 64;

// For a single buffer the kernel is spared copying and checking the list, which a poller feels.
ssize_t Read(int fd, iovec* gather, size_t count) {
  if (count == 1) return recv(fd, gather->iov_base, gather->iov_len, 0);
  msghdr message{};
  message.msg_iov = gather;
  message.msg_iovlen = count;
  return recvmsg(fd, &message, 0);
}

}  // namespace

Status Receiver::Receive(int fd, MonotonicNs now, int64_t& budget, uint64_t& received) {
  while (budget > 0) {
    iovec gather[kTargetsMax + 1];
    size_t count = 0;
    size_t target = 0;  // bytes that go where they belong, before the scratch
    size_t ahead = 0;
    const size_t held_before = held_.size();
    if (expect_ == Expect::kPayload) {
      target = AddTargets(gather, count, now);
      if (target == part_left_) ahead = kTrailerBytes + handler_.ReadAhead();
    } else if (held_before > 0) {
      const size_t needed = Needed(held_.data());
      held_.resize(needed);
      target = needed - held_before;
      gather[count++] = {held_.data() + held_before, target};
      // Frames are read whole before anything else; after a piece of a head, more is welcome.
      if (expect_ != Expect::kFrame) ahead = handler_.ReadAhead();
    } else {
      ahead = handler_.ReadAhead() + (expect_ == Expect::kTrailer ? kTrailerBytes : 0);
    }
    ahead = std::min(ahead, kScratchBytes);
    if (target + ahead == 0) return {};  // the handler does not want to hear more now
    if (ahead > 0) gather[count++] = {buffers_.scratch.data(), ahead};

    const ssize_t got = Read(fd, gather, count);
    const int error = errno;
    if (expect_ != Expect::kPayload)
      held_.resize(held_before + (got > 0 ? std::min(size_t(got), target) : 0));
    if (got < 0 && error == EINTR) continue;
    if (got < 0 && error == EAGAIN) return {};
    if (got < 0) return Status::Errno("recv", error, "the connection to the peer broke");
    if (got == 0)
      return Status::Error(Code::kConnectionLost, "recv", "the peer closed the connection without a word");
    budget -= got;
    received += uint64_t(got);

    const size_t placed = std::min(size_t(got), target);
    if (expect_ == Expect::kPayload) {
      Place(placed);
    } else if (target > 0 && placed == target) {
      if (Status status = HandleHeld(); !status.ok()) return status;
    }
    if (size_t(got) > target) {
      Status status = Consume(buffers_.scratch.data(), size_t(got) - target, now);
      if (!status.ok()) return status;
    }
    if (size_t(got) < target + ahead) return {};
  }
  return {};
}

// Adds the memory for the next piece of payload; returns its length.
size_t Receiver::AddTargets(iovec* gather, size_t& count, MonotonicNs now) {
  uint64_t wanted = std::min<uint64_t>(part_left_, kPieceBytes);
  if (!part_->discarding) {
    Status usable = part_->Usable(now, wanted);
    if (!usable.ok()) handler_.OnUnusable(*part_, std::move(usable));
  }
  if (part_->discarding) {
    gather[count++] = {buffers_.trash.data(), wanted};
    return wanted;
  }
  size_t total = 0;
  SliceCursor at = part_->cursor;
  while (total < wanted && count < kTargetsMax) {
    const SliceCursor::Piece piece = at.Next(part_->slices(), wanted - total);
    gather[count++] = {piece.data(), piece.length};
    at.Advance(part_->slices(), piece.length);
    total += piece.length;
  }
  return total;
}

// `length` bytes have arrived where AddTargets said.
void Receiver::Place(uint64_t length) {
  part_left_ -= length;
  if (part_->discarding) {
    part_->done += length;
  } else {
    stats_.bytes_received += length;
    if (part_checksum_) {
      SliceCursor at = part_->cursor;
      for (uint64_t left = length; left > 0;) {
        const SliceCursor::Piece piece = at.Next(part_->slices(), left);
        part_crc_ = Crc32c(part_crc_, piece.data(), piece.length);
        at.Advance(part_->slices(), piece.length);
        left -= piece.length;
      }
    }
    part_->Advance(length);
  }
  if (part_left_ == 0) expect_ = Expect::kTrailer;
}

// Bytes in the scratch: items, and payload that came along with a head.
Status Receiver::Consume(const uint8_t* bytes, size_t length, MonotonicNs now) {
  while (length > 0) {
    size_t taken = 0;
    if (expect_ == Expect::kPayload) {
      iovec gather[kTargetsMax];
      size_t count = 0;
      const size_t room = std::min(length, AddTargets(gather, count, now));
      for (size_t i = 0; taken < room; i++) {
        const size_t piece = std::min(room - taken, gather[i].iov_len);
        std::memcpy(gather[i].iov_base, bytes + taken, piece);
        taken += piece;
      }
      if (!part_->discarding) stats_.bytes_copied += taken;
      Place(taken);
    } else {
      const size_t before = held_.size();
      const size_t needed = Needed(before > 0 ? held_.data() : bytes);
      taken = std::min(length, needed - before);
      if (before == 0 && taken == needed) {
        if (Status status = Handle({bytes, needed}); !status.ok()) return status;
      } else {
        Hold(bytes, taken);
        if (held_.size() == needed) {
          if (Status status = HandleHeld(); !status.ok()) return status;
        }
      }
    }
    bytes += taken;
    length -= taken;
  }
  return {};
}

// Keeps the beginning of an item, or more of it.
void Receiver::Hold(const uint8_t* bytes, size_t length) {
  if (held_.capacity() == 0) held_.swap(buffers_.spare);
  held_.insert(held_.end(), bytes, bytes + length);
}

// The item that was held is complete.
Status Receiver::HandleHeld() {
  Status status = Handle(held_);
  held_.clear();
  if (held_.capacity() > buffers_.spare.capacity()) held_.swap(buffers_.spare);
  std::vector<uint8_t>().swap(held_);
  return status;
}

// Length of the item that begins with `bytes` (one at least). A kind that does not exist is an item of one
// byte, which HandleHead refuses.
size_t Receiver::Needed(const uint8_t* bytes) const {
  if (expect_ == Expect::kTrailer) return kTrailerBytes;
  if (expect_ == Expect::kFrame) return frame_bytes_ + kTrailerBytes;
  return std::max<size_t>(RecordBytes(bytes[0]), 1);
}

Status Receiver::Handle(ConstBytes item) {
  switch (expect_) {
    case Expect::kHead:
      return HandleHead(item);
    case Expect::kFrame: {
      expect_ = Expect::kHead;
      const uint32_t crc = Crc32c(0, item.data(), frame_bytes_);
      const Trailer trailer = DecodeTrailer(item.data() + frame_bytes_, true, crc);
      if (!trailer.damage.ok()) return trailer.damage;
      if (trailer.status != Code::kOk) {
        return Status::Error(Code::kProtocolViolation, "frame",
                             "a frame has a status, which only transfers have");
      }
      return handler_.OnFrame(item.first(frame_bytes_));
    }
    default: {
      expect_ = Expect::kHead;
      Inbound& transfer = *part_;
      part_ = nullptr;
      return handler_.OnPartEnd(transfer, DecodeTrailer(item.data(), part_checksum_, part_crc_));
    }
  }
}

Status Receiver::HandleHead(ConstBytes item) {
  Record record;
  if (Status status = DecodeRecord(item, record); !status.ok()) return status;
  if (!record.has_payload()) return handler_.OnRecord(record);
  if (record.kind == Kind::kFrame) {
    if (!takes_frames_) {
      return Status::Error(Code::kProtocolViolation, "frame", "a frame came on a data socket");
    }
    if (record.flags != kFlagChecksum) {
      return Status::Error(Code::kProtocolViolation, "frame", "a frame comes without its checksum");
    }
    frame_bytes_ = record.length;
    expect_ = Expect::kFrame;
    return {};
  }
  Result<Inbound*> to = handler_.OnPart(record);
  if (!to.ok()) return to.status();
  part_ = *to;
  part_left_ = record.length;
  part_checksum_ = (record.flags & kFlagChecksum) != 0;
  part_crc_ = 0;
  expect_ = Expect::kPayload;
  return {};
}

}  // namespace splitplane::tcp

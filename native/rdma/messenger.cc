// Filling packets and taking them apart.
#include "native/rdma/messenger.h"

#if SPLITPLANE_HAS_VERBS

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/base/check.h"

namespace splitplane::rdma {
namespace {

constexpr size_t kMemoryBytes = size_t{kSendBuffers + kReceiveBuffers} * kPacketBytes;
// A frame is not begun at the end of a packet for less than this.
constexpr size_t kFramePieceMin = 64;
// Queues that grew beyond this in a burst give the memory back when they are empty.
constexpr size_t kKeepBytes = 256 * 1024;

void Trim(std::vector<uint8_t>& bytes) {
  if (bytes.capacity() > kKeepBytes) {
    std::vector<uint8_t>().swap(bytes);
  } else {
    bytes.clear();
  }
}

}  // namespace

Result<std::unique_ptr<Messenger>> Messenger::Make(std::shared_ptr<ProtectionDomain> domain,
                                                   QueuePair& queue_pair, Handler& handler,
                                                   TransportStats& stats) {
  std::unique_ptr<Messenger> made(new Messenger(handler, stats));
  made->queue_pair_ = &queue_pair;
  void* memory = mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Status::Errno("mmap", errno, "no memory for the buffers of a connection");
  made->memory_ = static_cast<uint8_t*>(memory);
  Result<std::unique_ptr<Registration>> registration =
      Registration::Make(std::move(domain), memory, kMemoryBytes, IBV_ACCESS_LOCAL_WRITE);
  if (!registration.ok()) return registration.status();
  made->registration_ = std::move(*registration);
  for (uint32_t i = kSendBuffers; i-- > 0;) made->free_.push_back(i);
  for (uint32_t i = 0; i < kReceiveBuffers; i++) {
    if (Status posted = made->PostReceive(i); !posted.ok()) return posted;
  }
  return made;
}

Messenger::~Messenger() {
  registration_.reset();
  if (memory_) SPLITPLANE_CHECK(munmap(memory_, kMemoryBytes) == 0);
}

uint8_t* Messenger::Add(size_t bytes) {
  SPLITPLANE_CHECK(bytes <= kPacketBytes - kPacketHeadBytes);
  queue_.resize(queue_.size() + bytes);
  return queue_.data() + queue_.size() - bytes;
}

void Messenger::AddFrame(std::span<const ConstBytes> pieces, size_t length) {
  uint8_t head[kRecordHeadBytes];
  EncodeHead(Kind::kFrame, 0, Code::kOk, uint32_t(length), head);
  queue_.insert(queue_.end(), head, head + sizeof(head));
  for (ConstBytes piece : pieces) queue_.insert(queue_.end(), piece.begin(), piece.end());
}

Status Messenger::Flush() {
  while (queued_bytes() > 0 && credits_ > 0 && !free_.empty()) {
    if (Status posted = PostPacket(FillPacket(SendBuffer(free_.back()))); !posted.ok()) return posted;
    credits_--;
  }
  if (owes_much() && !free_.empty()) return PostPacket(kPacketHeadBytes);
  return {};
}

// Records from the queue, as many as fit; returns the packet's length.
size_t Messenger::FillPacket(uint8_t* packet) {
  size_t used = kPacketHeadBytes;
  for (;;) {
    if (at_ == flying_.size()) {
      Trim(flying_);
      at_ = 0;
      flying_.swap(queue_);
      if (flying_.empty()) return used;
    }
    const size_t room = kPacketBytes - used;
    const ConstBytes rest(flying_.data() + at_, flying_.size() - at_);
    if (frame_left_ > 0 || rest[kKindAt] == uint8_t(Kind::kFrame)) {
      const size_t taken = TakeFramePiece(packet + used, room);
      if (taken == 0) return used;
      used += taken;
      continue;
    }
    const size_t length = RecordBytes(rest);
    SPLITPLANE_CHECK(length > 0 && length <= rest.size());
    if (length > room) return used;
    std::memcpy(packet + used, rest.data(), length);
    used += length;
    at_ += length;
  }
}

size_t Messenger::TakeFramePiece(uint8_t* out, size_t room) {
  const size_t left = frame_left_ > 0 ? frame_left_ : LoadLittle<uint32_t>(flying_.data() + at_ + kNumberAt);
  if (room < kRecordHeadBytes + std::min(left, kFramePieceMin)) return 0;
  if (frame_left_ == 0) at_ += kRecordHeadBytes;
  const size_t taken = std::min(left, room - kRecordHeadBytes);
  EncodeHead(Kind::kFrame, taken < left ? kFlagMore : 0, Code::kOk, uint32_t(taken), out);
  std::memcpy(out + kRecordHeadBytes, flying_.data() + at_, taken);
  at_ += taken;
  frame_left_ = left - taken;
  return kRecordHeadBytes + taken;
}

// The packet is in the buffer that is free next.
Status Messenger::PostPacket(size_t bytes) {
  const uint32_t index = free_.back();
  SealPacket({SendBuffer(index), bytes}, owed_);
  ibv_sge piece{};
  piece.addr = reinterpret_cast<uintptr_t>(SendBuffer(index));
  piece.length = uint32_t(bytes);
  piece.lkey = registration_->get()->lkey;
  ibv_send_wr request{};
  request.wr_id = kSendId | index;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags = IBV_SEND_SIGNALED;
  if (bytes <= queue_pair_->inline_bytes()) request.send_flags |= IBV_SEND_INLINE;
  ibv_send_wr* bad = nullptr;
  const int error = queue_pair_->library().verbs.post_send(queue_pair_->get(), &request, &bad);
  if (error != 0) return Status::Errno("ibv_post_send", error, "a packet could not be sent");
  free_.pop_back();
  owed_ = 0;
  return {};
}

Status Messenger::PostReceive(uint32_t index) {
  ibv_sge piece{};
  piece.addr = reinterpret_cast<uintptr_t>(ReceiveBuffer(index));
  piece.length = kPacketBytes;
  piece.lkey = registration_->get()->lkey;
  ibv_recv_wr request{};
  request.wr_id = kReceiveId | index;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  const int error = queue_pair_->library().verbs.post_recv(queue_pair_->get(), &request, &bad);
  return error == 0 ? Status() : Status::Errno("ibv_post_recv", error, "a receive buffer was not taken");
}

Status Messenger::OnSent(const ibv_wc& completion) {
  free_.push_back(uint32_t(completion.wr_id & ~kSendId));
  return {};
}

Status Messenger::OnReceived(const ibv_wc& completion) {
  const uint32_t index = uint32_t(completion.wr_id & ~kReceiveId);
  uint16_t credits = 0;
  ConstBytes records;
  Status good = OpenPacket({ReceiveBuffer(index), completion.byte_len}, credits, records);
  if (!good.ok()) return good;
  if (credits > kCreditsMax - credits_)
    return Status::Violation("packet", "the peer returns more credits than it was given");
  credits_ += credits;
  const bool counted = !records.empty();
  while (!records.empty()) {
    Record record;
    if (Status status = TakeRecord(records, record); !status.ok()) return status;
    Status status = record.kind == Kind::kFrame ? OnFramePiece(record) : handler_.OnRecord(record);
    if (!status.ok()) return status;
  }
  if (counted && ++owed_ > kCreditsMax)
    return Status::Violation("packet", "the peer sends more than it has credits for");
  return PostReceive(index);
}

Status Messenger::OnFramePiece(const Record& record) {
  const ConstBytes piece = record.bytes.subspan(kRecordHeadBytes);
  const bool more = (record.flags & kFlagMore) != 0;
  if (assembly_.empty() && !more) {
    stats_.frames_received++;
    return handler_.OnFrame(piece);
  }
  if (assembly_.size() + piece.size() > kFrameBytesMax)
    return Status::Violation("packet", "a frame is too long");
  assembly_.insert(assembly_.end(), piece.begin(), piece.end());
  if (more) return {};
  std::vector<uint8_t> frame;
  frame.swap(assembly_);
  stats_.frames_received++;
  Status status = handler_.OnFrame(frame);
  frame.swap(assembly_);
  Trim(assembly_);
  return status;
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

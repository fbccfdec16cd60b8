// The device at work: posting, moving, completing, failing.
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "test/native/rdma_fake_device.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#if SPLITPLANE_HAS_VERBS

namespace splitplane::rdma::fake {
namespace {

Work KindOf(const Request& request) { return request.opcode == IBV_WR_SEND ? Work::kPacket : Work::kPart; }

bool Poisoned([[maybe_unused]] uint64_t address, [[maybe_unused]] uint64_t length) {
#if defined(__SANITIZE_ADDRESS__)
  return __asan_region_is_poisoned(reinterpret_cast<void*>(address), length) != nullptr;
#else
  return false;
#endif
}

ibv_wc_opcode OpcodeOf(const Request& request) {
  switch (request.opcode) {
    case IBV_WR_RDMA_READ:
      return IBV_WC_RDMA_READ;
    case IBV_WR_RDMA_WRITE:
      return IBV_WC_RDMA_WRITE;
    default:
      return IBV_WC_SEND;
  }
}

// Which states may follow which; any may fail or be reset.
bool MayFollow(ibv_qp_state from, ibv_qp_state to) {
  switch (to) {
    case IBV_QPS_INIT:
      return from == IBV_QPS_RESET;
    case IBV_QPS_RTR:
      return from == IBV_QPS_INIT;
    case IBV_QPS_RTS:
      return from == IBV_QPS_RTR;
    default:
      return to == IBV_QPS_ERR || to == IBV_QPS_RESET;
  }
}

}  // namespace

int Device::Modify(ibv_qp* pair, ibv_qp_attr* attributes, int mask) {
  if (gone_) return EIO;
  Pair& own = *static_cast<Pair*>(pair);
  if ((mask & IBV_QP_STATE) == 0 || !MayFollow(own.state, attributes->qp_state)) return EINVAL;
  own.state = attributes->qp_state;
  if ((mask & IBV_QP_ACCESS_FLAGS) != 0) own.access = int(attributes->qp_access_flags);
  if ((mask & IBV_QP_DEST_QPN) != 0) own.peer = attributes->dest_qp_num;
  if ((mask & IBV_QP_RQ_PSN) != 0) own.first_packet_expected = attributes->rq_psn;
  if ((mask & IBV_QP_SQ_PSN) != 0) own.first_packet = attributes->sq_psn;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) != 0) own.reads_in = attributes->max_dest_rd_atomic;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) != 0) own.reads_out = attributes->max_rd_atomic;
  if (own.state == IBV_QPS_ERR) Break(own);
  RingAll();
  return 0;
}

int Device::PostSend(ibv_qp* pair, ibv_send_wr* request, ibv_send_wr** bad) {
  Pair& own = *static_cast<Pair*>(pair);
  int error = 0;
  for (; request && error == 0; request = request->next) {
    *bad = request;
    error = TakeSend(own, request);
  }
  if (own.state == IBV_QPS_ERR) Break(own);
  RingAll();
  return error;
}

int Device::TakeSend(Pair& own, const ibv_send_wr* request) {
  if (gone_) return EIO;
  if (own.state != IBV_QPS_RTS && own.state != IBV_QPS_ERR) return EINVAL;
  if (own.sends_unseen >= own.limits.max_send_wr) return ENOMEM;
  if (request->num_sge > int(own.limits.max_send_sge)) return EINVAL;
  Request taken;
  taken.id = request->wr_id;
  taken.opcode = request->opcode;
  taken.is_inline = (request->send_flags & IBV_SEND_INLINE) != 0;
  taken.remote = request->wr.rdma.remote_addr;
  taken.key = request->wr.rdma.rkey;
  for (int i = 0; i < request->num_sge; i++) {
    const ibv_sge& piece = request->sg_list[i];
    const auto* bytes = reinterpret_cast<const uint8_t*>(piece.addr);
    taken.length += piece.length;
    if (taken.is_inline) {
      taken.bytes.insert(taken.bytes.end(), bytes, bytes + piece.length);
    } else {
      taken.pieces.push_back(piece);
    }
  }
  if (taken.is_inline && taken.length > own.limits.max_inline_data) return EINVAL;
  if ((request->send_flags & IBV_SEND_SIGNALED) == 0) faults_.Complain("a work request that nobody hears of");
  own.sends_unseen++;
  own.sends.push_back(std::move(taken));
  return 0;
}

int Device::PostReceive(ibv_qp* pair, ibv_recv_wr* request, ibv_recv_wr** bad) {
  Pair& own = *static_cast<Pair*>(pair);
  *bad = request;
  if (gone_) return EIO;
  if (own.state == IBV_QPS_RESET || request->next || request->num_sge != 1) return EINVAL;
  if (own.receives_unseen >= own.limits.max_recv_wr) return ENOMEM;
  Request taken;
  taken.id = request->wr_id;
  taken.pieces.push_back(request->sg_list[0]);
  taken.length = request->sg_list[0].length;
  own.receives_unseen++;
  own.receives.push_back(std::move(taken));
  if (own.state == IBV_QPS_ERR) Break(own);
  RingAll();
  return 0;
}

int Device::Poll(ibv_cq* queue, int count, ibv_wc* out) {
  MoveSome();
  Queue& own = *static_cast<Queue*>(queue);
  int taken = 0;
  for (; taken < count && !own.entries.empty(); taken++) {
    const Queue::Entry entry = own.entries.front();
    own.entries.pop_front();
    out[taken] = entry.completion;
    Pair* pair = PairOf(entry.completion.qp_num);
    if (pair) (entry.of_send ? pair->sends_unseen : pair->receives_unseen)--;
  }
  return taken;
}

int Device::Arm(ibv_cq* queue) {
  static_cast<Queue*>(queue)->armed = true;
  return gone_ ? EIO : 0;
}

Pair* Device::PairOf(uint32_t number) const {
  const auto found = pairs_.find(number);
  return found == pairs_.end() ? nullptr : found->second.get();
}

// The registration that gives a right to every one of these bytes.
Memory* Device::MemoryOf(const ibv_pd* domain, uint32_t key, bool local, uint64_t address, uint64_t length,
                         int access) const {
  for (const auto& [pointer, memory] : memories_) {
    if ((local ? memory->lkey : memory->rkey) != key) continue;
    const auto begin = reinterpret_cast<uint64_t>(memory->addr);
    const bool inside =
        address >= begin && length <= memory->length && address - begin <= memory->length - length;
    return memory->pd == domain && inside && (memory->access & access) == access ? memory.get() : nullptr;
  }
  return nullptr;
}

bool Device::Ready(const Pair& pair) const {
  if (gone_ || pair.state != IBV_QPS_RTS || pair.sends.empty()) return false;
  const Work kind = KindOf(pair.sends.front());
  if (faults_.held(kind)) return false;
  const Pair* peer = PairOf(pair.peer);
  const bool reached = peer && (peer->state == IBV_QPS_RTR || peer->state == IBV_QPS_RTS) &&
                       peer->peer == pair.qp_num && peer->first_packet_expected == pair.first_packet;
  return reached && (kind != Work::kPacket || !peer->receives.empty());
}

// They take turns.
Pair* Device::NextReady() {
  auto at = pairs_.upper_bound(last_moved_);
  for (size_t i = 0; i < pairs_.size(); i++, ++at) {
    if (at == pairs_.end()) at = pairs_.begin();
    if (!Ready(*at->second)) continue;
    last_moved_ = at->first;
    return at->second.get();
  }
  return nullptr;
}

void Device::MoveSome() {
  for (int i = 0; i < kMovesPerLook; i++) {
    Pair* pair = NextReady();
    if (!pair) break;
    Execute(*pair);
  }
  RingAll();
}

// A real device moves by itself; this one has whoever sleeps look again.
void Device::RingAll() {
  const bool busy =
      std::any_of(pairs_.begin(), pairs_.end(), [&](const auto& one) { return Ready(*one.second); });
  for (const auto& [key, channel] : channels_) channel->bell.Set(busy || gone_ || !channel->events.empty());
  // What was unplugged is readable for ever, with an error.
  for (const auto& [key, context] : contexts_) context->bell.Set(gone_ || !context->events.empty());
}

void Device::Execute(Pair& pair) {
  Pair& peer = *PairOf(pair.peer);
  const Request request = std::move(pair.sends.front());
  pair.sends.pop_front();
  ibv_wc_status status = faults_.OnWork(KindOf(request));
  if (status == IBV_WC_SUCCESS) {
    status = request.opcode == IBV_WR_SEND ? Send(pair, request, peer) : Transfer(pair, request, peer);
  }
  Complete(pair, request.id, status, OpcodeOf(request), request.length);
  if (status == IBV_WC_SUCCESS) return;
  Break(pair);
  if (status != IBV_WC_REM_ACCESS_ERR && status != IBV_WC_REM_INV_REQ_ERR) return;
  Break(peer);
  ibv_async_event event{};
  event.element.qp = &peer;
  event.event_type = status == IBV_WC_REM_ACCESS_ERR ? IBV_EVENT_QP_ACCESS_ERR : IBV_EVENT_QP_REQ_ERR;
  Tell(*static_cast<Context*>(peer.context), event);
}

bool Device::MayUse(const Pair& pair, const Request& request, int access) const {
  return std::all_of(request.pieces.begin(), request.pieces.end(), [&](const ibv_sge& piece) {
    return MemoryOf(pair.pd, piece.lkey, true, piece.addr, piece.length, access) != nullptr;
  });
}

ibv_wc_status Device::Send(Pair& pair, const Request& request, Pair& peer) {
  if (!MayUse(pair, request, 0)) return IBV_WC_LOC_PROT_ERR;
  const Request into = std::move(peer.receives.front());
  peer.receives.pop_front();
  ibv_wc_status received = IBV_WC_SUCCESS;
  if (request.length > into.length) received = IBV_WC_LOC_LEN_ERR;
  if (!MayUse(peer, into, IBV_ACCESS_LOCAL_WRITE)) received = IBV_WC_LOC_PROT_ERR;
  if (received == IBV_WC_SUCCESS) CopyFrom(request, into.pieces.front().addr);
  Complete(peer, into.id, received, IBV_WC_RECV, request.length);
  return received == IBV_WC_SUCCESS ? IBV_WC_SUCCESS : IBV_WC_REM_INV_REQ_ERR;
}

ibv_wc_status Device::Transfer(Pair& pair, const Request& request, Pair& peer) {
  const bool reading = request.opcode == IBV_WR_RDMA_READ;
  if (!reading && request.opcode != IBV_WR_RDMA_WRITE) return IBV_WC_LOC_QP_OP_ERR;
  if (!MayUse(pair, request, reading ? IBV_ACCESS_LOCAL_WRITE : 0)) return IBV_WC_LOC_PROT_ERR;
  if (reading && (pair.reads_out == 0 || peer.reads_in == 0)) return IBV_WC_REM_INV_REQ_ERR;
  const int right = reading ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
  if ((peer.access & right) == 0) return IBV_WC_REM_INV_REQ_ERR;
  if (!MemoryOf(peer.pd, request.key, false, request.remote, request.length, right))
    return IBV_WC_REM_ACCESS_ERR;
  if (!reading) {
    CopyFrom(request, request.remote);
    return IBV_WC_SUCCESS;
  }
  uint64_t from = request.remote;
  for (const ibv_sge& piece : request.pieces) {
    Copy(piece.addr, from, piece.length);
    from += piece.length;
  }
  return IBV_WC_SUCCESS;
}

// By the kernel: a device has pinned its pages, and goes on using those that the process has not any more.
void Device::Copy(uint64_t to, uint64_t from, uint64_t length) {
  const iovec source{reinterpret_cast<void*>(from), length};
  const iovec target{reinterpret_cast<void*>(to), length};
  const bool freed = Poisoned(to, length) || Poisoned(from, length);
  const long done = syscall(SYS_process_vm_writev, getpid(), &source, 1, &target, 1, 0);
  if (freed || done != long(length)) lost_moves_++;
}

void Device::CopyFrom(const Request& request, uint64_t to) {
  if (request.is_inline) return Copy(to, reinterpret_cast<uint64_t>(request.bytes.data()), request.length);
  for (const ibv_sge& piece : request.pieces) {
    Copy(to, piece.addr, piece.length);
    to += piece.length;
  }
}

void Device::Complete(Pair& pair, uint64_t id, ibv_wc_status status, ibv_wc_opcode opcode, uint64_t length) {
  const bool of_send = opcode != IBV_WC_RECV;
  Queue& queue = *static_cast<Queue*>(of_send ? pair.send_cq : pair.recv_cq);
  ibv_wc completion{};
  completion.wr_id = id;
  completion.status = status;
  completion.opcode = opcode;
  completion.byte_len = uint32_t(length);
  completion.qp_num = pair.qp_num;
  queue.entries.push_back({completion, of_send});
  if (queue.entries.size() > size_t(queue.cqe)) faults_.Complain("a completion queue overflows");
  if (!queue.armed) return;
  queue.armed = false;
  static_cast<Channel*>(queue.channel)->events.push_back(&queue);
}

void Device::Break(Pair& pair) {
  pair.state = IBV_QPS_ERR;
  for (const Request& request : std::exchange(pair.sends, {}))
    Complete(pair, request.id, IBV_WC_WR_FLUSH_ERR, OpcodeOf(request), 0);
  for (const Request& request : std::exchange(pair.receives, {}))
    Complete(pair, request.id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RECV, 0);
}

size_t Device::waiting() const {
  size_t count = 0;
  for (const auto& [number, pair] : pairs_) {
    count += size_t(std::count_if(pair->sends.begin(), pair->sends.end(),
                                  [](const Request& request) { return KindOf(request) == Work::kPart; }));
  }
  return count;
}

void Device::ExpireRetries() {
  for (const auto& [number, pair] : pairs_) {
    if (pair->state != IBV_QPS_RTS || pair->sends.empty() || Ready(*pair)) continue;
    const Request request = std::move(pair->sends.front());
    pair->sends.pop_front();
    const Pair* peer = PairOf(pair->peer);
    const bool there = peer && (peer->state == IBV_QPS_RTR || peer->state == IBV_QPS_RTS);
    const bool no_buffer = there && KindOf(request) == Work::kPacket && peer->receives.empty();
    const ibv_wc_status status = no_buffer ? IBV_WC_RNR_RETRY_EXC_ERR : IBV_WC_RETRY_EXC_ERR;
    Complete(*pair, request.id, status, OpcodeOf(request), 0);
    Break(*pair);
  }
  RingAll();
}

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

// A device with one port, in this process: protection domains, registrations, completion queues with channels
// and reliable connected queue pairs, all of which reach one another. It keeps the rules that security rests
// on: bounds, rights and protection domains of registrations to the byte, and errors that break both queue
// pairs. It moves a few work requests at every look at a completion queue, in turn, so that much is under way
// while other things happen, and its descriptors are readable while there is something to move. A part
// towards a queue pair that is not there waits, as retries do, until ExpireRetries. One thread.
#pragma once

#include "native/rdma/verbs.h"

#if SPLITPLANE_HAS_VERBS

#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "native/base/fd.h"
#include "test/native/rdma_fake_faults.h"

namespace splitplane::rdma::fake {

// Small, so that what is cut by them is cut.
inline constexpr uint32_t kInlineBytesMax = 128;
inline constexpr int kSendPiecesMax = 3;
inline constexpr int kReadsAtOnce = 4;
// Work requests moved at one look.
inline constexpr int kMovesPerLook = 3;

// A descriptor that is readable or not.
class Bell {
 public:
  Bell() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  int fd() const { return fd_.get(); }
  void Set(bool ringing);

 private:
  Fd fd_;
  bool ringing_ = false;
};

struct Context final : ibv_context {
  uint32_t children = 0;
  uint32_t unacknowledged = 0;
  std::deque<ibv_async_event> events;
  Bell bell;
};

struct Domain final : ibv_pd {
  uint32_t children = 0;
};

struct Memory final : ibv_mr {
  int access = 0;
};

struct Queue;
struct Channel final : ibv_comp_channel {
  uint32_t children = 0;
  std::deque<Queue*> events;
  Bell bell;
};

struct Queue final : ibv_cq {
  struct Entry {
    ibv_wc completion;
    bool of_send;
  };
  uint32_t children = 0;
  uint32_t unacknowledged = 0;
  bool armed = false;
  std::deque<Entry> entries;
};

struct Request {
  uint64_t id = 0;
  ibv_wr_opcode opcode = IBV_WR_SEND;
  std::vector<ibv_sge> pieces;
  bool is_inline = false;
  std::vector<uint8_t> bytes;  // of an inline one
  uint64_t length = 0;
  uint64_t remote = 0;
  uint32_t key = 0;
};

struct Pair final : ibv_qp {
  ibv_qp_cap limits{};
  uint32_t sends_unseen = 0, receives_unseen = 0;  // posted, and their completions not polled
  std::deque<Request> sends, receives;
  int access = 0;
  uint32_t peer = 0;
  uint32_t first_packet = 0, first_packet_expected = 0;
  uint8_t reads_out = 0, reads_in = 0;
};

class Device {
 public:
  explicit Device(Faults& faults);
  ~Device();

  // The functions of Verbs, with their meaning.
  ibv_device** List(int* count);
  ibv_context* Open();
  int Close(ibv_context* context);
  int Query(ibv_device_attr* out) const;
  int QueryPort(uint8_t port, ibv_port_attr* out) const;
  int QueryGid(uint32_t port, uint32_t index, ibv_gid_entry* out) const;
  int GetAsyncEvent(ibv_context* context, ibv_async_event* out);
  void AcknowledgeAsyncEvent(ibv_async_event* event);
  ibv_pd* Allocate(ibv_context* context);
  int Deallocate(ibv_pd* domain);
  ibv_mr* Register(ibv_pd* domain, void* address, size_t length, int access);
  int Deregister(ibv_mr* memory);
  ibv_comp_channel* MakeChannel(ibv_context* context);
  int Destroy(ibv_comp_channel* channel);
  ibv_cq* MakeQueue(ibv_context* context, int entries, void* owner, ibv_comp_channel* channel);
  int Destroy(ibv_cq* queue);
  int GetQueueEvent(ibv_comp_channel* channel, ibv_cq** queue, void** owner);
  void AcknowledgeQueueEvents(ibv_cq* queue, unsigned int count);
  ibv_qp* MakePair(ibv_pd* domain, ibv_qp_init_attr* attributes);
  int Modify(ibv_qp* pair, ibv_qp_attr* attributes, int mask);
  int Destroy(ibv_qp* pair);
  int Poll(ibv_cq* queue, int count, ibv_wc* out);
  int Arm(ibv_cq* queue);
  int PostSend(ibv_qp* pair, ibv_send_wr* request, ibv_send_wr** bad);
  int PostReceive(ibv_qp* pair, ibv_recv_wr* request, ibv_recv_wr** bad);

  // For the connection manager, which has a context of its own.
  ibv_context* managers_context() { return &managers_; }
  bool gone() const { return gone_; }

  // For tests. A queue pair for packets or bulk data of whoever opened the device as the `nth`.
  ibv_qp* Find(size_t nth, Work kind);
  // Parts that were posted and not moved.
  size_t waiting() const;
  // It fails by itself, and the device says so.
  void BreakPair(ibv_qp* pair);
  // What was sent to a queue pair that does not answer, or has no receive buffer, is given up.
  void ExpireRetries();
  // Unplugged: nothing can be made any more, what there is has failed.
  void Remove();
  // Work requests towards memory that was freed or unmapped under its registration.
  uint64_t lost_moves() const { return lost_moves_; }
  // What is left, for people; empty if nothing is.
  std::string Left() const;

 private:
  template <typename Object>
  using Shelf = std::map<const void*, std::unique_ptr<Object>>;
  template <typename Object>
  int TakeDown(Shelf<Object>& shelf, const void* object, const char* call, uint32_t children);

  Pair* PairOf(uint32_t number) const;
  Memory* MemoryOf(const ibv_pd* domain, uint32_t key, bool local, uint64_t address, uint64_t length,
                   int access) const;
  bool Ready(const Pair& pair) const;
  Pair* NextReady();
  void MoveSome();
  void RingAll();
  void Execute(Pair& pair);
  ibv_wc_status Send(Pair& pair, const Request& request, Pair& peer);
  ibv_wc_status Transfer(Pair& pair, const Request& request, Pair& peer);
  bool MayUse(const Pair& pair, const Request& request, int access) const;
  void Copy(uint64_t to, uint64_t from, uint64_t length);
  void CopyFrom(const Request& request, uint64_t to);
  void Complete(Pair& pair, uint64_t id, ibv_wc_status status, ibv_wc_opcode opcode, uint64_t length);
  int TakeSend(Pair& own, const ibv_send_wr* request);
  void Break(Pair& pair);
  void Tell(Context& context, ibv_async_event event);

  Faults& faults_;
  ibv_device device_{};
  ibv_device* listed_[2] = {};
  ibv_context managers_{};
  bool gone_ = false;
  std::vector<Context*> opened_;  // in order, also those that were closed
  Shelf<Context> contexts_;
  Shelf<Domain> domains_;
  Shelf<Memory> memories_;
  Shelf<Channel> channels_;
  Shelf<Queue> queues_;
  std::map<uint32_t, std::unique_ptr<Pair>> pairs_;
  uint32_t last_pair_ = 16;
  uint32_t last_moved_ = 0;
  uint32_t last_key_ = 0;
  uint64_t registered_bytes_ = 0;
  uint64_t lost_moves_ = 0;
};

}  // namespace splitplane::rdma::fake

#endif  // SPLITPLANE_HAS_VERBS

// Getting connected, and then doing as it is told.
#include "test/native/rdma_attacker.h"

#if SPLITPLANE_HAS_VERBS

#include <gtest/gtest.h>

#include "native/transport/address.h"

namespace splitplane::rdma {
namespace {

constexpr int kTimeoutMs = 5000;
constexpr QueuePair::Limits kLaneLimits{.sends = kPartsMax, .receives = 0, .pieces = 1, .inline_bytes = 0};

// What a test cannot go on without.
template <typename Value>
Value Must(Result<Value> made) {
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return std::move(*made);
}

}  // namespace

Attacker::Attacker(const Verbs& verbs, const std::string& address)
    : memory(kMemoryBytes), library_(verbs, registrations_) {
  events_ = Must(EventChannel::Make(library_));
  id_ = Must(ConnectionId::Make(events_, nullptr));
  Address to = Must(ParseAddress(address));
  EXPECT_EQ(verbs.resolve_addr(id_->get(), nullptr, reinterpret_cast<sockaddr*>(&to.storage), kTimeoutMs), 0);
}

Attacker::~Attacker() {
  // First what the device might still use.
  lane_.reset();
  control_.reset();
}

void Attacker::Step() {
  const Verbs& verbs = library_.verbs;
  rdma_cm_event* said = nullptr;
  while (verbs.get_cm_event(events_->get(), &said) == 0) {
    const rdma_cm_event_type type = said->event;
    verbs.ack_cm_event(said);
    OnEvent(type);
  }
  ibv_wc completion;
  while (queue_ && verbs.poll_cq(queue_->get(), 1, &completion) == 1) OnCompletion(completion);
  if (!lost_ && lane_ && !deaf_) Lose(messenger_->Flush());
}

void Attacker::Lose(const Status& why) {
  if (!why.ok()) lost_ = true;
}

void Attacker::OnEvent(rdma_cm_event_type type) {
  switch (type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      EXPECT_EQ(library_.verbs.resolve_route(id_->get(), kTimeoutMs), 0);
      break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      EXPECT_TRUE(Dial().ok());
      break;
    case RDMA_CM_EVENT_CONNECT_RESPONSE:
      EXPECT_TRUE(Establish().ok());
      break;
    default:
      lost_ = true;
  }
}

Status Attacker::Dial() {
  const Verbs& verbs = library_.verbs;
  context_ = Must(Context::Open(library_, id_->get()->verbs->device));
  channel_ = Must(CompletionChannel::Make(context_));
  queue_ = Must(CompletionQueue::Make(channel_, 4 * (kSendBuffers + kReceiveBuffers), this));
  domain_ = Must(ProtectionDomain::Make(context_));
  constexpr int kAllRights = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
  registration_ = Must(Registration::Make(domain_, memory.data(), memory.size(), kAllRights));
  // One more than the messenger needs: for what is not by the rules.
  control_ = Must(QueuePair::Make(
      domain_, queue_,
      {.sends = kSendBuffers + 1, .receives = kReceiveBuffers, .pieces = 1, .inline_bytes = 0}, this));
  path_.init.qp_state = IBV_QPS_INIT;
  EXPECT_EQ(verbs.init_qp_attr(id_->get(), &path_.init, &path_.init_mask), 0);
  if (Status status = control_->Modify(path_.init, path_.init_mask); !status.ok()) return status;
  messenger_ = Must(Messenger::Make(domain_, *control_, *this, stats_));
  uint8_t greeting[kGreetingBytes];
  EncodeGreeting(Code::kOk, greeting);
  rdma_conn_param parameters{};
  parameters.private_data = greeting;
  parameters.private_data_len = sizeof(greeting);
  parameters.responder_resources = parameters.initiator_depth = 1;
  parameters.retry_count = 7;
  parameters.rnr_retry_count = 6;
  parameters.qp_num = control_->number();
  EXPECT_EQ(verbs.connect(id_->get(), &parameters), 0);
  return {};
}

Status Attacker::Establish() {
  const Verbs& verbs = library_.verbs;
  path_.receive.qp_state = IBV_QPS_RTR;
  path_.send.qp_state = IBV_QPS_RTS;
  EXPECT_EQ(verbs.init_qp_attr(id_->get(), &path_.receive, &path_.receive_mask), 0);
  EXPECT_EQ(verbs.init_qp_attr(id_->get(), &path_.send, &path_.send_mask), 0);
  path_.receive.min_rnr_timer = 12;
  path_.receive.max_dest_rd_atomic = path_.send.max_rd_atomic = 1;
  path_.send.timeout = 14;
  path_.send.retry_cnt = 7;
  path_.send.rnr_retry = 6;
  if (Status status = control_->Modify(path_.receive, path_.receive_mask); !status.ok()) return status;
  if (Status status = control_->Modify(path_.send, path_.send_mask); !status.ok()) return status;
  EXPECT_EQ(verbs.establish(id_->get()), 0);
  lane_ = std::make_unique<Lane>(domain_, queue_, path_, kLaneLimits, *messenger_, random_, this);
  return lane_->Restart();
}

void Attacker::OnCompletion(const ibv_wc& completion) {
  const bool part = (completion.wr_id & Lane::kPartId) != 0;
  if (part && !lane_->current(completion)) return;
  if (part || completion.wr_id == kRawId) {
    moved_ = completion.status;
    if (completion.status == IBV_WC_SUCCESS) return;
    // A broken lane is made anew by the rules; that is how it goes on.
    if (part && lane_->up()) return Lose(lane_->Restart());
  }
  if (completion.status != IBV_WC_SUCCESS) {
    lost_ = true;
  } else if ((completion.wr_id & Messenger::kSendId) != 0) {
    Lose(messenger_->OnSent(completion));
  } else if (deaf_) {
    ReceiveUnheard();
  } else {
    Lose(messenger_->OnReceived(completion));
  }
}

void Attacker::ReceiveUnheard() {
  ibv_sge piece{};
  piece.addr = reinterpret_cast<uintptr_t>(memory.data() + memory.size() - kPacketBytes);
  piece.length = kPacketBytes;
  piece.lkey = registration_->get()->lkey;
  ibv_recv_wr request{};
  request.wr_id = kUnheardId;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* bad = nullptr;
  EXPECT_EQ(library_.verbs.post_recv(control_->get(), &request, &bad), 0);
}

Status Attacker::OnRecord(const Record& record) {
  bool restarted = false;
  switch (record.kind) {
    case Kind::kLane:
      return lane_->OnRecord(record, restarted);
    case Kind::kGrant:
    case Kind::kKeep:
      grants[record.number] = PieceOf(record, 0);
      break;
    case Kind::kEnded:
      ends[record.number] = record.status;
      break;
    case Kind::kRead:
    case Kind::kWrite:
      asked.emplace_back(record.kind, record.number);
      break;
    case Kind::kDone:
      done++;
      break;
    case Kind::kDrop:
      dropped++;
      break;
    default:
      break;
  }
  return {};
}

uint32_t Attacker::Ask(Kind kind, uint8_t flags, const Tag& tag, uint64_t offset, uint64_t length) {
  const uint32_t number = ++last_number_;
  EncodeAsk(kind, flags, number, {number, offset, length, tag}, messenger_->Add(kAskBytes));
  return number;
}

void Attacker::Say(Kind kind, uint32_t number) {
  EncodeHead(kind, 0, Code::kOk, number, messenger_->Add(kRecordHeadBytes));
}

void Attacker::SayDone(uint32_t number, uint32_t span) {
  EncodeSpan(Kind::kDone, number, span, 0, messenger_->Add(kSpanRecordBytes));
}

void Attacker::Grant(uint32_t number, const Piece& piece) { SayWhere(Kind::kGrant, number, 0, piece); }

void Attacker::Keep(uint32_t number, uint32_t kept, const Piece& piece) {
  SayWhere(Kind::kKeep, number, kept, piece);
}

void Attacker::SayWhere(Kind kind, uint32_t number, uint32_t word, const Piece& piece) {
  uint8_t* out = messenger_->Add(kGrantBytes + kPieceBytes);
  out += EncodeGrant(kind, 0, number, word, 1, out);
  EncodePiece(piece, out);
}

Piece Attacker::Own(uint32_t length) const {
  return {reinterpret_cast<uintptr_t>(memory.data()), length, registration_->get()->rkey};
}

void Attacker::SendRaw(uint32_t length) { Move(IBV_WR_SEND, 0, length, 0, false); }

void Attacker::Move(ibv_wr_opcode opcode, uint64_t address, uint32_t length, uint32_t key, bool on_lane) {
  moved_.reset();
  ibv_sge piece{};
  piece.addr = reinterpret_cast<uintptr_t>(memory.data());
  piece.length = length;
  piece.lkey = registration_->get()->lkey;
  ibv_send_wr request{};
  request.wr_id = kRawId;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = opcode;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = address;
  request.wr.rdma.rkey = key;
  ibv_send_wr* bad = nullptr;
  if (on_lane) {
    lane_->Add(request, {piece}, 0);
    EXPECT_TRUE(lane_->Flush().ok());
  } else {
    EXPECT_EQ(library_.verbs.post_send(control_->get(), &request, &bad), 0);
  }
}

}  // namespace splitplane::rdma

#endif  // SPLITPLANE_HAS_VERBS

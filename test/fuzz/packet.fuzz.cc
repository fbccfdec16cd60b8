// Fuzzes the judgement of RDMA packets and records. Method: any bytes as the records of a packet, whose head
// is made good because nothing would get past its checksum otherwise; every record that is taken lies within
// the packet, and everything that its accessors give is within its bounds.
#include <cstring>
#include <vector>

#include "native/base/check.h"
#include "native/rdma/message.h"

namespace splitplane::rdma {
namespace {

void Visit(const Record& record) {
  switch (record.kind) {
    case Kind::kAtomic:
      SPLITPLANE_CHECK(uint8_t(AtomicOf(record).operation) <= 2);
      [[fallthrough]];
    case Kind::kRead:
    case Kind::kWrite: {
      const Ask ask = AskOf(record);
      SPLITPLANE_CHECK(ask.length > 0 && ask.offset <= UINT64_MAX - ask.length);
      return;
    }
    case Kind::kGrant:
    case Kind::kKeep:
      SPLITPLANE_CHECK(PieceCount(record) >= 1 && PieceCount(record) <= kPiecesMax);
      for (uint32_t i = 0; i < PieceCount(record); i++) {
        const Piece piece = PieceOf(record, i);
        SPLITPLANE_CHECK(piece.length > 0 && piece.address <= UINT64_MAX - piece.length);
      }
      return;
    default:
      return;
  }
}

}  // namespace
}  // namespace splitplane::rdma

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitplane;
  using namespace splitplane::rdma;
  (void)DecodeGreeting({data, size});
  if (size > kPacketBytes - kPacketHeadBytes) return 0;
  std::vector<uint8_t> packet(kPacketHeadBytes);
  packet.insert(packet.end(), data, data + size);
  SealPacket(packet, 1);
  uint16_t credits = 0;
  ConstBytes records;
  SPLITPLANE_CHECK(OpenPacket(packet, credits, records).ok());
  while (!records.empty()) {
    Record record;
    const ConstBytes before = records;
    if (!TakeRecord(records, record).ok()) break;
    SPLITPLANE_CHECK(record.bytes.data() == before.data());
    SPLITPLANE_CHECK(record.bytes.size() + records.size() == before.size());
    Visit(record);
  }
  return 0;
}
